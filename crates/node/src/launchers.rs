//! The node's launchers: the usual one, whose containers run under the system call filter, and
//! one without, started when a container first asks for it. Events go to the Pods they concern.

use std::collections::HashMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

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

type Event2 = (Event, Vec<OwnedFd>);

/// Both launchers.
pub(crate) struct Launchers {
    options: Options,
    confined: Client,
    unconfined: OnceLock<Client>,
    starting: Mutex<()>,
    events: mpsc::UnboundedSender<Event2>,
    received: Mutex<Option<mpsc::UnboundedReceiver<Event2>>>,
    execs: Mutex<HashMap<String, oneshot::Sender<ExecEvent>>>,
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
        let (events, received) = mpsc::unbounded_channel();
        read_events(confined.clone(), events.clone());
        let unconfined = OnceLock::new();
        if let Some(client) = Client::connect(&options.data_dir, true) {
            take_inventory(&client, true, &mut inventory).await?;
            read_events(client.clone(), events.clone());
            let _ = unconfined.set(client);
        }
        let launchers = Self {
            options,
            confined,
            unconfined,
            starting: Mutex::default(),
            events,
            received: Mutex::new(Some(received)),
            execs: Mutex::default(),
            // Names of execs are not reused by the next daemon within the same launcher's life.
            next_exec: AtomicU64::new(u64::from(std::process::id()) << 32),
        };
        Ok((launchers, inventory))
    }

    /// The launcher for containers with or without the filter.
    fn client(&self, unconfined: bool) -> io::Result<&Client> {
        if !unconfined {
            return Ok(&self.confined);
        }
        let _one = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = self.unconfined.get() {
            return Ok(client);
        }
        let options = Options {
            unconfined: true,
            spares: 0,
            ..self.options.clone()
        };
        let client = Client::open(&options)?;
        read_events(client.clone(), self.events.clone());
        Ok(self.unconfined.get_or_init(|| client))
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

    /// Runs a process in a container; the receiver learns how it ended. Its name is for signals.
    pub(crate) fn exec(
        &self,
        (unconfined, id): (bool, &str),
        process: Process,
        roles: Vec<Role>,
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<(String, oneshot::Receiver<ExecEvent>)> {
        let exec_id = format!("exec-{:x}", self.next_exec.fetch_add(1, Ordering::Relaxed));
        let (tell, told) = oneshot::channel();
        self.execs().insert(exec_id.clone(), tell);
        let request = Request::Exec {
            id: id.to_owned(),
            exec_id: exec_id.clone(),
            roles,
            process: Box::new(process),
        };
        self.send(unconfined, &request, fds)?;
        Ok((exec_id, told))
    }

    fn execs(&self) -> std::sync::MutexGuard<'_, HashMap<String, oneshot::Sender<ExecEvent>>> {
        self.execs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exec_event(&self, exec_id: &str, event: ExecEvent) {
        if let Some(tell) = self.execs().remove(exec_id) {
            let _ = tell.send(event);
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
            while let Some((event, _)) = received.recv().await {
                route(&shared, event);
            }
        });
    }

    /// Tells the launchers to kill everything and end, and waits until they have.
    pub(crate) async fn shut_down(&self) {
        let clients = [Some(&self.confined), self.unconfined.get()];
        for client in clients.into_iter().flatten() {
            if client.send(&Request::Shutdown, &[]).is_ok() {
                client.gone().await;
            }
        }
    }
}

fn read_events(client: Client, to: mpsc::UnboundedSender<Event2>) {
    tokio::spawn(async move {
        let mut buffer = Vec::new();
        loop {
            match client.next(&mut buffer).await {
                Ok(Some(event)) => {
                    if to.send(event).is_err() {
                        return;
                    }
                }
                Ok(None) => return tracing::warn!("the launcher has ended"),
                Err(error) => return tracing::warn!(%error, "the launcher is lost"),
            }
        }
    });
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
                exit,
                roles,
                ..
            } => {
                let kept = roles.into_iter().zip(fds).collect();
                inventory.containers.push(Known {
                    id,
                    slot,
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

fn route(shared: &Shared, event: Event) {
    let id = match &event {
        Event::ExecExited { exec_id, exit } => {
            return shared
                .launchers
                .exec_event(exec_id, ExecEvent::Exited(*exit));
        }
        Event::ExecFailed { exec_id, message } => {
            let event = ExecEvent::Failed(message.clone());
            return shared.launchers.exec_event(exec_id, event);
        }
        Event::Started { id, .. } | Event::StartFailed { id, .. } | Event::Exited { id, .. } => id,
        Event::ExecStarted { .. } | Event::Known { .. } | Event::Listed { .. } => return,
    };
    let Some(run) = RunId::parse(id) else { return };
    let pod = shared.pods().get(run.pod_uid).map(Arc::clone);
    if let Some(pod) = pod {
        pod.send(Message::Launcher(event));
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
