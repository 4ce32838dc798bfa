//! Which keys are to be planned: each at most once in the queue and never twice at a time.
//!
//! Keys concerned by a change go before the backlog of a start, so that a request waiting for its
//! Pod does not wait for ten thousand other Services to be looked over. Among them those that came
//! last go first, so that a new Service does not wait for what is still to be said of a thousand
//! others.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};

use api::delivery;
use api::route::Change;
use api::world::{Key, PlanId};
use jiff::Timestamp;
use stdx::Backoff;

/// Between attempts at a key whose plan could not be performed.
const BACKOFF: Backoff = Backoff {
    base: std::time::Duration::from_millis(5),
    max: std::time::Duration::from_secs(60),
};

/// Keys are young until so many others have come: those of some twenty Services.
const YOUNG_KEYS: u64 = 512;
/// Every so many keys one goes that is not young.
const OLD_EVERY: u64 = 4;

/// How soon a key is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Urgency {
    /// Something it read has changed.
    Now,
    /// It is looked over because the process has started.
    Backlog,
}

/// One key of one reconciler.
#[derive(Debug)]
pub(crate) struct Item {
    /// Index of the reconciler.
    pub(crate) reconciler: usize,
    pub(crate) key: Key,
    /// What the gateway was told for this key.
    pub(crate) routes: Vec<Change>,
    /// What the broker was told for this key.
    pub(crate) deliveries: Vec<delivery::Change>,
    state: State,
    failures: u32,
    alarm: Option<Timestamp>,
    /// How many came before it.
    number: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Idle,
    Queued,
    Running,
    /// Running, and concerned by a change since it began.
    RunningDirty,
}

#[derive(Default, Debug)]
pub(crate) struct Queue {
    items: Vec<Option<Box<Item>>>,
    free: Vec<PlanId>,
    /// By a hash of reconciler and key, which the item has in full.
    ids: BTreeSet<(u64, PlanId)>,
    /// Reconcilers whose keys go before all others.
    first: BTreeSet<usize>,
    waited_for: VecDeque<PlanId>,
    young: VecDeque<PlanId>,
    urgent: VecDeque<PlanId>,
    backlog: VecDeque<PlanId>,
    alarms: BTreeSet<(Timestamp, PlanId)>,
    /// Keys that ever came.
    came: u64,
    /// Keys that ever went.
    went: u64,
}

impl Queue {
    /// The keys of this reconciler go before those of others: a request may wait for them.
    pub(crate) fn put_first(&mut self, reconciler: usize) {
        self.first.insert(reconciler);
    }

    /// The number of a key, which it keeps until [`Queue::release`].
    pub(crate) fn id(&mut self, reconciler: usize, key: &Key) -> PlanId {
        let hash = hash(reconciler, key);
        let mut ids = self.ids.range((hash, 0)..=(hash, PlanId::MAX));
        let named = |id: &PlanId| {
            let item = self.items[*id as usize].as_ref();
            item.is_some_and(|item| item.reconciler == reconciler && item.key == *key)
        };
        if let Some(id) = ids.find_map(|(_, id)| named(id).then_some(*id)) {
            return id;
        }
        let item = Item {
            reconciler,
            key: key.clone(),
            routes: Vec::new(),
            deliveries: Vec::new(),
            state: State::Idle,
            failures: 0,
            alarm: None,
            number: self.came,
        };
        self.came += 1;
        let id = self.free.pop().unwrap_or_else(|| {
            self.items.push(None);
            PlanId::try_from(self.items.len() - 1).expect("fewer than 2^32 keys")
        });
        self.items[id as usize] = Some(Box::new(item));
        self.ids.insert((hash, id));
        id
    }

    pub(crate) fn item(&mut self, id: PlanId) -> Option<&mut Item> {
        self.items.get_mut(id as usize)?.as_deref_mut()
    }

    /// Asks for a planning; answers whether the key was not in the queue yet.
    pub(crate) fn add(&mut self, id: PlanId, urgency: Urgency) -> bool {
        let Some(item) = self
            .items
            .get_mut(id as usize)
            .and_then(Option::as_deref_mut)
        else {
            return false;
        };
        match item.state {
            State::Queued | State::RunningDirty => return false,
            State::Running => item.state = State::RunningDirty,
            State::Idle => {
                item.state = State::Queued;
                match urgency {
                    Urgency::Now if self.first.contains(&item.reconciler) => {
                        self.waited_for.push_back(id);
                    }
                    Urgency::Now if self.came - item.number <= YOUNG_KEYS => {
                        self.young.push_back(id);
                    }
                    Urgency::Now => self.urgent.push_back(id),
                    Urgency::Backlog => self.backlog.push_back(id),
                }
            }
        }
        true
    }

