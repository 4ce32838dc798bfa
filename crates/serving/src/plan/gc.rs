//! Configuration → which of its old Revisions go, by the bounds of `config-gc`.

use std::sync::Arc;

use api::config::Gc;
use api::object::ObjectExt;
use api::serving::{self, LAST_PINNED, NO_GC, ROUTING_STATE, ROUTING_STATE_MODIFIED};
use api::world::{Action, CONFIGURATION, Context, Key, Plan, REVISION, World};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::config::load;
use api::draft::Draft;

/// Plans the garbage collection of one Configuration's Revisions.
pub fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, CONFIGURATION, key) else {
        return Plan::default();
    };
    let gc = load(cx, world, Gc::NAME, Gc::parse);
    if gc.max_non_active.is_none()
        && gc.retain_since_create.is_none()
        && gc.retain_since_last_active.is_none()
    {
        return Plan::default();
    }
    let all = world.labelled(REVISION, &key.namespace, serving::CONFIGURATION, &key.name);
    let mut idle: Vec<_> = all
        .iter()
        .filter(|revision| is_idle(&draft.object, revision))
        .cloned()
        .collect();
    idle.sort_by_key(|revision| (last_active(revision), revision.name().to_owned()));
    let min = usize::try_from(gc.min_non_active).unwrap_or(0);
    if all.len() <= min || idle.len() <= min {
        return Plan::default();
    }
    let now = world.now();
    let mut surplus = idle.len() - min;
    let mut kept: Vec<Arc<Value>> = Vec::new();
    for revision in idle {
        if surplus > 0 && is_stale(&gc, &revision, now) {
            surplus -= 1;
            draft.delete(REVISION, &revision);
        } else {
            kept.push(revision);
        }
    }
    let max = gc.max_non_active.and_then(|max| usize::try_from(max).ok());
    let beyond = max.map_or(0, |max| kept.len().saturating_sub(max));
    for revision in kept.drain(..beyond) {
        draft.delete(REVISION, &revision);
    }
    let next = kept
        .iter()
        .filter_map(|revision| stale_at(&gc, revision))
        .min();
    if let Some(at) = next.filter(|at| surplus > 0 && *at > now) {
        draft.push(Action::At(at));
    }
    draft.finish_without_status()
}

/// Whether nothing needs the Revision any more.
fn is_idle(configuration: &Value, revision: &Value) -> bool {
    configuration["status"]["latestReadyRevisionName"] != *revision.name()
        && revision.annotation(NO_GC) != Some("true")
        && revision.label(ROUTING_STATE) == Some("reserve")
        && !revision.is_terminating()
}

fn created(revision: &Value) -> Option<Timestamp> {
    revision["metadata"]["creationTimestamp"]
        .as_str()?
        .parse()
        .ok()
}

/// When a Route last let go of the Revision.
fn last_active(revision: &Value) -> Option<Timestamp> {
    let modified = revision
        .annotation(ROUTING_STATE_MODIFIED)
        .and_then(|text| text.parse().ok());
    // Old Revisions have seconds since 1970 instead.
    let pinned = || {
        let seconds = revision.annotation(LAST_PINNED)?.parse().ok()?;
        Timestamp::from_second(seconds).ok()
    };
    modified.or_else(pinned).or_else(|| created(revision))
}

fn is_stale(gc: &Gc, revision: &Value, now: Timestamp) -> bool {
    stale_at(gc, revision).is_some_and(|at| at <= now)
}

/// When both bounds on the age are reached; never when both are disabled.
fn stale_at(gc: &Gc, revision: &Value) -> Option<Timestamp> {
    let after = |since: Option<Timestamp>, bound: Option<i64>| {
        since?.checked_add(SignedDuration::from_nanos(bound?)).ok()
    };
    let by_age = after(created(revision), gc.retain_since_create);
    let by_use = after(last_active(revision), gc.retain_since_last_active);
    by_age.max(by_use)
}
