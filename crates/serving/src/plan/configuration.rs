//! Configuration → a Revision for every generation of its template.

use std::cmp::Reverse;
use std::sync::Arc;

use api::conditions::{self, Conditions, rfc3339};
use api::convert::{BUILD, BUILD_REF};
use api::names;
use api::object::ObjectExt;
use api::serving::{self, sets};
use api::world::{Action, CONFIGURATION, Context, Key, Plan, REVISION, World};
use serde_json::{Value, json};

use super::build;
use api::draft::{Draft, strings};

/// Plans one Configuration.
pub fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, CONFIGURATION, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(sets::CONFIGURATION);
    if name_is_taken(world, &draft.object) {
        let name = template_name(&draft.object).unwrap_or_default();
        let text = format!(
            "Revision creation failed with message: revisions.serving.knative.dev {name:?} \
             already exists."
        );
        conditions.mark_false("Ready", "RevisionFailed", &text);
        return draft.finish(conditions);
    }
    let revisions = owned_revisions(&draft);
    let is_latest = |revision: &&Arc<Value>| match template_name(&draft.object) {
        Some(name) => revision.name() == name,
        None => generation_of(revision) == draft.object.generation(),
    };
    let latest = revisions.iter().find(is_latest).cloned();
    reconcile_latest_created(&mut draft, &mut conditions, latest.as_deref());
    reconcile_latest_ready(&mut draft, &mut conditions, &revisions);
    draft.finish(conditions)
}

/// Whether the name the user chose for the next Revision belongs to some other Revision: of
/// another Configuration, or of an earlier generation of this one.
pub(super) fn name_is_taken(world: &World, configuration: &Value) -> bool {
    let Some(name) = template_name(configuration) else {
        return false;
    };
    let revision = world.get(REVISION, configuration.namespace(), name);
    revision.is_some_and(|revision| {
        !is_owned(&revision, configuration)
            || generation_of(&revision) != configuration.generation()
    })
}

fn template_name(configuration: &Value) -> Option<&str> {
    configuration["spec"]["template"]["metadata"]["name"]
        .as_str()
        .filter(|name| !name.is_empty())
}

fn is_owned(revision: &Value, configuration: &Value) -> bool {
    let owner = revision.controller_owner();
    owner.is_some_and(|owner| owner["uid"] == *configuration.uid())
}

/// The generation of the Configuration a Revision was made of.
pub(super) fn generation_of(revision: &Value) -> i64 {
    revision
        .label(serving::CONFIGURATION_GENERATION)
        .and_then(|label| label.parse().ok())
        .unwrap_or(0)
}

/// The Revisions of the Configuration, newest first. The one whose name the user chose is the
/// newest: those that were imported beside it have the generations of another Configuration.
fn owned_revisions(draft: &Draft<'_>) -> Vec<Arc<Value>> {
    let configuration = &draft.object;
    let mut revisions = draft.world.labelled(
        REVISION,
        configuration.namespace(),
        serving::CONFIGURATION,
        configuration.name(),
    );
    revisions.retain(|revision| is_owned(revision, configuration));
    let chosen = template_name(configuration);
    revisions.sort_by_key(|revision| {
        let is_chosen = chosen == Some(revision.name());
        Reverse((is_chosen, generation_of(revision)))
    });
    revisions
}

fn reconcile_latest_created(
    draft: &mut Draft<'_>,
    conditions: &mut Conditions,
    latest: Option<&Value>,
) {
    let name = match latest {
        Some(revision) => revision.name().to_owned(),
        None => {
            let build = match build::ensure(draft) {
                Ok(build) => build,
                Err(build::Unknown) => {
                    conditions.mark_unknown("Ready", "Building", "The build is being looked up.");
                    return;
                }
            };
            let revision = wanted_revision(draft, build.as_ref());
            let name = revision.name().to_owned();
            draft.push(Action::Create(revision));
            draft.event("Normal", "Created", format!("Created Revision {name:?}"));
            name
        }
    };
    draft.status["latestCreatedRevisionName"] = json!(name);
    if draft.status["latestReadyRevisionName"] != *name {
        conditions.mark_unknown("Ready", "", "");
    }
    if let Some(ready) = latest.and_then(|revision| conditions::get(revision, "Ready"))
        && ready.is_false()
    {
        let text = format!("Revision {name:?} failed with message: {}.", ready.message);
        conditions.mark_false("Ready", "RevisionFailed", &text);
    }
}

fn reconcile_latest_ready(
    draft: &mut Draft<'_>,
    conditions: &mut Conditions,
    revisions: &[Arc<Value>],
) {
    let before = draft.status["latestReadyRevisionName"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let Some(ready) = revisions
        .iter()
        .find(|revision| conditions::is_ready(revision))
    else {
        let gone = !before.is_empty() && !revisions.iter().any(|r| r.name() == before);
        if gone && conditions.get("Ready").is_some_and(|c| c.is_unknown()) {
            let text = format!("Revision {before:?} was deleted.");
            conditions.mark_false("Ready", "RevisionDeleted", &text);
        }
        return;
    };
    if draft.status["latestCreatedRevisionName"] == *ready.name() {
        conditions.mark_true("Ready");
    }
    if before == ready.name() {
        return;
    }
    draft.status["latestReadyRevisionName"] = json!(ready.name());
    if before.is_empty() {
        draft.event(
            "Normal",
            "ConfigurationReady",
            "Configuration becomes ready".to_owned(),
        );
    }
    let text = format!("LatestReadyRevisionName updated to {:?}", ready.name());
    draft.event("Normal", "LatestReadyUpdate", text);
}

/// `build` is what the Revision is to wait for.
fn wanted_revision(draft: &Draft<'_>, build: Option<&Value>) -> Value {
    let configuration = &draft.object;
    let template = &configuration["spec"]["template"];
    let generation = configuration.generation();
    let name = match template_name(configuration) {
        Some(name) => name.to_owned(),
        None => names::revision(configuration.name(), generation),
    };
    let label = |key: &str| configuration.label(key).unwrap_or_default();
    let routes = configuration
        .annotation(serving::ROUTES)
        .unwrap_or_default();
    let labels = strings(
        &template["metadata"]["labels"],
        &[],
        &[
            (serving::CONFIGURATION, configuration.name()),
            (serving::CONFIGURATION_GENERATION, &generation.to_string()),
            (serving::CONFIGURATION_UID, configuration.uid()),
            (serving::SERVICE, label(serving::SERVICE)),
            (serving::SERVICE_UID, label(serving::SERVICE_UID)),
            (
                serving::ROUTING_STATE,
                if routes.is_empty() {
                    "pending"
                } else {
                    "active"
                },
            ),
        ],
    );
    let modified = rfc3339(draft.now());
    let mut extra = vec![(serving::ROUTING_STATE_MODIFIED, modified.as_str())];
    if let Some(creator) = configuration
        .annotation(serving::LAST_MODIFIER)
        .or_else(|| configuration.annotation(serving::CREATOR))
    {
        extra.push((serving::CREATOR, creator));
    }
    if !routes.is_empty() {
        extra.push((serving::ROUTES, routes));
    }
    let build = build.map(Value::to_string);
    extra.extend(build.as_deref().map(|build| (BUILD_REF, build)));
    let annotations = strings(&template["metadata"]["annotations"], &[BUILD], &extra);
    json!({
        "apiVersion": REVISION.api_version(),
        "kind": REVISION.kind,
        "metadata": draft.child_meta(&name, labels, annotations),
        "spec": template["spec"],
    })
}
