//! Changing an object that exists: replace, patch, status, scale all come down to a function from
//! the old state to the new one, tried again when somebody else wrote in between.

use serde_json::Value;

use super::{Call, Stored, admit, check_identity};
use crate::core::store_status;
use crate::hooks::Operation;
use crate::resource::Resource;
use crate::status::{Result, Status};
use crate::store::{Entry, Error, Expect};
use crate::{after, apply, kinds, meta, quota};

/// So often a patch without a stated revision is tried anew after a concurrent write.
const ATTEMPTS: usize = 20;

/// The outcome of [`modify`].
pub(crate) struct Modified {
    pub(crate) stored: Stored,
}

/// Replaces the object `name` by `change(old)`.
///
/// # Errors
/// `Conflict` when the new state names a revision that is not the stored one; whatever `change`,
/// admission or validation object to.
pub(crate) async fn modify(
    call: &Call<'_>,
    name: &str,
    mut change: impl FnMut(&Value) -> Result<Value>,
) -> Result<Modified> {
    for _ in 0..ATTEMPTS {
        let entry = call.core.entry(call.resource, call.namespace, name)?;
        let old = call.core.decode(call.resource, &entry).await?;
        let new = change(&old)?;
        let stated = new["metadata"]["resourceVersion"]
            .as_str()
            .unwrap_or_default();
        let insists = !stated.is_empty() && old["metadata"]["resourceVersion"] != stated;
        if insists {
            return Err(Status::modified(call.resource, name));
        }
        match once(call, name, (&entry, &old), new).await {
            Err(Attempt::Raced) => {}
            Err(Attempt::Failed(status)) => return Err(status),
            Ok(stored) => return Ok(Modified { stored }),
        }
    }
    Err(Status::modified(call.resource, name))
}

enum Attempt {
    /// Somebody else wrote in between.
    Raced,
    Failed(Status),
}

impl From<Status> for Attempt {
    fn from(status: Status) -> Self {
        Self::Failed(status)
    }
}

async fn once(
    call: &Call<'_>,
    name: &str,
    (entry, old): (&std::sync::Arc<Entry>, &Value),
    mut new: Value,
) -> Result<Stored, Attempt> {
    let Call { core, resource, .. } = call;
    check_identity(resource, call.namespace, &mut new)?;
    let settle = |new: &mut Value| settle(call, name, old, new);
    settle(&mut new)?;
    let new = admit::admit(call, Operation::Update, new, old, &settle).await?;
    let mut new = kinds::finish(resource, new, Some(old));
    bump_generation(resource, old, &mut new);
    kinds::validate(call, name, &new, Some(old))?;
    admit::validate(call, Operation::Update, &new, old).await?;
    apply::track(call, Some(old), &mut new);
    if new == *old {
        return Ok(Stored::Entry(std::sync::Arc::clone(entry)));
    }
    // Only these can grow.
    let grows = resource.is("", "services") || resource.is("", "persistentvolumeclaims");
    let _counted = match grows && call.subresource.is_empty() {
        true => quota::check(call, name, &new, old).await?,
        false => None,
    };
    if call.dry_run {
        return Ok(Stored::Value(new));
    }
    core.addresses
        .allocate(resource, name, &mut new, Some(old))?;
    let mut new = core.to_storage(resource, new).await?;
    let key = (resource.id, &*entry.path);
    let meta = meta::for_store(&new);
    let gone = is_finished(&new);
    let written = if gone {
        core.store.delete(key, entry.revision, |revision, _| {
            meta::encode(&mut new, revision)
        })
    } else {
        let expect = Expect::Revision(entry.revision);
        core.store.put(key, expect, meta, |revision| {
            meta::encode(&mut new, revision)
        })
    };
    let written = match written {
        Ok(written) => written,
        Err(Error::Conflict { .. }) => return Err(Attempt::Raced),
        Err(error) => return Err(store_status(resource, name, &error).into()),
    };
    if gone {
        after::deleted(core, resource, &new).await;
    } else {
        after::written(core, resource, &new).await;
    }
    Ok(call.acknowledge(written).await?)
}

