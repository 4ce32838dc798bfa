//! CustomResourceDefinitions: their names are accepted or refused at once, and a definition that
//! is served holds a finalizer until its objects are gone.

use serde_json::{Value, json};

use super::{Errors, Rules, items, items_mut, set, text};
use crate::field::Error;
use crate::meta;
use crate::resource::Table;
use crate::status::Result;
use crate::write::Call;

pub(super) const RULES: Rules = Rules {
    default,
    prepare,
    validate,
};

/// Keeps a definition until its objects are gone.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

fn default(crd: &mut Value) {
    if !crd["spec"].is_object() {
        return;
    }
    set(&mut crd["spec"], "conversion", json!({"strategy": "None"}));
    let names = &mut crd["spec"]["names"];
    let kind = text(&names["kind"]).to_owned();
    if names.is_object() && !kind.is_empty() {
        set(names, "singular", kind.to_lowercase());
        set(names, "listKind", format!("{kind}List"));
    }
    for version in items_mut(&mut crd["spec"]["versions"]) {
        for key in ["served", "storage"] {
            set(version, key, false);
        }
    }
    if crd["spec"]["conversion"]["webhook"]["clientConfig"]["service"].is_object() {
        set(
            &mut crd["spec"]["conversion"]["webhook"]["clientConfig"]["service"],
            "port",
            443,
        );
    }
    if crd["spec"]["conversion"]
        .get("webhook")
        .is_some_and(Value::is_null)
    {
        crd["spec"]["conversion"]
            .as_object_mut()
            .map(|conversion| conversion.remove("webhook"));
    }
}

