//! Deleting an object: at once, after its grace period, or when its finalizers are done.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::{Call, Stored, admit};
use crate::core::{decode_stored, store_status};
use crate::hooks::Operation;
use crate::resource::Resource;
use crate::status::{Result, Status};
use crate::store::{Entry, Error, Expect};
use crate::{after, meta};

/// The finalizer that keeps an owner until its dependents are gone.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer that keeps an owner until its dependents no longer refer to it.
pub(crate) const ORPHAN: &str = "orphan";
/// So often a deletion without preconditions is tried anew after a concurrent write.
const ATTEMPTS: usize = 20;

/// `metav1.DeleteOptions`.
#[derive(Clone, Default, Debug)]
pub(crate) struct DeleteOptions {
    pub(crate) grace_period_seconds: Option<i64>,
    pub(crate) propagation_policy: Option<String>,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
}

impl DeleteOptions {
    /// Reads the options of a body; query parameters fill what it leaves out.
    pub(crate) fn parse(body: &Value, query: &crate::request::Query) -> Result<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let of_query = |key: &str| Some(query.get(key).to_owned()).filter(|v| !v.is_empty());
        let policy = text(&body["propagationPolicy"]).or_else(|| of_query("propagationPolicy"));
        let orphan = body["orphanDependents"].as_bool();
        let orphan = orphan.map(|o| if o { "Orphan" } else { "Background" }.to_owned());
        let options = Self {
            grace_period_seconds: match body["gracePeriodSeconds"].as_i64() {
                Some(seconds) => Some(seconds),
                None => query.number("gracePeriodSeconds")?,
            },
            propagation_policy: policy.or(orphan),
            uid: text(&body["preconditions"]["uid"]),
            resource_version: text(&body["preconditions"]["resourceVersion"]),
        };
        match options.propagation_policy.as_deref() {
            None | Some("Orphan" | "Background" | "Foreground") => Ok(options),
            Some(other) => Err(Status::new(
                422,
                "Invalid",
                format!(
                    "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \
                 \"{other}\": supported values: \"Background\", \"Foreground\", \"Orphan\", \"nil\""
                ),
            )),
        }
    }
}

/// What became of the object.
pub(crate) enum Deleted {
    /// It is gone; its last state.
    Gone(Stored, String),
    /// It is marked and goes later.
    Marked(Stored),
}

/// Deletes the object `name`.
pub(crate) async fn delete(
    call: &Call<'_>,
    name: &str,
    options: &DeleteOptions,
) -> Result<Deleted> {
    for _ in 0..ATTEMPTS {
        let entry = call.core.entry(call.resource, call.namespace, name)?;
        let object = decode_stored(&entry)?;
        check_preconditions(call.resource, name, &object, options)?;
        let served = call.core.decode(call.resource, &entry).await?;
        admit::admit(call, Operation::Delete, Value::Null, &served, &|_| Ok(())).await?;
        admit::validate(call, Operation::Delete, &Value::Null, &served).await?;
        match once(call, name, (&entry, object), options).await {
            Ok(None) => {}
            Ok(Some(deleted)) => return Ok(deleted),
            Err(status) => return Err(status),
        }
    }
    Err(Status::modified(call.resource, name))
}

