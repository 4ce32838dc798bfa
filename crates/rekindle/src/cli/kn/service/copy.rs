//! `rekindle service export` and `import`: a Service as a manifest for elsewhere.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::super::super::apply;
use super::super::super::client::Api;
use super::super::super::output;
use super::super::{Named, revision, show};
use super::SERVICE;

#[derive(Args, Debug)]
pub(super) struct Export {
    #[command(flatten)]
    named: Named,
    /// The Revisions with traffic too, as Services to be created one after the other.
    #[arg(long)]
    with_revisions: bool,
    /// How to print.
    #[arg(long, short, value_enum, default_value_t = Format::Yaml)]
    output: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Yaml,
    Json,
}

#[derive(Args, Debug)]
pub(super) struct Import {
    /// The file; `-` reads standard input.
    filename: String,
}

pub(super) async fn export(api: &Api, flags: &Export) -> Result<()> {
    let service = SERVICE.get(api, &flags.named).await?;
    let mut exported = vec![stripped(&service)];
    if flags.with_revisions {
        let revisions = revision::of_service(api, &flags.named.name).await?;
        exported = replayed(&service, &revisions);
    }
    let whole = match exported.len() {
        1 => exported.remove(0),
        _ => json!({"apiVersion": "v1", "kind": "List", "items": exported}),
    };
    match flags.output {
        Format::Yaml => output::print(&serde_saphyr::to_string(&whole)?),
        Format::Json => output::line(&serde_json::to_string_pretty(&whole)?),
    }
}

pub(super) async fn import(api: &Api, flags: &Import) -> Result<()> {
    let objects = apply::read(std::slice::from_ref(&flags.filename))?;
    if objects.is_empty() || objects.iter().any(|object| object["kind"] != "Service") {
        bail!(
            "{} must hold Services, as export prints them",
            flags.filename
        );
    }
    for mut service in objects {
        service["metadata"]["namespace"] = json!(api.namespace);
        let name = show::name(&service);
        let path = SERVICE.path(api, Some(&name));
        match api.find(&path).await? {
            None => SERVICE.create(api, &service).await?,
            Some(have) => {
                service["metadata"]["resourceVersion"] =
                    have["metadata"]["resourceVersion"].clone();
                SERVICE.update(api, &service).await?;
            }
        }
    }
    Ok(())
}

/// A Service without what the server wrote.
fn stripped(service: &Value) -> Value {
    let kept = |map: &Value| {
        let map = map.as_object().into_iter().flatten();
        let own = map.filter(|(key, _)| {
            let of_server = ["/creator", "/lastModifier", "/last-applied-configuration"];
            !of_server.iter().any(|suffix| key.ends_with(suffix))
        });
        own.map(|(key, value)| (key.clone(), value.clone()))
            .collect::<Map<_, _>>()
    };
    let mut metadata = json!({"name": service["metadata"]["name"]});
    for field in ["labels", "annotations"] {
        let map = kept(&service["metadata"][field]);
        if !map.is_empty() {
            metadata[field] = map.into();
        }
    }
    let mut spec = json!({"template": service["spec"]["template"]});
    if service["spec"]["traffic"].is_array() {
        spec["traffic"] = service["spec"]["traffic"].clone();
    }
    json!({
        "apiVersion": SERVICE.group_version,
        "kind": SERVICE.kind,
        "metadata": metadata,
        "spec": spec,
    })
}

/// The Service as it was at each Revision that has traffic, the oldest first, then as it is.
fn replayed(service: &Value, revisions: &[Value]) -> Vec<Value> {
    let targets = service["spec"]["traffic"].as_array();
    let mut named = targets.into_iter().flatten();
    let has_traffic = |revision: &Value| {
        named.any(|target| target["revisionName"] == revision["metadata"]["name"])
    };
    let latest = &service["status"]["latestCreatedRevisionName"];
    let mut used: Vec<&Value> = revisions.iter().collect();
    used.retain({
        let mut has_traffic = has_traffic;
        move |revision| revision["metadata"]["name"] != *latest && has_traffic(revision)
    });
    used.sort_by_key(|revision| revision::generation(revision));
    let whole = stripped(service);
    let mut all: Vec<Value> = used
        .into_iter()
        .map(|revision| {
            let mut then = whole.clone();
            then["spec"] = json!({"template": {
                "metadata": {"name": revision["metadata"]["name"]},
                "spec": revision["spec"],
            }});
            then
        })
        .collect();
    all.push(whole);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_wrote_is_left_out() {
        let service = json!({
            "metadata": {
                "name": "hello",
                "uid": "1",
                "annotations": {"serving.knative.dev/creator": "me", "a": "b"},
                "labels": {"app": "x"},
            },
            "spec": {
                "template": {"spec": {"containers": []}},
                "traffic": [{"revisionName": "hello-00001", "percent": 100}],
            },
            "status": {"latestCreatedRevisionName": "hello-00003"},
        });
        let expected = json!({
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Service",
            "metadata": {"name": "hello", "annotations": {"a": "b"}, "labels": {"app": "x"}},
            "spec": service["spec"],
        });
        assert_eq!(stripped(&service), expected);
        let revision = |number: u8| {
            json!({
                "metadata": {"name": format!("hello-0000{number}")},
                "spec": {"timeoutSeconds": number},
            })
        };
        let all = replayed(&service, &[revision(1), revision(2)]);
        assert_eq!(all.len(), 2);
        let template = &all[0]["spec"]["template"];
        assert_eq!(template["metadata"]["name"], "hello-00001");
        assert_eq!(all[1], expected);
    }
}
