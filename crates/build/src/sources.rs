//! The steps that bring the source: one container each, before the Build's own steps.

use serde_json::{Value, json};

use crate::images;
use crate::pod::{WORKSPACE, implicit_env, implicit_mounts};

/// Git's revision when a Build does not say; what Knative's own fetcher took.
const REVISION: &str = "master";
/// Memory a fetch may take: repositories are unpacked in files, not in memory.
const MEMORY: &str = "2Gi";

/// What the sources of a Build come to.
#[derive(Default)]
pub(crate) struct Sources {
    /// Containers that fetch.
    pub(crate) containers: Vec<Value>,
    /// Containers of the user that come before the steps.
    pub(crate) custom: Vec<Value>,
    /// What steps see of the workspace.
    pub(crate) sub_path: String,
}

/// Reads `spec.source` or `spec.sources`.
pub(crate) fn of(spec: &Value) -> Sources {
    let one = Some(&spec["source"]).filter(|source| !source.is_null());
    let several = spec["sources"].as_array().into_iter().flatten();
    let mut sources = Sources::default();
    for (index, source) in one.into_iter().chain(several).enumerate() {
        let name = match text(&source["name"]) {
            "" => index.to_string(),
            name => name.to_owned(),
        };
        if !source["git"].is_null() {
            sources.containers.push(git(source, &name));
        } else if !source["gcs"].is_null() {
            sources.containers.push(gcs(source, &name));
        } else if !source["custom"].is_null() {
            sources.custom.push(custom(source));
        }
        let sub_path = text(&source["subPath"]);
        if !sub_path.is_empty() {
            sources.sub_path = sub_path.to_owned();
        }
    }
    sources
}

fn git(source: &Value, name: &str) -> Value {
    let git = &source["git"];
    let revision = match text(&git["revision"]) {
        "" => REVISION,
        revision => revision,
    };
    let mut args = vec!["-url", text(&git["url"]), "-revision", revision];
    let target = text(&source["targetPath"]);
    if !target.is_empty() {
        args.extend(["-path", target]);
    }
    container(&format!("git-source-{name}"), images::GIT_INIT, json!(args))
}

fn gcs(source: &Value, name: &str) -> Value {
    let gcs = &source["gcs"];
    let kind = match text(&gcs["type"]) {
        "" => "Archive",
        kind => kind,
    };
    let mut args = vec![
        "--type".to_owned(),
        kind.to_owned(),
        "--location".to_owned(),
        text(&gcs["location"]).to_owned(),
    ];
    let target = text(&source["targetPath"]);
    if !target.is_empty() {
        args.extend(["--dest_dir".to_owned(), format!("{WORKSPACE}/{target}")]);
    }
    container(
        &format!("gcs-source-{name}"),
        images::GCS_FETCHER,
        json!(args),
    )
}

fn container(name: &str, image: &str, args: Value) -> Value {
    json!({
        "name": format!("{}{name}", crate::STEP_PREFIX),
        "image": image,
        "args": args,
        "env": implicit_env(),
        "volumeMounts": implicit_mounts(),
        "workingDir": WORKSPACE,
        "resources": {"limits": {"memory": MEMORY}},
    })
}

/// It becomes a step like the user's own, by the name `custom-source`.
fn custom(source: &Value) -> Value {
    let mut container = source["custom"].clone();
    container["name"] = match text(&source["name"]) {
        "" => json!("custom-source"),
        name => json!(format!("custom-source-{name}")),
    };
    container
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