    /// The next key to plan, which is running from now on; with `first_only` one of a reconciler
    /// that was put first, or none.
    pub(crate) fn next(&mut self, first_only: bool) -> Option<PlanId> {
        let mut id = self.waited_for.pop_front();
        if !first_only {
            id = id
                .or_else(|| self.next_of_two())
                .or_else(|| self.backlog.pop_front());
        }
        let id = id?;
        let item = self.item(id)?;
        item.state = State::Running;
        let alarm = item.alarm.take();
        if let Some(alarm) = alarm {
            self.alarms.remove(&(alarm, id));
        }
        Some(id)
    }

    /// The next key that a change concerns: a young one, but now and then another, so that none
    /// waits for ever.
    fn next_of_two(&mut self) -> Option<PlanId> {
        self.went += 1;
        let (mut first, mut second) = (&mut self.young, &mut self.urgent);
        if self.went.is_multiple_of(OLD_EVERY) {
            std::mem::swap(&mut first, &mut second);
        }
        first.pop_front().or_else(|| second.pop_front())
    }

    /// Whether a key waits that a change concerns; with `first_only` one of a reconciler that was
    /// put first.
    pub(crate) fn has_urgent(&self, first_only: bool) -> bool {
        let others = || !self.young.is_empty() || !self.urgent.is_empty();
        !self.waited_for.is_empty() || !first_only && others()
    }

    /// Whether the running key was concerned by a change since it was planned.
    pub(crate) fn is_outdated(&self, id: PlanId) -> bool {
        let item = self.items.get(id as usize).and_then(Option::as_ref);
        item.is_some_and(|item| item.state == State::RunningDirty)
    }

    /// How many keys wait.
    pub(crate) fn depth(&self) -> usize {
        let changed = self.waited_for.len() + self.young.len() + self.urgent.len();
        changed + self.backlog.len()
    }

    /// The key wants to be planned at `at`, or earlier.
    pub(crate) fn at(&mut self, id: PlanId, at: Timestamp) {
        let Some(item) = self.item(id) else {
            return;
        };
        let earlier = item.alarm.filter(|alarm| *alarm <= at);
        if earlier.is_some() {
            return;
        }
        let old = item.alarm.replace(at);
        if let Some(old) = old {
            self.alarms.remove(&(old, id));
        }
        self.alarms.insert((at, id));
    }

    /// The earliest time a key asked for.
    pub(crate) fn next_alarm(&self) -> Option<Timestamp> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// Queues the keys whose time has come.
    pub(crate) fn ring(&mut self, now: Timestamp) {
        while let Some((at, id)) = self.alarms.first().copied().filter(|(at, _)| *at <= now) {
            self.alarms.remove(&(at, id));
            if let Some(item) = self.item(id) {
                item.alarm = None;
            }
            self.add(id, Urgency::Now);
        }
    }

    /// The running key is through; it comes again if it was concerned meanwhile.
    pub(crate) fn done(&mut self, id: PlanId) {
        let Some(item) = self.item(id) else {
            return;
        };
        item.failures = 0;
        self.idle(id);
    }

    /// The running key failed for the `n`th time in a row and comes again after a while.
    pub(crate) fn failed(&mut self, id: PlanId, now: Timestamp) -> u32 {
        let Some(item) = self.item(id) else {
            return 0;
        };
        let delay = BACKOFF.delay(item.failures);
        item.failures += 1;
        let failures = item.failures;
        // What concerned it meanwhile does not shorten the wait.
        item.state = State::Idle;
        self.at(id, now + delay);
        failures
    }

    /// Forgets a key that is neither queued nor running.
    pub(crate) fn release(&mut self, id: PlanId) {
        let idle = |item: &mut Item| item.state == State::Idle;
        if !self.item(id).is_some_and(idle) {
            return;
        }
        if let Some(item) = self.items[id as usize].take() {
            if let Some(alarm) = item.alarm {
                self.alarms.remove(&(alarm, id));
            }
            self.ids.remove(&(hash(item.reconciler, &item.key), id));
            self.free.push(id);
        }
    }

