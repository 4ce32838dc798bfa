//! Processes beside a container's own: exec, and attach to the container's own; and connections
//! into a Pod.

use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{EphemeralContainer, Pod};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::agent::RunInfo;
use crate::launcher::wire::Request;
use crate::launcher::{EXIT_NOT_STARTED, Process as Program, Role};
use crate::launchers::ExecEvent;
use crate::logs::{LogOptions, LogStream, Output, Stream, file_path, open, pod_dir};
use crate::node::{Node, Shared};
use crate::pipe;

/// Anything bytes are read from.
pub type Reader = Pin<Box<dyn AsyncRead + Send>>;
/// Anything bytes are written to.
pub type Writer = Pin<Box<dyn AsyncWrite + Send>>;

/// Terminal sizes that may wait.
const RESIZES_MAX: usize = 8;
/// Output of a probe or hook that is kept for its message, bytes.
const OUTPUT_KEPT_BYTES: u64 = 10 << 10;
/// What an attached client may fall behind, bytes.
const ATTACHED_BUFFER_BYTES: usize = 256 << 10;

/// A process to run, or the container's own to attach to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecOptions {
    /// Empty: the only container, or the default one.
    pub container: String,
    /// The command; of no meaning for attach.
    pub command: Vec<String>,
    /// Standard input is wanted.
    pub stdin: bool,
    /// Standard output is wanted.
    pub stdout: bool,
    /// Standard error is wanted.
    pub stderr: bool,
    /// A terminal is wanted; standard error then comes with standard output.
    pub tty: bool,
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// The ends of a running process. Dropping `exit` lets the process go on.
pub struct Session {
    /// Its standard input; dropping it is end of file.
    pub stdin: Option<Writer>,
    /// Its standard output, or everything when there is a terminal.
    pub stdout: Option<Reader>,
    /// Its standard error.
    pub stderr: Option<Reader>,
    /// Takes new sizes of the terminal.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// Tells how it ended: the exit code, or why it could not run.
    pub exit: oneshot::Receiver<Result<i32, String>>,
}

/// Why the node could not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// There is no such Pod on this node.
    #[error("pods \"{0}\" not found")]
    NoPod(String),
    /// The Pod has no such container.
    #[error("container {container} is not valid for pod {pod}")]
    NoContainer {
        /// The container asked for.
        container: String,
        /// The Pod.
        pod: String,
    },
    /// Several containers and none named.
    #[error("a container name must be specified for pod {pod}, choose one of: [{names}]")]
    Ambiguous {
        /// The Pod.
        pod: String,
        /// Its containers.
        names: String,
    },
    /// The container does not run now.
    #[error("container \"{container}\" in pod \"{pod}\" is not available: {state}")]
    NotRunning {
        /// The container.
        container: String,
        /// The Pod.
        pod: String,
        /// What is the matter.
        state: &'static str,
    },
    /// Its last run is asked for, and it has had one only.
    #[error("previous terminated container \"{container}\" in pod \"{pod}\" not found")]
    NoPrevious {
        /// The container.
        container: String,
        /// The Pod.
        pod: String,
    },
    /// The machine refused.
    #[error("{0}")]
    Failed(String),
}

/// The container meant by a request: the one named, the only one, or the Pod's default.
fn choose(pod: &Pod, wanted: &str) -> Result<String, AccessError> {
    let spec = pod.spec.as_ref();
    let mains: Vec<&str> = spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .map(|one| one.name.as_str())
        .collect();
    let inits = spec
        .iter()
        .flat_map(|spec| spec.init_containers.iter().flatten());
    let name = pod.metadata.name.clone().unwrap_or_default();
    if !wanted.is_empty() {
        let looks_in = |one: &EphemeralContainer| one.name == wanted;
        let ephemeral = spec.and_then(|spec| spec.ephemeral_containers.as_ref());
        let known = mains.contains(&wanted)
            || inits.clone().any(|one| one.name == wanted)
            || ephemeral.is_some_and(|all| all.iter().any(looks_in));
        return match known {
            true => Ok(wanted.to_owned()),
            false => Err(AccessError::NoContainer {
                container: wanted.to_owned(),
                pod: name,
            }),
        };
    }
    let annotations = pod.metadata.annotations.as_ref();
    let default = annotations.and_then(|all| all.get("kubectl.kubernetes.io/default-container"));
    match (default, &mains[..]) {
        (Some(default), _) if mains.contains(&default.as_str()) => Ok(default.clone()),
        (_, [only]) => Ok((*only).to_owned()),
        _ => Err(AccessError::Ambiguous {
            pod: name,
            names: mains.join(" "),
        }),
    }
}

impl Node {
    fn find(
        &self,
        (namespace, name): (&str, &str),
    ) -> Result<Arc<crate::agent::Directory>, AccessError> {
        let found = self.shared.named(namespace, name);
        found.ok_or_else(|| AccessError::NoPod(name.to_owned()))
    }

