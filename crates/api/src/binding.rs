//! What a SinkBinding tells its subjects: where to send events, in the environment of every
//! container, and whom to trust, in files. Used by the plan of SinkBindings for subjects that exist, and by admission for those
//! that are being made. The rules of Knative's `SinkBinding.Do` and `Undo`.

use serde_json::{Map, Value, json};

use crate::object::ObjectExt;
use crate::selector::selects;

/// On a ConfigMap: its certificates are trusted.
pub const BUNDLE_LABEL: &str = "networking.knative.dev/trust-bundle";
/// Volumes with such a name hold them …
const BUNDLE_VOLUMES: &str = "kne-bundle-";
/// … which is this one …
const BUNDLE_VOLUME: &str = "kne-bundle-volume";
/// … and is mounted there.
const BUNDLE_PATH: &str = "/knative-custom-certs";
/// The volume with the token by which subjects show who they are, and where it is mounted: the file is
/// called `token`.
const TOKEN_VOLUME: &str = "oidc-token";
const TOKEN_PATH: &str = "/oidc";
/// Names that belong to bindings.
const NAMES: [&str; 3] = ["K_SINK", "K_CA_CERTS", "K_CE_OVERRIDES"];

/// What is told.
#[derive(Clone, PartialEq, Debug)]
pub struct Told {
    /// `K_SINK`: the address of the sink.
    pub sink: String,
    /// `K_CA_CERTS`: PEM certificates that the sink's must descend from.
    pub ca_certs: Option<String>,
    /// `K_CE_OVERRIDES`: `spec.ceOverrides` as it is, or null.
    pub overrides: Value,
    /// The ConfigMaps of certificates that are trusted.
    pub bundles: Vec<String>,
    /// The Secret with the token that the sink wants to see.
    pub token_secret: Option<String>,
}

impl Told {
    /// What the subjects of `binding` are told, which are to trust `bundles`; `None` before its sink
    /// is known, and the token for it if it wants one.
    pub fn of(binding: &Value, bundles: Vec<String>) -> Option<Self> {
        let text = |key: &str| binding["status"][key].as_str().map(str::to_owned);
        let token_secret = text("oidcTokenSecretName");
        if binding["status"]["auth"].is_object() && token_secret.is_none() {
            return None;
        }
        Some(Self {
            sink: text("sinkUri")?,
            ca_certs: text("sinkCACerts"),
            overrides: binding["spec"]["ceOverrides"].clone(),
            bundles,
            token_secret,
        })
    }
}

/// Whether `subject` is one of `binding`, of whatever version.
pub fn applies(binding: &Value, subject: &Value) -> bool {
    let wanted = &binding["spec"]["subject"];
    let group = |api_version: &str| {
        let group = api_version.split_once('/').map(|(group, _)| group);
        group.unwrap_or_default().to_owned()
    };
    let text = |field: &str| wanted[field].as_str().unwrap_or_default();
    let namespace = match text("namespace") {
        "" => binding.namespace(),
        namespace => namespace,
    };
    text("kind") == subject.kind()
        && group(text("apiVersion")) == group(subject.api_version())
        && namespace == subject.namespace()
        && match text("name") {
            "" => wanted["selector"].is_object() && selects(&wanted["selector"], subject),
            name => name == subject.name(),
        }
}

/// Tells every container of `subject` (anything with a Pod template, a CronJob, a Pod); what it
/// was told before is forgotten.
pub fn bind(subject: &mut Value, told: &Told) {
    let overrides = match &told.overrides {
        Value::Null => String::new(),
        overrides => overrides.to_string(),
    };
    let ca_certs = told.ca_certs.as_ref().map(|certs| ("K_CA_CERTS", certs));
    let mut env: Vec<Value> = [("K_SINK", &told.sink)]
        .into_iter()
        .chain(ca_certs)
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    // An API server leaves out an empty value.
    env.push(match overrides.as_str() {
        "" => json!({"name": "K_CE_OVERRIDES"}),
        text => json!({"name": "K_CE_OVERRIDES", "value": text}),
    });
    unbind(subject);
    let sources = told.bundles.iter();
    let sources: Vec<Value> = sources
        .map(|name| json!({"configMap": {"name": name}}))
        .collect();
    // With the default of the API, so that what is stored is what is said here.
    let projected = |name: &str, sources: &[Value]| json!({"name": name, "projected": {"defaultMode": 0o644, "sources": sources}});
    let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
    if !sources.is_empty() {
        volumes.push(projected(BUNDLE_VOLUME, &sources));
        mounts.push(json!({"name": BUNDLE_VOLUME, "mountPath": BUNDLE_PATH, "readOnly": true}));
    }
    if let Some(name) = &told.token_secret {
        volumes.push(projected(
            TOKEN_VOLUME,
            &[json!({"secret": {"name": name}})],
        ));
        mounts.push(json!({"name": TOKEN_VOLUME, "mountPath": TOKEN_PATH}));
    }
    for container in containers(subject) {
        extend(container, "env", &env);
        extend(container, "volumeMounts", &mounts);
    }
    if let Some(spec) = pod_spec(subject) {
        extend(spec, "volumes", &volumes);
    }
}

