//! GitHubSource → a source of the delivery graph that GitHub posts to.
//!
//! Knative's own makes a Knative Service for each; here the broker's process takes the posts under
//! the name of a Service in the namespace, and checks their signature with the secret token.

use std::collections::BTreeMap;

use api::conditions::{Conditions, Set};
use api::draft::Draft;
use api::names::child_name;
use api::world::{Context, Fact, GITHUB_SOURCE, Key, Plan, World};
use base64::Engine;
use serde_json::{Value, json};

use super::{addressable, source, trouble};

const SET: Set = Set::living(&["SecretsProvided", "SinkProvided", "Deployed"]);

/// Plans one GitHubSource.
pub(super) fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, GITHUB_SOURCE, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(SET);
    let token = secrets(&mut draft, &mut conditions);
    let sink = source::sink(&mut draft, &mut conditions);
    let service = child_name(&key.name, "-github");
    if addressable::ensure_door(&mut draft, &service, Value::Null, "broker-ingress") {
        conditions.mark_true("Deployed");
    } else {
        let why = api::draft::not_owned("Service", &service);
        conditions.mark_false("Deployed", "NotOwned", &why);
    }
    trouble::note(&draft, &mut conditions, GITHUB_SOURCE, "Deployed");
    let host = format!("{service}.{}.svc.{}", key.namespace, cx.cluster_domain);
    draft.status["webhookUrl"] = json!(format!("http://{host}"));
    let spec = draft.object["spec"].clone();
    let types = spec["eventTypes"].as_array().into_iter().flatten();
    let types: Vec<_> = types
        .filter_map(Value::as_str)
        .map(|kind| format!("dev.knative.source.github.{kind}"))
        .collect();
    let types: Vec<_> = types.iter().map(String::as_str).collect();
    let repository = spec["ownerAndRepository"].as_str().unwrap_or_default();
    source::attributes(
        &mut draft,
        GITHUB_SOURCE,
        &types,
        &format!("https://github.com/{repository}"),
    );
    if let Some(token) = token {
        let facts = BTreeMap::from([
            ("hosts".to_owned(), json!([host])),
            ("secretToken".to_owned(), json!(token)),
        ]);
        source::run(&mut draft, GITHUB_SOURCE, sink, facts);
    }
    draft.finish(conditions)
}

/// Reads both secrets; answers the one that signs the posts.
fn secrets(draft: &mut Draft<'_>, conditions: &mut Conditions) -> Option<String> {
    const PROVIDED: &str = "SecretsProvided";
    let mut tokens = Vec::new();
    for (field, reason) in [
        ("accessToken", "AccessTokenNotFound"),
        ("secretToken", "SecretTokenNotFound"),
    ] {
        let reference = draft.object["spec"][field]["secretKeyRef"].clone();
        let text = |key: &str| reference[key].as_str().unwrap_or_default().to_owned();
        let found = draft.need(Fact::Object {
            api_version: "v1".to_owned(),
            kind: "Secret".to_owned(),
            namespace: draft.namespace().to_owned(),
            name: text("name"),
        });
        let Some(found) = found else {
            conditions.mark_unknown(PROVIDED, "Resolving", "The secrets are being looked up.");
            return None;
        };
        let value = found["object"]["data"][text("key").as_str()].as_str();
        let value =
            value.and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
        let value = value.and_then(|bytes| String::from_utf8(bytes).ok());
        let Some(value) = value.map(|value| token(&value, field)) else {
            let why = format!(
                "Secret {:?} with the key {:?} of spec.{field} is not there.",
                text("name"),
                text("key")
            );
            conditions.mark_false(PROVIDED, reason, &why);
            return None;
        };
        tokens.push(value);
    }
    conditions.mark_true(PROVIDED);
    tokens.pop()
}

/// The token itself, or out of the JSON that held both tokens in 2018.
fn token(value: &str, field: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(value).ok();
    let within = parsed.and_then(|parsed| parsed[field].as_str().map(str::to_owned));
    within.unwrap_or_else(|| value.to_owned())
}
