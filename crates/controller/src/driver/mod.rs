//! The one driver: watches keep the World, changes queue keys, plans decide, writes follow, and
//! what they answer is in the World before the watch brings it.
//!
//! Everything happens in one task that owns all state; requests, watches and gatherings are
//! futures it polls. A chain of plans (PodAutoscaler, Deployment, ReplicaSet, Pod) runs back to
//! back without waiting for a watch or for another task.

mod carry_out;
mod hold;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::delivery;
use api::route::Change;
use api::world::{Context, Fact, Key, Kind, PlanId, Planner, World};
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, FuturesUnordered, SelectAll, StreamExt};
use jiff::Timestamp;
use kube::Client;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::gather::{Gather, Gathered};
use crate::metrics::Metrics;
use crate::mirror::{Mirror, Touched};
use crate::queue::{Queue, Urgency};
use crate::record::Record;
use crate::watch::{self, Update};
use carry_out::{Performance, Written};
use hold::Hold;

/// Keys whose writes are on their way at once.
const IN_FLIGHT_MAX: usize = 64;
/// How long the driver sleeps when nothing asked to be woken.
const IDLE: Duration = Duration::from_secs(3600);

/// What the driver does besides writing to the API server.
pub struct Effects {
    /// Told every change of the route table, in order, on the driver's task: must not block.
    pub route: Box<dyn FnMut(Change) + Send>,
    /// Told every change of the delivery graph, likewise.
    pub deliver: Box<dyn FnMut(delivery::Change) + Send>,
    /// Called once: when what was there at the start has been planned, and `route` and `deliver`
    /// know what follows from it.
    pub caught_up: Option<Box<dyn FnOnce() + Send>>,
    /// Finds out facts.
    pub gather: Arc<dyn Gather>,
    /// Given what plans tell about objects: must not block, and not weigh on what the plan is for.
    pub record: Box<dyn FnMut(Record) + Send>,
}

/// Somebody who looks at the World as plans do, woken like them, and carries the result away
/// himself (the autoscaler's shell).
pub struct Observer {
    /// For metrics, unique among planners and observers.
    pub name: &'static str,
    /// The kind whose objects are the keys.
    pub root: Kind,
    /// The other kinds that are read.
    pub watches: &'static [Kind],
    /// Called on the driver's task: must not block.
    pub observe: Observe,
}

/// What an [`Observer`] does.
pub type Observe = Box<dyn FnMut(&Context, &Key, &World) + Send>;

/// Tells a running driver what others found out.
#[derive(Clone, Debug)]
pub struct Handle(mpsc::UnboundedSender<Input>);

impl Handle {
    /// Puts a fact into the World; wakes the plans that asked for it. Without a running driver
    /// nothing happens.
    pub fn learn(&self, fact: Fact, value: Value) {
        // The driver is gone only when the process ends.
        drop(self.0.send(Input::Learn(fact, value)));
    }

    /// Takes a fact out of the World.
    pub fn unlearn(&self, fact: Fact) {
        drop(self.0.send(Input::Unlearn(fact)));
    }
}

#[derive(Debug)]
enum Input {
    Learn(Fact, Value),
    Unlearn(Fact),
}

enum Reconciler {
    Planner(Planner),
    Observer(Observer),
}

impl Reconciler {
    fn name(&self) -> &'static str {
        match self {
            Self::Planner(planner) => planner.name,
            Self::Observer(observer) => observer.name,
        }
    }

    fn is_urgent(&self) -> bool {
        match self {
            Self::Planner(planner) => planner.is_urgent,
            // The autoscaler looks.
            Self::Observer(_) => true,
        }
    }

    fn root(&self) -> Kind {
        match self {
            Self::Planner(planner) => planner.root,
            Self::Observer(observer) => observer.root,
        }
    }

    fn kinds(&self) -> impl Iterator<Item = Kind> {
        let watches = match self {
            Self::Planner(planner) => planner.watches,
            Self::Observer(observer) => observer.watches,
        };
        watches.iter().copied().chain([self.root()])
    }
}

