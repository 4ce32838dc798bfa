//! PodAutoscaler → the scale of its Deployment, and a ServerlessService that says whether Pods or
//! activators answer. What is wanted comes from `autoscale`: the Decider's word is a fact, the
//! scaler judges what to do about it now.

mod hpa;

use api::conditions::{self, Conditions};
use api::config::Autoscaler;
use api::config::autoscaler::{HPA, KPA};
use api::object::ObjectExt;
use api::world::{
    Action, Context, DEPLOYMENT, Fact, Key, METRIC, POD, POD_AUTOSCALER, Plan, SERVERLESS_SERVICE,
    World,
};
use api::{autoscaling, names, serving};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::backend::is_ready;
use super::config::{Config, load};
use super::internal_tls;
use super::serverless_service::ACTIVATORS_POPULATED;
use crate::autoscale::scaler::{self, ACTIVATORS_MIN, Activity, Facts, Verdict};
use crate::autoscale::spec::{self, DeciderSpec};
use crate::autoscale::{Decision, UNKNOWN};
use api::draft::Agree;
use api::draft::{Child, Draft, not_owned, strings};

const ACTIVE: &str = "Active";
const SCALE_TARGET_INITIALIZED: &str = "ScaleTargetInitialized";
const SKS_READY: &str = "SKSReady";
/// The progress deadline where `config-deployment` has none.
const PROGRESS_DEADLINE_DEFAULT: std::time::Duration = std::time::Duration::from_secs(600);

/// Plans one PodAutoscaler.
pub fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, POD_AUTOSCALER, key) else {
        return Plan::default();
    };
    let config = load(cx, world, Autoscaler::NAME, Autoscaler::parse);
    let mut conditions = draft.conditions(autoscaling::SET);
    match spec::class(&draft.object) {
        KPA => reconcile(&mut draft, &mut conditions, &config),
        HPA => hpa::reconcile(&mut draft, &mut conditions, &config),
        // Somebody else's.
        _ => return Plan::default(),
    }
    draft.finish(conditions)
}

fn reconcile(draft: &mut Draft<'_>, conditions: &mut Conditions, config: &Autoscaler) {
    let sks = draft.get(SERVERLESS_SERVICE, draft.name());
    let has_service = |sks: &&Value| sks["status"]["privateServiceName"].is_string();
    let Some(sks) = sks.as_deref().filter(has_service) else {
        ensure_sks(draft, conditions, "Proxy", ACTIVATORS_MIN);
        conditions.mark_unknown(SKS_READY, "NotReady", "No Private Service Name");
        set_status(draft, conditions, config, UNKNOWN, 0);
        return;
    };
    draft.status["metricsServiceName"] = sks["status"]["privateServiceName"].clone();
    ensure_metric(draft, config);
    let decider = DeciderSpec::new(&draft.object, config);
    let decision = decision(draft, &decider);
    let verdict = judge(draft, config, &decision, sks);
    perform(draft, &verdict);
    let revision = draft
        .object
        .label(serving::REVISION)
        .unwrap_or_else(|| draft.name());
    let ready = ready_pods(draft.world, draft.namespace(), revision);
    // Between the parts of the system TLS leads through the activator.
    let by_tls = internal_tls::is_enabled(draft.cx, draft.world);
    let short = scaler::is_proxied(&draft.object, verdict.want, decision.excess_burst_capacity);
    let mode = if by_tls || short { "Proxy" } else { "Serve" };
    ensure_sks(
        draft,
        conditions,
        mode,
        scaler::activator_count(&decider, ready),
    );
    draft.status["serviceName"] = sks["status"]["serviceName"].clone();
    mark_sks(conditions, sks);
    let ready = i32::try_from(ready).unwrap_or(i32::MAX);
    set_status(draft, conditions, config, verdict.want, ready);
}

/// The Decider's last word, or what it says before it has measured anything.
fn decision(draft: &Draft<'_>, decider: &DeciderSpec) -> Decision {
    let known = draft.world.fact(&Fact::Decision {
        namespace: draft.namespace().to_owned(),
        name: draft.name().to_owned(),
    });
    let mut decision = Decision::initial(decider);
    if let Some(known) = known {
        let number = |key: &str| i32::try_from(known[key].as_i64()?).ok();
        decision.desired = number("desired").unwrap_or(decision.desired);
        decision.excess_burst_capacity =
            number("excessBurstCapacity").unwrap_or(decision.excess_burst_capacity);
    }
    decision
}

fn judge(draft: &Draft<'_>, config: &Autoscaler, decision: &Decision, sks: &Value) -> Verdict {
    let deployment = Config::read(draft.cx, draft.world, "deployment");
    let probe = draft.world.fact(&probe(draft));
    let proxied = conditions::get(sks, ACTIVATORS_POPULATED);
    scaler::scale(&Facts {
        pa: &draft.object,
        config,
        progress_deadline: deployment
            .duration("progress-deadline")
            .unwrap_or(PROGRESS_DEADLINE_DEFAULT),
        desired: decision.desired,
        sks_is_proxy: sks["spec"]["mode"] != "Serve",
        proxied_since: proxied
            .filter(conditions::Condition::is_true)
            .and_then(|condition| condition.since.parse::<Timestamp>().ok()),
        activator_answers: probe.and_then(|probe| probe["ready"].as_bool()),
        now: draft.now(),
    })
}

fn probe(draft: &Draft<'_>) -> Fact {
    Fact::ActivatorProbe {
        namespace: draft.namespace().to_owned(),
        name: draft.name().to_owned(),
    }
}

