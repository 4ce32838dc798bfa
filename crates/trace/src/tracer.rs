//! Which requests are traced, and where their spans go. A handle that all share who make spans, set by
//! whoever follows the configuration.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::context::Parent;
use crate::span::Span;

/// Takes spans; must not wait.
pub type Sink = Box<dyn Fn(Span) + Send + Sync>;

/// What holds while there is tracing. The sink goes when the last request of it has ended.
pub struct Active {
    rate: f64,
    sink: Sink,
}

#[derive(Default)]
struct Shared {
    is_on: AtomicBool,
    active: RwLock<Option<Arc<Active>>>,
}

/// See the module; off at first. A cheap handle: off, it costs a request one load.
#[derive(Clone, Default)]
pub struct Tracer(Arc<Shared>);

impl Tracer {
    /// Traces the share `rate` (0 to 1) of requests that are in no trace yet from now on, and those
    /// whose trace is recorded; at 1 all.
    pub fn start(&self, rate: f64, sink: Sink) {
        self.set(Some(Arc::new(Active { rate, sink })));
        self.0.is_on.store(true, Ordering::Relaxed);
    }

    /// Traces nothing from now on; `traceparent` is passed on as it comes.
    pub fn stop(&self) {
        self.0.is_on.store(false, Ordering::Relaxed);
        self.set(None);
    }

    /// Whether anything is traced.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_on.load(Ordering::Relaxed)
    }

    /// What holds now; `None` while nothing is traced.
    #[must_use]
    pub fn active(&self) -> Option<Arc<Active>> {
        if !self.is_on() {
            return None;
        }
        let active = self.0.active.read();
        active.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, active: Option<Arc<Active>>) {
        let mut held = self
            .0
            .active
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *held = active;
    }
}

/// What becomes of a request in its trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decided {
    /// Its trace, perhaps a new one.
    pub trace_id: [u8; 16],
    /// Where it stood in that when it came.
    pub parent: Option<[u8; 8]>,
    /// Whether its spans are recorded.
    pub is_sampled: bool,
}

impl Active {
    /// Decides about a request that came with `parent`; `drawn` is random, for a trace that begins
    /// here.
    #[must_use]
    pub fn decide(&self, parent: Option<Parent>, drawn: u128) -> Decided {
        let trace_id = parent.map_or_else(|| (drawn | 1).to_be_bytes(), |parent| parent.trace_id);
        let is_sampled = match parent {
            _ if self.rate >= 1.0 => true,
            _ if self.rate <= 0.0 => false,
            Some(parent) => parent.is_sampled,
            None => is_in_ratio(&trace_id, self.rate),
        };
        Decided {
            trace_id,
            parent: parent.map(|parent| parent.id),
            is_sampled,
        }
    }

    /// A span has ended.
    pub fn record(&self, span: Span) {
        (self.sink)(span);
    }
}

/// OpenTelemetry's ratio of trace ids: every sampler on a trace's way agrees.
fn is_in_ratio(trace_id: &[u8; 16], rate: f64) -> bool {
    let [.., a, b, c, d, e, f, g, h] = *trace_id;
    let drawn = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1;
    (drawn as f64) < rate * (1_u64 << 63) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_traces_is_drawn_by_their_ids() {
        let id = |last: u64| {
            let mut id = [0; 16];
            id[8..].copy_from_slice(&last.to_be_bytes());
            id
        };
        assert!(is_in_ratio(&id(u64::MAX / 4), 0.26));
        assert!(!is_in_ratio(&id(u64::MAX / 4), 0.24));
        assert!(!is_in_ratio(&id(u64::MAX), 0.99));
    }
}
