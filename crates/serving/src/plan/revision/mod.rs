//! Revision → a Deployment, a PodAutoscaler and Images; and from what becomes of those, whether
//! the Revision is ready.

mod deployment;
mod digest;
mod queue;
mod status;

use api::convert::BUILD_REF;
use api::names;
use api::object::ObjectExt;
use api::serving::revision::{container_concurrency, containers, init_containers, is_h2c};
use api::serving::{self, sets};
use api::world::{Context, DEPLOYMENT, IMAGE, Key, POD_AUTOSCALER, Plan, REVISION, World};
use serde_json::{Value, json};

use self::status::Evidence;
use super::config::Config;
use super::{build, internal_tls};
use api::draft::Agree;
use api::draft::{Child, Draft, set_or_remove, strings};

/// Plans one Revision.
pub fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, REVISION, key) else {
        return Plan::default();
    };
    let built = build::reference(&draft.object);
    let set = if built.is_some() {
        sets::BUILT_REVISION
    } else {
        sets::REVISION
    };
    let mut conditions = draft.conditions(set);
    if let Some(built) = built
        && !build::wait(&mut draft, &mut conditions, &built)
    {
        return draft.finish(conditions);
    }
    let was_ready = conditions.is_true("Ready");
    set_log_url(&mut draft);
    match digest::reconcile(&mut draft) {
        digest::Outcome::Resolved => {}
        digest::Outcome::Waiting => {
            conditions.mark_unknown(status::RESOURCES_AVAILABLE, "ResolvingDigests", "");
            return draft.finish(conditions);
        }
        digest::Outcome::Failed(message) => {
            let known = conditions.get(status::CONTAINER_HEALTHY);
            if known.is_none_or(|known| known.message != message) {
                draft.event("Warning", "InternalError", message.clone());
            }
            conditions.mark_false(status::CONTAINER_HEALTHY, "ContainerMissing", &message);
            return draft.finish(conditions);
        }
    }
    if internal_tls::is_enabled(cx, world) {
        internal_tls::ask_for_namespace(&mut draft);
    }
    let mut evidence = Evidence::default();
    reconcile_deployment(&mut draft, &mut evidence);
    if evidence.foreign.is_none() {
        // An autoscaler must not scale what belongs to somebody else.
        reconcile_images(&mut draft);
        reconcile_autoscaler(&mut draft, &mut evidence);
    }
    status::mark(&mut conditions, &evidence);
    set_replicas(&mut draft, evidence.autoscaler.as_deref());
    if !was_ready && conditions.is_true("Ready") {
        let text = "Revision becomes ready upon all resources being ready";
        draft.event("Normal", "RevisionReady", text.to_owned());
    }
    draft.finish(conditions)
}

fn set_log_url(draft: &mut Draft<'_>) {
    let config = Config::read(draft.cx, draft.world, "observability");
    let url = config
        .text(&["logging.revision-url-template"])
        .map(|template| json!(template.replace("${REVISION_UID}", draft.object.uid())));
    set_or_remove(&mut draft.status, "logUrl", url);
}

fn reconcile_deployment(draft: &mut Draft<'_>, evidence: &mut Evidence) {
    let want = deployment::wanted(draft);
    match draft.ensure(DEPLOYMENT, want, Agree::AtLeast) {
        Child::Have(deployment) => {
            status::look_at_deployment(draft, evidence, &deployment);
            evidence.deployment = Some(deployment);
        }
        Child::Created => {}
        Child::Foreign => evidence.foreign = Some(("Deployment", names::deployment(draft.name()))),
    }
}

fn reconcile_images(draft: &mut Draft<'_>) {
    let revision = draft.object.clone();
    let statuses = [
        (
            containers(&revision),
            draft.status["containerStatuses"].clone(),
        ),
        (
            init_containers(&revision),
            draft.status["initContainerStatuses"].clone(),
        ),
    ];
    for (containers, statuses) in &statuses {
        for (index, container) in containers.iter().enumerate() {
            let image = digest::image(container, &statuses[index]);
            let name = names::image_cache(
                revision.name(),
                container["name"].as_str().unwrap_or_default(),
            );
            let mut spec = json!({"image": image});
            for field in ["serviceAccountName", "imagePullSecrets"] {
                if !revision["spec"][field].is_null() {
                    spec[field] = revision["spec"][field].clone();
                }
            }
            let want = json!({
                "apiVersion": IMAGE.api_version(),
                "kind": IMAGE.kind,
                "metadata": draft.child_meta(&name, labels(&revision), annotations(&revision)),
                "spec": spec,
            });
            draft.ensure_exists(IMAGE, want);
        }
    }
}

fn reconcile_autoscaler(draft: &mut Draft<'_>, evidence: &mut Evidence) {
    let revision = draft.object.clone();
    // A revision that cannot run is scaled to zero; one without a Route may go to zero as well.
    let reachability = match revision.label(serving::ROUTING_STATE) {
        _ if evidence.is_hopeless() => "Unreachable",
        Some("active") => "Reachable",
        Some("reserve") => "Unreachable",
        _ => "",
    };
    let mut spec = json!({
        "containerConcurrency": container_concurrency(&revision),
        "scaleTargetRef": {
            "apiVersion": DEPLOYMENT.api_version(),
            "kind": DEPLOYMENT.kind,
            "name": names::deployment(revision.name()),
        },
        "protocolType": if is_h2c(&revision) { "h2c" } else { "http1" },
    });
    if !reachability.is_empty() {
        spec["reachability"] = json!(reachability);
    }
    let want = json!({
        "apiVersion": POD_AUTOSCALER.api_version(),
        "kind": POD_AUTOSCALER.kind,
        "metadata": draft.child_meta(revision.name(), labels(&revision), annotations(&revision)),
        "spec": spec,
    });
    match draft.ensure(POD_AUTOSCALER, want, Agree::AtLeast) {
        Child::Have(autoscaler) => evidence.autoscaler = Some(autoscaler),
        Child::Created => {}
        Child::Foreign => evidence.foreign = Some(("PodAutoscaler", revision.name().to_owned())),
    }
}

fn set_replicas(draft: &mut Draft<'_>, autoscaler: Option<&Value>) {
    for (field, source) in [
        ("actualReplicas", "actualScale"),
        ("desiredReplicas", "desiredScale"),
    ] {
        let value = autoscaler
            .map(|pa| &pa["status"][source])
            .filter(|scale| scale.as_i64().is_some_and(|scale| scale >= 0));
        set_or_remove(&mut draft.status, field, value.cloned());
    }
}

/// The labels of everything a Revision makes, its Pods included.
fn labels(revision: &Value) -> Value {
    strings(
        &revision["metadata"]["labels"],
        &[serving::ROUTING_STATE],
        &[
            (serving::REVISION, revision.name()),
            (serving::REVISION_UID, revision.uid()),
            // What Istio and others select Pods by.
            ("app", revision.name()),
        ],
    )
}

/// The annotations of everything a Revision makes. What changes while a Revision lives stays out,
/// because a change of the Pod template would roll out new Pods.
fn annotations(revision: &Value) -> Value {
    let excluded = [
        serving::ROUTING_STATE_MODIFIED,
        serving::ROUTES,
        serving::LAST_PINNED,
        serving::LAST_APPLIED,
        BUILD_REF,
    ];
    strings(&revision["metadata"]["annotations"], &excluded, &[])
}