/// Fills in what the new state leaves out, and takes back what it has no say in.
fn settle(call: &Call<'_>, name: &str, old: &Value, new: &mut Value) -> Result<()> {
    keep_identity(call.resource, name, old, new)?;
    if call.subresource != "status" {
        kinds::default(call.resource, new);
    }
    prepare(call, old, new);
    kinds::prepare_update(call, new, old)
}

/// Name and UID never change; times and deletion are the server's.
fn keep_identity(resource: &Resource, name: &str, old: &Value, new: &mut Value) -> Result<()> {
    let metadata = meta::of(new);
    let stated = metadata
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if stated.is_empty() && metadata.contains_key("name") || stated.is_empty() {
        metadata.insert("name".into(), name.into());
    } else if stated != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({stated}) does not match the name on the URL ({name})"
        )));
    }
    let before = &old["metadata"];
    match metadata.get("uid").and_then(Value::as_str) {
        Some(uid) if !uid.is_empty() && before["uid"] != uid => {
            let stored = before["uid"].as_str().unwrap_or_default();
            let why = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {stored}"
            );
            return Err(Status::conflict(resource, name, &why));
        }
        _ => {}
    }
    metadata.remove("selfLink");
    let kept = [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
        "generateName",
    ];
    for key in kept {
        match before.get(key) {
            Some(value) => drop(metadata.insert(key.into(), value.clone())),
            None => drop(metadata.remove(key)),
        }
    }
    Ok(())
}

/// A write of the object leaves its status alone; a write of the status leaves the rest alone.
fn prepare(call: &Call<'_>, old: &Value, new: &mut Value) {
    if call.subresource == "status" {
        let mut kept = old.clone();
        let fields = kept.as_object_mut();
        match (new.get("status"), fields) {
            (Some(status), Some(fields)) => drop(fields.insert("status".into(), status.clone())),
            (None, Some(fields)) => drop(fields.remove("status")),
            _ => {}
        }
        if let Some(managed) = new["metadata"].get("managedFields") {
            kept["metadata"]["managedFields"] = managed.clone();
        }
        *new = kept;
    } else if call.resource.has("status") {
        let Some(fields) = new.as_object_mut() else {
            return;
        };
        match old.get("status") {
            Some(status) => drop(fields.insert("status".into(), status.clone())),
            None => drop(fields.remove("status")),
        }
    }
}

/// Counts changes of the desired state: everything but metadata and, where it is a subresource,
/// status.
fn bump_generation(resource: &Resource, old: &Value, new: &mut Value) {
    if !resource.has_generation {
        return;
    }
    let has_status = resource.has("status") || resource.row.is_some();
    let counts = |key: &str| match resource.row {
        Some(_) => !matches!(key, "metadata" | "status" | "apiVersion" | "kind"),
        None => {
            !matches!(key, "metadata" | "apiVersion" | "kind") && (key != "status" || !has_status)
        }
    };
    if !fields(old, &counts).eq(fields(new, &counts)) {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or_default();
        meta::of(new).insert("generation".into(), (generation + 1).into());
    }
}

/// The fields of an object that count.
fn fields<'a>(
    object: &'a Value,
    counts: &'a impl Fn(&str) -> bool,
) -> impl Iterator<Item = (&'a String, &'a Value)> {
    let all = object.as_object().into_iter().flatten();
    all.filter(|(key, _)| counts(key))
}

/// Whether nothing holds a deleted object any longer.
fn is_finished(object: &Value) -> bool {
    let metadata = &object["metadata"];
    let finalizers = metadata["finalizers"]
        .as_array()
        .is_some_and(|f| !f.is_empty());
    let grace = metadata["deletionGracePeriodSeconds"]
        .as_i64()
        .unwrap_or_default();
    let namespace = object["kind"] == "Namespace"
        && object["apiVersion"] == "v1"
        && object["spec"]["finalizers"]
            .as_array()
            .is_some_and(|f| !f.is_empty());
    metadata["deletionTimestamp"].is_string() && !finalizers && grace == 0 && !namespace
}