/// See the module.
pub struct Driver {
    client: Client,
    context: Context,
    reconcilers: Vec<Reconciler>,
    by_root: BTreeMap<Kind, Vec<usize>>,
    effects: Effects,
    metrics: Arc<Metrics>,
    mirror: Mirror,
    queue: Queue,
    queued_at: BTreeMap<PlanId, Instant>,
    performances: BTreeMap<PlanId, Performance>,
    /// Performances whose outstanding writes have been answered.
    through: VecDeque<PlanId>,
    hold: Hold,
    /// Performances whose report is held back.
    held: BTreeSet<PlanId>,
    inputs: (mpsc::UnboundedSender<Input>, mpsc::UnboundedReceiver<Input>),
    watches: SelectAll<BoxStream<'static, (Kind, Update)>>,
    writes: FuturesUnordered<BoxFuture<'static, Written>>,
    gatherings: FuturesUnordered<BoxFuture<'static, (Fact, Gathered)>>,
    gathering: BTreeSet<Fact>,
    /// Those of them whose present value stands until the answer comes.
    refreshing: BTreeSet<Fact>,
    /// When facts are to be asked for again.
    expiries: BTreeSet<(Timestamp, Fact)>,
    random: stdx::Rng,
}

impl Driver {
    /// A driver for `planners`; nothing happens before [`Driver::run`].
    pub fn new(client: Client, context: Context, planners: Vec<Planner>, effects: Effects) -> Self {
        Self {
            client,
            context,
            reconcilers: planners.into_iter().map(Reconciler::Planner).collect(),
            by_root: BTreeMap::new(),
            effects,
            metrics: Arc::default(),
            mirror: Mirror::default(),
            queue: Queue::default(),
            queued_at: BTreeMap::new(),
            performances: BTreeMap::new(),
            through: VecDeque::new(),
            hold: Hold::default(),
            held: BTreeSet::new(),
            inputs: mpsc::unbounded_channel(),
            watches: SelectAll::new(),
            writes: FuturesUnordered::new(),
            gatherings: FuturesUnordered::new(),
            gathering: BTreeSet::new(),
            refreshing: BTreeSet::new(),
            expiries: BTreeSet::new(),
            random: stdx::Rng::new(rand::random()),
        }
    }

    /// Adds somebody who looks on.
    pub fn observe(&mut self, observer: Observer) {
        self.reconcilers.push(Reconciler::Observer(observer));
    }

    /// Where to tell the driver facts.
    pub fn handle(&self) -> Handle {
        Handle(self.inputs.0.clone())
    }

