//! The pool of Pod networks made ahead: one thread makes them, one takes them away, and the start
//! of a Pod only pops one from a queue.
//!
//! `Network` owns the pool. Who needs more than is ready waits for the maker, first come, first
//! served.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::cidr::Addresses;
use super::error::Error;
use super::netlink::Socket;
use super::pod::{self, PodNet, Site};

/// How long the maker leaves a Pod that just took a network alone with the processor, when there is
/// enough in stock for the next ones.
const REFILL_DELAY: Duration = Duration::from_millis(20);
/// How many networks go in one burial. Bounds how long the route lock is held.
const BURIAL_MAX: usize = 32;

pub(super) struct Pool {
    shared: Arc<Shared>,
    /// None once the pool is stopped.
    released: Mutex<Option<mpsc::Sender<PodNet>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    site: Site,
    ready_target: usize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    addresses: Addresses,
    ready: VecDeque<PodNet>,
    waiting: VecDeque<oneshot::Sender<Result<PodNet, Error>>>,
    /// What an earlier process left and nobody has asked for yet.
    adoptable: BTreeMap<String, PodNet>,
    stopped: bool,
    /// Set after a failure, so that the maker rests until somebody needs it.
    failed: bool,
}

impl State {
    fn is_stocked(&self, target: usize) -> bool {
        self.waiting.is_empty() && (self.failed || self.ready.len() >= target)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is complete at each step; a panic elsewhere spoils nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// Starts both threads. They inherit the caller's network namespace.
    pub(super) fn start(
        site: Site,
        ready_target: usize,
        leftovers: Vec<PodNet>,
    ) -> Result<Self, Error> {
        let mut addresses = Addresses::new(site.range);
        leftovers.iter().for_each(|pod| addresses.reserve(pod.ip()));
        let state = State {
            addresses,
            ready: VecDeque::new(),
            waiting: VecDeque::new(),
            adoptable: leftovers
                .into_iter()
                .map(|pod| (pod.name().to_owned(), pod))
                .collect(),
            stopped: false,
            failed: false,
        };
        let shared = Arc::new(Shared {
            site,
            ready_target,
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let (released, to_bury) = mpsc::channel();
        let maker = spawn("podnet-maker", &shared, |shared, socket| {
            maker(shared, socket)
        })?;
        let reaper = spawn("podnet-reaper", &shared, move |shared, socket| {
            reaper(shared, socket, &to_bury);
        })?;
        Ok(Self {
            shared,
            released: Mutex::new(Some(released)),
            threads: Mutex::new(vec![maker, reaper]),
        })
    }

    /// A ready network, or the next one made.
    pub(super) async fn take(&self) -> Result<PodNet, Error> {
        let answer = {
            let mut state = self.shared.lock();
            if state.stopped {
                return Err(Error::Stopped);
            }
            state.failed = false;
            self.shared.changed.notify_one();
            if let Some(pod) = state.ready.pop_front() {
                return Ok(pod);
            }
            let (asked, answer) = oneshot::channel();
            state.waiting.push_back(asked);
            answer
        };
        answer.await.unwrap_or(Err(Error::Stopped))
    }

    pub(super) fn ready(&self) -> usize {
        self.shared.lock().ready.len()
    }

    pub(super) fn adopt(&self, name: &str) -> Option<PodNet> {
        self.shared.lock().adoptable.remove(name)
    }

    /// Releases everything an earlier process left that was not adopted.
    pub(super) fn sweep(&self) {
        let unclaimed = std::mem::take(&mut self.shared.lock().adoptable);
        unclaimed.into_values().for_each(|pod| self.release(pod));
    }

    pub(super) fn release(&self, pod: PodNet) {
        let released = self.released.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(released) = released.as_ref() {
            let _ = released.send(pod);
        }
    }

    /// Ends both threads when the stock and everything released so far is gone; with `sweep` also
    /// what an earlier process left. Networks in use stay.
    pub(super) fn stop(&self, sweep: bool) {
        let stock = {
            let mut state = self.shared.lock();
            state.stopped = true;
            state.waiting.clear();
            std::mem::take(&mut state.ready)
        };
        self.shared.changed.notify_all();
        stock.into_iter().for_each(|pod| self.release(pod));
        if sweep {
            self.sweep();
        }
        self.released
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the Pod network pool panicked");
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_all();
    }
}

fn spawn(
    name: &str,
    shared: &Arc<Shared>,
    run: impl FnOnce(&Shared, Socket) + Send + 'static,
) -> Result<JoinHandle<()>, Error> {
    let socket = Socket::route().map_err(Error::setup("open a netlink socket"))?;
    let shared = Arc::clone(shared);
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || run(&shared, socket))
        .map_err(Error::setup("start a thread of the Pod network pool"))
}

fn maker(shared: &Shared, mut socket: Socket) {
    while let Some(address) = next_order(shared) {
        let made = match address {
            Some(ip) => pod::make(&shared.site, &mut socket, ip).map_err(|error| (error, Some(ip))),
            None => Err((
                Error::NoFreeAddress {
                    range: shared.site.range,
                },
                None,
            )),
        };
        let undeliverable = match made {
            Ok(pod) => deliver(shared, pod),
            Err((error, ip)) => {
                fail(shared, error, ip);
                None
            }
        };
        if let Some(pod) = undeliverable {
            pod::bury(&shared.site, &mut socket, &[pod]);
        }
    }
}

/// Waits until something is to be made; the address for it, or none when there is no free one.
/// The end is when the pool is stopped.
fn next_order(shared: &Shared) -> Option<Option<Ipv4Addr>> {
    let mut state = shared.lock();
    loop {
        if state.stopped {
            return None;
        }
        if state.is_stocked(shared.ready_target) {
            state = shared
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            // Let the Pod that caused this start first, while there is enough for others.
            let unhurried = |state: &mut State| {
                !state.stopped
                    && state.waiting.is_empty()
                    && state.ready.len() * 2 > shared.ready_target
            };
            state = shared
                .changed
                .wait_timeout_while(state, REFILL_DELAY, unhurried)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            continue;
        }
        return Some(state.addresses.take());
    }
}

/// Hands a network to whoever waits, else to the stock. After the stop nobody wants it.
fn deliver(shared: &Shared, pod: PodNet) -> Option<PodNet> {
    let mut state = shared.lock();
    let mut pod = pod;
    while let Some(waiting) = state.waiting.pop_front() {
        match waiting.send(Ok(pod)) {
            Ok(()) => return None,
            Err(Ok(returned)) => pod = returned,
            Err(Err(_)) => return None,
        }
    }
    if state.stopped {
        return Some(pod);
    }
    state.ready.push_back(pod);
    None
}

fn fail(shared: &Shared, error: Error, ip: Option<Ipv4Addr>) {
    let mut state = shared.lock();
    if let Some(ip) = ip {
        // The address may be what is wrong (an interface of that name is left over): the search
        // goes on behind it.
        state.addresses.give_back(ip);
    }
    state.failed = true;
    match state.waiting.pop_front() {
        Some(waiting) => {
            let _ = waiting.send(Err(error));
        }
        None => tracing::warn!(%error, cause = ?std::error::Error::source(&error), "Pod network"),
    }
}

fn reaper(shared: &Shared, mut socket: Socket, released: &mpsc::Receiver<PodNet>) {
    while let Ok(first) = released.recv() {
        let mut batch = vec![first];
        batch.extend(released.try_iter().take(BURIAL_MAX - 1));
        pod::bury(&shared.site, &mut socket, &batch);
        let mut state = shared.lock();
        batch
            .iter()
            .for_each(|pod| state.addresses.give_back(pod.ip()));
    }
}
