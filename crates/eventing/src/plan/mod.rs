//! What to make of what the user wrote: the reconcilers of Knative Eventing as pure plans.
//!
//! Each planner is one file with one function of the same shape, `plan(cx, key, world) -> Plan`.
//! It states what should differ from the world it sees; a second plan over the result of the first
//! writes nothing. What the broker must know ([`api::delivery`]) is stated the same way, and
//! before the status that promises it.
//!
//! Shared rooms: `config` reads the ConfigMaps, `resolve` finds who a Destination means, `policy`
//! reads delivery policies, `addressable` publishes addresses and event policies, `identity` sees
//! to the ServiceAccounts that events are sent as, `token` to what shows it, `transport` to certificates, `trouble` hears what the broker cannot do. The kinds of 2018 and 2019 are in `history`.

mod addressable;
mod api_server_source;
mod broker;
mod bundles;
mod channel;
mod config;
mod container_source;
mod event_policy;
mod event_type;
mod flow;
mod github_source;
mod handler;
mod history;
mod identity;
mod in_memory_channel;
mod integration_source;
mod ping_source;
mod policy;
mod resolve;
mod sink_binding;
mod source;
mod subscription;
mod sugar;
mod token;
mod transport;
mod trigger;
mod trouble;
mod url;

pub use config::SYSTEM_NAMESPACE;

use api::world::{self as kinds, Action, Context, Key, Kind, Plan, Planner, World};

/// All planners of Knative Eventing, for the driver to register.
pub fn planners() -> Vec<Planner> {
    let all = TABLE.iter().chain(SOURCES_OF_2019);
    all.map(|&(name, root, plan)| Planner {
        name,
        root,
        watches: READ,
        is_urgent: name == "BrokerIngress",
        plan,
    })
    .collect()
}

/// The planners that tell the broker of this process what to do, for a process without the others:
/// they state the same delivery graph of the same objects and write nothing, since whoever runs
/// all planners does.
pub fn delivery_planners() -> Vec<Planner> {
    TELLING
        .iter()
        .map(|&(name, root, plan)| Planner {
            name,
            root,
            watches: READ,
            is_urgent: false,
            plan,
        })
        .collect()
}

/// Of a plan what is told and what is asked for, but no writes.
fn told(mut plan: Plan) -> Plan {
    plan.actions
        .retain(|action| matches!(action, Action::Deliver(_) | Action::Need(_) | Action::At(_)));
    plan
}

/// The rows of [`TABLE`] that have a say in the delivery graph, see [`told`].
const TELLING: &[Row] = &[
    ("BrokerDelivery", kinds::BROKER, broker::plan_ingress),
    (
        "ChannelDelivery",
        kinds::IN_MEMORY_CHANNEL,
        |cx, key, world| told(in_memory_channel::plan(cx, key, world)),
    ),
    (
        "PingSourceDelivery",
        kinds::PING_SOURCE,
        |cx, key, world| told(ping_source::plan(cx, key, world)),
    ),
    (
        "ApiServerSourceDelivery",
        kinds::API_SERVER_SOURCE,
        |cx, key, world| told(api_server_source::plan(cx, key, world)),
    ),
    (
        "IntegrationSourceDelivery",
        kinds::INTEGRATION_SOURCE,
        |cx, key, world| told(integration_source::plan(cx, key, world)),
    ),
    (
        "GitHubSourceDelivery",
        kinds::GITHUB_SOURCE,
        |cx, key, world| told(github_source::plan(cx, key, world)),
    ),
    ("JobSinkDelivery", kinds::JOB_SINK, |cx, key, world| {
        told(handler::plan_job_sink(cx, key, world))
    }),
    (
        "IntegrationSinkDelivery",
        kinds::INTEGRATION_SINK,
        |cx, key, world| told(handler::plan_integration_sink(cx, key, world)),
    ),
    (
        "EventTransformDelivery",
        kinds::EVENT_TRANSFORM,
        |cx, key, world| told(handler::plan_event_transform(cx, key, world)),
    ),
    (
        "RequestReplyDelivery",
        kinds::REQUEST_REPLY,
        |cx, key, world| told(handler::plan_request_reply(cx, key, world)),
    ),
    (
        "TransportEncryptionDelivery",
        kinds::CONFIG_MAP,
        |cx, key, world| told(transport::plan(cx, key, world)),
    ),
    (
        "TrustBundleDelivery",
        kinds::CONFIG_MAP,
        transport::plan_bundle,
    ),
];

