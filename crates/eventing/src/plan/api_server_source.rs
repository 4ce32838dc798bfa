//! ApiServerSource → a source of the delivery graph that watches the API server, and a Deployment
//! that stands for it.
//!
//! The watching is done in the broker's process; the Deployment's Pod is a part of it with a log
//! of its own, for those who look whether the adapter runs and for the nodes it may run on.

use std::collections::BTreeMap;

use api::conditions::{Conditions, Set};
use api::draft::{Agree, Child, Draft, not_owned, set_or_remove};
use api::names::child_name;
use api::object::ObjectExt;
use api::selector::selects;
use api::world::{API_SERVER_SOURCE, Context, DEPLOYMENT, Fact, Key, NAMESPACE, Plan, World};
use serde_json::{Value, json};

use super::config::features;
use super::resolve::group;
use super::{identity, source, trouble};

const SET: Set = Set::living(&[
    "SinkProvided",
    "Deployed",
    "SufficientPermissions",
    "OIDCIdentityCreated",
]);
/// With this annotation, missing permissions are left to the adapter to find out.
const SKIP_CHECK: &str = "features.knative.dev/apiserversource-skip-permissions-check";
/// What the adapter does with a resource.
const VERBS: [&str; 3] = ["get", "list", "watch"];
const OF_REFERENCES: [&str; 3] = [
    "dev.knative.apiserver.ref.add",
    "dev.knative.apiserver.ref.delete",
    "dev.knative.apiserver.ref.update",
];
const OF_RESOURCES: [&str; 3] = [
    "dev.knative.apiserver.resource.add",
    "dev.knative.apiserver.resource.delete",
    "dev.knative.apiserver.resource.update",
];

/// Plans one ApiServerSource.
pub(super) fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, API_SERVER_SOURCE, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(SET);
    let account = identity::establish(&mut draft, &mut conditions, API_SERVER_SOURCE);
    let sink = source::sink(&mut draft, &mut conditions);
    let spec = draft.object["spec"].clone();
    let (namespaces, all) = namespaces(&draft, &spec["namespaceSelector"]);
    draft.status["namespaces"] = json!(namespaces);
    let resources = resources(&mut draft, &spec);
    check_permissions(&mut draft, &mut conditions, &resources, &namespaces);
    deploy(&mut draft, &mut conditions);
    trouble::note(&draft, &mut conditions, API_SERVER_SOURCE, "Deployed");
    let types = match spec["mode"].as_str() {
        Some("Resource") => OF_RESOURCES,
        _ => OF_REFERENCES,
    };
    source::attributes(
        &mut draft,
        API_SERVER_SOURCE,
        &types,
        "https://kubernetes.default.svc",
    );
    let is_allowed = conditions.is_true("SufficientPermissions");
    let mut facts = BTreeMap::from([
        ("namespaces".to_owned(), json!(namespaces)),
        ("allNamespaces".to_owned(), json!(all)),
        ("resources".to_owned(), json!(resources)),
    ]);
    if features(world).api_server_source_filters && spec["filters"].is_array() {
        facts.insert("filters".to_owned(), spec["filters"].clone());
    }
    source::account(&mut facts, account);
    source::run(
        &mut draft,
        API_SERVER_SOURCE,
        sink.filter(|_| is_allowed),
        facts,
    );
    draft.finish(conditions)
}

/// The namespaces to watch, and whether these are all there will ever be.
fn namespaces(draft: &Draft<'_>, selector: &Value) -> (Vec<String>, bool) {
    if !selector.is_object() {
        return (vec![draft.namespace().to_owned()], false);
    }
    let is_empty = |key: &str| match &selector[key] {
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => true,
    };
    let all = draft.world.list(NAMESPACE, "");
    let selected = all.iter().filter(|namespace| selects(selector, namespace));
    (
        selected
            .map(|namespace| namespace.name().to_owned())
            .collect(),
        is_empty("matchLabels") && is_empty("matchExpressions"),
    )
}

/// `spec.resources` with how each is served, as far as that is known.
fn resources(draft: &mut Draft<'_>, spec: &Value) -> Vec<Value> {
    let listed = spec["resources"].as_array().map_or(&[][..], Vec::as_slice);
    let mut found = Vec::new();
    for resource in listed {
        let text = |key: &str| resource[key].as_str().unwrap_or_default().to_owned();
        let fact = Fact::Resource {
            api_version: text("apiVersion"),
            kind: text("kind"),
        };
        let Some(served) = draft.need(fact) else {
            continue;
        };
        let mut resource = resource.clone();
        for key in ["plural", "namespaced", "error"] {
            let value = Some(served[key].clone()).filter(|value| !value.is_null());
            set_or_remove(&mut resource, key, value);
        }
        found.push(resource);
    }
    found
}

