//! One revision on the data plane: what the controllers said of it, its Pods, and the gate at
//! which its requests wait for one of them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use serving::route::{Revision, RevisionKey};
use serving::throttle::{PodId, Pool};
use stdx::Rng;

use crate::gate::Gate;
use crate::metrics::Durations;
use crate::pod::{PodState, Pods};

/// One revision. It outlives its entry in the table while hosts or requests refer to it.
pub(crate) struct RevisionState {
    pub(crate) key: RevisionKey,
    /// `None` while the controllers have said nothing of the revision, or have removed it.
    pub(crate) facts: ArcSwapOption<Revision>,
    pub(crate) gate: Arc<Gate<Pool>>,
    pub(crate) durations: Arc<Durations>,
    pods: ArcSwap<Vec<Arc<PodState>>>,
    /// Serialises changes of the Pods, which come from the controllers and from queue-proxies.
    changing: Mutex<()>,
}

impl RevisionState {
    /// A revision nothing is known of, in which at most `queue_max` requests may wait.
    pub(crate) fn new(key: RevisionKey, queue_max: usize) -> Arc<Self> {
        let pool = Pool::new(queue_max, Rng::new(rand::random()));
        Arc::new(Self {
            key,
            facts: ArcSwapOption::empty(),
            gate: Gate::new(pool, Instant::now()),
            durations: Arc::default(),
            pods: ArcSwap::default(),
            changing: Mutex::new(()),
        })
    }

    /// Takes in what the controllers say; `None` removes all Pods. Waiting requests that can go
    /// are let go before this returns.
    pub(crate) fn update(self: &Arc<Self>, facts: Option<Arc<Revision>>, known: &Pods) {
        let next: Vec<Arc<PodState>> = facts
            .iter()
            .flat_map(|facts| &facts.pods)
            .map(|pod| known.get(&pod.uid))
            .collect();
        for state in &next {
            let revision = Arc::downgrade(self);
            state.on_phase(Arc::new(move || {
                if let Some(revision) = revision.upgrade() {
                    revision.refresh();
                }
            }));
        }
        if let Some(facts) = &facts {
            for (state, pod) in next.iter().zip(&facts.pods) {
                state.set_facts(pod, facts.container_concurrency);
            }
        }
        let before = {
            let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
            self.facts.store(facts);
            self.pods.swap(Arc::new(next))
        };
        self.refresh();
        let after = self.pods.load();
        for pod in before
            .iter()
            .filter(|pod| !after.iter().any(|next| next.id == pod.id))
        {
            pod.retire();
        }
    }

    /// Looks again which Pods may be used.
    fn refresh(&self) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let concurrency = self
            .facts
            .load()
            .as_ref()
            .map_or(0, |facts| facts.container_concurrency);
        let pods = self.pods.load();
        let usable: Vec<PodId> = pods
            .iter()
            .filter(|pod| pod.is_usable())
            .map(|pod| pod.id)
            .collect();
        self.gate.with(|pool| pool.set_pods(concurrency, &usable));
    }

    /// The Pod a slot was granted on; `None` when it has left the revision since.
    pub(crate) fn pod(&self, id: PodId) -> Option<Arc<PodState>> {
        self.pods
            .load()
            .iter()
            .find(|pod| pod.id == id)
            .map(Arc::clone)
    }

    /// All Pods of the revision, ready or not.
    pub(crate) fn pods(&self) -> Arc<Vec<Arc<PodState>>> {
        self.pods.load_full()
    }

    /// Whether a Pod may be used at this moment.
    pub(crate) fn has_pods(&self) -> bool {
        self.gate.with(|pool| pool.has_pods())
    }
}
