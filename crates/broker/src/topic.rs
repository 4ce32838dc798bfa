//! One Broker or channel: its log, its rights, its limits and what happened there. Shared by
//! `ingress`, which appends, and `dispatch`, which reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use api::delivery::{Ingress, Key};
use arc_swap::{ArcSwap, ArcSwapOption};

use crate::backend::{BackendError, Journal};
use crate::dead::DeadLetters;
use crate::dispatch::Follower;
use crate::event_types::{EventTypes, Seen};
use crate::ingress::Guard;
use crate::spans::Spans;
use crate::stats::Received;

/// How often it is looked whether there is room.
const LOOK_EVERY_MS: u64 = 50;
/// What a record is taken to have before the first has come.
const RECORD_BYTES: u64 = 1024;

/// See the module.
pub(crate) struct Topic {
    name: String,
    is_broker: bool,
    journal: Arc<dyn Journal>,
    dead: Arc<DeadLetters>,
    types: Seen,
    spans: Spans,
    /// Where the reader stands: live consumers have been handed everything before it.
    tail: AtomicU64,
    spec: ArcSwap<Spec>,
    stats: Received,
    origin: Instant,
    looked_ms: AtomicU64,
    full: ArcSwapOption<String>,
    /// Why new events are not handed out any more.
    ended: ArcSwapOption<String>,
    /// Bytes of a record, lately.
    record_bytes: AtomicU64,
    /// Positions without a consumer, and since when.
    absent: Mutex<BTreeMap<String, Instant>>,
}

/// What changes with the object.
struct Spec {
    guard: Arc<Guard>,
    bytes_max: u64,
    /// How long events stay that all have passed.
    keep: Duration,
    makes_event_types: bool,
    /// Who consumes.
    followers: Vec<Follower>,
}

impl Topic {
    /// The ingress `key` on `journal`, as `ingress` has it, without consumers yet.
    pub(crate) fn new(
        key: &Key,
        ingress: &Ingress,
        bytes_max: u64,
        (journal, dead): (Arc<dyn Journal>, DeadLetters),
        types: Arc<dyn EventTypes>,
        spans: Spans,
    ) -> Self {
        let end = journal.end();
        Self {
            name: format!("{} {}/{}", key.kind.kind, key.namespace, key.name),
            is_broker: key.kind.kind == "Broker",
            dead: Arc::new(dead),
            types: Seen::new(key, &ingress.uid, types),
            tail: AtomicU64::new(end),
            spec: ArcSwap::from_pointee(Spec {
                guard: Arc::new(Guard::new(&ingress.access)),
                bytes_max: ingress.bytes_max.unwrap_or(bytes_max),
                keep: ingress.retention.unwrap_or_default(),
                makes_event_types: ingress.makes_event_types,
                followers: Vec::new(),
            }),
            stats: Received::default(),
            origin: Instant::now(),
            looked_ms: AtomicU64::new(0),
            full: ArcSwapOption::empty(),
            ended: ArcSwapOption::empty(),
            record_bytes: AtomicU64::new(RECORD_BYTES),
            absent: Mutex::default(),
            spans,
            journal,
        }
    }

    /// The object has changed.
    pub(crate) fn set(&self, ingress: &Ingress, bytes_max: u64, followers: Vec<Follower>) {
        self.spec.store(Arc::new(Spec {
            guard: Arc::new(Guard::new(&ingress.access)),
            bytes_max: ingress.bytes_max.unwrap_or(bytes_max),
            keep: ingress.retention.unwrap_or_default(),
            makes_event_types: ingress.makes_event_types,
            followers,
        }));
    }

    /// For people: kind, namespace and name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_broker(&self) -> bool {
        self.is_broker
    }

    pub(crate) fn journal(&self) -> &dyn Journal {
        &*self.journal
    }

    pub(crate) fn dead(&self) -> &Arc<DeadLetters> {
        &self.dead
    }

    /// Where kinds of events are told, if that is wanted.
    pub(crate) fn types(&self) -> Option<&Seen> {
        self.spec.load().makes_event_types.then_some(&self.types)
    }

    pub(crate) fn guard(&self) -> Arc<Guard> {
        Arc::clone(&self.spec.load().guard)
    }

    pub(crate) fn spans(&self) -> &Spans {
        &self.spans
    }

    pub(crate) fn stats(&self) -> &Received {
        &self.stats
    }

    pub(crate) fn tail(&self) -> u64 {
        self.tail.load(Ordering::Acquire)
    }

    pub(crate) fn set_tail(&self, tail: u64) {
        self.tail.store(tail, Ordering::Release);
    }

    /// Nobody hands out new events any more.
    pub(crate) fn end(&self, why: String) {
        self.ended.store(Some(Arc::new(why)));
    }

    /// What keeps it from taking events or handing them out. May wait for the disk.
    pub(crate) fn trouble(&self) -> Option<String> {
        let ended = self.ended.load_full();
        ended
            .map(|why| (*why).clone())
            .or_else(|| self.journal.trouble())
    }

    /// Sees to it that what every consumer has passed can go: consumers without matches are told
    /// to come after, and positions nobody has used for `grace` are forgotten. May wait for the
    /// disk.
    pub(crate) fn tidy(&self, grace: Duration) -> Result<(), BackendError> {
        let spec = self.spec.load();
        let tail = self.tail();
        for follower in &spec.followers {
            if follower.lane.committed() < tail {
                follower.lane.changed.notify_one();
            }
        }
        self.forget_absent(&spec.followers, grace)?;
        self.journal.cut(spec.keep)
    }

    fn forget_absent(&self, followers: &[Follower], grace: Duration) -> Result<(), BackendError> {
        let mut absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut still = BTreeMap::new();
        let present: BTreeSet<&str> = followers.iter().map(|f| f.position.as_str()).collect();
        for (name, _) in self.journal.positions("")? {
            if present.contains(name.as_str()) {
                continue;
            }
            let since = absent.get(&name).copied().unwrap_or_else(Instant::now);
            if since.elapsed() > grace {
                self.journal.forget(&name)?;
            } else {
                still.insert(name, since);
            }
        }
        *absent = still;
        Ok(())
    }

    /// Why there is no room for more events, if there is none: whoever consumes too slowly. As it
    /// was at the last look, which is not long ago.
    pub(crate) fn full(&self) -> Option<Arc<String>> {
        let now_ms = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let looked = self.looked_ms.load(Ordering::Relaxed);
        if now_ms.saturating_sub(looked) >= LOOK_EVERY_MS {
            self.looked_ms.store(now_ms, Ordering::Relaxed);
            self.full.store(self.look().map(Arc::new));
        }
        self.full.load_full()
    }

    /// A record of `bytes` bytes is appended.
    pub(crate) fn appended(&self, bytes: usize) {
        let mean = self.record_bytes.load(Ordering::Relaxed);
        let mean = (mean * 15 + bytes as u64) / 16;
        self.record_bytes.store(mean, Ordering::Relaxed);
    }

    fn look(&self) -> Option<String> {
        let spec = self.spec.load();
        let end = self.journal.end();
        let lag = |follower: &Follower| follower.lane.lag(self.tail(), end);
        let slowest = spec.followers.iter().max_by_key(|follower| lag(follower))?;
        let (behind, limit) = (lag(slowest), spec.bytes_max);
        let waiting = behind.saturating_mul(self.record_bytes.load(Ordering::Relaxed));
        (waiting > limit).then(|| {
            format!(
                "{}: some {waiting} bytes of events wait, the limit is {limit}: {} is {behind} \
                 events behind. Send again later; mend or remove that consumer",
                self.name, slowest.name
            )
        })
    }
}
