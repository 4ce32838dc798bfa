//! The build that a Configuration of 2018 and 2019 began with: a Build made of what it says, and
//! Revisions that wait until it has succeeded. Conversion keeps both in annotations of the
//! template ([`api::convert::BUILD`], [`api::convert::BUILD_REF`]).
//!
//! What is waited for need not be a Build: any object with a condition `Succeeded` will do, as it
//! did then.

use std::sync::Arc;

use api::conditions::{self, Conditions, Status};
use api::convert::{BUILD, BUILD_REF};
use api::draft::{Draft, controller_reference};
use api::object::ObjectExt;
use api::serving::{self, BUILD_HASH};
use api::world::{self as kinds, Action, Fact, Kind};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const BUILD_SUCCEEDED: &str = "BuildSucceeded";
/// A label holds no more.
const LABEL_MAX: usize = 63;
/// Of the hash, in the name of a Build.
const NAME_PART: usize = 8;

/// Whether there is such a Build is not known yet.
pub(super) struct Unknown;

/// Sees to the Build of the Configuration's template. Answers what the next Revision is to wait
/// for: that Build, or nothing (a reference that the template itself has needs no help).
pub(super) fn ensure(draft: &mut Draft<'_>) -> Result<Option<Value>, Unknown> {
    let Some(build) = wanted(&draft.object) else {
        return Ok(None);
    };
    let reference = json!({
        "apiVersion": build.api_version(),
        "kind": build.kind(),
        "name": build.name(),
    });
    // The same words may have been built before: for an earlier generation.
    if let Found::Missing(_) = look(draft, &reference).ok_or(Unknown)? {
        let text = format!("Created Build {:?}", build.name());
        draft.push(Action::Create(build));
        draft.event("Normal", "Created", text);
    }
    Ok(Some(reference))
}

/// The Build a Configuration asks for. Its name says what is built, so that the same words are
/// built once.
fn wanted(configuration: &Value) -> Option<Value> {
    let said = configuration["spec"]["template"].annotation(BUILD)?;
    let mut build: Value = serde_json::from_str(said).ok()?;
    if build["kind"].is_null() || build["apiVersion"].is_null() {
        // Until v0.4 it was the spec alone.
        build = json!({
            "apiVersion": "build.knative.dev/v1alpha1",
            "kind": "Build",
            "spec": build,
        });
    }
    let hash = hex::encode(Sha256::digest(said));
    let name = format!("{}-{}", configuration.name(), &hash[..NAME_PART]);
    let metadata = &mut build["metadata"];
    metadata["name"] = json!(name);
    metadata["namespace"] = json!(configuration.namespace());
    metadata["ownerReferences"] = json!([controller_reference(configuration)]);
    metadata["labels"][BUILD_HASH] = json!(&hash[..LABEL_MAX]);
    metadata["labels"][serving::CONFIGURATION] = json!(configuration.name());
    Some(build)
}

/// What a Revision waits for: `apiVersion`, `kind` and `name`.
pub(super) fn reference(revision: &Value) -> Option<Value> {
    serde_json::from_str(revision.annotation(BUILD_REF)?).ok()
}

/// Marks `BuildSucceeded`; answers whether the Revision may go on.
pub(super) fn wait(draft: &mut Draft<'_>, conditions: &mut Conditions, reference: &Value) -> bool {
    if conditions.is_true(BUILD_SUCCEEDED) {
        // What has been built stays so when the Build is gone.
        return true;
    }
    let name = format!("{} {:?}", reference.kind(), text(reference, "name"));
    let Some(found) = look(draft, reference) else {
        let why = format!("{name} is being looked up.");
        conditions.mark_unknown(BUILD_SUCCEEDED, "Building", &why);
        return false;
    };
    let build = match found {
        Found::There(build) => build,
        Found::Missing(error) => {
            let why = format!("{name} is not there: {error}");
            conditions.mark_unknown(BUILD_SUCCEEDED, "Building", &why);
            return false;
        }
    };
    match conditions::get(&build, "Succeeded") {
        Some(done) if done.status == Status::True => {
            conditions.mark_true(BUILD_SUCCEEDED);
            true
        }
        Some(done) if done.status == Status::False => {
            conditions.mark_false(BUILD_SUCCEEDED, &done.reason, &done.message);
            false
        }
        _ => {
            let why = format!("{name} is still running.");
            conditions.mark_unknown(BUILD_SUCCEEDED, "Building", &why);
            false
        }
    }
}

/// What is known of what is waited for.
enum Found {
    There(Arc<Value>),
    /// In the API server's words.
    Missing(String),
}

fn look(draft: &mut Draft<'_>, reference: &Value) -> Option<Found> {
    let (api_version, kind) = (reference.api_version(), reference.kind());
    let name = text(reference, "name");
    if Kind::find(api_version, kind) == Some(kinds::BUILD) {
        let missing = || Found::Missing(format!("builds.build.knative.dev {name:?} not found"));
        let build = draft.get(kinds::BUILD, name);
        return Some(build.map_or_else(missing, Found::There));
    }
    let found = draft.need(Fact::Object {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: draft.namespace().to_owned(),
        name: name.to_owned(),
    })?;
    Some(match &found["object"] {
        Value::Null => Found::Missing(text(&found, "error").to_owned()),
        object => Found::There(Arc::new(object.clone())),
    })
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}
