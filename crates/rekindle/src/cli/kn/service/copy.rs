//! `rekindle service export` and `import`: a Service as a manifest for elsewhere.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use http::Method;
use serde_json::{Map, Value, json};

use super::super::super::apply;
use super::super::super::client::{Api, Resource};
use super::super::super::output;
use super::super::{Named, revision, show};
use super::waiting::{LOOK_AGAIN, Waiting};
use super::{SERVICE, doing};

/// kn's own kind, which `import` reads.
const EXPORT_VERSION: &str = "client.knative.dev/v1alpha1";
/// The Configuration of a Service that was just created is there within this time.
const CONFIGURATION_PATIENCE: Duration = Duration::from_secs(30);
/// What the server writes into labels and annotations.
const OF_SERVER: [&str; 7] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "serving.knative.dev/configurationUID",
    "serving.knative.dev/creator",
    "serving.knative.dev/lastModifier",
    "serving.knative.dev/lastPinned",
    "serving.knative.dev/routingStateModified",
    "serving.knative.dev/serviceUID",
];

#[derive(Args, Debug)]
pub(crate) struct Export {
    #[command(flatten)]
    named: Named,
    /// The Revisions with traffic too.
    #[arg(long)]
    with_revisions: bool,
    /// `export` prints what `import` reads; `replay` the Service, or a List of what it was at each
    /// Revision, to be applied one after the other.
    #[arg(long, value_enum, default_value_t = Mode::Export)]
    mode: Mode,
    /// How to print.
    #[arg(long, short, value_enum, default_value_t = Format::Yaml)]
    output: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    Replay,
    Export,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Yaml,
    Json,
}

#[derive(Args, Debug)]
pub(crate) struct Import {
    /// The file; `-` reads standard input.
    filename: String,
    #[command(flatten)]
    waiting: Waiting,
}

pub(super) async fn export(api: &Api, flags: &Export) -> Result<()> {
    let service = SERVICE.get(api, &flags.named).await?;
    let revisions = match flags.with_revisions {
        true => revision::of_service(api, &flags.named.name).await?,
        false => Vec::new(),
    };
    let whole = match flags.mode {
        Mode::Replay if flags.with_revisions => {
            let items = replayed(&service, &revisions);
            json!({"apiVersion": "v1", "kind": "List", "items": items})
        }
        Mode::Replay => latest(&service, false),
        Mode::Export => exported(&service, &revisions),
    };
    match flags.output {
        Format::Yaml => output::print(&serde_saphyr::to_string(&whole)?),
        Format::Json => output::line(&serde_json::to_string_pretty(&whole)?),
    }
}

pub(super) async fn import(api: &Api, flags: &Import) -> Result<()> {
    let file = &flags.filename;
    let objects = apply::read(std::slice::from_ref(file))?;
    let is_known = |object: &Value| object["kind"] == "Service" || object["kind"] == "Export";
    if objects.is_empty() || !objects.iter().all(is_known) {
        bail!("{file} must hold what 'service export' prints");
    }
    for object in objects {
        match object["kind"] == "Export" {
            true => import_export(api, flags, &object["spec"]).await?,
            false => import_service(api, flags, object).await?,
        }
    }
    Ok(())
}

/// The Service, made or changed.
async fn import_service(api: &Api, flags: &Import, mut service: Value) -> Result<()> {
    service["metadata"]["namespace"] = json!(api.namespace);
    let path = SERVICE.path(api, Some(&show::name(&service)));
    let written = match api.find(&path).await? {
        None => api.post(&SERVICE.path(api, None), &service).await?,
        Some(have) => {
            service["metadata"]["resourceVersion"] = have["metadata"]["resourceVersion"].clone();
            keep_annotations_of_server(&mut service, &have);
            let body = serde_json::to_vec(&service)?;
            api.request(Method::PUT, &path, "application/json", body)
                .await?
        }
    };
    // The next one of a List must find the Revision of this one made.
    let doing = doing(api, "Importing", &written);
    flags
        .waiting
        .settle(api, &written, &doing, "imported to")
        .await
}

