//! What nobody waits for is held back for some milliseconds after a Deployment was scaled up: the
//! Pod that a request waits for gets the processors to itself.
//!
//! Held are the plans of reconcilers that are not urgent and every report of a status. The driver
//! asks; this knows only times.

use std::time::Duration;

use jiff::Timestamp;

/// From the scaling to the end of the hold: what a small application takes to answer.
const HOLD: Duration = Duration::from_millis(10);
/// Scalings in a row prolong a hold up to this …
const HOLD_MAX: Duration = Duration::from_millis(40);
/// … after which so long nothing is held, so that every status comes through.
const REST: Duration = Duration::from_millis(40);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// Beginning and end of the last hold.
    last: Option<(Timestamp, Timestamp)>,
}

impl Hold {
    /// A Deployment is scaled up.
    pub(super) fn begin(&mut self, now: Timestamp) {
        let began = match self.last {
            Some((began, until)) if now < until => began,
            Some((began, until)) if until >= began + HOLD_MAX && now < until + REST => return,
            _ => now,
        };
        self.last = Some((began, (now + HOLD).min(began + HOLD_MAX)));
    }

    /// When the hold that is on ends; `None` when nothing is held.
    pub(super) fn until(&self, now: Timestamp) -> Option<Timestamp> {
        let (_, until) = self.last?;
        (now < until).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    #[test]
    fn a_hold_ends_and_scalings_in_a_row_prolong_it_up_to_a_limit() {
        let mut hold = Hold::default();
        assert_eq!(hold.until(at(0)), None);
        hold.begin(at(100));
        assert_eq!(hold.until(at(109)), Some(at(110)));
        assert_eq!(hold.until(at(110)), None);
        for millis in [200, 209, 218, 227, 236] {
            hold.begin(at(millis));
        }
        assert_eq!(hold.until(at(236)), Some(at(240)));
        hold.begin(at(245));
        assert_eq!(hold.until(at(245)), None, "others have their turn");
        hold.begin(at(280));
        assert_eq!(hold.until(at(280)), Some(at(290)));
    }
}