fn prepare(call: &Call<'_>, crd: &mut Value, old: Option<&Value>) -> Result<()> {
    if call.subresource == "status" {
        return Ok(());
    }
    if old.is_none() {
        meta::add_finalizer(crd, CLEANUP);
    }
    let before = old.map_or(Value::Null, |old| old["status"].clone());
    let conflict = conflict(&call.core.table(), crd);
    let accepted = conflict.is_none();
    let condition = |kind: &str, status: bool, reason: &str, message: &str| {
        let status = if status { "True" } else { "False" };
        let known = items(&before["conditions"])
            .iter()
            .find(|c| c["type"] == kind);
        let since = known
            .filter(|c| c["status"] == status)
            .map(|c| c["lastTransitionTime"].clone());
        json!({"type": kind, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": since.unwrap_or_else(|| meta::now().into())})
    };
    let conditions = match &conflict {
        None => json!([
            condition("NamesAccepted", true, "NoConflicts", "no conflicts found"),
            condition(
                "Established",
                true,
                "InitialNamesAccepted",
                "the initial names have been accepted"
            ),
        ]),
        Some((reason, message)) => json!([
            condition("NamesAccepted", false, reason, message),
            condition(
                "Established",
                false,
                "NotAccepted",
                "not all names are accepted"
            ),
        ]),
    };
    let mut stored: Vec<Value> = items(&before["storedVersions"]).to_vec();
    for version in items(&crd["spec"]["versions"])
        .iter()
        .filter(|v| v["storage"] == true)
    {
        if !stored.contains(&version["name"]) {
            stored.push(version["name"].clone());
        }
    }
    let names = if accepted {
        crd["spec"]["names"].clone()
    } else {
        before["acceptedNames"].clone()
    };
    let names = if names.is_object() {
        names
    } else {
        json!({"plural": "", "kind": ""})
    };
    crd["status"] = json!({
        "conditions": conditions,
        "acceptedNames": names,
        "storedVersions": stored,
    });
    Ok(())
}

/// Reason and message of the first name somebody else in the group has already.
fn conflict(table: &Table, crd: &Value) -> Option<(&'static str, String)> {
    let (spec, own) = (&crd["spec"], text(&crd["metadata"]["name"]));
    let names = &spec["names"];
    let group = table.group(text(&spec["group"]))?;
    let others: Vec<_> = group
        .versions
        .iter()
        .flat_map(|version| &version.resources)
        .filter(|r| {
            r.custom
                .as_ref()
                .is_none_or(|custom| custom.definition != own)
        })
        .collect();
    let taken = |name: &str| {
        others.iter().any(|r| {
            r.plural == name
                || r.singular == name
                || r.short_names.iter().any(|short| short == name)
        })
    };
    let plural = text(&names["plural"]);
    if taken(plural) {
        return Some(("PluralConflict", format!("\"{plural}\" is already in use")));
    }
    let singular = text(&names["singular"]);
    if taken(singular) {
        return Some((
            "SingularConflict",
            format!("\"{singular}\" is already in use"),
        ));
    }
    if let Some(short) = meta::strings(&names["shortNames"]).find(|short| taken(short)) {
        return Some((
            "ShortNamesConflict",
            format!("\"{short}\" is already in use"),
        ));
    }
    let kind = text(&names["kind"]);
    let same = others.iter().any(|r| r.kind == kind || r.list_kind == kind);
    same.then(|| ("KindConflict", format!("\"{kind}\" is already in use")))
}

fn validate(crd: &Value, old: Option<&Value>, errors: &mut Errors) {
    let (spec, names) = (&crd["spec"], &crd["spec"]["names"]);
    for (value, field) in [
        (&spec["group"], "spec.group"),
        (&names["plural"], "spec.names.plural"),
        (&names["kind"], "spec.names.kind"),
        (&spec["scope"], "spec.scope"),
    ] {
        if text(value).is_empty() {
            errors.push(Error::required(field, ""));
        }
    }
    let required = format!("{}.{}", text(&names["plural"]), text(&spec["group"]));
    if text(&crd["metadata"]["name"]) != required {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        errors.push(Error::invalid(
            "metadata.name",
            &crd["metadata"]["name"],
            detail,
        ));
    }
    let scopes = ["Cluster", "Namespaced"];
    if spec["scope"].is_string() && !scopes.contains(&text(&spec["scope"])) {
        errors.push(Error::not_supported("spec.scope", &spec["scope"], &scopes));
    }
    for (key, field) in [
        ("plural", "spec.names.plural"),
        ("singular", "spec.names.singular"),
    ] {
        for wrong in crate::field::dns1035_label(text(&names[key])) {
            if !text(&names[key]).is_empty() {
                errors.push(Error::invalid(field, &names[key], &wrong));
            }
        }
    }
    versions(&spec["versions"], errors);
    let Some(old) = old else { return };
    for key in ["group", "scope"] {
        if spec[key] != old["spec"][key] {
            errors.push(Error::invalid(
                format!("spec.{key}"),
                &spec[key],
                "field is immutable",
            ));
        }
    }
    for (index, stored) in items(&crd["status"]["storedVersions"]).iter().enumerate() {
        if !items(&spec["versions"])
            .iter()
            .any(|version| version["name"] == *stored)
        {
            let field = format!("status.storedVersions[{index}]");
            errors.push(Error::invalid(
                field,
                stored,
                "must appear in spec.versions",
            ));
        }
    }
}

fn versions(versions: &Value, errors: &mut Errors) {
    if items(versions).is_empty() {
        errors.push(Error::required("spec.versions", ""));
        return;
    }
    let stored = items(versions)
        .iter()
        .filter(|version| version["storage"] == true)
        .count();
    if stored != 1 {
        let detail = "must have exactly one version marked as storage version";
        errors.push(Error::invalid("spec.versions", versions, detail));
    }
    let mut names = Vec::new();
    for (index, version) in items(versions).iter().enumerate() {
        let field = format!("spec.versions[{index}]");
        for wrong in crate::field::dns1035_label(text(&version["name"])) {
            errors.push(Error::invalid(
                format!("{field}.name"),
                &version["name"],
                &wrong,
            ));
        }
        if names.contains(&&version["name"]) {
            errors.push(Error::duplicate(format!("{field}.name"), &version["name"]));
        }
        names.push(&version["name"]);
        let schema = &version["schema"]["openAPIV3Schema"];
        if !schema.is_object() {
            let field = format!("{field}.schema.openAPIV3Schema");
            errors.push(Error::required(field, "schemas are required"));
        } else {
            let wrong = match schema::Schema::from_crd(schema) {
                Ok(schema) => schema.broken_rules().to_vec(),
                Err(wrong) => wrong,
            };
            let at = |inner: &str| match inner {
                "" => format!("{field}.schema.openAPIV3Schema"),
                inner => format!("{field}.schema.openAPIV3Schema.{inner}"),
            };
            errors.extend(wrong.into_iter().map(|error| {
                let field = at(&error.field);
                Error {
                    field,
                    ..Error::from(error)
                }
            }));
        }
    }
}
