//! The one driver: watches keep the World, changes queue keys, plans decide, writes follow, and
//! what they answer is in the World before the watch brings it.
//!
//! Everything happens in one task that owns all state; requests, watches and gatherings are
//! futures it polls. A chain of plans (PodAutoscaler, Deployment, ReplicaSet, Pod) runs back to
//! back without waiting for a watch or for another task.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::route::Change;
use api::world::{Action, Context, Fact, Key, Kind, PlanId, Planner, World};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, FuturesUnordered, SelectAll, StreamExt};
use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::events::Recorder;
use crate::gather::{Gather, Gathered};
use crate::metrics::Metrics;
use crate::mirror::{Mirror, Touched};
use crate::perform::{self, Rewrites, Step, Target, Verb};
use crate::queue::{Queue, Urgency};
use crate::request::{self, Error, Request};
use crate::watch::{self, Update, chain};

/// Keys whose writes are on their way at once.
const IN_FLIGHT_MAX: usize = 64;
/// Writes of one plan on their way at once, where they are of one verb and kind.
const BATCH_MAX: usize = 32;
/// Keys planned before plans that wait to go on get their turn.
const URGENT_MAX: usize = 8;
/// Events on their way at once; beyond it events are dropped.
const EVENTS_IN_FLIGHT_MAX: usize = 128;
/// How long the driver sleeps when nothing asked to be woken.
const IDLE: Duration = Duration::from_secs(3600);

/// What the driver does besides writing to the API server.
pub struct Effects {
    /// Told every change of the route table, in order, on the driver's task: must not block.
    pub route: Box<dyn FnMut(Change) + Send>,
    /// Finds out facts.
    pub gather: Arc<dyn Gather>,
    /// What Events name as their source.
    pub component: &'static str,
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

/// A plan while it is performed.
struct Performance {
    actions: VecDeque<Action>,
    outstanding: usize,
    rewrites: Rewrites,
    failed: bool,
    /// Something was sent.
    wrote: bool,
    routes: Vec<Change>,
    began: Instant,
}

struct Written {
    id: PlanId,
    target: Target,
    answer: Result<Bytes, Error>,
}

/// See the module.
pub struct Driver {
    client: Client,
    context: Context,
    reconcilers: Vec<Reconciler>,
    by_root: BTreeMap<Kind, Vec<usize>>,
    effects: Effects,
    recorder: Recorder,
    metrics: Arc<Metrics>,
    mirror: Mirror,
    queue: Queue,
    queued_at: BTreeMap<PlanId, Instant>,
    performances: BTreeMap<PlanId, Performance>,
    /// Performances whose outstanding writes have been answered.
    through: VecDeque<PlanId>,
    inputs: (mpsc::UnboundedSender<Input>, mpsc::UnboundedReceiver<Input>),
    watches: SelectAll<BoxStream<'static, (Kind, Update)>>,
    writes: FuturesUnordered<BoxFuture<'static, Written>>,
    events: FuturesUnordered<BoxFuture<'static, Result<Bytes, Error>>>,
    gatherings: FuturesUnordered<BoxFuture<'static, (Fact, Gathered)>>,
    gathering: BTreeSet<Fact>,
    /// When facts are to be asked for again.
    expiries: BTreeSet<(Timestamp, Fact)>,
    random: stdx::Rng,
}

impl Driver {
    /// A driver for `planners`; nothing happens before [`Driver::run`].
    pub fn new(client: Client, context: Context, planners: Vec<Planner>, effects: Effects) -> Self {
        let recorder = Recorder::new(effects.component);
        Self {
            client,
            context,
            reconcilers: planners.into_iter().map(Reconciler::Planner).collect(),
            by_root: BTreeMap::new(),
            effects,
            recorder,
            metrics: Arc::default(),
            mirror: Mirror::default(),
            queue: Queue::default(),
            queued_at: BTreeMap::new(),
            performances: BTreeMap::new(),
            through: VecDeque::new(),
            inputs: mpsc::unbounded_channel(),
            watches: SelectAll::new(),
            writes: FuturesUnordered::new(),
            events: FuturesUnordered::new(),
            gatherings: FuturesUnordered::new(),
            gathering: BTreeSet::new(),
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
            self.wake();
            let more = self.plan_next();
            self.go_on();
            let pause = self.pause();
            tokio::select! {
                () = &mut shutdown => return,
                () = std::future::ready(()), if more => {}
                Some(written) = self.writes.next() => self.on_written(written),
                Some(input) = self.inputs.1.recv() => self.on_input(input),
                Some((kind, update)) = self.watches.next() => self.on_watch(kind, update),
                Some((fact, found)) = self.gatherings.next() => self.on_gathered(fact, found),
                Some(recorded) = self.events.next() => on_recorded(&recorded),
                () = tokio::time::sleep(pause) => self.on_time(),
            }
        }
    }