/// Puts `more` at the end of a list that may not be there.
fn extend(of: &mut Map<String, Value>, list: &str, more: &[Value]) {
    if more.is_empty() {
        return;
    }
    match of.get_mut(list).and_then(Value::as_array_mut) {
        Some(list) => list.extend(more.iter().cloned()),
        None => drop(of.insert(list.to_owned(), more.into())),
    }
}

/// Keeps of a list what `keep` says; one that is empty then is not there.
fn retain(of: &mut Map<String, Value>, list: &str, keep: impl Fn(&str) -> bool) {
    let Some(entries) = of.get_mut(list).and_then(Value::as_array_mut) else {
        return;
    };
    let before = entries.len();
    entries.retain(|entry| keep(entry["name"].as_str().unwrap_or_default()));
    if entries.is_empty() && before > 0 {
        of.remove(list);
    }
}

/// Takes back what `subject` was told.
pub fn unbind(subject: &mut Value) {
    let is_foreign = |name: &str| !name.starts_with(BUNDLE_VOLUMES) && name != TOKEN_VOLUME;
    for container in containers(subject) {
        retain(container, "env", |name| !NAMES.contains(&name));
        retain(container, "volumeMounts", is_foreign);
    }
    if let Some(spec) = pod_spec(subject) {
        retain(spec, "volumes", is_foreign);
    }
}

/// The Pod spec that `subject` is or has a template of.
fn pod_spec(subject: &mut Value) -> Option<&mut Map<String, Value>> {
    let path = if subject["kind"] == "Pod" {
        "/spec"
    } else if subject["kind"] == "CronJob" {
        "/spec/jobTemplate/spec/template/spec"
    } else {
        "/spec/template/spec"
    };
    subject.pointer_mut(path)?.as_object_mut()
}

