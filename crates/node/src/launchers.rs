//! The node's launchers: the usual one, whose containers run under the system call filter, and
//! one without, started when a container first asks for it. Events go to the Pods they concern.

use std::collections::HashMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::agent::Message;
use crate::launcher::client::{Client, Options};
use crate::launcher::wire::Request;
use crate::launcher::{Event, Exit, Process, Role};
use crate::node::{Config, Shared};

/// A container that an earlier daemon started.
pub(crate) struct Known {
    pub(crate) id: String,
    pub(crate) slot: String,
    pub(crate) pid: i32,
    pub(crate) exit: Option<Exit>,
    pub(crate) kept: Vec<(Role, OwnedFd)>,
    pub(crate) unconfined: bool,
}

/// What the launchers knew when the daemon started.
#[derive(Default)]
pub(crate) struct Inventory {
    pub(crate) containers: Vec<Known>,
    pub(crate) spare_slots: Vec<String>,
}

/// How an exec fares.
#[derive(Debug)]
pub(crate) enum ExecEvent {
    Failed(String),
    Exited(Exit),
}

/// Between attempts to start a launcher in place of one that ended.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Who waits for an exec.
struct Waiting {
    /// For the other end of its terminal, if it has one.
    console: Option<oneshot::Sender<OwnedFd>>,
    /// For its end.
    end: oneshot::Sender<ExecEvent>,
}

/// An exec on its way.
pub(crate) struct Exec {
    /// Its name, for signals.
    pub(crate) id: String,
    /// Brings the other end of its terminal; closed when there will be none.
    pub(crate) console: oneshot::Receiver<OwnedFd>,
    /// Tells how it ended.
    pub(crate) end: oneshot::Receiver<ExecEvent>,
}

/// What reading from the launchers brings.
enum News {
    Event(Event, Vec<OwnedFd>),
    /// A launcher has ended by itself, and with it whatever it knew.
    Lost {
        unconfined: bool,
    },
}

/// Both launchers.
pub(crate) struct Launchers {
    options: Options,
    confined: Mutex<Client>,
    unconfined: Mutex<Option<Client>>,
    news: mpsc::UnboundedSender<News>,
    received: Mutex<Option<mpsc::UnboundedReceiver<News>>>,
    /// Set when the launchers are told to end.
    ending: Arc<AtomicBool>,
    execs: Mutex<HashMap<String, Waiting>>,
    /// Containers that belong to no Pod, by name.
    others: Mutex<HashMap<String, mpsc::UnboundedSender<Event>>>,
    next_exec: AtomicU64,
}

impl Launchers {
    /// Connects to the launchers of an earlier daemon or starts new ones, and asks what they
    /// know.
    pub(crate) async fn start(config: &Config, base: &str) -> io::Result<(Self, Inventory)> {
        let options = Options {
            command: config.launcher.clone(),
            data_dir: config.data_dir.clone(),
            cgroup_base: base.to_owned(),
            spares: config.spares,
            unconfined: false,
        };
        let confined = Client::open(&options)?;
        let mut inventory = Inventory::default();
        take_inventory(&confined, false, &mut inventory).await?;
        let (news, received) = mpsc::unbounded_channel();
        let unconfined = Client::connect(&options.data_dir, true);
        if let Some(client) = &unconfined {
            take_inventory(client, true, &mut inventory).await?;
        }
        let launchers = Self {
            options,
            confined: Mutex::new(confined.clone()),
            unconfined: Mutex::new(unconfined.clone()),
            news,
            received: Mutex::new(Some(received)),
            ending: Arc::default(),
            execs: Mutex::default(),
            others: Mutex::default(),
            // Names of execs are not reused by the next daemon within the same launcher's life.
            next_exec: AtomicU64::new(u64::from(std::process::id()) << 32),
        };
        launchers.read(confined, false);
        if let Some(client) = unconfined {
            launchers.read(client, true);
        }
        Ok((launchers, inventory))
    }

    /// The launcher for containers with or without the filter.
    fn client(&self, unconfined: bool) -> io::Result<Client> {
        let confined = || self.confined.lock().unwrap_or_else(PoisonError::into_inner);
        if !unconfined {
            return Ok(confined().clone());
        }
        let mut known = self
            .unconfined
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*known {
            return Ok(client.clone());
        }
        let client = self.open(true)?;
        *known = Some(client.clone());
        Ok(client)
    }

