//! The broker as the rest of the program sees it: told what exists, asked what happened. What keeps
//! something from its work is `mending`'s.

mod mending;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use api::delivery::{Change, Ingress, Key, Source};
use bytes::Bytes;
use http::HeaderMap;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use trace::Tracer;
use tracing::{error, info, warn};

use crate::answer::Answer;
use crate::backend::{Backend, BackendError};
use crate::client::{Client, Connect};
use crate::dead::DeadLetters;
use crate::dispatch::{Abort, Dispatch};
use crate::event_types::{EventTypes, NoEventTypes};
use crate::handlers;
use crate::ingress::tls::Identities;
use crate::ingress::{Door, Entry, server};
use crate::jobs::Jobs;
use crate::routes::Routes;
use crate::sender::Sender;
use crate::sources::{self, Outlet, Watches};
use crate::spans::Spans;
use crate::tokens::Tokens;
use crate::topic::Topic;
use crate::troubles::{NoReport, Report, Troubles};
use crate::workers::Workers;

/// The largest event that is taken, in bytes, unless configured otherwise.
pub const EVENT_BYTES_MAX: usize = 8 << 20;
/// What the events that wait in one ingress may take, in bytes, where the ingress sets no limit.
pub const LOG_BYTES_MAX: u64 = 32 << 30;
/// How often logs are cut and idle consumers' positions moved on.
const TIDY_EVERY: Duration = Duration::from_secs(2);
/// How long a log outlives its ingress: a Broker that is not resolved for a moment loses nothing.
const GRACE: Duration = Duration::from_secs(600);

/// What a broker is made of.
pub struct Config {
    /// Where events are kept.
    pub backend: Arc<dyn Backend>,
    /// How subscribers are reached.
    pub connect: Arc<dyn Connect>,
    /// Who makes and checks tokens.
    pub tokens: Arc<dyn Tokens>,
    /// Who runs the Jobs of JobSinks.
    pub jobs: Arc<dyn Jobs>,
    /// Who sees the cluster's objects, for ApiServerSources.
    pub watches: Arc<dyn Watches>,
    /// Who makes EventTypes.
    pub event_types: Arc<dyn EventTypes>,
    /// Who shows what does not work.
    pub report: Arc<dyn Report>,
    /// Which events are traced.
    pub tracer: Tracer,
    /// What cluster names end in: `cluster.local`.
    pub cluster_domain: String,
    /// The largest event that is taken, in bytes.
    pub event_bytes_max: usize,
    /// What the events that wait in one ingress may take, in bytes.
    pub log_bytes_max: u64,
    /// Threads.
    pub workers: usize,
}

impl Config {
    /// The defaults: one thread, no tokens, names as the machine resolves them.
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        Self {
            backend,
            connect: Arc::new(crate::client::ByMachine),
            tokens: Arc::new(crate::tokens::NoTokens),
            jobs: Arc::new(crate::jobs::NoJobs),
            watches: Arc::new(sources::NoWatches),
            event_types: Arc::new(NoEventTypes),
            report: Arc::new(NoReport),
            tracer: Tracer::default(),
            cluster_domain: "cluster.local".to_owned(),
            event_bytes_max: EVENT_BYTES_MAX,
            log_bytes_max: LOG_BYTES_MAX,
            workers: 1,
        }
    }
}

/// A running broker. It ends with [`Broker::stop`], or when the last copy is dropped.
#[derive(Clone)]
pub struct Broker {
    shared: Arc<Shared>,
}

struct Shared {
    door: Arc<Door>,
    sender: Sender,
    backend: Arc<dyn Backend>,
    jobs: Arc<dyn Jobs>,
    watches: Arc<dyn Watches>,
    event_types: Arc<dyn EventTypes>,
    tracer: Tracer,
    log_bytes_max: u64,
    identities: Identities,
    troubles: Troubles,
    /// Held while something is changed: what is tried again must not overtake what is new.
    turn: Mutex<()>,
    state: Mutex<State>,
    workers: Workers,
}

#[derive(Default)]
struct State {
    ingresses: BTreeMap<Key, Running>,
    handlers: BTreeMap<Key, Arc<Entry>>,
    sources: BTreeMap<Key, (Arc<Source>, Option<Abort>)>,
    /// What sources have made and their sinks have not taken yet.
    outboxes: BTreeMap<Key, Running>,
    /// Logs nobody has claimed, and since when.
    orphans: BTreeMap<String, Instant>,
    /// What could not be done for want of a log and is tried again.
    failed: BTreeMap<Key, Change>,
}

