//! Who is meant by a Destination: a reference to anything addressable, an address, or both. The
//! rules are those of Knative's `pkg/resolver`.
//!
//! Kinds that plans watch are read from the World, so that a change wakes the plan at once; any
//! other kind is asked for as a fact, through discovery, and looked at again every few seconds.

use std::sync::Arc;

use api::delivery::Endpoint;
use api::draft::{Draft, set_or_remove};
use api::gotext::Template;
use api::object::ObjectExt;
use api::selector::selects;
use api::world::{Fact, Kind, World};
use serde_json::{Map, Value, json};

use super::config::{Config, SYSTEM_NAMESPACE};
use super::url;

/// Why nobody is meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Unresolved {
    /// It is not known yet; the plan runs again when it is.
    Pending,
    /// In words.
    Because(String),
}

/// What looking for an object found.
pub(super) enum Found {
    Object(Arc<Value>),
    /// There is none, with the API server's words.
    Missing(String),
    /// It is not known yet.
    Pending,
}

/// The group of an `apiVersion`; of a bare group, the group.
pub(super) fn group(api_version: &str) -> &str {
    match api_version.split_once('/') {
        Some((group, _)) => group,
        None if api_version == "v1" => "",
        None => api_version,
    }
}

/// Finds the object that `reference` (apiVersion or group, kind, name, namespace) names; without a
/// namespace it is in the plan's own.
pub(super) fn find(draft: &mut Draft<'_>, reference: &Value) -> Found {
    let text = |key: &str| reference[key].as_str().unwrap_or_default();
    let api_version = match text("apiVersion") {
        "" => text("group"),
        some => some,
    };
    let namespace = match text("namespace") {
        "" => draft.namespace().to_owned(),
        some => some.to_owned(),
    };
    let (kind, name) = (text("kind"), text("name"));
    let watched = super::READ
        .iter()
        .find(|known| known.kind == kind && known.group == group(api_version));
    if let Some(known) = watched {
        return match draft.world.get(*known, &namespace, name) {
            Some(object) => Found::Object(object),
            None => Found::Missing(missing(known, name)),
        };
    }
    let fact = Fact::Object {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace,
        name: name.to_owned(),
    };
    match draft.need(fact) {
        None => Found::Pending,
        Some(found) if found["object"].is_object() => {
            Found::Object(Arc::new(found["object"].clone()))
        }
        Some(found) => Found::Missing(found["error"].as_str().unwrap_or_default().to_owned()),
    }
}

/// As the API server says that there is no such object.
fn missing(kind: &Kind, name: &str) -> String {
    match kind.group {
        "" => format!("{} {name:?} not found", kind.plural),
        group => format!("{}.{group} {name:?} not found", kind.plural),
    }
}

/// The address that `destination` (`ref`, `uri`, `CACerts`, `audience`) stands for.
pub(super) fn resolve(draft: &mut Draft<'_>, destination: &Value) -> Result<Endpoint, Unresolved> {
    // Until v0.13 a sink was the reference itself.
    let reference = match &destination["ref"] {
        Value::Null if destination["kind"].is_string() => destination,
        reference => reference,
    };
    let uri = destination["uri"].as_str().unwrap_or_default();
    let mut endpoint = if reference.is_object() {
        let mut endpoint = of_reference(draft, reference)?;
        if url::has_scheme(uri) {
            return because(
                "absolute URI is not allowed when Ref or [apiVersion, kind, name] exists",
            );
        }
        if !uri.is_empty() {
            endpoint.url = url::join(&endpoint.url, uri);
        }
        endpoint
    } else if uri.is_empty() {
        return because("destination missing Ref and URI, expected at least one");
    } else if url::is_absolute(uri) {
        Endpoint {
            url: uri.to_owned(),
            ca_certs: None,
            audience: None,
        }
    } else {
        return because(format!(
            "URI is not absolute (both scheme and host should be non-empty): {uri:?}"
        ));
    };
    for (key, target) in [
        ("CACerts", &mut endpoint.ca_certs),
        ("audience", &mut endpoint.audience),
    ] {
        if let Some(text) = destination[key].as_str().filter(|text| !text.is_empty()) {
            *target = Some(text.to_owned());
        }
    }
    Ok(endpoint)
}

fn because<T>(text: impl Into<String>) -> Result<T, Unresolved> {
    Err(Unresolved::Because(text.into()))
}

