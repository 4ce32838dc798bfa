//! The kinds of 2018: `channels.knative.dev`, `feeds.knative.dev` and Flow. What they say is left
//! open, as it was then; the fields that are read are described for `kubectl explain`. And the kinds of
//! 2019 that another group has today, in the same way.

use serde_json::{Value, json};

use super::schema::{list, object, open, resource, status, string};
use super::{Column, Crd, RANK, READY, REASON};

/// The namespace of Knative Eventing's own objects, and its webhook's Service.
const EVENTING: (&str, &str) = ("knative-eventing", "eventing-webhook");

const EVENTING_GROUP: &str = "eventing.knative.dev";
const CHANNELS: &str = "channels.knative.dev";
const FEEDS: &str = "feeds.knative.dev";
const FLOWS: &str = "flows.knative.dev";
const MESSAGING: &str = "messaging.knative.dev";

const AGE: Column = ("Age", "date", ".metadata.creationTimestamp");
const HOSTNAME: Column = ("Hostname", "string", ".status.address.hostname");
const SOURCE: Column = ("Source", "string", ".spec.eventSource");
const OF_CLUSTER: Column = ("Source", "string", ".spec.clusterEventSource");

struct Row {
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    short_names: &'static [&'static str],
    cluster_scoped: bool,
    columns: &'static [Column],
    about: &'static str,
    spec: fn() -> Value,
}

const ROWS: [Row; 16] = [
    Row {
        group: CHANNELS,
        kind: "Bus",
        plural: "buses",
        short_names: &["kbus"],
        cluster_scoped: false,
        columns: &[READY, REASON, AGE],
        about: "Bus kept the events of Channels in 2018. Today's channels keep them by themselves.",
        spec: bus,
    },
    Row {
        group: CHANNELS,
        kind: "ClusterBus",
        plural: "clusterbuses",
        short_names: &["cbus"],
        cluster_scoped: true,
        columns: &[READY, REASON, AGE],
        about: "ClusterBus is a Bus for all namespaces.",
        spec: bus,
    },
    Row {
        group: CHANNELS,
        kind: "Channel",
        plural: "channels",
        short_names: &["chan"],
        cluster_scoped: false,
        columns: &[
            ("Domain", "string", ".status.domainInternal"),
            READY,
            REASON,
            AGE,
        ],
        about: "Channel of 2018: made into a Channel of messaging.knative.dev.",
        spec: channel,
    },
    Row {
        group: CHANNELS,
        kind: "Subscription",
        plural: "subscriptions",
        short_names: &["sub"],
        cluster_scoped: false,
        columns: &[
            ("Channel", "string", ".spec.channel"),
            ("Subscriber", "string", ".spec.subscriber"),
            READY,
            REASON,
            AGE,
        ],
        about: "Subscription of 2018: made into a Subscription of messaging.knative.dev.",
        spec: subscription,
    },
    Row {
        group: FEEDS,
        kind: "Feed",
        plural: "feeds",
        short_names: &[],
        cluster_scoped: false,
        columns: &[
            ("Event_Type", "string", ".spec.trigger.eventType"),
            READY,
            REASON,
            AGE,
        ],
        about: "Feed sends the events of a type somewhere: made into a source of sources.knative.dev.",
        spec: feed,
    },
    Row {
        group: FEEDS,
        kind: "EventType",
        plural: "eventtypes",
        short_names: &["ket"],
        cluster_scoped: false,
        columns: &[SOURCE, AGE],
        about: "EventType of 2018 says which source makes events of a type.",
        spec: event_type,
    },
    Row {
        group: FEEDS,
        kind: "ClusterEventType",
        plural: "clustereventtypes",
        short_names: &["kcet"],
        cluster_scoped: true,
        columns: &[OF_CLUSTER, AGE],
        about: "ClusterEventType is an EventType for all namespaces.",
        spec: event_type,
    },
    Row {
        group: FEEDS,
        kind: "EventSource",
        plural: "eventsources",
        short_names: &["kes"],
        cluster_scoped: false,
        columns: &[("Source", "string", ".spec.source"), AGE],
        about: "EventSource says how events of a source are had.",
        spec: event_source,
    },
    Row {
        group: FEEDS,
        kind: "ClusterEventSource",
        plural: "clustereventsources",
        short_names: &["kces"],
        cluster_scoped: true,
        columns: &[("Source", "string", ".spec.source"), AGE],
        about: "ClusterEventSource is an EventSource for all namespaces.",
        spec: event_source,
    },
    Row {
        group: FLOWS,
        kind: "Flow",
        plural: "flows",
        short_names: &[],
        cluster_scoped: false,
        columns: &[
            ("Event_Type", "string", ".spec.trigger.eventType"),
            READY,
            REASON,
            AGE,
        ],
        about: "Flow joins a source and a target: a Feed, a Channel and a Subscription.",
        spec: flow,
    },
    Row {
        group: EVENTING_GROUP,
        kind: "Channel",
        plural: "channels",
        short_names: &[],
        cluster_scoped: false,
        columns: &[HOSTNAME, READY, REASON, AGE],
        about: "Channel of 2019: made into a Channel of messaging.knative.dev.",
        spec: provisioned_channel,
    },
    Row {
        group: EVENTING_GROUP,
        kind: "Subscription",
        plural: "subscriptions",
        short_names: &[],
        cluster_scoped: false,
        columns: &[
            ("Channel", "string", ".spec.channel.name"),
            READY,
            REASON,
            AGE,
        ],
        about: "Subscription of 2019: made into a Subscription of messaging.knative.dev.",
        spec: subscription_of_2019,
    },
    Row {
        group: EVENTING_GROUP,
        kind: "ClusterChannelProvisioner",
        plural: "clusterchannelprovisioners",
        short_names: &["ccp"],
        cluster_scoped: true,
        columns: &[READY, REASON, AGE],
        about: "ClusterChannelProvisioner kept the events of Channels in 2019. Today's channels keep \
                them by themselves.",
        spec: nothing,
    },
    moved(
        "Choice",
        "choices",
        "Choice of 2019: made into a Parallel of flows.knative.dev.",
    ),
    moved(
        "Sequence",
        "sequences",
        "Sequence of 2019: made into a Sequence of flows.knative.dev.",
    ),
    moved(
        "Parallel",
        "parallels",
        "Parallel of 2019: made into a Parallel of flows.knative.dev.",
    ),
];