    fn running(&self, pod: (&str, &str), container: &str) -> Result<RunInfo, AccessError> {
        let directory = self.find(pod)?;
        let container = choose(&directory.pod(), container)?;
        let run = directory.run(&container).filter(|run| run.running);
        let pod = pod.1.to_owned();
        run.ok_or(AccessError::NotRunning {
            container,
            pod,
            state: "it does not run",
        })
    }

    /// Reads a container's log; `pod` is namespace and name.
    pub fn logs(
        &self,
        pod: (&str, &str),
        container: &str,
        options: LogOptions,
    ) -> Result<LogStream, AccessError> {
        let directory = self.find(pod)?;
        let container = choose(&directory.pod(), container)?;
        let missing = |state| AccessError::NotRunning {
            container: container.clone(),
            pod: pod.1.to_owned(),
            state,
        };
        let run = directory
            .run(&container)
            .ok_or_else(|| missing("it is waiting to start"))?;
        if !options.previous {
            let live = run.running.then_some(&run.log);
            return Ok(open(run.log.path().to_owned(), live, options));
        }
        let Some(before) = run.attempt.checked_sub(1) else {
            let pod = pod.1.to_owned();
            return Err(AccessError::NoPrevious { container, pod });
        };
        let dir = pod_dir(&self.shared.config.data_dir, pod.0, pod.1, &directory.uid);
        Ok(open(file_path(&dir, &container, before), None, options))
    }

    /// Runs a process in a container. Must be called inside a tokio runtime.
    pub async fn exec(
        &self,
        pod: (&str, &str),
        options: &ExecOptions,
    ) -> Result<Session, AccessError> {
        let run = self.running(pod, &options.container)?;
        let started = start(&self.shared, &run, options).await;
        started.map_err(AccessError::Failed)
    }

    /// Attaches to a container's own process. Must be called inside a tokio runtime.
    pub fn attach(&self, pod: (&str, &str), options: &ExecOptions) -> Result<Session, AccessError> {
        let run = self.running(pod, &options.container)?;
        let directory = self.find(pod)?;
        let session = attach(&run, options);
        let spec = directory.pod();
        let container = choose(&spec, &options.container)?;
        if options.stdin && gives_stdin_once(&spec, &container) {
            // The client has it now, and its end is the end of it.
            directory.change_run(&container, |run| run.stdin = None);
        }
        session.map_err(|error| AccessError::Failed(error.to_string()))
    }

    /// Connects to a port of 127.0.0.1 inside the Pod.
    pub async fn port_forward(
        &self,
        pod: (&str, &str),
        port: u16,
    ) -> Result<TcpStream, AccessError> {
        let dialer = self.find(pod)?.dialer();
        let dialer =
            dialer.ok_or_else(|| AccessError::Failed("the Pod has no network".to_owned()))?;
        let connected = dialer.connect(([127, 0, 0, 1], port).into()).await;
        connected.map_err(|error| {
            AccessError::Failed(format!("dial tcp4 127.0.0.1:{port}: connect: {error}"))
        })
    }
}

fn gives_stdin_once(pod: &Pod, container: &str) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut named = containers.filter(|one| one.name == container);
    named.any(|one| one.stdin_once == Some(true) && one.tty != Some(true))
}

/// The program of an exec: the container's environment and rights with another command.
fn program(run: &RunInfo, command: Vec<String>, tty: bool) -> Result<Program, String> {
    let own = run
        .process
        .as_ref()
        .ok_or("the container is a part of the node itself")?;
    Ok(Program {
        args: command,
        tty,
        ..Program::clone(own)
    })
}

async fn start(
    shared: &Arc<Shared>,
    run: &RunInfo,
    options: &ExecOptions,
) -> Result<Session, String> {
    let text = |error: std::io::Error| error.to_string();
    let program = program(run, options.command.clone(), options.tty)?;
    let mut session = Session::empty();
    let (tell, exit) = oneshot::channel();
    session.exit = exit;
    let given = match options.tty {
        true => Vec::new(),
        false => session.take_pipes(options).map_err(text)?,
    };
    let (roles, fds): (Vec<_>, Vec<_>) = given
        .iter()
        .map(|(role, fd)| (*role, std::os::fd::AsFd::as_fd(fd)))
        .unzip();
    let exec = shared
        .launchers
        .exec((run.unconfined, &run.id), program, roles, &fds)
        .map_err(text)?;
    let (shared, unconfined) = (Arc::clone(shared), run.unconfined);
    tokio::spawn(wait(shared, (unconfined, exec.id), exec.end, tell));
    // Without a terminal the process could not be run, and its end says why.
    if options.tty
        && let Ok(terminal) = exec.console.await
    {
        session.take_terminal(terminal, options).map_err(text)?;
    }
    Ok(session)
}

/// Waits for the end of an exec; kills it when nobody wants to know any more.
async fn wait(
    shared: Arc<Shared>,
    (unconfined, id): (bool, String),
    mut told: oneshot::Receiver<ExecEvent>,
    mut tell: oneshot::Sender<Result<i32, String>>,
) {
    let ended = tokio::select! {
        ended = &mut told => ended,
        () = tell.closed() => {
            let kill = Request::Signal { id, signal: libc::SIGKILL };
            let _ = shared.launchers.send(unconfined, &kill, &[]);
            return;
        }
    };
    let outcome = match ended {
        Ok(ExecEvent::Exited(exit)) => Ok(exit.code),
        Ok(ExecEvent::Failed(message)) => Err(message),
        Err(_) => Err("the launcher is gone".to_owned()),
    };
    let _ = tell.send(outcome);
}