async fn once(
    call: &Call<'_>,
    name: &str,
    (entry, mut object): (&Arc<Entry>, Value),
    options: &DeleteOptions,
) -> Result<Option<Deleted>> {
    let Call { core, resource, .. } = call;
    let before = object.clone();
    let fate = mark(resource, &mut object, options);
    let key = (resource.id, &*entry.path);
    if fate == Fate::Wait {
        if object == before {
            return Ok(Some(Deleted::Marked(Stored::Entry(Arc::clone(entry)))));
        }
        if call.dry_run {
            return Ok(Some(Deleted::Marked(Stored::Value(object))));
        }
        let expect = Expect::Revision(entry.revision);
        let meta = meta::for_store(&object);
        let encode = |revision| meta::encode(&mut object, revision);
        return match core.store.put(key, expect, meta, encode) {
            Ok(entry) => {
                after::written(core, resource, &object).await;
                Ok(Some(Deleted::Marked(call.acknowledge(entry).await?)))
            }
            Err(Error::Conflict { .. }) => Ok(None),
            Err(error) => Err(store_status(resource, name, &error)),
        };
    }
    let uid = object["metadata"]["uid"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    if call.dry_run {
        return Ok(Some(Deleted::Gone(Stored::Value(object), uid)));
    }
    match core.store.delete(key, entry.revision, |revision, _| {
        meta::encode(&mut object, revision)
    }) {
        Ok(entry) => {
            after::deleted(core, resource, &object).await;
            Ok(Some(Deleted::Gone(call.acknowledge(entry).await?, uid)))
        }
        Err(Error::Conflict { .. }) => Ok(None),
        Err(error) => Err(store_status(resource, name, &error)),
    }
}

fn check_preconditions(
    resource: &Resource,
    name: &str,
    object: &Value,
    options: &DeleteOptions,
) -> Result<()> {
    let check = |wanted: &Option<String>, key: &str, what: &str| {
        let stored = object["metadata"][key].as_str().unwrap_or_default();
        match wanted {
            Some(wanted) if wanted != stored => {
                let why = format!(
                    "Precondition failed: {what} in precondition: {wanted}, {what} in object \
                     meta: {stored}"
                );
                Err(Status::conflict(resource, name, &why))
            }
            _ => Ok(()),
        }
    };
    check(&options.uid, "uid", "UID")?;
    check(
        &options.resource_version,
        "resourceVersion",
        "ResourceVersion",
    )
}

#[derive(PartialEq, Eq)]
enum Fate {
    Go,
    Wait,
}

/// Marks the object as being deleted; says whether it may go at once.
fn mark(resource: &Resource, object: &mut Value, options: &DeleteOptions) -> Fate {
    match options.propagation_policy.as_deref() {
        Some("Orphan") => {
            meta::remove_finalizer(object, FOREGROUND);
            meta::add_finalizer(object, ORPHAN);
        }
        Some("Foreground") => {
            meta::remove_finalizer(object, ORPHAN);
            meta::add_finalizer(object, FOREGROUND);
        }
        Some("Background") => {
            meta::remove_finalizer(object, ORPHAN);
            meta::remove_finalizer(object, FOREGROUND);
        }
        _ => {}
    }
    let grace = grace_period(resource, object, options);
    let held = object["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|f| !f.is_empty())
        || resource.is("", "namespaces")
            && object["spec"]["finalizers"]
                .as_array()
                .is_some_and(|f| !f.is_empty());
    if grace == 0 && !held {
        return Fate::Go;
    }
    let already = object["metadata"]["deletionTimestamp"].is_string();
    let present = object["metadata"]["deletionGracePeriodSeconds"]
        .as_i64()
        .unwrap_or_default();
    if !already || grace < present {
        stamp(object, grace, already);
    }
    if resource.is("", "namespaces") {
        object["status"]["phase"] = "Terminating".into();
    }
    Fate::Wait
}

fn stamp(object: &mut Value, grace: i64, already: bool) {
    let seconds = Duration::from_secs(grace.unsigned_abs());
    let at = Timestamp::now()
        .checked_add(seconds)
        .unwrap_or(Timestamp::MAX);
    let metadata = meta::of(object);
    metadata.insert("deletionTimestamp".into(), meta::format_seconds(at).into());
    metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
    if already {
        return;
    }
    if let Some(generation) = metadata.get("generation").and_then(Value::as_i64) {
        metadata.insert("generation".into(), (generation + 1).into());
    }
}

/// Only Pods that run somewhere have time to stop; zero for everything else.
fn grace_period(resource: &Resource, object: &Value, options: &DeleteOptions) -> i64 {
    if !resource.is("", "pods") {
        return 0;
    }
    let unassigned = object["spec"]["nodeName"]
        .as_str()
        .is_none_or(str::is_empty);
    let finished = matches!(
        object["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    );
    if unassigned || finished {
        return 0;
    }
    let of_spec = object["spec"]["terminationGracePeriodSeconds"].as_i64();
    let asked = options.grace_period_seconds;
    let running = object["metadata"]["deletionGracePeriodSeconds"].as_i64();
    // A second deletion may shorten the period, never lengthen it.
    let grace = asked.or(running).or(of_spec).unwrap_or(30).max(0);
    running.map_or(grace, |running| grace.min(running))
}
