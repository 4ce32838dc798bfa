//! The autoscaler of one revision as a machine: reports, ready Pods and spec changes go in,
//! decisions come out. Driven by the autoscaler's shell and the simulator; what becomes of a
//! decision is the scaler's business.
//!
//! Beyond Knative's tick of two seconds it decides at once when a report, or the beginning of one,
//! shows more load than the last decision can take, and it sleeps without a tick at zero.

use std::collections::VecDeque;
use std::time::Duration;

use stdx::{Instant, Machine};

use super::collector::{Collector, Observed};
use super::decision::{Decision, Memory};
use super::spec::DeciderSpec;
use super::stat::Stat;

/// The time between two decisions.
pub const TICK: Duration = Duration::from_secs(2);

/// What happens to a Decider.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// A report of a Pod or of the activator.
    Stat(Stat),
    /// The number of ready Pods changed.
    Ready(u32),
    /// The PodAutoscaler or the configuration changed.
    Spec(Box<DeciderSpec>),
}

/// The autoscaler of one revision. Its output is each decision that differs from the one before in
/// the number of Pods or in the sign of the excess burst capacity.
#[derive(Clone, Debug)]
pub struct Decider {
    spec: DeciderSpec,
    ready: u32,
    collector: Collector,
    memory: Memory,
    latest: Decision,
    next_tick: Option<Instant>,
    outputs: VecDeque<Decision>,
}

impl Decider {
    /// A decider for a revision with `ready` ready Pods.
    pub fn new(now: Instant, spec: DeciderSpec, ready: u32) -> Self {
        Self {
            ready,
            collector: Collector::new(&spec),
            memory: Memory::new(now, &spec, ready),
            latest: Decision::initial(&spec),
            next_tick: Some(now + TICK),
            outputs: VecDeque::new(),
            spec,
        }
    }

    /// The last decision, or the initial one.
    pub fn latest(&self) -> Decision {
        self.latest
    }

    /// What it goes by.
    pub fn spec(&self) -> &DeciderSpec {
        &self.spec
    }

    /// What the windows show now, for metrics.
    pub fn observed(&self, now: Instant) -> Option<Observed> {
        self.collector.observe(now, &self.spec)
    }

    fn decide(&mut self, now: Instant) {
        self.next_tick = Some(now + TICK);
        let Some(observed) = self.collector.observe(now, &self.spec) else {
            // Nothing measured: the decision stands. Without Pods only a report can change it.
            if self.latest.desired <= 0 {
                self.next_tick = None;
            }
            return;
        };
        self.decide_on(now, observed);
    }

    fn decide_on(&mut self, now: Instant, observed: Observed) {
        self.next_tick = Some(now + TICK);
        let decision = self.memory.decide(now, &self.spec, self.ready, observed);
        let was = std::mem::replace(&mut self.latest, decision);
        let same_sign = (was.excess_burst_capacity < 0) == (decision.excess_burst_capacity < 0);
        if was.desired != decision.desired || !same_sign {
            self.outputs.push_back(decision);
        }
        if decision.desired == 0 && !decision.panicking && observed.panic == 0.0 {
            self.next_tick = None;
        }
    }

    /// Whether the load of this moment calls for more Pods than were decided on.
    fn is_outgrown(&self, observed: Option<Observed>, stat: &Stat) -> bool {
        if self.latest.desired <= 0 {
            return stat.average_concurrent_requests != 0.0;
        }
        observed.is_some_and(|o| o.panic / self.spec.target > f64::from(self.latest.desired))
    }

    /// A report of a period that is not over: it may show already that there are too few Pods.
    fn look_ahead(&mut self, now: Instant, stat: &Stat) {
        let look = match self.ready {
            0 => Collector::waiting,
            _ => Collector::foresee,
        };
        let observed = look(&self.collector, now, &self.spec, stat);
        if self.is_outgrown(Some(observed), stat) {
            self.decide_on(now, observed);
        }
    }
}

impl Machine for Decider {
    type Input = Input;
    type Output = Decision;

    fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Stat(stat) if stat.so_far => self.look_ahead(now, &stat),
            Input::Stat(stat) => {
                self.collector.record(now, &stat);
                let observed = self.collector.observe(now, &self.spec);
                if self.is_outgrown(observed, &stat) {
                    self.decide(now);
                } else if self.latest.desired != 0 {
                    self.next_tick.get_or_insert(now);
                }
            }
            Input::Ready(ready) => {
                self.ready = ready;
                self.next_tick.get_or_insert(now);
            }
            Input::Spec(spec) => {
                self.collector.resize(&spec);
                self.memory.respec(&self.spec, &spec);
                self.spec = *spec;
                self.next_tick.get_or_insert(now);
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.next_tick.is_some_and(|tick| tick <= now) {
            self.decide(now);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.next_tick
    }

    fn poll_output(&mut self) -> Option<Decision> {
        self.outputs.pop_front()
    }
}
