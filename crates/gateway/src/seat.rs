//! A request's way to a Pod: first a slot of its revision, then one of the Pod's own, which others
//! may use, too. Shared by the HTTP/1.1 and the HTTP/2 path.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use serving::throttle::{Breaker, Pool};

use crate::front::{Forward, Via};
use crate::gate::{Passage, QueueFull};
use crate::pod::PodState;
use crate::worker::Worker;

/// The slots of one request. Dropping it gives them back.
pub(crate) struct Seat {
    via: Via,
    proxied: bool,
    passage: Option<Passage<Pool>>,
    place: Option<Passage<Breaker>>,
    pod: Option<Arc<PodState>>,
}

impl Seat {
    /// Counts the request in and asks for slots; a revision without Pods is called for.
    pub(crate) fn new(worker: &Worker, forward: &Forward, now: Instant) -> Self {
        let mut seat = Self {
            via: forward.via.clone(),
            proxied: forward.proxied,
            passage: None,
            place: None,
            pod: None,
        };
        match &forward.via {
            Via::Revision(revision) => {
                seat.passage = Some(revision.gate.enter(now, forward.proxied));
                seat.call_for_pods(worker);
            }
            Via::Pod { pod, counted } => {
                seat.pod = Some(Arc::clone(pod));
                seat.place = counted.then(|| pod.gate.enter(now, forward.proxied));
            }
            Via::Address(_) => {}
        }
        seat
    }

    /// Ready once the request may go.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), QueueFull>> {
        loop {
            if let Some(place) = &mut self.place {
                return place.poll(cx).map_ok(|()| ());
            }
            let (Via::Revision(revision), Some(passage)) = (&self.via, &mut self.passage) else {
                return Poll::Ready(Ok(()));
            };
            let id = ready!(passage.poll(cx))?;
            match revision.pod(id) {
                Some(pod) => {
                    self.place = Some(pod.gate.enter(Instant::now(), self.proxied));
                    self.pod = Some(pod);
                }
                // It left between the grant and now.
                None => passage.ask_again(Some(id)),
            }
        }
    }

    /// Tells the autoscaler when the request has to wait because there is no Pod at all.
    fn call_for_pods(&self, worker: &Worker) {
        if let (Via::Revision(revision), Some(passage)) = (&self.via, &self.passage)
            && passage.is_waiting()
            && !revision.has_pods()
        {
            worker.poke(&revision.key, revision.gate.concurrency());
        }
    }

    /// Gives the slots back and asks again, for another Pod if there is one.
    pub(crate) fn move_on(&mut self, worker: &Worker) {
        if let Some(passage) = &mut self.passage {
            self.place = None;
            passage.ask_again(self.pod.take().map(|pod| pod.id));
            self.call_for_pods(worker);
        }
    }

    /// The Pod, once the request may go; `None` for a plain address.
    pub(crate) const fn pod(&self) -> Option<&Arc<PodState>> {
        self.pod.as_ref()
    }
}
