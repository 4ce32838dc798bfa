//! The ClusterRoles that people and other installations rely on: they bind them, or add to them by
//! a label (aggregation). What the parts themselves may do on a cluster is in the manifest.

use serde_json::{Value, json};

use crate::config::{SYSTEM_NAMESPACE as SERVING, eventing::SYSTEM_NAMESPACE as EVENTING};

/// Verbs of those who look.
const READ: &[&str] = &["get", "list", "watch"];
/// Verbs of those who keep subscribers in channels.
const KEEP: &[&str] = &["create", "get", "list", "watch", "update", "patch"];
/// Verbs of those who inject into Pods' holders.
const INJECT: &[&str] = &["get", "list", "watch", "patch"];
/// The verb of those who may listen from another namespace.
const SUBSCRIBE: &[&str] = &["knsubscribe"];
const ALL: &[&str] = &["*"];

const ADDRESSABLE: &str = "duck.knative.dev/addressable";
const CHANNELABLE: &str = "duck.knative.dev/channelable";
const SOURCE: &str = "duck.knative.dev/source";
const PODSPECABLE: &str = "duck.knative.dev/podspecable";
const CROSS_NAMESPACE: &str = "duck.knative.dev/crossnamespace-subscribable";

/// Roles whose rules are those of the roles with a label.
const AGGREGATES: [(&str, &str); 5] = [
    ("addressable-resolver", ADDRESSABLE),
    ("channelable-manipulator", CHANNELABLE),
    ("source-observer", SOURCE),
    ("podspecable-binding", PODSPECABLE),
    ("crossnamespace-subscriber", CROSS_NAMESPACE),
];

/// A role that adds to one of the above.
struct Share {
    name: &'static str,
    system: &'static str,
    label: &'static str,
    group: &'static str,
    resources: &'static [&'static str],
    /// The status of each resource besides.
    with_status: bool,
    verbs: &'static [&'static str],
}

const fn share(
    (name, system): (&'static str, &'static str),
    label: &'static str,
    group: &'static str,
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
) -> Share {
    Share {
        name,
        system,
        label,
        group,
        resources,
        with_status: false,
        verbs,
    }
}

const fn addressable(
    name: &'static str,
    group: &'static str,
    resources: &'static [&'static str],
) -> Share {
    Share {
        with_status: true,
        ..share((name, EVENTING), ADDRESSABLE, group, resources, READ)
    }
}

const SHARES: &[Share] = &[
    share(
        ("service-addressable-resolver", EVENTING),
        ADDRESSABLE,
        "",
        &["services"],
        READ,
    ),
    addressable(
        "serving-addressable-resolver",
        "serving.knative.dev",
        &["routes", "services"],
    ),
    addressable(
        "channel-addressable-resolver",
        "messaging.knative.dev",
        &["channels"],
    ),
    addressable(
        "imc-addressable-resolver",
        "messaging.knative.dev",
        &["inmemorychannels"],
    ),
    addressable(
        "broker-addressable-resolver",
        "eventing.knative.dev",
        &["brokers"],
    ),
    addressable(
        "eventtransforms-addressable-resolver",
        "eventing.knative.dev",
        &["eventtransforms"],
    ),
    addressable(
        "requestreplies-addressable-resolver",
        "eventing.knative.dev",
        &["requestreplies"],
    ),
    addressable(
        "flows-addressable-resolver",
        "flows.knative.dev",
        &["sequences", "parallels"],
    ),
    addressable(
        "jobsinks-addressable-resolver",
        "sinks.knative.dev",
        &["jobsinks"],
    ),
    addressable(
        "integrationsinks-addressable-resolver",
        "sinks.knative.dev",
        &["integrationsinks"],
    ),
    Share {
        with_status: true,
        ..share(
            ("meta-channelable-manipulator", EVENTING),
            CHANNELABLE,
            "messaging.knative.dev",
            &["channels"],
            KEEP,
        )
    },
    Share {
        with_status: true,
        ..share(
            ("imc-channelable-manipulator", EVENTING),
            CHANNELABLE,
            "messaging.knative.dev",
            &["inmemorychannels"],
            KEEP,
        )
    },
    share(
        ("eventing-sources-source-observer", EVENTING),
        SOURCE,
        "sources.knative.dev",
        &[
            "apiserversources",
            "containersources",
            "githubsources",
            "integrationsources",
            "pingsources",
            "sinkbindings",
        ],
        READ,
    ),
    share(
        ("builtin-podspecable-binding", EVENTING),
        PODSPECABLE,
        "apps",
        &["deployments", "daemonsets", "statefulsets", "replicasets"],
        INJECT,
    ),
    share(
        ("jobs-podspecable-binding", EVENTING),
        PODSPECABLE,
        "batch",
        &["cronjobs", "jobs"],
        INJECT,
    ),
    share(
        ("knative-serving-podspecable-binding", SERVING),
        PODSPECABLE,
        "serving.knative.dev",
        &["configurations", "services"],
        INJECT,
    ),
    share(
        ("broker-subscriber", EVENTING),
        CROSS_NAMESPACE,
        "eventing.knative.dev",
        &["brokers"],
        SUBSCRIBE,
    ),
    share(
        ("channel-subscriber", EVENTING),
        CROSS_NAMESPACE,
        "messaging.knative.dev",
        &["channels"],
        SUBSCRIBE,
    ),
    share(
        ("imc-subscriber", EVENTING),
        CROSS_NAMESPACE,
        "messaging.knative.dev",
        &["inmemorychannels"],
        SUBSCRIBE,
    ),
];