/// Its containers.
fn containers(subject: &mut Value) -> Vec<&mut Map<String, Value>> {
    let Some(spec) = pod_spec(subject) else {
        return Vec::new();
    };
    spec.iter_mut()
        .filter(|(key, _)| matches!(key.as_str(), "containers" | "initContainers"))
        .filter_map(|(_, list)| list.as_array_mut())
        .flatten()
        .filter_map(Value::as_object_mut)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(overrides: Value) -> Told {
        Told {
            sink: "http://sink".to_owned(),
            ca_certs: None,
            overrides,
            bundles: Vec::new(),
            token_secret: None,
        }
    }

    #[test]
    fn a_token_is_mounted_once_it_is_there() {
        let mut binding =
            json!({"status": {"sinkUri": "http://sink", "auth": {"serviceAccountName": "a"}}});
        assert_eq!(Told::of(&binding, Vec::new()), None);
        binding["status"]["oidcTokenSecretName"] = json!("b-oidc-token");
        let told = Told::of(&binding, Vec::new()).expect("all is known");
        let before = json!({"kind": "Pod", "spec": {"containers": [{"name": "c"}]}});
        let mut subject = before.clone();
        bind(&mut subject, &told);
        bind(&mut subject, &told);
        let spec = &subject["spec"];
        assert_eq!(
            spec["containers"][0]["volumeMounts"],
            json!([{"name": "oidc-token", "mountPath": "/oidc"}])
        );
        let sources = json!([{"secret": {"name": "b-oidc-token"}}]);
        assert_eq!(
            spec["volumes"],
            json!([{"name": "oidc-token", "projected": {"defaultMode": 420, "sources": sources}}])
        );
        unbind(&mut subject);
        assert_eq!(subject, before);
    }

    #[test]
    fn containers_are_told_once_and_left_as_they_were() {
        let spec = json!({
            "initContainers": [{"name": "i"}],
            "containers": [{"name": "c", "env": [{"name": "A", "value": "a"}]}],
        });
        for before in [
            json!({"kind": "Deployment", "spec": {"template": {"spec": spec}}}),
            json!({"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": {"spec": spec}}}}}),
            json!({"kind": "Pod", "spec": spec}),
        ] {
            let mut subject = before.clone();
            bind(&mut subject, &told(json!({"extensions": {"x": "y"}})));
            let once = subject.clone();
            bind(&mut subject, &told(json!({"extensions": {"x": "y"}})));
            assert_eq!(subject, once);
            let text = subject.to_string();
            let env = r#"{"name":"K_SINK","value":"http://sink"},{"name":"K_CE_OVERRIDES","value":"{\"extensions\":{\"x\":\"y\"}}"}"#;
            assert_eq!(text.matches(env).count(), 2, "{text}");
            unbind(&mut subject);
            assert_eq!(subject, before);
        }
    }

    #[test]
    fn bundles_are_mounted_beside_what_there_is() {
        let before = json!({"kind": "Pod", "spec": {
            "containers": [{"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
            "initContainers": [{"name": "i"}],
            "volumes": [{"name": "v", "emptyDir": {}}],
        }});
        let mut subject = before.clone();
        for bundles in [&["old"][..], &["a", "b"]] {
            let told = Told {
                bundles: bundles.iter().map(|name| (*name).to_owned()).collect(),
                ..told(Value::Null)
            };
            bind(&mut subject, &told);
        }
        let mount = json!({"name": "kne-bundle-volume", "mountPath": "/knative-custom-certs", "readOnly": true});
        let spec = &subject["spec"];
        assert_eq!(
            spec["containers"][0]["volumeMounts"],
            json!([{"name": "v", "mountPath": "/v"}, mount])
        );
        assert_eq!(spec["initContainers"][0]["volumeMounts"], json!([mount]));
        let sources = json!([{"configMap": {"name": "a"}}, {"configMap": {"name": "b"}}]);
        let volume = json!({"name": "kne-bundle-volume", "projected": {"defaultMode": 420, "sources": sources}});
        assert_eq!(
            spec["volumes"],
            json!([{"name": "v", "emptyDir": {}}, volume])
        );
        unbind(&mut subject);
        assert_eq!(subject, before);
    }

    #[test]
    fn subjects_are_found_by_name_or_labels() {
        let subject = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "d", "namespace": "ns", "labels": {"a": "b"}},
        });
        let binding = |of: Value| {
            let mut wanted = json!({"apiVersion": "apps/v1", "kind": "Deployment"});
            for (field, value) in of.as_object().unwrap() {
                wanted[field] = value.clone();
            }
            json!({"metadata": {"namespace": "ns"}, "spec": {"subject": wanted}})
        };
        for (of, expected) in [
            (json!({"name": "d"}), true),
            (json!({"name": "d", "apiVersion": "apps/v1beta1"}), true),
            (json!({"name": "e"}), false),
            (json!({"name": "d", "namespace": "other"}), false),
            (json!({"name": "d", "kind": "Job"}), false),
            (json!({"name": "d", "apiVersion": "batch/v1"}), false),
            (json!({"selector": {"matchLabels": {"a": "b"}}}), true),
            (json!({"selector": {"matchLabels": {"a": "c"}}}), false),
            (json!({}), false),
        ] {
            assert_eq!(applies(&binding(of.clone()), &subject), expected, "{of}");
        }
    }

    #[test]
    fn certificates_are_told_where_there_are_any() {
        let mut subject =
            json!({"kind": "Job", "spec": {"template": {"spec": {"containers": [{}]}}}});
        let told = Told {
            ca_certs: Some("pem".to_owned()),
            ..told(Value::Null)
        };
        bind(&mut subject, &told);
        let env = &subject["spec"]["template"]["spec"]["containers"][0]["env"];
        let expected = json!([
            {"name": "K_SINK", "value": "http://sink"},
            {"name": "K_CA_CERTS", "value": "pem"},
            {"name": "K_CE_OVERRIDES"},
        ]);
        assert_eq!(*env, expected);
    }
}