    fn open(&self, unconfined: bool) -> io::Result<Client> {
        let options = Options {
            unconfined,
            spares: if unconfined { 0 } else { self.options.spares },
            ..self.options.clone()
        };
        let client = Client::open(&options)?;
        self.read(client.clone(), unconfined);
        Ok(client)
    }

    /// Reads what a launcher says for as long as it lives.
    fn read(&self, client: Client, unconfined: bool) {
        let (to, ending) = (self.news.clone(), Arc::clone(&self.ending));
        tokio::spawn(async move {
            let mut buffer = Vec::new();
            let why = loop {
                match client.next(&mut buffer).await {
                    Ok(Some((event, fds))) => {
                        if to.send(News::Event(event, fds)).is_err() {
                            return;
                        }
                    }
                    Ok(None) => break "it has ended".to_owned(),
                    Err(error) => break error.to_string(),
                }
            };
            if !ending.load(Ordering::Relaxed) {
                tracing::warn!(why, "the launcher is lost; another is started");
                let _ = to.send(News::Lost { unconfined });
            }
        });
    }

    /// Puts a new launcher in the place of one that has ended.
    async fn replace(&self, unconfined: bool) {
        self.execs().clear();
        self.others().clear();
        if unconfined {
            // It is started when a container asks for it.
            *self
                .unconfined
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = None;
            return;
        }
        loop {
            match self.open(false) {
                Ok(client) => {
                    *self.confined.lock().unwrap_or_else(PoisonError::into_inner) = client;
                    return;
                }
                Err(error) => tracing::error!(%error, "no launcher could be started"),
            }
            tokio::time::sleep(RESTART_PAUSE).await;
        }
    }

    /// Sends a request to one of them.
    pub(crate) fn send(
        &self,
        unconfined: bool,
        request: &Request,
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        self.client(unconfined)?.send(request, fds)
    }

    /// Sends a request to those that run.
    pub(crate) fn tell_all(&self, request: &Request) {
        let unconfined = self
            .unconfined
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for client in self.client(false).ok().into_iter().chain(unconfined) {
            let _ = client.send(request, &[]);
        }
    }

    /// Runs a process in a container.
    pub(crate) fn exec(
        &self,
        (unconfined, id): (bool, &str),
        process: Process,
        roles: Vec<Role>,
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<Exec> {
        let exec_id = format!("exec-{:x}", self.next_exec.fetch_add(1, Ordering::Relaxed));
        let (tell_console, console) = oneshot::channel();
        let (tell_end, end) = oneshot::channel();
        let waiting = Waiting {
            console: process.tty.then_some(tell_console),
            end: tell_end,
        };
        self.execs().insert(exec_id.clone(), waiting);
        let request = Request::Exec {
            id: id.to_owned(),
            exec_id: exec_id.clone(),
            roles,
            process: Box::new(process),
        };
        self.send(unconfined, &request, fds)?;
        Ok(Exec {
            id: exec_id,
            console,
            end,
        })
    }

    /// Events of a container that belongs to no Pod: none is missed if this is called before its
    /// start. They end when the launcher does.
    pub(crate) fn follow(&self, id: &str) -> mpsc::UnboundedReceiver<Event> {
        let (tell, told) = mpsc::unbounded_channel();
        self.others().insert(id.to_owned(), tell);
        told
    }

    /// Ends that.
    pub(crate) fn unfollow(&self, id: &str) {
        self.others().remove(id);
    }

    fn others(&self) -> std::sync::MutexGuard<'_, HashMap<String, mpsc::UnboundedSender<Event>>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn execs(&self) -> std::sync::MutexGuard<'_, HashMap<String, Waiting>> {
        self.execs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exec_event(&self, exec_id: &str, event: ExecEvent) {
        if let Some(waiting) = self.execs().remove(exec_id) {
            let _ = waiting.end.send(event);
        }
    }

    fn exec_console(&self, exec_id: &str, terminal: OwnedFd) {
        let mut execs = self.execs();
        let waiting = execs.get_mut(exec_id);
        if let Some(console) = waiting.and_then(|waiting| waiting.console.take()) {
            let _ = console.send(terminal);
        }
    }

    /// Starts handing events to the Pods they concern.
    pub(crate) fn dispatch(shared: &Arc<Shared>) {
        let this = &shared.launchers;
        let taken = this
            .received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(mut received) = taken else { return };
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            while let Some(news) = received.recv().await {
                match news {
                    News::Event(event, fds) => route(&shared, event, fds),
                    News::Lost { unconfined } => {
                        shared.launchers.replace(unconfined).await;
                        for pod in shared.pods().values() {
                            pod.send(Message::LauncherLost { unconfined });
                        }
                    }
                }
            }
        });
    }