    fn open_watches(&mut self) {
        let mut kinds = BTreeSet::new();
        for (index, reconciler) in self.reconcilers.iter().enumerate() {
            kinds.extend(reconciler.kinds());
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
        if self.mirror.world.knows(&fact) {
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
        while let Some((at, fact)) = self.expiries.pop_first() {
            if at > now {
                self.expiries.insert((at, fact));
                return;
            }
            self.mirror.world.unlearn(&fact);
        }
    }

    /// How long nothing happens unless something does.
    fn pause(&self) -> Duration {
        let alarm = self.queue.next_alarm();
        let expiry = self.expiries.first().map(|(at, _)| *at);
        let next = [alarm, expiry].into_iter().flatten().min();
        next.map_or(IDLE, |at| {
            Duration::try_from(at - Timestamp::now()).unwrap_or_default()
        })
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
        if !self.mirror.is_synced() || self.performances.len() >= IN_FLIGHT_MAX {
            return false;
        }
        let Some(id) = self.queue.next() else {
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

    fn dequeue(&mut self, id: PlanId) {
        let waited = self.queued_at.remove(&id).map(|at| at.elapsed());
        if let Some(name) = self.name_of(id) {
            self.metrics.record(name, |queue| {
                queue.depth = queue.depth.saturating_sub(1);
                queue.queue_duration.observe(waited.unwrap_or_default());
            });
        }
    }

    fn perform(&mut self, id: PlanId, actions: Vec<Action>) {
        let performance = Performance {
            actions: actions.into(),
            outstanding: 0,
            rewrites: Vec::new(),
            failed: false,
            wrote: false,
            routes: Vec::new(),
            began: Instant::now(),
        };
        self.performances.insert(id, performance);
        self.advance(id);
    }

    /// Performs what comes next of a plan: everything that needs no answer, then one write, or
    /// several of one verb and kind.
    fn advance(&mut self, id: PlanId) {
        let mut sent: Option<(Verb, Kind)> = None;
        loop {
            let Some(performance) = self.performances.get_mut(&id) else {
                return;
            };
            let Some(action) = performance.actions.front() else {
                break;
            };
            let full = performance.outstanding >= BATCH_MAX;
            let (world, rewrites) = (&self.mirror.world, &performance.rewrites);
            match perform::prepare(world, action, rewrites) {
                Step::Nothing if sent.is_some() => break,
                Step::Nothing => {
                    let action = performance.actions.pop_front();
                    action.into_iter().for_each(|action| self.apply(id, action));
                }
                Step::Broken(why) => {
                    tracing::error!(why, "a plan cannot be performed");
                    performance.failed = true;
                    break;
                }
                Step::Send(write) => {
                    let (target, request) = *write;
                    let same = (target.verb, target.kind);
                    let parallel = matches!(target.verb, Verb::Create | Verb::Delete);
                    if sent.is_some_and(|first| first != same || !parallel || full) {
                        break;
                    }
                    performance.actions.pop_front();
                    sent = Some(same);
                    self.send(id, target, request);
                }
            }
        }
        self.finish_if_through(id);
    }

    fn send(&mut self, id: PlanId, target: Target, request: Request) {
        if let Some(performance) = self.performances.get_mut(&id) {
            performance.outstanding += 1;
            performance.wrote = true;
        }
        let answer = perform::send(self.client.clone(), request);
        self.writes.push(Box::pin(async move {
            let answer = answer.await;
            Written { id, target, answer }
        }));
    }

    /// Does what needs no answer from the API server.
    fn apply(&mut self, id: PlanId, action: Action) {
        match action {
            Action::Route(change) => self.route(id, change),
            Action::At(at) => self.queue.at(id, at),
            Action::Need(fact) => self.need(fact),
            Action::Event {
                regarding,
                event_type,
                reason,
                message,
            } => {
                let now = Timestamp::now();
                let request = self
                    .recorder
                    .record(now, &regarding, event_type, &reason, &message);
                self.record_event(request);
            }
            // Writes the World shows to be needless.
            Action::Create(_)
            | Action::Update(_)
            | Action::Status(_)
            | Action::Delete { .. }
            | Action::Scale { .. } => {}
        }
    }

    fn record_event(&mut self, request: Request) {
        if self.events.len() >= EVENTS_IN_FLIGHT_MAX {
            tracing::debug!("too many events; one is dropped");
            return;
        }
        let client = self.client.clone();
        self.events.push(Box::pin(
            async move { request::call(&client, request).await },
        ));
    }

    fn need(&mut self, fact: Fact) {
        if self.mirror.world.knows(&fact) || !self.gathering.insert(fact.clone()) {
            return;
        }
        let gather = Arc::clone(&self.effects.gather);
        self.gatherings.push(Box::pin(async move {
            let found = gather.gather(&fact).await;
            (fact, found)
        }));
    }

    fn route(&mut self, id: PlanId, change: Change) {
        let told = self.queue.item(id).map(|item| &mut item.routes);
        let known = told.is_some_and(|told| told.contains(&change));
        if !known {
            (self.effects.route)(change.clone());
        }
        if let Some(performance) = self.performances.get_mut(&id) {
            performance.routes.push(change);
        }
    }

    fn on_written(&mut self, written: Written) {
        let Written { id, target, answer } = written;
        let touched = match &answer {
            Ok(answer) => {
                let before = self.version_of(&target);
                let touched = target.settle(&mut self.mirror, answer);
                self.remember_rewrite(id, &target, before);
                touched
            }
            Err(error) => self.on_refused(id, &target, error),
        };
        self.touch(touched, Urgency::Now);
        let Some(performance) = self.performances.get_mut(&id) else {
            return;
        };
        performance.outstanding -= 1;
        if performance.outstanding > 0 {
            return;
        }
        if performance.failed {
            performance.actions.clear();
        }
        self.through.push_back(id);
    }

    /// Performs what follows in the plans whose last write was answered: after the plans that
    /// this write concerns, since a Pod to be made is worth more than a status to be reported.
    fn go_on(&mut self) {
        if self.through.is_empty() {
            return;
        }
        self.wake();
        for _ in 0..URGENT_MAX {
            if !self.queue.has_urgent() || !self.plan_next() {
                break;
            }
        }
        while let Some(id) = self.through.pop_front() {
            self.advance(id);
        }
    }

    fn version_of(&self, target: &Target) -> Option<u64> {
        let key = &target.key;
        self.mirror
            .world
            .version(target.kind, &key.namespace, &key.name)
    }

    fn remember_rewrite(&mut self, id: PlanId, target: &Target, before: Option<u64>) {
        let (Some(before), Some(after)) = (before, self.version_of(target)) else {
            return;
        };
        if let Some(performance) = self.performances.get_mut(&id) {
            let (before, after) = (before.to_string(), after.to_string());
            for (kind, key, _, newest) in &mut performance.rewrites {
                if *kind == target.kind && *key == target.key {
                    newest.clone_from(&after);
                }
            }
            let rewrite = (target.kind, target.key.clone(), before, after);
            performance.rewrites.push(rewrite);
        }
    }

    fn on_refused(&mut self, id: PlanId, target: &Target, error: &Error) -> Vec<Touched> {
        let gone = error.is_not_found() && matches!(target.verb, Verb::Delete | Verb::Refresh);
        if gone {
            let key = target.key.clone();
            return self.mirror.forget(target.kind, key).into_iter().collect();
        }
        let (verb, kind, name) = (target.verb, target.kind.plural, &target.key.name);
        if let Some(performance) = self.performances.get_mut(&id) {
            performance.failed = true;
        }
        if target.is_outdated(error) && !target.key.name.is_empty() {
            tracing::debug!(?verb, kind, name, %error, "the World is out of date");
            let (target, request) = target.refresh();
            self.send(id, target, request);
        } else {
            tracing::warn!(?verb, kind, name, error = %chain(error), "a write failed");
            if let (true, Some(fact)) = (error.is_rejected(), self.refused(id)) {
                let value = json!({"code": error.code(), "message": error.message()});
                self.mirror.world.learn(fact, value);
            }
            if let Some(name) = self.name_of(id) {
                self.metrics.record(name, |queue| queue.errors += 1);
            }
        }
        Vec::new()
    }

    /// The fact that plans of this key's root cannot be performed.
    fn refused(&mut self, id: PlanId) -> Option<Fact> {
        let item = self.queue.item(id)?;
        Some(Fact::Refused {
            root: self.reconcilers[item.reconciler].root(),
            namespace: item.key.namespace.clone(),
            name: item.key.name.clone(),
        })
    }

    fn finish_if_through(&mut self, id: PlanId) {
        let through = |p: &Performance| p.outstanding == 0 && (p.failed || p.actions.is_empty());
        if !self.performances.get(&id).is_some_and(through) {
            return;
        }
        let (Some(performance), Some(name)) = (self.performances.remove(&id), self.name_of(id))
        else {
            return;
        };
        let took = performance.began.elapsed();
        self.metrics
            .record(name, |queue| queue.process_duration.observe(took));
        if performance.failed {
            let failures = self.queue.failed(id, Timestamp::now());
            self.metrics.record(name, |queue| queue.retries += 1);
            tracing::debug!(name, failures, "a plan comes again");
            return;
        }
        if performance.wrote
            && let Some(fact) = self.refused(id)
        {
            self.mirror.world.unlearn(&fact);
        }
        self.take_back_routes(id, performance.routes);
        self.queue.done(id);
        self.release_if_gone(id);
    }

    /// Tells the gateway what this key no longer states.
    fn take_back_routes(&mut self, id: PlanId, stated: Vec<Change>) {
        let Some(item) = self.queue.item(id) else {
            return;
        };
        let before = std::mem::replace(&mut item.routes, stated);
        let after = item.routes.clone();
        for old in before {
            let about = |new: &Change| match (&old, new) {
                (Change::Host(a, _), Change::Host(b, _)) => a == b,
                (Change::Revision(a, _), Change::Revision(b, _)) => a == b,
                (Change::Host(..), Change::Revision(..))
                | (Change::Revision(..), Change::Host(..)) => false,
            };
            if after.iter().any(about) {
                continue;
            }
            match old {
                Change::Host(host, Some(_)) => (self.effects.route)(Change::Host(host, None)),
                Change::Revision(key, Some(_)) => {
                    (self.effects.route)(Change::Revision(key, None));
                }
                Change::Host(_, None) | Change::Revision(_, None) => {}
            }
        }
    }

    /// A key whose root is gone and whose plan wants nothing more needs no memory.
    fn release_if_gone(&mut self, id: PlanId) {
        let Some(item) = self.queue.item(id) else {
            return;
        };
        let (reconciler, key, stated) =
            (item.reconciler, item.key.clone(), !item.routes.is_empty());
        let root = self.reconcilers[reconciler].root();
        let exists = self.mirror.world.version(root, &key.namespace, &key.name);
        if exists.is_none() && !stated {
            self.mirror
                .world
                .subscribe(id, api::world::Reads::default());
            self.queue.release(id);
        }
    }
}

fn on_recorded(recorded: &Result<Bytes, Error>) {
    if let Err(error) = recorded {
        tracing::debug!(error = %chain(error), "an event was not recorded");
    }
}