fn perform(draft: &mut Draft<'_>, verdict: &Verdict) {
    let name = draft.object["spec"]["scaleTargetRef"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    if verdict.apply
        && let Some(target) = draft.get(DEPLOYMENT, &name)
        && target["spec"]["replicas"].as_i64() != Some(i64::from(verdict.want))
    {
        draft.push(Action::Scale {
            kind: DEPLOYMENT,
            namespace: draft.namespace().to_owned(),
            name,
            replicas: verdict.want,
        });
    }
    if verdict.probe {
        draft.push(Action::Need(probe(draft)));
    }
    if let Some(at) = verdict.again_at {
        draft.push(Action::At(at));
    }
}

/// How many Pods of a revision are ready and stay; what the autoscaler counts.
pub fn ready_pods(world: &World, namespace: &str, revision: &str) -> u32 {
    let pods = world.labelled(POD, namespace, serving::REVISION, revision);
    let ready = pods
        .iter()
        .filter(|pod| is_ready(pod) && !pod.is_terminating());
    u32::try_from(ready.count()).unwrap_or(u32::MAX)
}

/// The Pods of a revision by what becomes of them (serving `pkg/resources/pods.go`): those that
/// have ended count nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PodCounts {
    /// They may be sent requests.
    pub ready: u32,
    /// All others.
    pub not_ready: u32,
    /// Of these, the ones that have not started.
    pub pending: u32,
    /// And the ones that are being stopped.
    pub terminating: u32,
}

/// Counts the Pods of a revision.
pub fn pod_counts(world: &World, namespace: &str, revision: &str) -> PodCounts {
    let mut counts = PodCounts::default();
    for pod in &world.labelled(POD, namespace, serving::REVISION, revision) {
        let is_pending = match pod["status"]["phase"].as_str() {
            Some("Running") => false,
            Some("Succeeded" | "Failed") => continue,
            _ => true,
        };
        match (is_pending, pod.is_terminating(), is_ready(pod)) {
            (true, _, _) => counts.pending += 1,
            (false, true, _) => counts.terminating += 1,
            (false, false, true) => {
                counts.ready += 1;
                continue;
            }
            (false, false, false) => {}
        }
        counts.not_ready += 1;
    }
    counts
}

fn child_annotations(draft: &Draft<'_>) -> Value {
    strings(&draft.object["metadata"]["annotations"], &[], &[])
}

fn child_labels(draft: &Draft<'_>) -> Value {
    strings(&draft.object["metadata"]["labels"], &[], &[])
}

fn ensure_sks(draft: &mut Draft<'_>, conditions: &mut Conditions, mode: &str, activators: i32) {
    let spec = &draft.object["spec"];
    let want = json!({
        "apiVersion": SERVERLESS_SERVICE.api_version(),
        "kind": SERVERLESS_SERVICE.kind,
        "metadata": draft.child_meta(draft.name(), child_labels(draft), child_annotations(draft)),
        "spec": {
            "mode": mode,
            "numActivators": activators,
            "objectRef": spec["scaleTargetRef"],
            "protocolType": spec["protocolType"],
        },
    });
    if let Child::Foreign = draft.ensure(SERVERLESS_SERVICE, want, Agree::Exactly) {
        let text = not_owned("SKS", draft.name());
        conditions.mark_false(SKS_READY, "NotOwned", &text);
    }
}

fn mark_sks(conditions: &mut Conditions, sks: &Value) {
    if conditions::is_ready(sks) {
        conditions.mark_true(SKS_READY);
    } else {
        let ready = conditions::get(sks, "Ready").map(|c| c.message);
        conditions.mark_unknown(SKS_READY, "NotReady", &ready.unwrap_or_default());
    }
}

/// What the autoscaler is to measure, for those who look; it reads the PodAutoscaler itself.
fn ensure_metric(draft: &mut Draft<'_>, config: &Autoscaler) {
    let nanos = |span: std::time::Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    let pa = &draft.object;
    let always_proxied = spec::target_burst_capacity(pa, config) == -1.0;
    let target = if always_proxied {
        String::new()
    } else {
        names::private_service(draft.name())
    };
    let decider = DeciderSpec::new(pa, config);
    let want = json!({
        "apiVersion": METRIC.api_version(),
        "kind": METRIC.kind,
        "metadata": draft.child_meta(draft.name(), child_labels(draft), child_annotations(draft)),
        "spec": {
            "scrapeTarget": target,
            "stableWindow": nanos(decider.stable_window),
            "panicWindow": nanos(decider.panic_window),
        },
    });
    draft.ensure(METRIC, want, Agree::Exactly);
}

fn set_status(
    draft: &mut Draft<'_>,
    conditions: &mut Conditions,
    config: &Autoscaler,
    want: i32,
    ready: i32,
) {
    draft.status["actualScale"] = json!(ready);
    // What is not known does not overwrite what was.
    if want >= 0 || draft.status["desiredScale"].is_null() {
        draft.status["desiredScale"] = json!(want);
    }
    let active = scaler::active(&draft.object, config, want, ready);
    let served = draft.status["serviceName"].is_string();
    if served && ready >= scaler::ready_min(&draft.object, config) {
        conditions.mark_true(SCALE_TARGET_INITIALIZED);
    }
    match active {
        Some((Activity::Active, ..)) => conditions.mark_true(ACTIVE),
        Some((Activity::Activating, reason, message)) => {
            conditions.mark_unknown(ACTIVE, reason, message);
        }
        Some((Activity::Inactive, reason, message)) => {
            conditions.mark_false(ACTIVE, reason, message);
        }
        None => {}
    }
}

/// Plans what a Metric says of itself: it is measured from the moment it exists.
pub fn plan_metric(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(draft) = Draft::of(cx, world, METRIC, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(autoscaling::METRIC_SET);
    conditions.mark_true("Ready");
    draft.finish(conditions)
}
