//! EventPolicy → the subjects it stands for. Which addressables it is about is theirs to find out
//! (`addressable`).

use std::collections::BTreeSet;

use api::conditions::Set;
use api::draft::{Draft, set_or_remove};
use api::object::ObjectExt;
use api::world::{Context, EVENT_POLICY, Key, Plan, World};
use serde_json::{Value, json};

use super::config::features;
use super::resolve::{Found, find};

const SET: Set = Set::living(&["AuthenticationEnabled", "SubjectsResolved"]);

/// Plans one EventPolicy.
pub(super) fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, EVENT_POLICY, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(SET);
    if !features(world).authentication_oidc {
        conditions.mark_false("AuthenticationEnabled", "OIDCAuthenticationDisabled", "");
        return draft.finish(conditions);
    }
    conditions.mark_true("AuthenticationEnabled");
    match subjects(&mut draft) {
        Ok(Some(subjects)) => {
            let listed = (!subjects.is_empty()).then(|| json!(subjects));
            set_or_remove(&mut draft.status, "from", listed);
            conditions.mark_true("SubjectsResolved");
        }
        Ok(None) => conditions.mark_unknown(
            "SubjectsResolved",
            "Resolving",
            "The subjects are being looked up.",
        ),
        Err(why) => {
            set_or_remove(&mut draft.status, "from", None);
            let why = format!("Failed to resolve .spec.from[].ref: {why}");
            conditions.mark_false("SubjectsResolved", "SubjectsNotResolved", &why);
        }
    }
    draft.finish(conditions)
}

/// The subjects of `spec.from`; `None` while some are not known.
fn subjects(draft: &mut Draft<'_>) -> Result<Option<BTreeSet<String>>, String> {
    let from = draft.object["spec"]["from"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut subjects = BTreeSet::new();
    let mut is_whole = true;
    for from in &from {
        if let Some(subject) = from["sub"].as_str() {
            subjects.insert(subject.to_owned());
            continue;
        }
        match find(draft, &from["ref"]) {
            Found::Pending => is_whole = false,
            Found::Missing(why) => return Err(why),
            Found::Object(object) => subjects.extend(accounts(&object, &from["ref"])?),
        }
    }
    Ok(is_whole.then_some(subjects))
}

/// The ServiceAccounts as which an object sends events.
fn accounts(object: &Value, reference: &Value) -> Result<Vec<String>, String> {
    let auth = &object["status"]["auth"];
    let listed = auth["serviceAccountNames"].as_array().into_iter().flatten();
    let names: Vec<_> = listed
        .chain([&auth["serviceAccountName"]])
        .filter_map(Value::as_str)
        .collect();
    if names.is_empty() {
        let kind = reference["kind"].as_str().unwrap_or_default();
        let (namespace, name) = (object.namespace(), object.name());
        return Err(format!(
            "resource does not have an OIDC service account set: {kind} {namespace}/{name}"
        ));
    }
    let namespace = object.namespace();
    let subject = |name: &str| format!("system:serviceaccount:{namespace}:{name}");
    Ok(names.into_iter().map(subject).collect())
}