/// A kind of `messaging.knative.dev` that is one of `flows.knative.dev` since v0.11.
const fn moved(kind: &'static str, plural: &'static str, about: &'static str) -> Row {
    Row {
        group: MESSAGING,
        kind,
        plural,
        short_names: &[],
        cluster_scoped: false,
        columns: &[HOSTNAME, READY, REASON, AGE],
        about,
        spec: nothing,
    }
}

pub(super) fn crds() -> Vec<Value> {
    ROWS.iter().map(Row::definition).collect()
}

impl Row {
    fn definition(&self) -> Value {
        let mut spec = (self.spec)();
        let mut seen = status([]);
        for schema in [&mut spec, &mut seen] {
            schema["x-kubernetes-preserve-unknown-fields"] = json!(true);
        }
        let crd = Crd {
            group: self.group,
            kind: self.kind,
            plural: self.plural,
            short_names: self.short_names,
            categories: &["knative", "eventing"],
            labels: &[],
            cluster_scoped: self.cluster_scoped,
            system: EVENTING,
            columns: self.columns,
            versions: vec![("v1alpha1", resource(self.about, spec, seen))],
        };
        let mut definition = crd.render();
        if [CHANNELS, EVENTING_GROUP, FEEDS].contains(&self.group) {
            definition["metadata"]["annotations"] = json!({RANK.0: RANK.1});
        }
        definition
    }
}

fn arguments() -> Value {
    let argument = object(
        "One argument.",
        [
            ("name", string("The name of the parameter.")),
            ("value", string("Its value.")),
        ],
    );
    list("Values for the parameters of the bus.", argument)
}

fn bus() -> Value {
    object(
        "How events are kept.",
        [
            (
                "parameters",
                open("What Channels and Subscriptions are to say."),
            ),
            (
                "dispatcher",
                open("The container that sent events. It is not run."),
            ),
            (
                "provisioner",
                open("The container that made topics. It is not run."),
            ),
        ],
    )
}

fn channel() -> Value {
    object(
        "Which bus keeps the events.",
        [
            ("bus", string("The Bus, in the same namespace.")),
            ("clusterBus", string("The ClusterBus, instead of a Bus.")),
            ("arguments", arguments()),
        ],
    )
}

fn subscription() -> Value {
    object(
        "Who gets the events of a Channel.",
        [
            ("channel", string("The Channel, in the same namespace.")),
            ("subscriber", string("The DNS name of who gets the events.")),
            ("replyTo", string("The DNS name of who gets the answers.")),
            ("arguments", arguments()),
        ],
    )
}

fn provisioned_channel() -> Value {
    object(
        "Who keeps the events.",
        [
            (
                "provisioner",
                open("The ClusterChannelProvisioner, by reference."),
            ),
            ("arguments", open("What the provisioner was to know.")),
        ],
    )
}

fn subscription_of_2019() -> Value {
    object(
        "Who gets the events of a Channel.",
        [
            ("channel", open("The Channel, by reference.")),
            (
                "subscriber",
                open("Who gets the events: ref, uri or dnsName."),
            ),
            ("reply", open("Who gets the answers: channel.")),
        ],
    )
}

fn trigger() -> Value {
    let mut trigger = object(
        "Which events are wanted.",
        [
            ("eventType", string("The EventType.")),
            (
                "clusterEventType",
                string("The ClusterEventType, instead of an EventType."),
            ),
            ("resource", string("Of what: of GitHub, OWNER/REPOSITORY.")),
            ("service", string("The source, by its name.")),
            ("parameters", open("What the source is to know besides.")),
        ],
    );
    trigger["x-kubernetes-preserve-unknown-fields"] = json!(true);
    trigger
}

fn feed() -> Value {
    object(
        "Which events go where.",
        [
            (
                "action",
                open("Where the events go: dnsName, or routeName, or channelName."),
            ),
            ("trigger", trigger()),
            (
                "serviceAccountName",
                string("The ServiceAccount whose rights the source has."),
            ),
        ],
    )
}

fn event_type() -> Value {
    object(
        "Who makes events of the type.",
        [
            ("eventSource", string("The EventSource.")),
            (
                "clusterEventSource",
                string("The ClusterEventSource, of a ClusterEventType."),
            ),
            ("description", string("The type in words.")),
        ],
    )
}

fn event_source() -> Value {
    object(
        "How events are had.",
        [
            ("source", string("The name of the source.")),
            (
                "image",
                string("The image that set feeds up. It is not run."),
            ),
            ("parameters", open("What the image was to know.")),
        ],
    )
}

fn flow() -> Value {
    object(
        "Which events go where.",
        [
            ("action", open("Where the events go: target or targetURI.")),
            ("trigger", trigger()),
            (
                "serviceAccountName",
                string("The ServiceAccount whose rights the source has."),
            ),
        ],
    )
}

fn nothing() -> Value {
    open("What it said.")
}
