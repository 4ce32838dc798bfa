//! `channels.knative.dev`: a Channel of 2018 is a Channel of `messaging.knative.dev`, a
//! Subscription a Subscription there. What buses did, the channels of today do by themselves.

use api::object::ObjectExt;
use api::world::{CHANNEL, SUBSCRIPTION};
use serde_json::{Map, Value, json};

use crate::text;

/// The buses that came with a release: a Channel may name them without an object of the name.
const STOCK_BUSES: [&str; 3] = ["stub", "kafka", "gcppubsub"];

/// Which bus a Channel is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bus<'a> {
    /// The name of the Bus or ClusterBus.
    pub name: &'a str,
    /// Whether it is a ClusterBus.
    pub is_cluster: bool,
}

impl<'a> Bus<'a> {
    /// The bus of a Channel; `None` for one that names none, which admission refuses.
    pub fn of(channel: &'a Value) -> Option<Self> {
        let spec = &channel["spec"];
        let named = |field: &str, is_cluster| {
            let name = text(spec, field);
            (!name.is_empty()).then_some(Bus { name, is_cluster })
        };
        named("bus", false).or_else(|| named("clusterBus", true))
    }

    /// Whether it came with a release.
    pub fn is_stock(&self) -> bool {
        STOCK_BUSES.contains(&self.name)
    }

    /// Its kind.
    pub fn kind(&self) -> &'static str {
        if self.is_cluster { "ClusterBus" } else { "Bus" }
    }
}

/// The parameters without a default for which `arguments` (`spec.arguments` of a Channel or
/// Subscription) has nothing; `of` is `channel` or `subscription`.
pub fn missing_arguments(bus: &Value, of: &str, arguments: &Value) -> Vec<String> {
    let given = |name: &str| {
        let list = arguments.as_array().into_iter().flatten();
        list.into_iter()
            .any(|argument| text(argument, "name") == name)
    };
    let parameters = bus["spec"]["parameters"][of].as_array();
    parameters
        .into_iter()
        .flatten()
        .filter(|parameter| parameter["default"].is_null())
        .map(|parameter| text(parameter, "name"))
        .filter(|name| !given(name))
        .map(str::to_owned)
        .collect()
}

/// The Service by which a Channel was called: `NAME-channel`.
pub fn service(channel: &str) -> String {
    format!("{channel}-channel")
}

/// The hosts under which a Channel took events.
pub fn hosts(channel: &str, namespace: &str, domain: &str) -> [String; 2] {
    [
        host(channel, namespace, domain),
        format!("{channel}.{namespace}.channels.{domain}"),
    ]
}

/// The first of them, which has a Service: `status.domainInternal`.
pub fn host(channel: &str, namespace: &str, domain: &str) -> String {
    format!("{}.{namespace}.svc.{domain}", service(channel))
}

/// The Channel of `messaging.knative.dev`, with labels and annotations.
pub fn channel(old: &Value) -> Value {
    json!({
        "apiVersion": CHANNEL.api_version(),
        "kind": CHANNEL.kind,
        "metadata": metadata(old),
    })
}

/// The Subscription of `messaging.knative.dev`. `is_channel` tells names of Channels from those of
/// other things that are called.
pub fn subscription(old: &Value, domain: &str, is_channel: &dyn Fn(&str) -> bool) -> Value {
    let spec = &old["spec"];
    let mut new = json!({
        "apiVersion": SUBSCRIPTION.api_version(),
        "kind": SUBSCRIPTION.kind,
        "metadata": metadata(old),
        "spec": {"channel": {
            "apiVersion": CHANNEL.api_version(),
            "kind": CHANNEL.kind,
            "name": text(spec, "channel"),
        }},
    });
    for (from, to) in [("subscriber", "subscriber"), ("replyTo", "reply")] {
        let name = text(spec, from);
        if !name.is_empty() {
            new["spec"][to] = destination(name, old.namespace(), domain, is_channel);
        }
    }
    new
}