fn of_reference(draft: &mut Draft<'_>, reference: &Value) -> Result<Endpoint, Unresolved> {
    if let Some(url) = mapped(draft, reference) {
        return Ok(Endpoint {
            url,
            ca_certs: None,
            audience: None,
        });
    }
    let text = |key: &str| reference[key].as_str().unwrap_or_default();
    let (kind, name) = (text("kind"), text("name"));
    let namespace = match text("namespace") {
        "" => draft.namespace().to_owned(),
        some => some.to_owned(),
    };
    let object = match find(draft, reference) {
        Found::Object(object) => object,
        Found::Pending => return Err(Unresolved::Pending),
        Found::Missing(why) => {
            return because(format!("failed to get object {namespace}/{name}: {why}"));
        }
    };
    if kind == "Service" && group(text("apiVersion")).is_empty() {
        return Ok(Endpoint {
            url: format!("http://{name}.{namespace}.svc.{}", draft.cx.cluster_domain),
            ca_certs: None,
            audience: None,
        });
    }
    let Some(address) = address(&object, text("address")) else {
        return because(format!("address not set for {kind} {namespace}/{name}"));
    };
    let Some(url) = address["url"].as_str().filter(|url| !url.is_empty()) else {
        return because(format!(
            "URL missing in address of {kind} {namespace}/{name}"
        ));
    };
    let text = |key: &str| address[key].as_str().map(str::to_owned);
    Ok(Endpoint {
        url: url.to_owned(),
        ca_certs: text("CACerts"),
        audience: text("audience"),
    })
}

/// The address of that name, or the object's main one when no name is asked for.
fn address<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let status = &object["status"];
    let main = || Some(&status["address"]).filter(|address| address.is_object());
    if name.is_empty() {
        let first = status["addresses"].as_array().and_then(|list| list.first());
        return main().or(first);
    }
    let named = |address: &&Value| address["name"] == *name;
    let listed = status["addresses"].as_array();
    let listed = listed.and_then(|list| list.iter().find(named));
    listed.or_else(|| main().filter(named))
}

/// `config-kreference-mapping`: a URL for every object of a kind, by a template.
fn mapped(draft: &Draft<'_>, reference: &Value) -> Option<String> {
    // Asked for every reference there is: one word, not the whole ConfigMap.
    let flags = Config::read(draft.world, "config-features");
    let is_enabled = flags
        .text("kreference-mapping")
        .is_some_and(|word| word.eq_ignore_ascii_case("enabled"));
    if !is_enabled {
        return None;
    }
    let text = |key: &str| reference[key].as_str().unwrap_or_default();
    let api_version = text("apiVersion");
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let mut key = format!("{}.{version}", text("kind"));
    if !group.is_empty() {
        key = format!("{key}.{group}");
    }
    let config = Config::read(draft.world, "config-kreference-mapping");
    let template = config.text(&key)?;
    let namespace = match text("namespace") {
        "" => draft.namespace(),
        some => some,
    };
    let data = json!({
        "Name": text("name"),
        "Namespace": namespace,
        "SystemNamespace": SYSTEM_NAMESPACE,
        "UID": draft.object.uid(),
    });
    Template::parse(&key, template).ok()?.execute(&data).ok()
}

/// A Destination for a child: what it does not say must not be there, while the namespace that
/// admission fills in may.
pub(super) fn whole(destination: &Value) -> Value {
    let mut whole = with_nulls(destination, &["ref", "uri", "CACerts", "audience"]);
    if whole["ref"].is_object() {
        whole["ref"] = with_nulls(&whole["ref"], &["address", "group"]);
    }
    whole
}

/// `value` with a null for each of `keys` that it lacks; nothing stays nothing.
pub(super) fn with_nulls(value: &Value, keys: &[&str]) -> Value {
    let Some(map) = value.as_object() else {
        return value.clone();
    };
    let nulls = keys.iter().map(|key| ((*key).to_owned(), Value::Null));
    let mut whole: Map<String, Value> = nulls.collect();
    whole.extend(map.clone());
    whole.into()
}

/// The address that `status` had of an earlier planning, under the names that begin with `prefix`
/// (`subscriber`, `deadLetterSink`).
pub(super) fn known(status: &Value, prefix: &str) -> Option<Endpoint> {
    let text = |suffix: &str| {
        status[format!("{prefix}{suffix}")]
            .as_str()
            .map(str::to_owned)
    };
    Some(Endpoint {
        url: text("Uri")?,
        ca_certs: text("CACerts"),
        audience: text("Audience"),
    })
}

/// Writes an address into `status` under the names that begin with `prefix`, or removes it.
pub(super) fn note(status: &mut Value, prefix: &str, endpoint: Option<&Endpoint>) {
    let parts = [
        ("Uri", endpoint.map(|endpoint| endpoint.url.clone())),
        (
            "CACerts",
            endpoint.and_then(|endpoint| endpoint.ca_certs.clone()),
        ),
        (
            "Audience",
            endpoint.and_then(|endpoint| endpoint.audience.clone()),
        ),
    ];
    for (suffix, value) in parts {
        if status.is_null() && value.is_none() {
            continue;
        }
        set_or_remove(status, &format!("{prefix}{suffix}"), value.map(Value::from));
    }
}

/// The objects of `kind` in `namespace` that `selector` selects.
pub(super) fn selected(
    world: &World,
    kind: Kind,
    namespace: &str,
    selector: &Value,
) -> Vec<Arc<Value>> {
    let mut all = world.list(kind, namespace);
    all.retain(|object| selects(selector, object));
    all
}
