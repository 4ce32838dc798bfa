//! Group commit: one thread brings appended journal bytes to the medium.
//!
//! Writers report what they appended; the thread waits at most the configured interval, syncs
//! once for all of them, and tells those who wait how far it came.

use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

struct Pending {
    file: Arc<File>,
    appended: u64,
    stop: bool,
}

struct Shared {
    pending: Mutex<Pending>,
    wake: Condvar,
    interval: Duration,
    synced: watch::Sender<Result<u64, String>>,
}

/// Handle of the sync thread; dropping it syncs what is left and ends the thread.
pub(super) struct Syncer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// Starts the thread. Everything up to `revision` is already durable.
    pub(super) fn start(file: Arc<File>, revision: u64, interval: Duration) -> Self {
        let shared = Arc::new(Shared {
            pending: Mutex::new(Pending {
                file,
                appended: revision,
                stop: false,
            }),
            wake: Condvar::new(),
            interval,
            synced: watch::Sender::new(Ok(revision)),
        });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("store-sync".into())
            .spawn(move || run(&theirs));
        Self {
            shared,
            thread: thread.ok(),
        }
    }

    /// `revision` has been appended to `file`. A journal that was rotated away is durable already.
    pub(super) fn appended(&self, file: &Arc<File>, revision: u64) {
        let mut pending = self.shared.lock();
        let idle = pending.appended == self.shared.position();
        pending.appended = revision;
        if !Arc::ptr_eq(&pending.file, file) {
            pending.file = Arc::clone(file);
        }
        drop(pending);
        if idle {
            self.shared.wake.notify_one();
        }
    }

    /// Up to which revision everything is on the medium.
    pub(super) fn synced(&self) -> u64 {
        self.shared.synced.borrow().as_ref().copied().unwrap_or(0)
    }

    /// The first sync failure, after which nothing may be acknowledged any more.
    pub(super) fn failure(&self) -> Option<String> {
        self.shared.synced.borrow().as_ref().err().cloned()
    }

    /// Waits until `revision` is on the medium.
    pub(super) fn wait(&self, revision: u64) -> impl Future<Output = Result<(), String>> + use<> {
        let mut synced = self.shared.synced.subscribe();
        async move {
            let reached = |state: &Result<u64, String>| !matches!(state, Ok(to) if *to < revision);
            match synced.wait_for(reached).await {
                Ok(state) => state.as_ref().map(|_| ()).map_err(Clone::clone),
                Err(_) => Err("the store was closed".to_owned()),
            }
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn position(&self) -> u64 {
        self.synced.borrow().as_ref().copied().unwrap_or(u64::MAX)
    }
}

fn run(shared: &Shared) {
    loop {
        let pending = shared.lock();
        let position = shared.position();
        let mut pending = shared
            .wake
            .wait_while(pending, |p| !p.stop && p.appended <= position)
            .unwrap_or_else(PoisonError::into_inner);
        if !pending.stop && !shared.interval.is_zero() {
            // Others may join this commit. A stop must not wait, hence no plain sleep.
            (pending, _) = shared
                .wake
                .wait_timeout_while(pending, shared.interval, |p| !p.stop)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let (file, goal, stop) = (Arc::clone(&pending.file), pending.appended, pending.stop);
        drop(pending);
        let result = if goal > position {
            file.sync_data()
        } else {
            Ok(())
        };
        if let Err(error) = result {
            // What the medium holds is unknown from here on, so no later sync may hide it.
            let failure = Err(format!("fdatasync: {error}"));
            drop(shared.synced.send_replace(failure));
            return;
        }
        shared
            .synced
            .send_if_modified(|state| std::mem::replace(state, Ok(goal)) != Ok(goal));
        if stop {
            return;
        }
    }
}
