//! The largest of the recent decisions: what `scale-down-delay` holds on to. Used by the Decider
//! alone.

use std::collections::VecDeque;
use std::time::Duration;

use stdx::Instant;

use super::decider::TICK;

/// A sliding maximum over whole ticks.
#[derive(Clone, Debug)]
pub(super) struct DelayWindow {
    ticks: u64,
    /// (tick, value): ticks ascend, values strictly descend.
    maxima: VecDeque<(u64, i32)>,
}

impl DelayWindow {
    /// A window over `delay`, rounded up to whole ticks; `None` when there is no delay.
    pub(super) fn new(delay: Duration) -> Option<Self> {
        let ticks = delay.as_nanos().div_ceil(TICK.as_nanos());
        (ticks > 0).then(|| Self {
            ticks: ticks as u64,
            maxima: VecDeque::new(),
        })
    }

    /// Notes `value` for the tick of `now` and answers the largest value of the window.
    pub(super) fn record(&mut self, now: Instant, value: i32) -> i32 {
        let tick = now.since_origin().as_secs() / TICK.as_secs();
        while self.maxima.back().is_some_and(|(_, last)| *last <= value) {
            self.maxima.pop_back();
        }
        while self
            .maxima
            .front()
            .is_some_and(|(first, _)| tick.saturating_sub(*first) >= self.ticks)
        {
            self.maxima.pop_front();
        }
        // Of two values in one tick the larger counts.
        if self.maxima.back().is_none_or(|(last, _)| *last != tick) {
            self.maxima.push_back((tick, value));
        }
        self.maxima.front().map_or(value, |(_, max)| *max)
    }
}
