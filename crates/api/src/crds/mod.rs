//! The CustomResourceDefinitions of Knative Serving, Eventing and Build: names, columns and schemas. Called
//! once when an embedded API server starts, and by whoever prints the manifest for a cluster.

mod build;
mod elsewhere;
mod eventing;
mod history;
mod internal;
mod pod;
mod schema;
mod serving;
mod sources_2019;

pub use elsewhere::{elsewhere, instead, refusal};
pub use eventing::{GITHUB_EVENTS, event_types};
use serde_json::{Value, json};

/// All CustomResourceDefinitions, as `apiextensions.k8s.io/v1` objects.
pub fn crds() -> Vec<Value> {
    let mut all = serving::crds();
    all.extend(internal::crds());
    all.extend(eventing::crds());
    all.extend(history::crds());
    all.extend(build::crds());
    all.extend(sources_2019::crds());
    all
}

/// A printer column: its name, its type and where its value is.
type Column = (&'static str, &'static str, &'static str);

const READY: Column = (
    "Ready",
    "string",
    ".status.conditions[?(@.type=='Ready')].status",
);
const REASON: Column = (
    "Reason",
    "string",
    ".status.conditions[?(@.type=='Ready')].reason",
);
/// The part of Knative a definition belongs to, and the Service of its webhook.
const SERVING: (&str, &str) = ("knative-serving", "webhook");

/// On a definition whose group is to come last in discovery: `kubectl get channels` means the kind of
/// `messaging.knative.dev`, not those of 2018 and 2019.
const RANK: (&str, &str) = ("rekindle.dev/discovery", "last");

const URL: Column = ("URL", "string", ".status.url");

/// What tells one definition from another.
struct Crd {
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    short_names: &'static [&'static str],
    categories: &'static [&'static str],
    /// Labels besides the one that all have.
    labels: &'static [&'static str],
    cluster_scoped: bool,
    /// The part it belongs to, which is the namespace of that part too, and its webhook.
    system: (&'static str, &'static str),
    columns: &'static [Column],
    /// Names and schemas; the first is the one that is stored.
    versions: Vec<(&'static str, Value)>,
}

fn columns(columns: &[Column]) -> Value {
    columns
        .iter()
        .map(|(name, kind, path)| json!({"name": name, "type": kind, "jsonPath": path}))
        .collect()
}

impl Crd {
    fn render(self) -> Value {
        let columns = columns(self.columns);
        let several = self.versions.len() > 1;
        let version = |(index, (name, schema)): (usize, (&str, Value))| {
            json!({
                "name": name,
                "served": true,
                "storage": index == 0,
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns,
                "schema": {"openAPIV3Schema": schema},
            })
        };
        let versions: Value = self.versions.into_iter().enumerate().map(version).collect();
        let labels: Value = self
            .labels
            .iter()
            .chain(&["knative.dev/crd-install"])
            .map(|label| ((*label).to_owned(), json!("true")))
            .chain([("app.kubernetes.io/name".to_owned(), json!(self.system.0))])
            .collect();
        let mut crd = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{}.{}", self.plural, self.group), "labels": labels},
            "spec": {
                "group": self.group,
                "names": {
                    "kind": self.kind,
                    "listKind": format!("{}List", self.kind),
                    "plural": self.plural,
                    "singular": self.kind.to_lowercase(),
                    "shortNames": self.short_names,
                    "categories": self.categories,
                },
                "scope": if self.cluster_scoped { "Cluster" } else { "Namespaced" },
                "versions": versions,
            },
        });
        if several {
            // An embedded API server converts in process; a cluster asks the webhook.
            crd["spec"]["conversion"] = json!({
                "strategy": "Webhook",
                "webhook": {
                    "conversionReviewVersions": ["v1"],
                    "clientConfig": {
                        "service": {"name": self.system.1, "namespace": self.system.0},
                    },
                },
            });
        }
        crd
    }
}

#[cfg(test)]
mod tests;
