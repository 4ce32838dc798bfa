//! Which bytes a Revision runs: image tags are resolved to digests once, when it is made, so that
//! a tag that moves later does not change it.

use api::object::ObjectExt;
use api::serving::revision::{containers, init_containers};
use api::world::Fact;
use serde_json::{Value, json};

use crate::plan::config::Config;
use api::draft::{Draft, set_or_remove};

/// Registries whose images exist on the node only.
const SKIPPED_DEFAULT: &str = "kind.local,ko.local,dev.local";
/// The registry of an image that names none.
const REGISTRY_DEFAULT: &str = "index.docker.io";

/// How far the resolution is.
pub(super) enum Outcome {
    /// `status.containerStatuses` are complete.
    Resolved,
    /// A digest is being asked for.
    Waiting,
    /// An image cannot be had, and why.
    Failed(String),
}

/// Fills in `status.containerStatuses` and `status.initContainerStatuses`.
pub(super) fn reconcile(draft: &mut Draft<'_>) -> Outcome {
    let revision = draft.object.clone();
    let parts = [
        ("containerStatuses", containers(&revision)),
        ("initContainerStatuses", init_containers(&revision)),
    ];
    let done = parts.iter().all(|(field, containers)| {
        let known = revision["status"][field].as_array().map_or(0, Vec::len);
        known == containers.len()
    });
    if done {
        return Outcome::Resolved;
    }
    let skipped = skipped_registries(draft);
    let mut waiting = false;
    for (field, containers) in parts {
        let mut statuses = Vec::with_capacity(containers.len());
        for container in containers {
            let image = container["image"].as_str().unwrap_or_default();
            match digest(draft, &revision, image, &skipped) {
                Ok(Some(digest)) => {
                    statuses.push(json!({"name": container["name"], "imageDigest": digest}));
                }
                Ok(None) => waiting = true,
                Err(error) => {
                    let text = format!("Unable to fetch image {image:?}: {error}");
                    return Outcome::Failed(text);
                }
            }
        }
        let complete = !statuses.is_empty() && statuses.len() == containers.len();
        set_or_remove(&mut draft.status, field, complete.then(|| json!(statuses)));
    }
    if waiting {
        Outcome::Waiting
    } else {
        Outcome::Resolved
    }
}

/// The image to run: the digest if there is one, else what the user wrote.
pub(super) fn image<'a>(container: &'a Value, status: &'a Value) -> &'a Value {
    let resolved = &status["imageDigest"];
    if resolved.as_str().unwrap_or_default().is_empty() {
        &container["image"]
    } else {
        resolved
    }
}

/// The digest reference of an image; empty where none is asked for.
fn digest(
    draft: &mut Draft<'_>,
    revision: &Value,
    image: &str,
    skipped: &[String],
) -> Result<Option<String>, String> {
    if image.contains("@sha256:") {
        return Ok(Some(image.to_owned()));
    }
    if skipped
        .iter()
        .any(|registry| registry == self::registry(image))
    {
        return Ok(Some(String::new()));
    }
    let secrets = revision["spec"]["imagePullSecrets"].as_array();
    let fact = Fact::Digest {
        image: image.to_owned(),
        namespace: revision.namespace().to_owned(),
        service_account: revision["spec"]["serviceAccountName"]
            .as_str()
            .unwrap_or("default")
            .to_owned(),
        pull_secrets: secrets
            .into_iter()
            .flatten()
            .filter_map(|secret| Some(secret["name"].as_str()?.to_owned()))
            .collect(),
    };
    let Some(known) = draft.need(fact) else {
        return Ok(None);
    };
    match known["error"].as_str() {
        Some(error) => Err(error.to_owned()),
        None => Ok(Some(
            known["digest"].as_str().unwrap_or_default().to_owned(),
        )),
    }
}

fn skipped_registries(draft: &Draft<'_>) -> Vec<String> {
    let config = Config::read(draft.cx, draft.world, "deployment");
    let list = config
        .text(&[
            "registries-skipping-tag-resolving",
            "registriesSkippingTagResolving",
        ])
        .unwrap_or(SKIPPED_DEFAULT);
    list.split(',').map(|name| name.trim().to_owned()).collect()
}

/// The registry an image reference names.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => REGISTRY_DEFAULT,
    }
}