/// An ingress and what runs for it.
pub(crate) struct Running {
    spec: Arc<Ingress>,
    pub(crate) topic: Arc<Topic>,
    pub(crate) dispatch: Dispatch,
    entry: Arc<Entry>,
}

impl Broker {
    /// Starts the threads; nothing listens and nothing is delivered yet.
    pub fn start(config: Config) -> Result<Self, BackendError> {
        let routes = Routes::new(&config.cluster_domain);
        let door = Door::new(routes, Arc::clone(&config.tokens), config.event_bytes_max);
        let door = Arc::new(door);
        let client = Client::new(config.connect, config.event_bytes_max);
        let sender = Sender::new(client, config.tokens, &door);
        let workers = Workers::start(config.workers)
            .map_err(|error| BackendError(format!("start the broker's threads: {error}")))?;
        let now = Instant::now();
        let orphans = config.backend.names()?.into_iter().map(|name| (name, now));
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                orphans: orphans.collect(),
                ..State::default()
            }),
            workers,
            identities: Identities::default(),
            troubles: Troubles::new(config.report),
            turn: Mutex::default(),
            log_bytes_max: config.log_bytes_max,
            backend: config.backend,
            jobs: config.jobs,
            watches: config.watches,
            event_types: config.event_types,
            tracer: config.tracer,
            door,
            sender,
        });
        let tidy = tidy(Arc::downgrade(&shared));
        shared.workers.dealer().next().spawn(tidy);
        Ok(Self { shared })
    }

    /// Takes events over HTTP at `address`; answers which, as its port may have been 0.
    pub fn listen(&self, address: SocketAddr) -> std::io::Result<SocketAddr> {
        self.listen_as(address, None)
    }

    /// The same by TLS, with the certificates it has been told to show.
    pub fn listen_tls(&self, address: SocketAddr) -> std::io::Result<SocketAddr> {
        let tls = self.shared.identities.acceptor()?;
        self.listen_as(address, Some(tls))
    }

    fn listen_as(
        &self,
        address: SocketAddr,
        tls: Option<TlsAcceptor>,
    ) -> std::io::Result<SocketAddr> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let door = Arc::clone(&self.shared.door);
        let dealer = self.shared.workers.dealer().clone();
        let worker = dealer.next().clone();
        worker.spawn(async move {
            match TcpListener::from_std(listener) {
                Ok(listener) => server::serve(listener, door, dealer, tls).await,
                Err(error) => error!(%error, "no events are taken at {address}"),
            }
        });
        Ok(address)
    }

    /// The last word about an ingress, a handler or a source. What was posted to an ingress is
    /// kept when this returns. What cannot be done is told to [`Report`], and tried again where that
    /// may help.
    pub fn apply(&self, change: Change) {
        let _turn = self.shared.turn();
        self.take(change);
    }

    fn take(&self, change: Change) {
        match change {
            Change::Ingress(key, ingress) => {
                let done = match &ingress {
                    Some(ingress) => self.set_ingress(key.clone(), ingress),
                    None => {
                        self.remove_ingress(&key);
                        Ok(())
                    }
                };
                let again = Change::Ingress(key.clone(), ingress);
                let done = done.map_err(|error| (error.to_string(), Some(Box::new(again))));
                self.shared.note(&key, done);
            }
            Change::Handler(key, handler) => {
                let done = self.set_handler(key.clone(), handler.as_deref());
                self.shared.note(&key, done.map_err(|why| (why, None)));
            }
            Change::Source(key, source) => {
                let done = self.set_source(key.clone(), source);
                self.shared.note(&key, done);
            }
            Change::Identity(key, shown) => {
                self.shared.identities.set(key, shown);
                let strict = self.shared.identities.are_strict();
                self.shared.door.set_strict(strict);
            }
            Change::Trust(key, pem) => self.shared.sender.trust(key, pem),
        }
    }

    fn set_ingress(&self, key: Key, ingress: &Arc<Ingress>) -> Result<(), BackendError> {
        let mut state = self.shared.state();
        let same = state
            .ingresses
            .get(&key)
            .is_some_and(|known| known.spec.uid == ingress.uid);
        if !same {
            drop(state);
            self.remove_ingress(&key);
            state = self.shared.state();
            let running = self.shared.open(key.clone(), ingress, &mut state)?;
            state.ingresses.insert(key.clone(), running);
        }
        let Some(running) = state.ingresses.get_mut(&key) else {
            return Ok(());
        };
        running.dispatch.set(&running.topic, &ingress.subscribers);
        let lanes = running.dispatch.lanes();
        running.topic.set(ingress, self.shared.log_bytes_max, lanes);
        if !same || running.spec.hosts != ingress.hosts {
            let entry = &running.entry;
            self.shared.route(|routes| {
                routes.remove(entry);
                routes.insert(&key, &ingress.hosts, entry);
            });
        }
        running.spec = Arc::clone(ingress);
        Ok(())
    }

    fn set_handler(
        &self,
        key: Key,
        handler: Option<&api::delivery::Handler>,
    ) -> Result<(), String> {
        let shared = &self.shared;
        let built = handler.map(|handler| {
            let built = handlers::build(&key, handler, &shared.jobs, &shared.sender);
            (handler.hosts.clone(), built)
        });
        self.answer_at(key, built)
    }

    /// Lets what was built for `key` answer at its hosts, and nothing else that was.
    fn answer_at(&self, key: Key, built: Option<(Vec<String>, Built)>) -> Result<(), String> {
        let mut state = self.shared.state();
        let old = state.handlers.remove(&key);
        let (new, done) = match built {
            Some((hosts, Ok(built))) => {
                let spans = Spans::new(&self.shared.tracer, &key);
                (
                    Some((hosts, Arc::new(Entry::Handler(built, spans)))),
                    Ok(()),
                )
            }
            Some((_, Err(why))) => (None, Err(why)),
            None => (None, Ok(())),
        };
        self.shared.route(|routes| {
            if let Some(old) = &old {
                routes.remove(old);
            }
            if let Some((hosts, entry)) = &new {
                routes.insert(&key, hosts, entry);
            }
        });
        if let Some((_, entry)) = new {
            state.handlers.insert(key, entry);
        }
        done
    }

    fn set_source(&self, key: Key, source: Option<Arc<Source>>) -> Result<(), Failed> {
        let mut state = self.shared.state();
        let known = state.sources.get(&key).map(|(known, _)| known);
        if known.is_some() && known == source.as_ref() {
            return self.shared.troubles.standing(&key);
        }
        // The old one ends before the new one begins.
        state.sources.remove(&key);
        let outlet = match &source {
            Some(source) => self.shared.outlet(&key, source, &mut state).map(Some),
            None => {
                self.shared.close_outbox(&key, &mut state);
                Ok(None)
            }
        };
        drop(state);
        let outlet = outlet.map_err(|error| {
            let again = Change::Source(key.clone(), source.clone());
            (error.to_string(), Some(Box::new(again)))
        })?;
        let for_good = |why: String| (why, None);
        let Some((source, outlet)) = source.zip(outlet) else {
            return self.answer_at(key, None).map_err(for_good);
        };
        if let Some(posted) = handlers::of_source(&key, &source, &outlet) {
            let done = self.answer_at(key.clone(), Some((hosts(&source), posted)));
            self.shared.state().sources.insert(key, (source, None));
            return done.map_err(for_good);
        }
        let worker = self.shared.workers.dealer().next();
        let started = sources::start(worker, &key, &source, &*self.shared.watches, outlet);
        let (abort, done) = match started {
            Ok(abort) => (Some(abort), Ok(())),
            Err(why) => (None, Err(for_good(why))),
        };
        self.shared.state().sources.insert(key, (source, abort));
        done
    }

    fn remove_ingress(&self, key: &Key) {
        let mut state = self.shared.state();
        let Some(running) = state.ingresses.remove(key) else {
            return;
        };
        self.shared.route(|routes| routes.remove(&running.entry));
        state.orphan(&running);
    }

    /// Ends everything: connections, deliveries, threads. What is kept stays kept.
    pub fn stop(&self) {
        self.shared.workers.stop();
        let mut state = self.shared.state();
        state.ingresses.clear();
        state.handlers.clear();
        state.sources.clear();
        state.outboxes.clear();
        drop(state);
        self.shared.door.routes.store(Arc::new(Routes::new("")));
    }

    /// Posts an event from within the program, as a request to `host` and `path` would.
    pub async fn post(&self, host: &str, path: &str, headers: &HeaderMap, body: Bytes) -> Answer {
        self.shared.door.post(host, path, headers, body).await
    }

    pub(crate) fn sender(&self) -> &Sender {
        &self.shared.sender
    }

    pub(crate) fn with_ingresses<T>(&self, read: impl FnOnce(&BTreeMap<Key, Running>) -> T) -> T {
        read(&self.shared.state().ingresses)
    }
}

