//! One configured webhook, and which writes it wants to see.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::hooks::Operation;
use crate::kinds::items;
use crate::meta::strings;
use crate::selector::LabelSelector;
use crate::write::Call;

/// A webhook that does not say how long it may take (seconds).
const TIMEOUT_SECONDS: u64 = 10;

/// A webhook of a configuration.
pub(super) struct Webhook {
    pub(super) name: String,
    /// `clientConfig`.
    pub(super) client: Value,
    pub(super) timeout: Duration,
    /// `failurePolicy: Ignore`.
    pub(super) ignores_failure: bool,
    /// It has no side effects a dry run must avoid.
    pub(super) dry_runs: bool,
    /// It wants to see an object again that others changed after it.
    pub(super) reinvoked: bool,
    rules: Vec<Value>,
    namespaces: LabelSelector,
    objects: LabelSelector,
}

impl Webhook {
    pub(super) fn parse(webhook: &Value) -> Self {
        let seconds = webhook["timeoutSeconds"]
            .as_u64()
            .unwrap_or(TIMEOUT_SECONDS);
        Self {
            name: webhook["name"].as_str().unwrap_or_default().to_owned(),
            client: webhook["clientConfig"].clone(),
            timeout: Duration::from_secs(seconds),
            ignores_failure: webhook["failurePolicy"] == "Ignore",
            dry_runs: matches!(
                webhook["sideEffects"].as_str(),
                Some("None" | "NoneOnDryRun")
            ),
            reinvoked: webhook["reinvocationPolicy"] == "IfNeeded",
            rules: items(&webhook["rules"]).to_vec(),
            namespaces: LabelSelector::from_value(&webhook["namespaceSelector"]),
            objects: LabelSelector::from_value(&webhook["objectSelector"]),
        }
    }

    /// Whether it wants to see this write. Webhook configurations themselves are never judged, so
    /// that a broken one can be removed.
    pub(super) fn concerns(
        &self,
        call: &Call<'_>,
        operation: Operation,
        object: &Value,
        old: &Value,
    ) -> bool {
        if call.resource.group == super::GROUP {
            return false;
        }
        self.rules.iter().any(|rule| covers(rule, call, operation))
            && self.takes_namespace(call, object)
            && self.takes_object(object, old)
    }

    fn takes_namespace(&self, call: &Call<'_>, object: &Value) -> bool {
        if self.namespaces.is_empty() {
            return true;
        }
        let name = match &*call.resource.kind {
            "Namespace" if call.resource.row.is_some() => {
                object["metadata"]["name"].as_str().unwrap_or_default()
            }
            _ => call.namespace,
        };
        if name.is_empty() {
            return true;
        }
        let namespace = call.core.read("", "namespaces", "", name);
        self.namespaces
            .matches(&labels(namespace.as_ref().unwrap_or(object)))
    }

    fn takes_object(&self, object: &Value, old: &Value) -> bool {
        self.objects.is_empty()
            || [object, old]
                .iter()
                .any(|o| o.is_object() && self.objects.matches(&labels(o)))
    }
}

fn labels(object: &Value) -> BTreeMap<String, String> {
    let labels = object["metadata"]["labels"]
        .as_object()
        .into_iter()
        .flatten();
    labels
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

fn covers(rule: &Value, call: &Call<'_>, operation: Operation) -> bool {
    let any = |key: &str, wanted: &str| strings(&rule[key]).any(|x| x == "*" || x == wanted);
    let resource = call.resource;
    let scope = match rule["scope"].as_str() {
        Some("Namespaced") => resource.namespaced,
        Some("Cluster") => !resource.namespaced,
        _ => true,
    };
    let named = strings(&rule["resources"]).any(|pattern| {
        let (of, subresource) = pattern.split_once('/').unwrap_or((pattern, ""));
        (of == "*" || of == resource.plural)
            && (subresource == "*" || subresource == call.subresource)
    });
    scope
        && named
        && any("operations", operation.as_str())
        && any("apiGroups", &resource.group)
        && any("apiVersions", &resource.version)
}
