//! What `sinkbindings.webhook.sources.knative.dev` does on a cluster: the subjects of SinkBindings
//! are told where their events go when they are written, before their first Pod. Called by the
//! hook; subjects that were there before are told by the plan of SinkBindings.

use ::api::binding::{BUNDLE_LABEL, Told, applies, bind};
use ::api::object::ObjectExt as _;
use apiserver::Review;
use serde_json::Value;

/// Group and kind of what can be told.
const SUBJECTS: [(&str, &str); 7] = [
    ("apps", "DaemonSet"),
    ("apps", "Deployment"),
    ("apps", "StatefulSet"),
    ("batch", "CronJob"),
    ("batch", "Job"),
    ("serving.knative.dev", "Configuration"),
    ("serving.knative.dev", "Service"),
];
/// Label of objects and namespaces that are left alone.
const EXCLUDE: &str = "bindings.knative.dev/exclude";

/// Whether objects of this kind can be told.
pub(super) fn claims(group: &str, kind: &str) -> bool {
    SUBJECTS.contains(&(group, kind))
}

/// The object as it is told to be by the bindings of its namespace; `None` if there are none for
/// it.
pub(super) fn bound(review: &Review<'_>) -> Option<Value> {
    if !claims(review.group, review.kind) {
        return None;
    }
    let bindings = review
        .cluster
        .objects("sources.knative.dev", "sinkbindings", review.namespace);
    let told = bindings
        .iter()
        .filter(|binding| !binding.is_terminating() && applies(binding, review.object))
        .filter_map(|binding| Told::of(binding, Vec::new()))
        .next_back()?;
    if is_excluded(review) {
        return None;
    }
    let maps = review.cluster.objects("", "configmaps", review.namespace);
    let bundles = maps
        .iter()
        .filter(|map| map.label(BUNDLE_LABEL) == Some("true"));
    let mut bundles: Vec<_> = bundles.map(|map| map.name().to_owned()).collect();
    bundles.sort();
    let told = Told { bundles, ..told };
    let mut object = review.object.clone();
    bind(&mut object, &told);
    Some(object)
}

fn is_excluded(review: &Review<'_>) -> bool {
    let excluded = |object: &Value| object.label(EXCLUDE) == Some("true");
    let namespace = review
        .cluster
        .object("", "namespaces", "", review.namespace);
    excluded(review.object) || namespace.is_some_and(|namespace| excluded(&namespace))
}
