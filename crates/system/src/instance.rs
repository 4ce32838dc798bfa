//! One running `rekindle up`, alone in its network namespace, and the clients that talk to it.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::acme::Acme;
use crate::command::{Outcome, run};
use crate::debian;
use crate::image::{App, Image};
use crate::leftovers::assert_nothing_left;
use crate::load::{Channel, Load, within};

/// Longest wait for the instance to become ready or to stop.
const START_MAX: Duration = Duration::from_secs(30);

/// How an instance differs from the plain one.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// More flags for `rekindle up`.
    pub flags: Vec<String>,
    /// Runs in the caller's network namespace instead of one of its own (for benchmarks, whose
    /// client must reach the ports).
    pub shared_netns: bool,
    /// The daemon's environment, besides the caller's.
    pub env: Vec<(String, String)>,
    /// Keeps its data on a file system of its own with so many MiB.
    pub data_mib: Option<u32>,
}

/// A running instance; stopped and checked for leftovers when dropped.
#[derive(Debug)]
pub struct Instance {
    child: Child,
    dir: TempDir,
    options: Options,
    ready: Value,
}

impl Instance {
    /// Starts a plain instance.
    pub fn start() -> Self {
        Self::with(Options::default())
    }

    /// Starts an instance with `options` and waits until it is ready.
    pub fn with(options: Options) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("rekindle-it-")
            .tempdir()
            .expect("temp directory");
        let child = spawn(dir.path(), &options);
        let mut instance = Self {
            child,
            dir,
            options,
            ready: Value::Null,
        };
        instance.await_ready();
        instance
    }

    /// Kills the daemon with SIGKILL, as a crash would; Pods keep running.
    pub fn kill_9(&mut self) {
        self.child.kill().expect("the daemon runs");
        self.child.wait().expect("the daemon was killed");
        let _ = fs::remove_file(self.ready_file());
    }

    /// Ends the daemon as a service manager does, with SIGTERM.
    pub fn terminate(&mut self) {
        assert!(self.stop(), "it did not stop on SIGTERM:\n{}", self.log());
        let _ = fs::remove_file(self.ready_file());
    }

    /// Sets a variable in the environment of daemons that are started from now on.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.options.env.push((name.to_owned(), value.to_owned()));
    }

    /// Starts the daemon again on the same data, in the same network namespace as before.
    pub fn restart(&mut self) {
        self.child = spawn_in(self.dir.path(), &self.options, &self.netns());
        self.await_ready();
    }

    /// Runs a client verb of `rekindle`, words split at spaces, on this instance.
    pub fn verb(&self, words: &str) -> Outcome {
        let mut command = self.inside(&binary());
        command.env("REKINDLE_DATA_DIR", self.data_dir());
        run(command.args(words.split_whitespace()), "")
    }

    /// Runs kubectl with words split at spaces.
    pub fn kubectl(&self, words: &str) -> Outcome {
        let args: Vec<&str> = words.split_whitespace().collect();
        self.kubectl_args(&args, "")
    }

    /// Runs kubectl with exact arguments and standard input.
    pub fn kubectl_args(&self, args: &[&str], input: &str) -> Outcome {
        run(self.client(&kubectl()).args(args), input)
    }

    /// A kubectl of one's choice (see [`kubectls`]), to be given arguments and run. Each keeps
    /// its own discovery cache.
    pub fn client(&self, kubectl: &str) -> Command {
        let mut command = self.inside(kubectl);
        let home = self.dir.path().join(kubectl.replace('/', "_"));
        command
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", home);
        command
    }

    /// `kubectl apply -f -` of `manifest`.
    pub fn apply(&self, manifest: &str) -> Outcome {
        self.kubectl_args(&["apply", "-f", "-"], manifest)
    }

    /// Sets keys of a ConfigMap; null removes one.
    pub fn configure(&self, namespace: &str, map: &str, data: &Value) {
        let patch = json!({ "data": data }).to_string();
        let place = ["patch", "configmap", map, "-n", namespace];
        let words = [&place[..], &["--type", "merge", "-p", &patch]].concat();
        self.kubectl_args(&words, "").expect();
    }

    /// Runs curl against the gateway with a Host header; `-f` makes errors fail.
    pub fn curl(&self, host: &str, path: &str) -> Outcome {
        let url = format!("http://{}{path}", self.address("http"));
        let mut command = self.inside("curl");
        command.args([
            "-sS",
            "-f",
            "--max-time",
            "30",
            "-H",
            &format!("Host: {host}"),
            &url,
        ]);
        run(&mut command, "")
    }

    /// Keeps asking for `path` of `host`: `each` clients of every kind, each once per `pace`.
    pub fn keep_asking(&self, host: &str, path: &str, each: usize, pace: Duration) -> Load {
        Load::start(self.netns(), self.gateway(), (host, path), (each, pace))
    }

    /// Starts an authority that speaks ACME beside the instance.
    pub fn acme(&self) -> Acme {
        Acme::start(self.netns(), self.gateway()).expect("start the authority")
    }

    /// Opens a WebSocket to `/ws` of `host`.
    pub fn websocket(&self, host: &str) -> Channel {
        let channel = self.websocket_at(self.gateway(), host, "/ws");
        channel.expect("open a WebSocket")
    }

    /// Tries to open a WebSocket to a path of a host, at any address.
    pub fn websocket_at(
        &self,
        address: SocketAddr,
        host: &str,
        path: &str,
    ) -> anyhow::Result<Channel> {
        Channel::open(&self.netns(), address, host, path)
    }

    fn gateway(&self) -> SocketAddr {
        self.address("http").parse().expect("an address and a port")
    }

    /// Runs another program in the instance's network namespace.
    pub fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.netns().display()))
            .arg("--")
            .arg(program);
        command
    }

    /// Does something inside the instance's network namespace, on a thread of its own.
    pub fn within<T: Send>(
        &self,
        make: impl FnOnce() -> std::io::Result<T> + Send,
    ) -> anyhow::Result<T> {
        within(&self.netns(), make)
    }

    /// Another process of the binary under test, in the instance's network namespace.
    pub fn rekindle(&self, verb: &str) -> Command {
        let mut command = self.inside(&binary());
        command.arg(verb);
        command
    }

    /// Packs `app` and loads it under `reference`.
    pub fn load(&self, app: App, reference: &str) {
        self.load_image(&Image::of(app, reference).expect("build the test application"));
    }

    /// Packs and loads any image.
    pub fn load_image(&self, image: &Image) {
        let archive = self.dir.path().join("image.tar");
        image.write(&archive).expect("write the archive");
        let mut command = self.inside(&binary());
        command
            .args(["image", "load"])
            .arg(&archive)
            .arg("--data-dir")
            .arg(self.data_dir());
        run(&mut command, "").expect();
    }

    /// The address printed for `api`, `http`, `https` or `console`.
    pub fn address(&self, which: &str) -> String {
        self.ready[which]
            .as_str()
            .expect("the ready file has every address")
            .to_owned()
    }

    /// The path of the admin kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        PathBuf::from(
            self.ready["kubeconfig"]
                .as_str()
                .expect("the ready file names it"),
        )
    }

    /// Where the instance keeps its state.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The daemon's process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `what` answers true, at most `patience`; a level, not an edge.
    #[track_caller]
    pub fn eventually(&self, patience: Duration, mut what: impl FnMut() -> bool) {
        let end = Instant::now() + patience;
        while !what() {
            assert!(
                Instant::now() < end,
                "not within {patience:?}; log:\n{}",
                self.log()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the daemon wrote to standard error so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn netns(&self) -> PathBuf {
        self.dir.path().join("netns")
    }

    fn ready_file(&self) -> PathBuf {
        self.dir.path().join("ready.json")
    }

    fn await_ready(&mut self) {
        let end = Instant::now() + START_MAX;
        loop {
            if let Ok(text) = fs::read_to_string(self.ready_file()) {
                self.ready = serde_json::from_str(&text).expect("the ready file is JSON");
                return;
            }
            let ended = self.child.try_wait().expect("the daemon is our child");
            assert!(
                ended.is_none(),
                "the daemon ended with {ended:?}:\n{}",
                self.log()
            );
            assert!(
                Instant::now() < end,
                "not ready in {START_MAX:?}:\n{}",
                self.log()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn stop(&mut self) -> bool {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return true;
        }
        run(
            Command::new("kill").args(["-TERM", &self.child.id().to_string()]),
            "",
        );
        let end = Instant::now() + START_MAX;
        while Instant::now() < end {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        false
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let stopped = self.stop();
        run(Command::new("umount").args(["-l"]).arg(self.netns()), "");
        if self.options.data_mib.is_some() {
            run(Command::new("umount").arg(self.data_dir()), "");
        }
        if !thread::panicking() {
            assert!(
                stopped,
                "the daemon did not stop on SIGTERM:\n{}",
                self.log()
            );
            assert_nothing_left(self.dir.path());
        } else {
            let log = self.log();
            let tail = log.len().saturating_sub(8000);
            let tail = (tail..log.len())
                .find(|at| log.is_char_boundary(*at))
                .unwrap_or(0);
            let _ = writeln!(std::io::stderr(), "--- the daemon's log\n{}", &log[tail..]);
        }
    }
}

/// Longest that a test waits for something that takes a moment.
const MOMENT_MAX: Duration = Duration::from_secs(60);

/// Waits until `look` finds something; fails with what it last said.
#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + MOMENT_MAX;
    loop {
        match look() {
            Ok(found) => return found,
            Err(last) if Instant::now() > deadline => panic!("{what}: {last}"),
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// The kubectl programs to test with: `KUBECTL` or the one in the path first, then `KUBECTL_OLD`
/// or Debian's (before 1.31 they speak SPDY where later ones speak WebSocket).
pub fn kubectls() -> Vec<String> {
    let current = kubectl();
    let old = std::env::var("KUBECTL_OLD").ok().unwrap_or_else(|| {
        let debian = debian::kubectl().expect("Debian's package kubernetes-client");
        debian.display().to_string()
    });
    // On a plain Debian they are one and the same.
    let version = |program: &String| run(Command::new(program).args(["version", "--client"]), "");
    if version(&current).stdout == version(&old).stdout {
        return vec![current];
    }
    vec![current, old]
}

fn kubectl() -> String {
    std::env::var("KUBECTL").unwrap_or_else(|_| "kubectl".to_owned())
}

/// The binary under test: `REKINDLE_BIN`, else the release build, else the debug build.
pub fn binary() -> String {
    if let Ok(path) = std::env::var("REKINDLE_BIN") {
        return path;
    }
    let test = std::env::current_exe().expect("the test's own path");
    let target = test.ancestors().nth(3).expect("target/PROFILE/deps/test");
    let built = ["release/rekindle", "debug/rekindle"].map(|path| target.join(path));
    let found = built.iter().find(|path| path.exists());
    found
        .expect("run `cargo build --release -p rekindle` first")
        .display()
        .to_string()
}

/// Makes the network namespace (kept by a bind mount, so that it outlives the daemon) and starts.
fn spawn(dir: &Path, options: &Options) -> Child {
    let netns = dir.join("netns");
    fs::write(&netns, "").expect("the directory is writable");
    let mut make = Command::new("unshare");
    make.arg(format!("--net={}", netns.display()))
        .args(["ip", "link", "set", "lo", "up"]);
    if options.shared_netns {
        make = Command::new("mount");
        make.args(["--bind", "/proc/self/ns/net"]).arg(&netns);
    }
    run(&mut make, "").expect();
    if let Some(mib) = options.data_mib {
        let data = dir.join("data");
        fs::create_dir(&data).expect("the directory is writable");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "rekindle-it"]);
        run(mount.arg(&data), "").expect();
    }
    spawn_in(dir, options, &netns)
}

fn spawn_in(dir: &Path, options: &Options, netns: &Path) -> Child {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("log"));
    Command::new("nsenter")
        .arg(format!("--net={}", netns.display()))
        .args(["--", &binary(), "up", "--log", "info"])
        .arg("--data-dir")
        .arg(dir.join("data"))
        .arg("--ready-file")
        .arg(dir.join("ready.json"))
        .args(&options.flags)
        .envs(options.env.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.expect("the directory is writable"))
        .spawn()
        .expect("start nsenter")
}