    /// Tells the launchers to kill everything and end, and waits until they have.
    pub(crate) async fn shut_down(&self) {
        self.ending.store(true, Ordering::Relaxed);
        let confined = self.client(false).ok();
        let unconfined = self
            .unconfined
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for client in [confined, unconfined].into_iter().flatten() {
            if client.send(&Request::Shutdown, &[]).is_ok() {
                client.gone().await;
            }
        }
    }
}

async fn take_inventory(
    client: &Client,
    unconfined: bool,
    inventory: &mut Inventory,
) -> io::Result<()> {
    client.send(&Request::List, &[])?;
    let mut buffer = Vec::new();
    loop {
        let Some((event, fds)) = client.next(&mut buffer).await? else {
            let text = "it ended while it was asked what runs; its log is launcher.log";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        };
        match event {
            Event::Known {
                id,
                slot,
                pid,
                exit,
                roles,
                ..
            } => {
                let kept = roles.into_iter().zip(fds).collect();
                inventory.containers.push(Known {
                    id,
                    slot,
                    pid,
                    exit,
                    kept,
                    unconfined,
                });
            }
            Event::Listed { spare_slots } => {
                inventory.spare_slots.extend(spare_slots);
                return Ok(());
            }
            // Whatever happens meanwhile is part of the answer.
            _ => {}
        }
    }
}

fn route(shared: &Shared, event: Event, mut fds: Vec<OwnedFd>) {
    let id = match &event {
        Event::Console { id } if RunId::parse(id).is_none() => {
            if let Some(terminal) = fds.pop() {
                shared.launchers.exec_console(id, terminal);
            }
            return;
        }
        Event::ExecExited { exec_id, exit } => {
            return shared
                .launchers
                .exec_event(exec_id, ExecEvent::Exited(*exit));
        }
        Event::ExecFailed { exec_id, message } => {
            let event = ExecEvent::Failed(message.clone());
            return shared.launchers.exec_event(exec_id, event);
        }
        Event::Started { id, .. }
        | Event::StartFailed { id, .. }
        | Event::Exited { id, .. }
        | Event::Console { id } => id,
        Event::ExecStarted { .. } | Event::Known { .. } | Event::Listed { .. } => return,
    };
    if let Some(tell) = shared.launchers.others().get(id) {
        let _ = tell.send(event);
        return;
    }
    let Some(run) = RunId::parse(id) else { return };
    let pod = shared.pods().get(run.pod_uid).map(Arc::clone);
    let Some(pod) = pod else { return };
    match (&event, fds.pop()) {
        (Event::Console { id }, Some(terminal)) => {
            pod.send(Message::Console(id.clone(), terminal));
        }
        _ => pod.send(Message::Launcher(event)),
    }
}

/// A container's name at the launcher: `POD_UID.INDEX.ATTEMPT`.
pub(crate) struct RunId<'a> {
    pub(crate) pod_uid: &'a str,
    pub(crate) index: usize,
    pub(crate) attempt: u32,
}

impl<'a> RunId<'a> {
    pub(crate) fn name(pod_uid: &str, index: usize, attempt: u32) -> String {
        format!("{pod_uid}.{index}.{attempt}")
    }

    pub(crate) fn parse(name: &'a str) -> Option<Self> {
        let (rest, attempt) = name.rsplit_once('.')?;
        let (pod_uid, index) = rest.rsplit_once('.')?;
        Some(Self {
            pod_uid,
            index: index.parse().ok()?,
            attempt: attempt.parse().ok()?,
        })
    }
}