    fn idle(&mut self, id: PlanId) {
        let Some(item) = self.item(id) else {
            return;
        };
        let dirty = item.state == State::RunningDirty;
        item.state = State::Idle;
        if dirty {
            self.add(id, Urgency::Now);
        }
    }
}

/// The same in every run of one build.
fn hash(reconciler: usize, key: &Key) -> u64 {
    let mut hasher = DefaultHasher::new();
    (reconciler, key).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    #[test]
    fn a_key_waits_once_and_runs_once() {
        let mut queue = Queue::default();
        let (a, b) = (
            queue.id(0, &Key::new("n", "a")),
            queue.id(0, &Key::new("n", "b")),
        );
        assert_eq!(queue.id(0, &Key::new("n", "a")), a);
        assert!(queue.add(b, Urgency::Backlog));
        assert!(queue.add(a, Urgency::Now));
        assert!(!queue.add(a, Urgency::Now));
        assert_eq!(queue.next(false), Some(a), "before the backlog");
        assert!(queue.add(a, Urgency::Now));
        assert_eq!(queue.next(false), Some(b));
        assert_eq!(queue.next(false), None, "a is running");
        queue.done(a);
        assert_eq!(queue.next(false), Some(a), "concerned while it ran");
    }

    #[test]
    fn what_came_last_does_not_wait_for_what_was_there() {
        let mut queue = Queue::default();
        let come = |queue: &mut Queue, name: &str| {
            let id = queue.id(0, &Key::new("n", name));
            queue.add(id, Urgency::Now);
            id
        };
        let old: Vec<_> = (0..600).map(|n| come(&mut queue, &n.to_string())).collect();
        while let Some(id) = queue.next(false) {
            queue.done(id);
        }
        for id in &old[..40] {
            queue.add(*id, Urgency::Now);
        }
        let new = [
            come(&mut queue, "x"),
            come(&mut queue, "y"),
            come(&mut queue, "z"),
        ];
        let order: Vec<_> = std::iter::from_fn(|| queue.next(false)).collect();
        let place = |id: &PlanId| order.iter().position(|next| next == id);
        assert!(new.iter().all(|id| place(id) < Some(4)), "{order:?}");
        assert_eq!(order.len(), 43);
        let old_ones: Vec<_> = order.iter().filter(|id| !new.contains(id)).collect();
        assert!(old_ones.is_sorted(), "in their own order: {old_ones:?}");
    }

    #[test]
    fn only_keys_put_first_while_the_others_are_held() {
        let mut queue = Queue::default();
        queue.put_first(1);
        let (a, b) = (
            queue.id(0, &Key::new("n", "a")),
            queue.id(1, &Key::new("n", "b")),
        );
        queue.add(a, Urgency::Now);
        assert_eq!((queue.has_urgent(true), queue.next(true)), (false, None));
        queue.add(b, Urgency::Now);
        assert_eq!((queue.has_urgent(true), queue.next(true)), (true, Some(b)));
        assert!(!queue.is_outdated(b));
        queue.add(b, Urgency::Now);
        assert!(queue.is_outdated(b));
        assert_eq!(queue.next(false), Some(a));
    }

    #[test]
    fn failures_back_off_and_success_forgets_them() {
        let mut queue = Queue::default();
        let a = queue.id(0, &Key::new("n", "a"));
        for delay in [5, 10, 20] {
            queue.add(a, Urgency::Now);
            queue.next(false);
            queue.failed(a, at(1000));
            assert_eq!(queue.next_alarm(), Some(at(1000 + delay)));
        }
        queue.ring(at(1020));
        assert_eq!(queue.next(false), Some(a));
        queue.done(a);
        assert_eq!(queue.next_alarm(), None);
        queue.release(a);
        assert_eq!(
            queue.id(1, &Key::new("n", "z")),
            a,
            "numbers are used again"
        );
    }

    #[test]
    fn the_earlier_alarm_counts() {
        let mut queue = Queue::default();
        let a = queue.id(0, &Key::new("n", "a"));
        queue.at(a, at(50));
        queue.at(a, at(70));
        queue.at(a, at(20));
        assert_eq!(queue.next_alarm(), Some(at(20)));
        queue.ring(at(20));
        assert_eq!((queue.next_alarm(), queue.depth()), (None, 1));
    }
}