/// Name, root kind, the plan. `BrokerIngress` is urgent, so that the graph has a Trigger before
/// the Trigger says that it is ready.
type Row = (&'static str, Kind, fn(&Context, &Key, &World) -> Plan);

const TABLE: &[Row] = &[
    ("BrokerIngress", kinds::BROKER, broker::plan_ingress),
    ("Broker", kinds::BROKER, broker::plan),
    ("Trigger", kinds::TRIGGER, trigger::plan),
    (
        "InMemoryChannel",
        kinds::IN_MEMORY_CHANNEL,
        in_memory_channel::plan,
    ),
    (
        "ChannelSubscribers",
        kinds::IN_MEMORY_CHANNEL,
        subscription::plan_channel,
    ),
    ("Channel", kinds::CHANNEL, channel::plan),
    ("Subscription", kinds::SUBSCRIPTION, subscription::plan),
    ("Sequence", kinds::SEQUENCE, flow::plan_sequence),
    ("Parallel", kinds::PARALLEL, flow::plan_parallel),
    ("NamespaceSugar", kinds::NAMESPACE, sugar::plan_namespace),
    ("TriggerSugar", kinds::TRIGGER, sugar::plan_trigger),
    ("TransportEncryption", kinds::CONFIG_MAP, transport::plan),
    ("TrustBundle", kinds::CONFIG_MAP, transport::plan_bundle),
    ("EventPolicy", kinds::EVENT_POLICY, event_policy::plan),
    ("EventType", kinds::EVENT_TYPE, event_type::plan),
    ("PingSource", kinds::PING_SOURCE, ping_source::plan),
    (
        "ApiServerSource",
        kinds::API_SERVER_SOURCE,
        api_server_source::plan,
    ),
    (
        "ContainerSource",
        kinds::CONTAINER_SOURCE,
        container_source::plan,
    ),
    ("SinkBinding", kinds::SINK_BINDING, sink_binding::plan),
    (
        "IntegrationSource",
        kinds::INTEGRATION_SOURCE,
        integration_source::plan,
    ),
    ("GitHubSource", kinds::GITHUB_SOURCE, github_source::plan),
    ("JobSink", kinds::JOB_SINK, handler::plan_job_sink),
    (
        "IntegrationSink",
        kinds::INTEGRATION_SINK,
        handler::plan_integration_sink,
    ),
    (
        "EventTransform",
        kinds::EVENT_TRANSFORM,
        handler::plan_event_transform,
    ),
    (
        "RequestReply",
        kinds::REQUEST_REPLY,
        handler::plan_request_reply,
    ),
    ("Bus", kinds::BUS, history::bus::plan),
    ("ClusterBus", kinds::CLUSTER_BUS, history::bus::plan_cluster),
    ("BusChannel", kinds::BUS_CHANNEL, history::channel::plan),
    (
        "BusSubscription",
        kinds::BUS_SUBSCRIPTION,
        history::subscription::plan,
    ),
    ("Feed", kinds::FEED, history::feed::plan),
    ("Flow", kinds::FLOW, history::flow::plan),
    (
        "ClusterChannelProvisioner",
        kinds::CLUSTER_CHANNEL_PROVISIONER,
        history::moved::plan_provisioner,
    ),
    (
        "OldChannel",
        kinds::CHANNEL_OF_2019,
        history::moved::plan_channel,
    ),
    (
        "OldSubscription",
        kinds::SUBSCRIPTION_OF_2019,
        history::moved::plan_subscription,
    ),
    ("OldChoice", kinds::CHOICE, |cx, key, world| {
        history::moved::plan_flow(kinds::CHOICE, cx, key, world)
    }),
    ("OldSequence", kinds::SEQUENCE_OF_2019, |cx, key, world| {
        history::moved::plan_flow(kinds::SEQUENCE_OF_2019, cx, key, world)
    }),
    ("OldParallel", kinds::PARALLEL_OF_2019, |cx, key, world| {
        history::moved::plan_flow(kinds::PARALLEL_OF_2019, cx, key, world)
    }),
];

/// The rows of the sources of 2019, which have one plan.
macro_rules! of_2019 {
    ($($name:literal $kind:ident;)*) => {
        &[$(($name, kinds::$kind, |cx, key, world| {
            history::source::plan(kinds::$kind, cx, key, world)
        })),*]
    };
}

const SOURCES_OF_2019: &[Row] = of_2019! {
    "OldApiServerSource" OLD_API_SERVER_SOURCE;
    "OldAwsSqsSource" OLD_AWS_SQS_SOURCE;
    "OldCamelSource" OLD_CAMEL_SOURCE;
    "OldContainerSource" OLD_CONTAINER_SOURCE;
    "OldCronJobSource" OLD_CRON_JOB_SOURCE;
    "OldGcpPubSubSource" OLD_GCP_PUB_SUB_SOURCE;
    "OldGitHubSource" OLD_GITHUB_SOURCE;
    "OldKafkaSource" OLD_KAFKA_SOURCE;
    "OldKubernetesEventSource" OLD_KUBERNETES_EVENT_SOURCE;
    "OldSinkBinding" OLD_SINK_BINDING;
};

/// What plans read: since a Destination may name anything addressable, they all read nearly
/// everything.
const READ: &[Kind] = &[
    kinds::BROKER,
    kinds::CHANNEL,
    kinds::IN_MEMORY_CHANNEL,
    kinds::SEQUENCE,
    kinds::PARALLEL,
    kinds::KNATIVE_SERVICE,
    kinds::ROUTE,
    kinds::SERVICE,
    kinds::JOB_SINK,
    kinds::INTEGRATION_SINK,
    kinds::EVENT_TRANSFORM,
    kinds::REQUEST_REPLY,
    kinds::TRIGGER,
    kinds::SUBSCRIPTION,
    kinds::EVENT_POLICY,
    kinds::PING_SOURCE,
    kinds::API_SERVER_SOURCE,
    kinds::CONTAINER_SOURCE,
    kinds::SINK_BINDING,
    kinds::INTEGRATION_SOURCE,
    kinds::GITHUB_SOURCE,
    kinds::EVENT_TYPE,
    kinds::SERVICE_ACCOUNT,
    kinds::CONFIG_MAP,
    kinds::SECRET,
    kinds::NAMESPACE,
    kinds::DEPLOYMENT,
    kinds::STATEFUL_SET,
    kinds::DAEMON_SET,
    kinds::CRON_JOB,
    kinds::BUS,
    kinds::CLUSTER_BUS,
    kinds::BUS_CHANNEL,
    kinds::BUS_SUBSCRIPTION,
    kinds::FEED,
    kinds::FEED_EVENT_TYPE,
    kinds::CLUSTER_EVENT_TYPE,
    kinds::EVENT_SOURCE,
    kinds::CLUSTER_EVENT_SOURCE,
    kinds::FLOW,
    kinds::CHANNEL_OF_2019,
    kinds::CLUSTER_CHANNEL_PROVISIONER,
    kinds::CHOICE,
    kinds::SEQUENCE_OF_2019,
    kinds::PARALLEL_OF_2019,
];

/// How this project's own annotations begin.
const OWN: &str = "eventing.rekindle.dev";

/// An annotation of this project.
fn own_annotation<'a>(object: &'a serde_json::Value, name: &str) -> Option<&'a str> {
    use api::object::ObjectExt;
    object.annotation(&format!("{OWN}/{name}"))
}

#[cfg(test)]
mod tests;
