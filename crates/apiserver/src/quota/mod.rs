//! ResourceQuota and LimitRange: admission by both, and the status of the former.
//!
//! Called by `write` on the way into the store; `keeper` runs beside. What is used is counted anew
//! each time, from what is stored: nothing is kept that could go wrong.

mod keeper;
mod limits;
mod usage;

use api::quantity::Quantity;
use serde_json::{Value, json};
use tokio::sync::MutexGuard;

pub(crate) use keeper::run;
pub(crate) use limits::default as default_limits;

use crate::core::{Core, decode_stored};
use crate::resource::Resource;
use crate::status::{Result, Status};
use crate::write::Call;
use usage::Amounts;

/// All objects `plural` of the core group in a namespace, by name.
fn stored(core: &Core, plural: &str, namespace: &str) -> Vec<Value> {
    let resource = core.builtin("", plural);
    if core.store.count(resource.id) == 0 {
        return Vec::new();
    }
    let entries = core.store.list(resource.id, &format!("{namespace}/"));
    let objects = entries.iter().filter_map(|entry| decode_stored(entry).ok());
    objects.collect()
}

fn is_limited(resource: &Resource) -> bool {
    resource.is("", "pods") || resource.is("", "persistentvolumeclaims")
}

/// Gives a new object what the namespace's LimitRanges have as defaults.
pub(crate) fn give_defaults(call: &Call<'_>, object: &mut Value) {
    if call.resource.is("", "pods") {
        let ranges = stored(call.core, "limitranges", call.namespace);
        limits::give(&ranges, object);
    }
}

/// Refuses a new object that goes against the namespace's LimitRanges.
pub(crate) fn check_limits(call: &Call<'_>, name: &str, object: &Value) -> Result<()> {
    if !is_limited(call.resource) {
        return Ok(());
    }
    let ranges = stored(call.core, "limitranges", call.namespace);
    let errors = limits::errors(&ranges, &call.resource.plural, object);
    let why = match errors.as_slice() {
        [] => return Ok(()),
        [one] => one.clone(),
        all => format!("[{}]", all.join(", ")),
    };
    Err(Status::forbidden(call.resource, name, &why))
}

/// Refuses an object that would exceed one of the namespace's quotas. Nobody else gets past while
/// the answer is held: what was counted stays true until the object is stored.
pub(crate) async fn check<'a>(
    call: &Call<'a>,
    name: &str,
    object: &Value,
    old: &Value,
) -> Result<Option<MutexGuard<'a, ()>>> {
    let resource = call.resource;
    if call.namespace.is_empty() || stored(call.core, "resourcequotas", call.namespace).is_empty() {
        return Ok(None);
    }
    let core: &'a Core = call.core;
    let held = core.quota.lock().await;
    let wanted = usage::of(resource, object);
    let before = match old {
        Value::Null => Amounts::new(),
        old => usage::of(resource, old),
    };
    for quota in stored(core, "resourcequotas", call.namespace) {
        if !usage::in_scope(&quota, resource, object) {
            continue;
        }
        let hard = usage::amounts(&quota["spec"]["hard"]);
        let of = quota["metadata"]["name"].as_str().unwrap_or_default();
        let unsaid = || usage::unsaid(&hard, object);
        if resource.is("", "pods")
            && old.is_null()
            && let Some(unsaid) = unsaid()
        {
            let why = format!("failed quota: {of}: {unsaid}");
            return Err(Status::forbidden(resource, name, &why));
        }
        let mut requested = wanted.clone();
        for (name, amount) in &mut requested {
            let before = before.get(name).map_or(0, Quantity::nanos);
            *amount = amount.plus(Quantity::decimal(-before));
        }
        requested.retain(|name, amount| hard.contains_key(name) && amount.nanos() > 0);
        if requested.is_empty() {
            continue;
        }
        let used = used(core, resource, &quota, &hard, call.namespace);
        let is_exceeded = |name: &String| {
            let used = used.get(name).copied().unwrap_or(Quantity::decimal(0));
            used.plus(requested[name]) > hard[name]
        };
        let exceeded: Vec<&String> = requested.keys().filter(|name| is_exceeded(name)).collect();
        if !exceeded.is_empty() {
            let show = |amounts: &Amounts| list(&exceeded, amounts);
            let why = format!(
                "exceeded quota: {of}, requested: {}, used: {}, limited: {}",
                show(&requested),
                show(&used),
                show(&hard)
            );
            return Err(Status::forbidden(resource, name, &why));
        }
    }
    Ok(Some(held))
}

/// `name=amount,…` for some of the amounts.
fn list(names: &[&String], amounts: &Amounts) -> String {
    let zero = Quantity::decimal(0);
    let pair = |name: &&String| format!("{name}={}", amounts.get(*name).unwrap_or(&zero));
    names.iter().map(pair).collect::<Vec<_>>().join(",")
}

/// What the stored objects of a resource take of a quota.
fn used(
    core: &Core,
    resource: &Resource,
    quota: &Value,
    hard: &Amounts,
    namespace: &str,
) -> Amounts {
    let mut sum = Amounts::new();
    for entry in core.store.list(resource.id, &format!("{namespace}/")) {
        let Ok(object) = decode_stored(&entry) else {
            continue;
        };
        if usage::in_scope(quota, resource, &object) {
            usage::add(&mut sum, &usage::of(resource, &object));
        }
    }
    sum.retain(|name, _| hard.contains_key(name));
    sum
}

/// A quota's status as it should be.
fn status(core: &Core, quota: &Value, namespace: &str) -> Value {
    let hard = usage::amounts(&quota["spec"]["hard"]);
    let mut all = Amounts::new();
    for resource in core.table().stored().values() {
        if resource.namespaced && concerns(&hard, resource) {
            usage::add(&mut all, &used(core, resource, quota, &hard, namespace));
        }
    }
    let used: serde_json::Map<String, Value> = hard
        .keys()
        .map(|name| {
            let amount = all.get(name).copied().unwrap_or(Quantity::decimal(0));
            (name.clone(), json!(amount.to_string()))
        })
        .collect();
    json!({"hard": quota["spec"]["hard"], "used": used})
}

/// Whether any name of a quota is about the resource.
fn concerns(hard: &Amounts, resource: &Resource) -> bool {
    if hard.contains_key(&format!("count/{}", resource.group_resource())) {
        return true;
    }
    let of = |name: &String| match &*resource.plural {
        "services" => name.starts_with("services"),
        "persistentvolumeclaims" => {
            name.contains("persistentvolumeclaims") || name.contains("storage")
        }
        "pods" => {
            let counted = [
                "services",
                "count/",
                "configmaps",
                "secrets",
                "resourcequotas",
            ];
            !counted.iter().any(|other| name.starts_with(other))
        }
        plural => name == plural,
    };
    resource.group.is_empty() && hard.keys().any(of)
}