impl State {
    /// Its logs belong to nobody any more.
    fn orphan(&mut self, running: &Running) {
        let now = Instant::now();
        for name in [running.spec.uid.to_string(), dead_name(&running.spec.uid)] {
            self.orphans.insert(name, now);
        }
    }
}

impl Running {
    pub(crate) fn dead(&self) -> Arc<DeadLetters> {
        Arc::clone(self.topic.dead())
    }
}

/// Why something does not work, and what to try again, where that may help.
type Failed = (String, Option<Box<Change>>);

type Built = Result<Arc<dyn handlers::Handler>, String>;

/// Where a source is posted to: the fact `hosts`.
fn hosts(source: &Source) -> Vec<String> {
    let hosts = source.facts.get("hosts").and_then(|hosts| hosts.as_array());
    let hosts = hosts.into_iter().flatten();
    hosts
        .filter_map(|host| host.as_str().map(str::to_owned))
        .collect()
}

/// The log of an ingress' dead letters.
fn dead_name(uid: &str) -> String {
    format!("{uid}.dead")
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn route(&self, change: impl Fn(&mut Routes<Entry>)) {
        self.door.routes.rcu(|routes| {
            let mut routes = Routes::clone(routes);
            change(&mut routes);
            routes
        });
    }

    fn open(
        &self,
        key: Key,
        ingress: &Ingress,
        state: &mut State,
    ) -> Result<Running, BackendError> {
        let dead = dead_name(&ingress.uid);
        state.orphans.remove(&*ingress.uid);
        state.orphans.remove(&dead);
        let journal = self.backend.open(&ingress.uid)?;
        let dead = DeadLetters::new(Arc::clone(&self.backend), dead);
        let types = Arc::clone(&self.event_types);
        let bytes_max = self.log_bytes_max;
        let spans = Spans::new(&self.tracer, &key);
        let topic = Topic::new(&key, ingress, bytes_max, (journal, dead), types, spans);
        let topic = Arc::new(topic);
        let worker = self.workers.dealer().next().clone();
        Ok(Running {
            spec: Arc::new(ingress.clone()),
            dispatch: Dispatch::start(&topic, worker, self.sender.clone()),
            entry: Arc::new(Entry::Topic(Arc::clone(&topic))),
            topic,
        })
    }

    /// Where `source` puts its events: a log of its own, whose one subscriber is the sink.
    fn outlet(
        &self,
        key: &Key,
        source: &Source,
        state: &mut State,
    ) -> Result<Outlet, BackendError> {
        let outbox = sources::outbox(key, source);
        let same = state
            .outboxes
            .get(key)
            .is_some_and(|known| known.spec.uid == outbox.uid);
        if !same {
            self.close_outbox(key, state);
            let running = self.open(key.clone(), &outbox, state)?;
            state.outboxes.insert(key.clone(), running);
        }
        let running = state.outboxes.get_mut(key).ok_or_else(|| {
            BackendError("the log of a source is gone as soon as it was opened".to_owned())
        })?;
        running.dispatch.set(&running.topic, &outbox.subscribers);
        let lanes = running.dispatch.lanes();
        running.topic.set(&outbox, self.log_bytes_max, lanes);
        Ok(Outlet::new(&running.topic, key, source))
    }

    fn close_outbox(&self, key: &Key, state: &mut State) {
        if let Some(old) = state.outboxes.remove(key) {
            state.orphan(&old);
        }
    }

    /// Cuts logs; removes those whose ingress has been gone for long.
    fn tidy(&self) {
        let mut state = self.state();
        let topics: Vec<Arc<Topic>> = state
            .ingresses
            .values()
            .chain(state.outboxes.values())
            .map(|running| Arc::clone(&running.topic))
            .collect();
        let gone: Vec<String> = state
            .orphans
            .iter()
            .filter(|(_, since)| since.elapsed() > GRACE)
            .map(|(name, _)| name.clone())
            .collect();
        for name in &gone {
            state.orphans.remove(name);
        }
        drop(state);
        for topic in topics {
            if let Err(error) = topic.tidy(GRACE) {
                warn!(ingress = %topic.name(), %error, "an event log is not cut");
            }
        }
        for name in gone {
            match self.backend.remove(&name) {
                Ok(()) => info!(%name, "removed the events of a Broker or channel that is gone"),
                Err(error) => {
                    warn!(%name, %error, "events of a Broker or channel that is gone remain")
                }
            }
        }
    }
}

async fn tidy(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(TIDY_EVERY).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        shared.sender.tidy();
        // It waits for the disk.
        let mended = tokio::task::spawn_blocking(move || {
            shared.tidy();
            mending::mend(&Broker { shared });
        });
        let _ = mended.await;
    }
}