/// Who is meant by a name of 2018: a URL, a DNS name, or the bare name of a Service or Channel of
/// the same namespace.
pub fn destination(
    name: &str,
    namespace: &str,
    domain: &str,
    is_channel: &dyn Fn(&str) -> bool,
) -> Value {
    let channel = Some(name).filter(|name| is_channel(name)).or_else(|| {
        name.strip_suffix("-channel")
            .filter(|name| is_channel(name))
    });
    if let Some(channel) = channel {
        return json!({"ref": {
            "apiVersion": CHANNEL.api_version(),
            "kind": CHANNEL.kind,
            "name": channel,
        }});
    }
    if name.contains("://") {
        return json!({"uri": name});
    }
    let host = if name.contains('.') || namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{name}.{namespace}.svc.{domain}")
    };
    json!({"uri": format!("http://{host}/")})
}

/// Name, namespace, labels and annotations of an object, without what the API server wrote.
pub(crate) fn metadata(old: &Value) -> Value {
    let kept = ["name", "namespace", "labels", "annotations"];
    let mut metadata: Map<String, Value> = old["metadata"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| kept.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    // Who wrote the old object is no word about the new one.
    if let Some(annotations) = metadata
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
    {
        let of_old = |key: &str| {
            key == "kubectl.kubernetes.io/last-applied-configuration"
                || key.ends_with(".knative.dev/creator")
                || key.ends_with(".knative.dev/lastModifier")
        };
        annotations.retain(|key, _| !of_old(key));
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    Value::Object(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn old(kind: &str, spec: Value) -> Value {
        json!({
            "apiVersion": "channels.knative.dev/v1alpha1",
            "kind": kind,
            "metadata": {
                "name": "a",
                "namespace": "ns",
                "uid": "1",
                "labels": {"app": "x"},
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
            },
            "spec": spec,
        })
    }

    #[test]
    fn who_is_meant_by_a_name() {
        #[track_caller]
        fn check(name: &str, expected: Value) {
            let is_channel = |name: &str| name == "letters";
            let found = destination(name, "ns", "cluster.local", &is_channel);
            assert_eq!(found, expected);
        }
        let channel = json!({"ref": {
            "apiVersion": "messaging.knative.dev/v1",
            "kind": "Channel",
            "name": "letters",
        }});
        check("letters", channel.clone());
        check("letters-channel", channel);
        check(
            "printer",
            json!({"uri": "http://printer.ns.svc.cluster.local/"}),
        );
        check(
            "printer.other.svc.cluster.local",
            json!({"uri": "http://printer.other.svc.cluster.local/"}),
        );
        check("https://a.example/x", json!({"uri": "https://a.example/x"}));
    }

    #[test]
    fn a_subscription_keeps_its_name_and_labels() {
        let spec = json!({"channel": "letters", "subscriber": "printer", "replyTo": "letters"});
        let new = subscription(&old("Subscription", spec), "cluster.local", &|_| false);
        let expected = json!({
            "apiVersion": "messaging.knative.dev/v1",
            "kind": "Subscription",
            "metadata": {"name": "a", "namespace": "ns", "labels": {"app": "x"}},
            "spec": {
                "channel": {
                    "apiVersion": "messaging.knative.dev/v1",
                    "kind": "Channel",
                    "name": "letters",
                },
                "subscriber": {"uri": "http://printer.ns.svc.cluster.local/"},
                "reply": {"uri": "http://letters.ns.svc.cluster.local/"},
            },
        });
        assert_eq!(new, expected);
    }

    #[test]
    fn arguments_are_what_the_bus_asks_for() {
        let bus = json!({"spec": {"parameters": {"channel": [
            {"name": "Size"},
            {"name": "Order", "default": "none"},
            {"name": "Zone"},
        ]}}});
        let missing = missing_arguments(&bus, "channel", &json!([{"name": "Zone", "value": "a"}]));
        assert_eq!(missing, ["Size"]);
        assert!(missing_arguments(&bus, "subscription", &Value::Null).is_empty());
    }
}
