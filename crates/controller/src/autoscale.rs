//! The autoscaler's shell: one [`Decider`] for each PodAutoscaler of the KPA's class, fed by the
//! data plane's statistics and by what the World says of PodAutoscalers and Pods; its decisions
//! become facts, which wake the PodAutoscaler's plan.
//!
//! The decisions themselves are `serving::autoscale`'s. Knative scrapes every Pod once a second;
//! here the data plane reports what is busy, and a second without a report counts as zero.

pub(crate) mod scaling;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::config::autoscaler::KPA;
use api::config::{self, Autoscaler};
use api::object::ObjectExt;
use api::route::RevisionKey;
use api::serving as labels;
use api::world::{CONFIG_MAP, Context, Fact, Key, POD, POD_AUTOSCALER, World};
use serde_json::json;
use serving::autoscale::spec::class;
use serving::autoscale::{Decider, DeciderSpec, Input, Stat};
use serving::plan::autoscaler::{PodCounts, pod_counts, ready_pods};
use stdx::{Instant, Machine};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::driver::{Handle, Observer};
use scaling::Scaling;

/// The reporting period of the data plane.
const PERIOD: Duration = Duration::from_secs(1);

/// What the World says of one PodAutoscaler.
enum Told {
    /// It is so, and so are its Pods.
    Spec(RevisionKey, Box<Seen>),
    /// It is gone, or of another class.
    Gone(RevisionKey),
}

/// A PodAutoscaler as the World has it.
struct Seen {
    spec: DeciderSpec,
    ready: u32,
    facts: Facts,
}

/// What only people are told of a revision.
#[derive(Clone, PartialEq, Debug)]
struct Facts {
    service: Arc<str>,
    configuration: Arc<str>,
    pods: PodCounts,
    /// The Pods that were asked for last; `None` before any were.
    requested: Option<i64>,
}

/// The two halves: an observer to give to the driver, and the task to run beside it. What is
/// decided on shows in `scaling`.
pub(crate) fn autoscaler(stats: mpsc::Receiver<Stat>, scaling: Scaling) -> (Observer, Shell) {
    let (tell, told) = mpsc::unbounded_channel();
    let mut last_good = Autoscaler::default();
    let observe = move |context: &Context, key: &Key, world: &World| {
        // Without a shell the process is ending.
        drop(tell.send(look(context, key, world, &mut last_good)));
    };
    let observer = Observer {
        name: "Autoscaler",
        root: POD_AUTOSCALER,
        watches: &[POD, CONFIG_MAP],
        observe: Box::new(observe),
    };
    let shell = Shell {
        stats,
        told,
        scaling,
    };
    (observer, shell)
}

fn look(context: &Context, key: &Key, world: &World, last_good: &mut Autoscaler) -> Told {
    let revision = RevisionKey::new(&key.namespace, &key.name);
    let pa = world.get(POD_AUTOSCALER, &key.namespace, &key.name);
    let Some(pa) = pa.filter(|pa| class(pa) == KPA) else {
        return Told::Gone(revision);
    };
    let settings = world.get(CONFIG_MAP, &context.system_namespace, Autoscaler::NAME);
    if let Some(settings) = settings
        && let Ok(settings) = Autoscaler::parse(&config::data_of(&settings))
    {
        *last_good = settings;
    }
    let spec = DeciderSpec::new(&pa, last_good);
    let label = |name| pa.label(name).unwrap_or_default().into();
    let facts = Facts {
        service: label(labels::SERVICE),
        configuration: label(labels::CONFIGURATION),
        pods: pod_counts(world, &key.namespace, &key.name),
        requested: pa["status"]["desiredScale"]
            .as_i64()
            .filter(|scale| *scale >= 0),
    };
    let ready = ready_pods(world, &key.namespace, &key.name);
    let seen = Seen { spec, ready, facts };
    Told::Spec(revision, Box::new(seen))
}

/// The task that holds the deciders.
pub struct Shell {
    stats: mpsc::Receiver<Stat>,
    told: mpsc::UnboundedReceiver<Told>,
    scaling: Scaling,
}