/// What people with the usual roles of a namespace get: the prefix of the roles' names, the system
/// they are of, and the groups.
const PEOPLE: [(&str, &str, &[&str]); 6] = [
    (
        "knative-serving-namespaced",
        SERVING,
        &[
            "serving.knative.dev",
            "networking.internal.knative.dev",
            "autoscaling.internal.knative.dev",
            "caching.internal.knative.dev",
        ],
    ),
    (
        "knative-eventing-namespaced",
        EVENTING,
        &["eventing.knative.dev"],
    ),
    (
        "knative-messaging-namespaced",
        EVENTING,
        &["messaging.knative.dev", "channels.knative.dev"],
    ),
    ("knative-flows-namespaced", EVENTING, &["flows.knative.dev"]),
    (
        "knative-sources-namespaced",
        EVENTING,
        &[
            "sources.knative.dev",
            "bindings.knative.dev",
            "feeds.knative.dev",
            "sources.eventing.knative.dev",
        ],
    ),
    ("knative-sinks-namespaced", EVENTING, &["sinks.knative.dev"]),
];

/// Usual role and what it may do.
const LEVELS: [(&str, &[&str]); 3] = [
    ("admin", ALL),
    ("edit", &["create", "update", "patch", "delete"]),
    ("view", READ),
];

/// All of them.
pub(super) fn objects() -> Vec<Value> {
    let aggregates = AGGREGATES.iter().map(|(name, label)| {
        let mut role = role(name, EVENTING, None, json!([]));
        role["aggregationRule"] =
            json!({"clusterRoleSelectors": [{"matchLabels": {*label: "true"}}]});
        role
    });
    let mut all: Vec<Value> = aggregates.collect();
    all.extend(SHARES.iter().map(Share::role));
    for (prefix, system, groups) in PEOPLE {
        all.extend(LEVELS.iter().map(|(level, verbs)| {
            let label = format!("rbac.authorization.k8s.io/aggregate-to-{level}");
            let rules = json!([{"apiGroups": groups, "resources": ALL, "verbs": verbs}]);
            role(&format!("{prefix}-{level}"), system, Some(&label), rules)
        }));
    }
    all
}

impl Share {
    fn role(&self) -> Value {
        let mut resources: Vec<String> = self.resources.iter().map(|r| (*r).to_owned()).collect();
        if self.with_status {
            resources.extend(self.resources.iter().map(|r| format!("{r}/status")));
        }
        let rules = json!([{
            "apiGroups": [self.group],
            "resources": resources,
            "verbs": self.verbs,
        }]);
        role(self.name, self.system, Some(self.label), rules)
    }
}

fn role(name: &str, system: &str, label: Option<&str>, rules: Value) -> Value {
    let mut labels = json!({"app.kubernetes.io/name": system});
    if let Some(label) = label {
        labels[label] = json!("true");
    }
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": labels},
        "rules": rules,
    })
}