/// Who made it stays who made it: the server refuses another word, and none.
fn keep_annotations_of_server(service: &mut Value, have: &Value) {
    for key in OF_SERVER {
        if let Some(value) = have["metadata"]["annotations"].get(key) {
            service["metadata"]["annotations"][key] = value.clone();
        }
    }
}

/// A Service that is not there yet, and its Revisions, which are its Configuration's.
async fn import_export(api: &Api, flags: &Import, spec: &Value) -> Result<()> {
    let mut service = spec["service"].clone();
    let Some(name) = service["metadata"]["name"].as_str().map(str::to_owned) else {
        bail!("{}: the export names no service", flags.filename);
    };
    service["metadata"]["namespace"] = json!(api.namespace);
    if api.find(&SERVICE.path(api, Some(&name))).await?.is_some() {
        bail!(
            "cannot import service '{name}' in namespace '{}' because the service already exists",
            api.namespace
        );
    }
    let created = api.post(&SERVICE.path(api, None), &service).await?;
    let revisions = spec["revisions"].as_array().cloned().unwrap_or_default();
    if !revisions.is_empty() {
        let owner = configuration(api, &name).await?;
        for mut revision in revisions {
            revision["metadata"]["namespace"] = json!(api.namespace);
            revision["metadata"]["ownerReferences"] = json!([{
                "apiVersion": SERVICE.group_version,
                "kind": "Configuration",
                "name": name,
                "uid": owner["metadata"]["uid"],
                "controller": true,
                "blockOwnerDeletion": true,
            }]);
            api.post(&revision::path(api), &revision).await?;
        }
    }
    let doing = doing(api, "Importing", &created);
    flags
        .waiting
        .settle(api, &created, &doing, "imported to")
        .await
}