    /// The numbers about the queue.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Runs until `shutdown` is ready; writes on their way are then given up.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        self.open_watches();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            self.on_time();
            self.wake();
            let more = self.plan_next();
            self.go_on();
            let pause = self.pause();
            tokio::select! {
                biased;
                () = &mut shutdown => return,
                Some(written) = self.writes.next() => self.on_written(written),
                Some(input) = self.inputs.1.recv() => self.on_input(input),
                Some((kind, update)) = self.watches.next() => self.on_watch(kind, update),
                Some((fact, found)) = self.gatherings.next() => self.on_gathered(fact, found),
                // What was sent goes out before the next plan is made.
                () = tokio::task::yield_now(), if more => {}
                () = tokio::time::sleep(pause), if !more => {}
            }
        }
    }

    fn open_watches(&mut self) {
        let mut kinds = BTreeSet::new();
        for (index, reconciler) in self.reconcilers.iter().enumerate() {
            kinds.extend(reconciler.kinds());
            if reconciler.is_urgent() {
                self.queue.put_first(index);
            }
            self.by_root
                .entry(reconciler.root())
                .or_default()
                .push(index);
        }
        self.mirror.expect(kinds.iter().copied());
        for kind in kinds {
            let updates = watch::watch(self.client.clone(), kind);
            self.watches
                .push(updates.map(move |update| (kind, update)).boxed());
        }
    }

    fn on_watch(&mut self, kind: Kind, update: Update) {
        let before = self.mirror.is_synced();
        let touched = self.mirror.take(kind, update);
        let urgency = if before {
            Urgency::Now
        } else {
            Urgency::Backlog
        };
        self.touch(touched, urgency);
        if !before && self.mirror.is_synced() {
            tracing::info!(keys = self.queue.depth(), "all kinds are read in");
        }
    }

    fn on_input(&mut self, input: Input) {
        match input {
            Input::Learn(fact, value) => self.mirror.world.learn(fact, value),
            Input::Unlearn(fact) => self.mirror.world.unlearn(&fact),
        }
    }

    fn on_gathered(&mut self, fact: Fact, found: Gathered) {
        self.gathering.remove(&fact);
        if self.mirror.world.knows(&fact) && !self.refreshing.remove(&fact) {
            // Told by somebody who knows better.
            return;
        }
        if let Some(valid_for) = found.valid_for {
            let until = Timestamp::now() + valid_for;
            self.expiries.insert((until, fact.clone()));
        }
        self.mirror.world.learn(fact, found.value);
    }

    fn on_time(&mut self) {
        let now = Timestamp::now();
        self.queue.ring(now);
        if self.hold.until(now).is_none() {
            self.report_held();
        }
        while let Some((at, fact)) = self.expiries.pop_first() {
            if at > now {
                self.expiries.insert((at, fact));
                return;
            }
            self.expire(fact);
        }
    }

    /// A fact has got old: it is asked for again where a plan still builds on it, and stands until
    /// the answer comes, so that nothing flickers; else it is forgotten.
    fn expire(&mut self, fact: Fact) {
        if self.mirror.world.is_wanted(&fact) {
            self.refreshing.insert(fact.clone());
            self.gather(fact);
        } else {
            self.mirror.world.unlearn(&fact);
        }
    }

    /// How long nothing happens unless something does.
    fn pause(&self) -> Duration {
        let alarm = self.queue.next_alarm();
        let expiry = self.expiries.first().map(|(at, _)| *at);
        let now = Timestamp::now();
        let hold = self.hold.until(now);
        let next = [alarm, expiry, hold].into_iter().flatten().min();
        next.map_or(IDLE, |at| Duration::try_from(at - now).unwrap_or_default())
    }

    /// Queues the plans that changes since the last call concern.
    fn wake(&mut self) {
        for id in self.mirror.world.take_woken() {
            self.enqueue(id, Urgency::Now);
        }
    }

    /// Queues the keys whose root object is among `touched`.
    fn touch(&mut self, touched: Vec<Touched>, urgency: Urgency) {
        for (kind, key) in touched {
            let reconcilers = self.by_root.get(&kind).cloned().unwrap_or_default();
            for reconciler in reconcilers {
                let id = self.queue.id(reconciler, &key);
                self.enqueue(id, urgency);
            }
        }
    }

    fn enqueue(&mut self, id: PlanId, urgency: Urgency) {
        if !self.queue.add(id, urgency) {
            return;
        }
        self.queued_at.entry(id).or_insert_with(Instant::now);
        if let Some(name) = self.name_of(id) {
            self.metrics.record(name, |queue| {
                queue.adds += 1;
                queue.depth += 1;
            });
        }
    }

    fn name_of(&mut self, id: PlanId) -> Option<&'static str> {
        let reconciler = self.queue.item(id)?.reconciler;
        Some(self.reconcilers[reconciler].name())
    }

    /// Plans the next key if there is one and room for its writes; answers whether there may be
    /// another.
    fn plan_next(&mut self) -> bool {
        let performing = self.performances.len() - self.held.len();
        if !self.mirror.is_synced() || performing >= IN_FLIGHT_MAX {
            return false;
        }
        let first_only = self.is_held();
        let Some(id) = self.queue.next(first_only) else {
            let caught_up = self.effects.caught_up.take_if(|_| !first_only);
            if let Some(caught_up) = caught_up {
                caught_up();
            }
            return false;
        };
        self.dequeue(id);
        let Some(item) = self.queue.item(id) else {
            return true;
        };
        let (reconciler, key) = (item.reconciler, item.key.clone());
        self.context.seed = self.random.next_u64();
        self.mirror.world.set_now(Timestamp::now());
        let (world, context) = (&self.mirror.world, &self.context);
        let (plan, reads) = match &mut self.reconcilers[reconciler] {
            Reconciler::Planner(planner) => world.observe(|w| (planner.plan)(context, &key, w)),
            Reconciler::Observer(observer) => {
                let ((), reads) = world.observe(|w| (observer.observe)(context, &key, w));
                (api::world::Plan::default(), reads)
            }
        };
        self.mirror.world.subscribe(id, reads);
        self.perform(id, plan.actions);
        true
    }

    /// Whether what nobody waits for is held back.
    fn is_held(&self) -> bool {
        self.hold.until(Timestamp::now()).is_some()
    }

    fn dequeue(&mut self, id: PlanId) {
        let waited = self.queued_at.remove(&id).map(|at| at.elapsed());
        if let Some(name) = self.name_of(id) {
            self.metrics.record(name, |queue| {
                queue.depth = queue.depth.saturating_sub(1);
                queue.queue_duration.observe(waited.unwrap_or_default());
            });
        }
    }
}
