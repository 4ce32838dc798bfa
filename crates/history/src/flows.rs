//! `flows.knative.dev`: a Flow is a Channel, a Subscription and a Feed of its name.

use api::object::ObjectExt;
use api::world::{BUS_CHANNEL, BUS_SUBSCRIPTION, FEED};
use serde_json::{Value, json};

use crate::channels::{host, metadata};
use crate::text;

/// The bus of a Flow's Channel, unless the ConfigMap `flow-controller-config` names another.
pub const DEFAULT_BUS: &str = "stub";

/// The Channel of a Flow.
pub fn channel(flow: &Value, bus: &str) -> Value {
    json!({
        "apiVersion": BUS_CHANNEL.api_version(),
        "kind": BUS_CHANNEL.kind,
        "metadata": metadata(flow),
        "spec": {"clusterBus": bus},
    })
}

/// The Subscription of a Flow; `target` is the host or URL behind its action.
pub fn subscription(flow: &Value, target: &str) -> Value {
    json!({
        "apiVersion": BUS_SUBSCRIPTION.api_version(),
        "kind": BUS_SUBSCRIPTION.kind,
        "metadata": metadata(flow),
        "spec": {"channel": flow.name(), "subscriber": target},
    })
}

/// The Feed of a Flow, into its Channel.
pub fn feed(flow: &Value, domain: &str) -> Value {
    let spec = &flow["spec"];
    let mut feed = json!({
        "apiVersion": FEED.api_version(),
        "kind": FEED.kind,
        "metadata": metadata(flow),
        "spec": {
            "trigger": spec["trigger"],
            "action": {"dnsName": host(flow.name(), flow.namespace(), domain)},
        },
    });
    let account = text(spec, "serviceAccountName");
    if !account.is_empty() {
        feed["spec"]["serviceAccountName"] = json!(account);
    }
    feed
}
