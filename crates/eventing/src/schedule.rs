//! When sources that work by the clock are due: the schedules of PingSources as one [`Machine`].
//! The shell gives the time and makes the events.
//!
//! Schedules are about the wall clock, so instants here count from the Unix epoch. A machine that
//! slept through several times of a schedule fires it once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use api::cron::Schedule;
use jiff::{SignedDuration, Timestamp};
use stdx::{Instant, Machine};

/// What happens to a timetable.
#[derive(Clone, Debug)]
pub enum Input<K> {
    /// `K` is due by this schedule from now on; one it had before is forgotten.
    Set(K, Schedule),
    /// `K` is due no more.
    Remove(K),
}

/// `key` is due.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Due<K> {
    /// Whose schedule it is.
    pub key: K,
    /// The time of the schedule, which the present may be a little behind.
    pub at: Timestamp,
}

/// See the module.
#[derive(Debug)]
pub struct Timetable<K> {
    schedules: BTreeMap<K, Schedule>,
    next: BTreeSet<(Timestamp, K)>,
    due: VecDeque<Due<K>>,
}

impl<K> Default for Timetable<K> {
    fn default() -> Self {
        Self {
            schedules: BTreeMap::new(),
            next: BTreeSet::new(),
            due: VecDeque::new(),
        }
    }
}

impl<K: Ord + Clone> Timetable<K> {
    /// When `key` is due next.
    pub fn next(&self, key: &K) -> Option<Timestamp> {
        let mut next = self.next.iter().filter(|(_, known)| known == key);
        next.next().map(|(at, _)| *at)
    }

    fn remove(&mut self, key: &K) {
        self.schedules.remove(key);
        self.next.retain(|(_, known)| known != key);
    }

    /// A schedule that names no time to come is never due.
    fn plan(&mut self, key: K, now: Timestamp) {
        let schedule = self.schedules.get(&key);
        if let Some(at) = schedule.and_then(|schedule| schedule.next(now)) {
            self.next.insert((at, key));
        }
    }
}

impl<K: Ord + Clone> Machine for Timetable<K> {
    type Input = Input<K>;
    type Output = Due<K>;

    fn handle(&mut self, now: Instant, input: Input<K>) {
        match input {
            Input::Set(key, schedule) => {
                self.remove(&key);
                self.schedules.insert(key.clone(), schedule);
                self.plan(key, wall(now));
            }
            Input::Remove(key) => self.remove(&key),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        let now = wall(now);
        while let Some((at, key)) = self.next.pop_first() {
            if at > now {
                self.next.insert((at, key));
                return;
            }
            self.plan(key.clone(), now);
            self.due.push_back(Due { key, at });
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let (at, _) = self.next.first()?;
        let since_epoch = at.duration_since(Timestamp::UNIX_EPOCH);
        let since_epoch = Duration::try_from(since_epoch).unwrap_or_default();
        Some(Instant::from_origin(since_epoch))
    }

    fn poll_output(&mut self) -> Option<Due<K>> {
        self.due.pop_front()
    }
}

/// The time of an instant that counts from the epoch.
fn wall(now: Instant) -> Timestamp {
    let since_epoch = SignedDuration::try_from(now.since_origin()).unwrap_or(SignedDuration::MAX);
    Timestamp::from_duration(since_epoch).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> Instant {
        let time: Timestamp = time.parse().unwrap();
        Instant::from_origin(time.duration_since(Timestamp::UNIX_EPOCH).unsigned_abs())
    }

    fn timetable(now: &str, schedules: &[(&'static str, &str, &str)]) -> Timetable<&'static str> {
        let mut table = Timetable::default();
        for (key, schedule, zone) in schedules {
            let schedule = Schedule::parse(schedule, zone).unwrap();
            table.handle(at(now), Input::Set(*key, schedule));
        }
        table
    }

    /// Lets the clock jump from one deadline to the next, `count` times.
    fn run(table: &mut Timetable<&'static str>, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for _ in 0..count {
            let Some(now) = table.poll_timeout() else {
                break;
            };
            table.handle_timeout(now);
            while let Some(due) = table.poll_output() {
                lines.push(format!("{} {}", due.at, due.key));
            }
        }
        lines
    }

    #[test]
    fn each_is_due_by_its_own_schedule() {
        let schedules = [
            ("half-hourly", "*/30 * * * *", ""),
            ("seconds", "59 59 23 * * *", ""),
            ("berlin", "0 1 * * *", "Europe/Berlin"),
            ("prefix", "CRON_TZ=Asia/Tokyo 15 9 * * *", ""),
            ("never", "0 0 30 2 *", ""),
        ];
        let mut table = timetable("2026-01-31T23:40:00Z", &schedules);
        assert_eq!(
            run(&mut table, 6),
            [
                "2026-01-31T23:59:59Z seconds",
                "2026-02-01T00:00:00Z berlin",
                "2026-02-01T00:00:00Z half-hourly",
                "2026-02-01T00:15:00Z prefix",
                "2026-02-01T00:30:00Z half-hourly",
                "2026-02-01T01:00:00Z half-hourly",
                "2026-02-01T01:30:00Z half-hourly",
            ]
        );
        assert_eq!(table.next(&"never"), None);
    }

    #[test]
    fn what_was_slept_through_is_made_up_for_once() {
        let mut table = timetable("2026-01-01T00:00:30Z", &[("a", "* * * * *", "")]);
        table.handle_timeout(at("2026-01-01T01:00:30Z"));
        let due = table.poll_output().unwrap();
        assert_eq!(due.at.to_string(), "2026-01-01T00:01:00Z");
        assert_eq!(table.poll_output(), None);
        assert_eq!(table.poll_timeout(), Some(at("2026-01-01T01:01:00Z")));
    }

    #[test]
    fn a_schedule_can_be_changed_and_removed() {
        let mut table = timetable("2026-01-01T00:00:00Z", &[("a", "@hourly", "")]);
        let daily = Schedule::parse("@daily", "").unwrap();
        table.handle(at("2026-01-01T00:00:00Z"), Input::Set("a", daily));
        assert_eq!(run(&mut table, 1), ["2026-01-02T00:00:00Z a"]);
        table.handle(at("2026-01-02T00:00:00Z"), Input::Remove("a"));
        assert_eq!(table.poll_timeout(), None);
    }
}