/// Marks `SufficientPermissions` by what the cluster says about the ServiceAccount.
fn check_permissions(
    draft: &mut Draft<'_>,
    conditions: &mut Conditions,
    resources: &[Value],
    namespaces: &[String],
) {
    const PERMITTED: &str = "SufficientPermissions";
    if draft.object.annotation(SKIP_CHECK) == Some("true") {
        conditions.mark_true(PERMITTED);
        return;
    }
    let account = draft.object["spec"]["serviceAccountName"].as_str();
    let account = account.filter(|name| !name.is_empty()).unwrap_or("default");
    let user = format!("system:serviceaccount:{}:{account}", draft.namespace());
    let (mut missing, mut is_known) = (Vec::new(), true);
    for resource in resources {
        let text = |key: &str| resource[key].as_str().unwrap_or_default();
        if let Some(error) = resource["error"].as_str() {
            missing.push(error.to_owned());
            continue;
        }
        let (group, plural) = (group(text("apiVersion")), text("plural"));
        for namespace in namespaces {
            let mut verbs = Vec::new();
            for verb in VERBS {
                let fact = Fact::Allowed {
                    user: user.clone(),
                    verb: verb.to_owned(),
                    group: group.to_owned(),
                    resource: plural.to_owned(),
                    namespace: namespace.clone(),
                };
                match draft.need(fact) {
                    None => is_known = false,
                    Some(answer) if answer["allowed"] == true => {}
                    Some(_) => verbs.push(verb),
                }
            }
            if !verbs.is_empty() {
                let verbs = verbs.join(", ");
                missing.push(format!(
                    "{verbs} resource {plural:?} in API group {group:?} in Namespace {namespace:?}"
                ));
            }
        }
    }
    let listed = draft.object["spec"]["resources"].as_array();
    is_known &= listed.map_or(0, Vec::len) == resources.len();
    if !missing.is_empty() {
        let why = format!("User {user} cannot {}", missing.join(", "));
        conditions.mark_false(PERMITTED, "", &why);
    } else if is_known {
        conditions.mark_true(PERMITTED);
    } else if !conditions.is_true(PERMITTED) {
        conditions.mark_unknown(PERMITTED, "", "The permissions are being looked up.");
    }
}

/// The Deployment that stands for the adapter.
fn deploy(draft: &mut Draft<'_>, conditions: &mut Conditions) {
    let source = draft.object.clone();
    let name = child_name(&format!("apiserversource-{}-", source.name()), source.uid());
    let labels = json!({
        "eventing.knative.dev/source": "apiserver-source-controller",
        "eventing.knative.dev/sourceName": source.name(),
    });
    let env = [("NAME", source.name()), ("NAMESPACE", source.namespace())];
    let env: Vec<_> = env
        .map(|(name, value)| json!({"name": name, "value": value}))
        .into();
    let selector = features(draft.world).node_selector;
    let selector = (!selector.is_empty()).then(|| json!(selector));
    let account = &source["spec"]["serviceAccountName"];
    let want = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": draft.child_meta(&name, labels.clone(), Value::Null),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "serviceAccountName": account,
                    "nodeSelector": selector,
                    "enableServiceLinks": false,
                    "containers": [{
                        "name": "receive-adapter",
                        "image": format!("{}apiserver-receive-adapter", api::bootstrap::PART_IMAGES),
                        "env": env,
                    }],
                },
            },
        },
    });
    match draft.ensure(DEPLOYMENT, want, Agree::AtLeast) {
        Child::Have(deployment) => mark_by_deployment(conditions, "Deployed", &deployment),
        Child::Created => {
            draft.event(
                "Normal",
                "ApiServerSourceDeploymentCreated",
                "Deployment created".to_owned(),
            );
            unavailable(conditions, "Deployed", &name);
        }
        Child::Foreign => {
            let why = not_owned("Deployment", &name);
            conditions.mark_false("Deployed", "NotOwned", &why);
        }
    }
}

/// Takes over what a Deployment says about its availability.
pub(super) fn mark_by_deployment(conditions: &mut Conditions, condition: &str, deployment: &Value) {
    let listed = deployment["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten();
    let mut listed = listed.filter(|entry| entry["type"] == "Available");
    let Some(available) = listed.next() else {
        unavailable(conditions, condition, deployment.name());
        return;
    };
    let text = |key: &str| available[key].as_str().unwrap_or_default();
    match text("status") {
        "True" => conditions.mark_true(condition),
        "False" => conditions.mark_false(condition, text("reason"), text("message")),
        _ => conditions.mark_unknown(condition, text("reason"), text("message")),
    }
}

pub(super) fn unavailable(conditions: &mut Conditions, condition: &str, deployment: &str) {
    let why = format!("The Deployment '{deployment}' is unavailable.");
    conditions.mark_unknown(condition, "DeploymentUnavailable", &why);
}