impl Shell {
    /// Runs until the driver or the data plane is gone.
    pub async fn run(mut self, driver: Handle) {
        let start = std::time::Instant::now();
        self.scaling.begin(start);
        let mut period = tokio::time::interval(PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                biased;
                stat = self.stats.recv() => match stat {
                    Some(stat) => Event::Stat(stat),
                    None => return,
                },
                told = self.told.recv() => match told {
                    Some(told) => Event::Told(told),
                    None => return,
                },
                _ = period.tick() => Event::Period,
            };
            let mut revisions = self.scaling.lock();
            let now = machine_time(start);
            handle(&mut revisions.of, &driver, now, event);
        }
    }
}

enum Event {
    Stat(Stat),
    Told(Told),
    Period,
}

/// Now, on the deciders' time line. Its origin lies an hour before `start`, so that a window of the
/// past can be filled.
fn machine_time(start: std::time::Instant) -> Instant {
    Instant::from_secs(3600) + start.elapsed()
}

/// A revision and its decider.
struct Entry {
    decider: Decider,
    ready: u32,
    facts: Facts,
    /// When a report came last.
    reported: Instant,
}

type Entries = HashMap<RevisionKey, Entry>;

fn handle(of: &mut Entries, driver: &Handle, now: Instant, event: Event) {
    match event {
        Event::Stat(stat) => {
            let Some(entry) = of.get_mut(&stat.revision) else {
                return;
            };
            let key = stat.revision.clone();
            entry.reported = now;
            entry.decider.handle(now, Input::Stat(stat));
            publish(driver, &key, &mut entry.decider);
        }
        Event::Told(Told::Spec(key, seen)) => {
            let entry = of
                .entry(key.clone())
                .or_insert_with(|| Entry::new(now, &seen));
            entry.told(now, *seen);
            publish(driver, &key, &mut entry.decider);
        }
        Event::Told(Told::Gone(key)) => {
            if of.remove(&key).is_some() {
                driver.unlearn(fact(&key));
            }
        }
        Event::Period => {
            for (key, entry) in of {
                entry.period(now, key);
                publish(driver, key, &mut entry.decider);
            }
        }
    }
}

impl Entry {
    fn new(now: Instant, seen: &Seen) -> Self {
        Self {
            decider: Decider::new(now, seen.spec.clone(), seen.ready),
            ready: seen.ready,
            facts: seen.facts.clone(),
            reported: now,
        }
    }

    /// The PodAutoscaler or its Pods have changed.
    fn told(&mut self, now: Instant, seen: Seen) {
        let Seen { spec, ready, facts } = seen;
        if *self.decider.spec() != spec {
            self.decider.handle(now, Input::Spec(Box::new(spec)));
        }
        if self.ready != ready {
            self.ready = ready;
            self.decider.handle(now, Input::Ready(ready));
        }
        self.facts = facts;
    }

    /// A second has passed. Without Pods there is nothing to measure, so that what waits for the
    /// first ones after an idle time counts in full, as in Knative.
    fn period(&mut self, now: Instant, key: &RevisionKey) {
        if self.ready > 0 && now - self.reported >= PERIOD {
            self.decider.handle(now, Input::Stat(silence(key)));
        }
        self.decider.handle_timeout(now);
    }
}

/// A report of nothing.
fn silence(key: &RevisionKey) -> Stat {
    Stat {
        revision: key.clone(),
        reporter: String::new(),
        average_concurrent_requests: 0.0,
        average_proxied_concurrent_requests: 0.0,
        request_count: 0.0,
        proxied_request_count: 0.0,
        so_far: false,
    }
}

fn fact(key: &RevisionKey) -> Fact {
    Fact::Decision {
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
    }
}

fn publish(driver: &Handle, key: &RevisionKey, decider: &mut Decider) {
    while let Some(decision) = decider.poll_output() {
        let value = json!({
            "desired": decision.desired,
            "excessBurstCapacity": decision.excess_burst_capacity,
        });
        driver.learn(fact(key), value);
    }
}