impl Session {
    fn empty() -> Self {
        let (_, exit) = oneshot::channel();
        Self {
            stdin: None,
            stdout: None,
            stderr: None,
            resize: None,
            exit,
        }
    }

    /// Makes the pipes that are wanted, keeps one end of each and gives the process's.
    fn take_pipes(&mut self, options: &ExecOptions) -> std::io::Result<Vec<(Role, OwnedFd)>> {
        let mut given = Vec::new();
        if options.stdin {
            let (read, write) = pipe::pipe()?;
            given.push((Role::Stdin, read));
            self.stdin = Some(Box::pin(pipe::Writer::new(write)?));
        }
        let outputs = [
            (options.stdout, Role::Stdout, &mut self.stdout),
            (options.stderr, Role::Stderr, &mut self.stderr),
        ];
        for (wanted, role, end) in outputs {
            if wanted {
                let (read, write) = pipe::pipe()?;
                given.push((role, write));
                *end = Some(Box::pin(pipe::Reader::new(read)?));
            }
        }
        Ok(given)
    }

    fn take_terminal(&mut self, terminal: OwnedFd, options: &ExecOptions) -> std::io::Result<()> {
        if options.stdin {
            self.stdin = Some(Box::pin(pipe::Writer::new(terminal.try_clone()?)?));
        }
        self.resize = Some(resizer(terminal.try_clone()?));
        self.stdout = Some(Box::pin(pipe::Reader::new(terminal)?));
        Ok(())
    }
}

/// Hands sizes to a terminal.
fn resizer(terminal: OwnedFd) -> mpsc::Sender<TerminalSize> {
    let (to, mut sizes) = mpsc::channel::<TerminalSize>(RESIZES_MAX);
    tokio::spawn(async move {
        while let Some(size) = sizes.recv().await {
            let _ = pipe::set_window(&terminal, size.height, size.width);
        }
    });
    to
}

fn attach(run: &RunInfo, options: &ExecOptions) -> std::io::Result<Session> {
    let mut session = Session::empty();
    let (tell, exit) = oneshot::channel();
    session.exit = exit;
    if let Some(input) = run.stdin.as_ref().filter(|_| options.stdin) {
        session.stdin = Some(Box::pin(pipe::Writer::new(input.try_clone()?)?));
    }
    if let Some(terminal) = run.stdin.as_ref().filter(|_| run.tty) {
        session.resize = Some(resizer(terminal.try_clone()?));
    }
    let mut outputs = run.attached.subscribe();
    let (to_stdout, stdout) = tokio::io::duplex(ATTACHED_BUFFER_BYTES);
    let (to_stderr, stderr) = tokio::io::duplex(ATTACHED_BUFFER_BYTES);
    session.stdout = options.stdout.then(|| Box::pin(stdout) as Reader);
    session.stderr = (options.stderr && !run.tty).then(|| Box::pin(stderr) as Reader);
    let mut closed = run.log.closed();
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let (mut to_stdout, mut to_stderr) = (to_stdout, to_stderr);
        loop {
            let output = tokio::select! {
                biased;
                output = outputs.recv() => output,
                () = closed.wait() => break,
            };
            let Output { stream, bytes } = match output {
                Ok(output) => output,
                // A slow client misses something, as on a terminal that scrolls.
                Err(broadcast::error::RecvError::Lagged(_)) => continue,
                Err(broadcast::error::RecvError::Closed) => break,
            };
            let _ = match stream {
                Stream::Stdout => to_stdout.write_all(&bytes).await,
                Stream::Stderr => to_stderr.write_all(&bytes).await,
            };
        }
        let _ = tell.send(Ok(0));
    });
    Ok(session)
}

/// Runs a command to its end, for probes and hooks; gives exit code and output.
pub(crate) async fn run_to_end(
    shared: &Arc<Shared>,
    run: &RunInfo,
    command: Vec<String>,
    limit: Duration,
) -> Result<(i32, String), String> {
    let options = ExecOptions {
        command,
        stdout: true,
        ..ExecOptions::default()
    };
    let session = start(shared, run, &options).await?;
    let mut output = Vec::new();
    let ended = async {
        if let Some(stdout) = session.stdout {
            let _ = stdout
                .take(OUTPUT_KEPT_BYTES)
                .read_to_end(&mut output)
                .await;
        }
        session.exit.await.unwrap_or(Ok(EXIT_NOT_STARTED))
    };
    let code = match tokio::time::timeout(limit, ended).await {
        Ok(code) => code?,
        Err(_) => {
            return Err(format!("command timed out after {} s", limit.as_secs_f64()));
        }
    };
    Ok((code, String::from_utf8_lossy(&output).into_owned()))
}
