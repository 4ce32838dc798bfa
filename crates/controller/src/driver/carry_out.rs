//! The driver's second half: a plan is carried out action by action, and what the API server
//! answers goes into the World.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use api::delivery;
use api::route::Change;
use api::world::{Action, Fact, Kind, PlanId};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;

use super::Driver;
use crate::mirror::Touched;
use crate::perform::{self, Rewrites, Step, Target, Verb};
use crate::queue::Urgency;
use crate::record::Record;
use crate::request::{Error, Request};
use crate::watch::chain;

/// Writes of one plan on their way at once, where they are of one verb and kind.
const BATCH_MAX: usize = 32;
/// Keys planned before plans that wait to go on get their turn.
const URGENT_MAX: usize = 8;

/// A plan while it is performed.
pub(super) struct Performance {
    actions: VecDeque<Action>,
    outstanding: usize,
    rewrites: Rewrites,
    failed: bool,
    /// Something was sent.
    wrote: bool,
    routes: Vec<Change>,
    deliveries: Vec<delivery::Change>,
    began: Instant,
}

/// A request of a plan, answered.
pub(super) struct Written {
    id: PlanId,
    target: Target,
    answer: Result<Bytes, Error>,
}

impl Driver {
    pub(super) fn perform(&mut self, id: PlanId, actions: Vec<Action>) {
        let performance = Performance {
            actions: actions.into(),
            outstanding: 0,
            rewrites: Vec::new(),
            failed: false,
            wrote: false,
            routes: Vec::new(),
            deliveries: Vec::new(),
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
            if let Action::Status(_) = action
                && self.hold.until(Timestamp::now()).is_some()
            {
                if performance.outstanding == 0 {
                    self.held.insert(id);
                }
                return;
            }
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
                    if let Action::Scale { replicas: 1.., .. } = action {
                        self.hold.begin(Timestamp::now());
                    }
                    performance.actions.pop_front();
                    sent = Some(same);
                    self.send(id, target, request);
                }
            }
        }
        self.finish_if_through(id);
    }

    /// The hold is over: what was to be reported is, unless it is to be planned anew anyway.
    pub(super) fn report_held(&mut self) {
        for id in std::mem::take(&mut self.held) {
            if self.queue.is_outdated(id)
                && let Some(performance) = self.performances.get_mut(&id)
            {
                performance.actions.clear();
            }
            self.advance(id);
        }
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
            Action::Deliver(change) => self.deliver(id, change),
            Action::At(at) => self.queue.at(id, at),
            Action::Need(fact) => self.need(fact),
            Action::Event {
                regarding,
                event_type,
                reason,
                message,
            } => {
                let record = Record::of_controller(regarding, event_type, reason, message);
                (self.effects.record)(record);
            }
            // Writes the World shows to be needless.
            Action::Create(_)
            | Action::Update(_)
            | Action::Status(_)
            | Action::Delete { .. }
            | Action::Scale { .. } => {}
        }
    }

    fn need(&mut self, fact: Fact) {
        if !self.mirror.world.knows(&fact) {
            self.gather(fact);
        }
    }

    pub(super) fn gather(&mut self, fact: Fact) {
        if !self.gathering.insert(fact.clone()) {
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

    fn deliver(&mut self, id: PlanId, change: delivery::Change) {
        let told = self.queue.item(id).map(|item| &mut item.deliveries);
        let known = told.is_some_and(|told| told.contains(&change));
        if !known {
            (self.effects.deliver)(change.clone());
        }
        if let Some(performance) = self.performances.get_mut(&id) {
            performance.deliveries.push(change);
        }
    }

    pub(super) fn on_written(&mut self, written: Written) {
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
    pub(super) fn go_on(&mut self) {
        if self.through.is_empty() {
            return;
        }
        self.wake();
        for _ in 0..URGENT_MAX {
            if !self.queue.has_urgent(self.is_held()) || !self.plan_next() {
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
            if error.is_of_ending_namespace() {
                tracing::debug!(?verb, kind, name, "its namespace is on its way out");
            } else {
                tracing::warn!(?verb, kind, name, error = %chain(error), "a write failed");
            }
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
        self.take_back_deliveries(id, performance.deliveries);
        self.queue.done(id);
        self.release_if_gone(id);
    }

    /// Tells the gateway what this key no longer states.
    fn take_back_routes(&mut self, id: PlanId, stated: Vec<Change>) {
        let Some(item) = self.queue.item(id) else {
            return;
        };
        let before = std::mem::replace(&mut item.routes, stated);
        let after: BTreeSet<_> = item.routes.iter().map(Change::subject).collect();
        let gone = before
            .iter()
            .filter(|change| !after.contains(&change.subject()))
            .filter_map(Change::taken_back);
        gone.for_each(|change| (self.effects.route)(change));
    }

    /// Tells the broker what this key no longer states.
    fn take_back_deliveries(&mut self, id: PlanId, stated: Vec<delivery::Change>) {
        let Some(item) = self.queue.item(id) else {
            return;
        };
        let before = std::mem::replace(&mut item.deliveries, stated);
        let after: BTreeSet<_> = item.deliveries.iter().map(delivery::Change::key).collect();
        let gone = before
            .iter()
            .filter(|change| !after.contains(change.key()))
            .map(delivery::Change::taken_back);
        gone.for_each(|change| (self.effects.deliver)(change));
    }

    /// A key whose root is gone and whose plan wants nothing more needs no memory.
    fn release_if_gone(&mut self, id: PlanId) {
        let Some(item) = self.queue.item(id) else {
            return;
        };
        let stated = !item.routes.is_empty() || !item.deliveries.is_empty();
        let (reconciler, key) = (item.reconciler, item.key.clone());
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