/// The Configuration of a Service, once it is made.
async fn configuration(api: &Api, name: &str) -> Result<Value> {
    let resource = Resource {
        group_version: SERVICE.group_version.to_owned(),
        kind: "Configuration".to_owned(),
        plural: "configurations".to_owned(),
        namespaced: true,
    };
    let path = resource.path(&api.namespace, Some(name));
    let start = Instant::now();
    while start.elapsed() < CONFIGURATION_PATIENCE {
        if let Some(configuration) = api.find(&path).await? {
            return Ok(configuration);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    bail!("the service '{name}' has no configuration yet; its revisions are not imported")
}

/// What kn's `import` reads.
fn exported(service: &Value, revisions: &[Value]) -> Value {
    let mut spec = json!({"service": latest(service, revisions.len() > 1)});
    let used: Vec<Value> = routed(service, revisions)
        .into_iter()
        .map(|revision| {
            json!({
                "apiVersion": SERVICE.group_version,
                "kind": "Revision",
                "metadata": own_metadata(revision),
                "spec": revision["spec"],
            })
        })
        .collect();
    if !used.is_empty() {
        spec["revisions"] = used.into();
    }
    json!({"apiVersion": EXPORT_VERSION, "kind": "Export", "spec": spec})
}

/// Name, labels and annotations without what the server wrote.
fn own_metadata(object: &Value) -> Value {
    let mut metadata = json!({"name": object["metadata"]["name"]});
    for field in ["labels", "annotations"] {
        let map = object["metadata"][field].as_object().into_iter().flatten();
        let own: Map<String, Value> = map
            .filter(|(key, _)| !OF_SERVER.contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if !own.is_empty() {
            metadata[field] = own.into();
        }
    }
    metadata
}

/// A Service without what the server wrote. `with_routes`: with its traffic, and with the name of
/// its newest Revision, which traffic may speak of.
fn latest(service: &Value, with_routes: bool) -> Value {
    let mut spec = json!({"template": service["spec"]["template"]});
    if with_routes {
        if service["spec"]["traffic"].is_array() {
            spec["traffic"] = service["spec"]["traffic"].clone();
        }
        let template = &mut spec["template"]["metadata"];
        if !template["name"].is_string() {
            template["name"] = service["status"]["latestCreatedRevisionName"].clone();
        }
    }
    json!({
        "apiVersion": SERVICE.group_version,
        "kind": SERVICE.kind,
        "metadata": own_metadata(service),
        "spec": spec,
    })
}

/// The Revisions that traffic names, but for the newest, the oldest first.
fn routed<'r>(service: &Value, revisions: &'r [Value]) -> Vec<&'r Value> {
    let targets = service["spec"]["traffic"].as_array();
    let newest = &service["status"]["latestCreatedRevisionName"];
    let is_routed = |revision: &&Value| {
        let name = &revision["metadata"]["name"];
        let mut named = targets.into_iter().flatten();
        name != newest && named.any(|target| target["revisionName"] == *name)
    };
    let mut used: Vec<&Value> = revisions.iter().filter(is_routed).collect();
    used.sort_by_key(|revision| revision::generation(revision));
    used
}

/// The Service as it was at each Revision that has traffic, the oldest first, then as it is.
fn replayed(service: &Value, revisions: &[Value]) -> Vec<Value> {
    let whole = latest(service, revisions.len() > 1);
    let then = |revision: &Value| {
        let mut then = whole.clone();
        let mut metadata = json!({"name": revision["metadata"]["name"]});
        let annotations = own_metadata(revision)["annotations"].take();
        if annotations.is_object() {
            metadata["annotations"] = annotations;
        }
        then["spec"] = json!({"template": {"metadata": metadata, "spec": revision["spec"]}});
        then
    };
    let mut all: Vec<Value> = routed(service, revisions).into_iter().map(then).collect();
    all.push(whole);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Value {
        json!({
            "metadata": {
                "name": "hello",
                "uid": "1",
                "annotations": {"serving.knative.dev/creator": "me", "a": "b"},
                "labels": {"app": "x"},
            },
            "spec": {
                "template": {"spec": {"containers": []}},
                "traffic": [
                    {"revisionName": "hello-00001", "percent": 40},
                    {"revisionName": "hello-00003", "percent": 60},
                ],
            },
            "status": {"latestCreatedRevisionName": "hello-00003"},
        })
    }

    fn revision(number: u8) -> Value {
        json!({
            "metadata": {
                "name": format!("hello-0000{number}"),
                "uid": "2",
                "labels": {
                    "serving.knative.dev/configuration": "hello",
                    "serving.knative.dev/configurationUID": "3",
                    "serving.knative.dev/configurationGeneration": number.to_string(),
                },
                "annotations": {"serving.knative.dev/creator": "me", "c": "d"},
            },
            "spec": {"timeoutSeconds": number},
            "status": {},
            "traffic": "40%",
        })
    }

    /// The newest Service as it is exported beside Revisions.
    fn whole() -> Value {
        let mut spec = service()["spec"].take();
        spec["template"]["metadata"] = json!({"name": "hello-00003"});
        json!({
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Service",
            "metadata": {"name": "hello", "annotations": {"a": "b"}, "labels": {"app": "x"}},
            "spec": spec,
        })
    }

    #[test]
    fn what_the_server_wrote_is_left_out() {
        let mut alone = whole();
        alone["spec"] = json!({"template": {"spec": {"containers": []}}});
        assert_eq!(latest(&service(), false), alone);
        let export = exported(&service(), &[]);
        assert_eq!(export["spec"], json!({"service": alone}));
        assert_eq!(export["kind"], "Export");
    }

    #[test]
    fn revisions_are_exported_or_replayed() {
        let revisions = [revision(3), revision(2), revision(1)];
        let export = exported(&service(), &revisions);
        let expected = json!({
            "service": whole(),
            "revisions": [{
                "apiVersion": "serving.knative.dev/v1",
                "kind": "Revision",
                "metadata": {
                    "name": "hello-00001",
                    "labels": {
                        "serving.knative.dev/configuration": "hello",
                        "serving.knative.dev/configurationGeneration": "1",
                    },
                    "annotations": {"c": "d"},
                },
                "spec": {"timeoutSeconds": 1},
            }],
        });
        assert_eq!(export["spec"], expected);
        let all = replayed(&service(), &revisions);
        assert_eq!(all.len(), 2);
        let expected = json!({"template": {
            "metadata": {"name": "hello-00001", "annotations": {"c": "d"}},
            "spec": {"timeoutSeconds": 1},
        }});
        assert_eq!(all[0]["spec"], expected);
        assert_eq!(all[1], whole());
    }
}
