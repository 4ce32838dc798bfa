//! What `kubectl explain` says of Knative Eventing's kinds and fields, and the events its sources
//! make.

use serde_json::{Value, json};

/// Kinds, one a line: `Kind: what it is`.
const KINDS: &str = "\
Broker: Broker collects events and hands them to Triggers.
Trigger: Trigger sends those events of a Broker that pass its filter to a subscriber.
EventType: EventType says that events of a type can be had from somewhere.
EventPolicy: EventPolicy says who may send events to what.
EventTransform: EventTransform changes the shape of events on their way.
RequestReply: RequestReply answers a request with the event that some other event brings about.
Channel: Channel passes events on to its Subscriptions; what keeps them is up to its template.
InMemoryChannel: InMemoryChannel is the channel implementation that is always there.
Subscription: Subscription sends the events of a channel to a subscriber, and its answers on.
Sequence: Sequence sends an event through one step after the other.
Parallel: Parallel sends an event down several branches, each with a filter of its own.
ApiServerSource: ApiServerSource makes events of changes of Kubernetes objects.
ContainerSource: ContainerSource runs a container that makes events.
SinkBinding: SinkBinding tells Pods of others where their events go.
PingSource: PingSource makes an event on a schedule.
IntegrationSource: IntegrationSource makes events of what happens in other systems.
GitHubSource: GitHubSource makes events of what happens in a GitHub repository.
JobSink: JobSink runs a Job for each event.
IntegrationSink: IntegrationSink hands events to other systems.";

/// Fields, one a line: `Type.field: what it is`.
const FIELDS: &str = "\
KReference.kind: The kind of the object.
KReference.namespace: The namespace of the object; that of the referrer if not set.
KReference.name: The name of the object.
KReference.apiVersion: The API version of the object.
KReference.group: The API group of the object, instead of apiVersion.
KReference.address: Which of the object's addresses is meant, by name.
Destination.ref: An object that has an address.
Destination.uri: A URL; relative to the address of ref if that is set.
Destination.CACerts: Certification authorities of the target besides its own, as PEM.
Destination.audience: The OIDC audience of the target.
SequenceStep.delivery: What happens to events that the step does not take.
DeliverySpec.deadLetterSink: Where events go that cannot be delivered.
DeliverySpec.retry: How often delivery is tried again.
DeliverySpec.timeout: How long one attempt may take, as an ISO 8601 duration.
DeliverySpec.backoffPolicy: How the wait between attempts grows: linear or exponential.
DeliverySpec.backoffDelay: The wait between attempts, as an ISO 8601 duration.
DeliverySpec.retryAfterMax: How long a Retry-After header is obeyed at most, as an ISO 8601 duration.
DeliverySpec.format: How events are sent: json or binary; as they came if not set.
Addressable.name: The name of the address.
Addressable.url: The URL to call.
Addressable.CACerts: Certification authorities of the address, as PEM.
Addressable.audience: The OIDC audience of the address.
AddressStatus.address: Where events can be sent to.
AddressStatus.addresses: All places where events can be sent to.
DeadLetterStatus.deadLetterSinkUri: Where events go that cannot be delivered.
DeadLetterStatus.deadLetterSinkCACerts: Certification authorities of the dead letter sink, as PEM.
DeadLetterStatus.deadLetterSinkAudience: The OIDC audience of the dead letter sink.
PoliciesStatus.policies: The EventPolicies that apply.
SinkStatus.sinkUri: Where the events go.
SinkStatus.sinkCACerts: Certification authorities of the sink, as PEM.
SinkStatus.sinkAudience: The OIDC audience of the sink.
SinkStatus.ceAttributes: Which events are made.
SinkStatus.auth: The identity the events are sent under.
AuthStatus.serviceAccountName: The ServiceAccount.
AuthStatus.serviceAccountNames: The ServiceAccounts, if there are several.
BrokerSpec.config: What the Broker is configured with, as its class has it.
BrokerSpec.delivery: What happens to events that cannot be delivered.
TriggerSpec.broker: The Broker whose events are wanted.
TriggerSpec.brokerRef: The Broker whose events are wanted, in another namespace too.
TriggerSpec.filter: Attributes the events must have. Not looked at if filters are set.
TriggerSpec.filters: Filters the events must all pass.
TriggerSpec.subscriber: Who gets the events.
TriggerSpec.delivery: What happens to events that cannot be delivered, instead of what the Broker says.
TriggerFilter.attributes: Names and values that must be equal; an empty value means any.
SubscriptionsAPIFilter.all: Filters that must all pass.
SubscriptionsAPIFilter.any: Filters of which one must pass.
SubscriptionsAPIFilter.not: A filter that must not pass.
SubscriptionsAPIFilter.exact: Attributes and what they must be.
SubscriptionsAPIFilter.prefix: Attributes and how they must begin.
SubscriptionsAPIFilter.suffix: Attributes and how they must end.
SubscriptionsAPIFilter.cesql: An expression of CloudEvents SQL that must be true.
TriggerStatus.subscriberUri: Who gets the events.
TriggerStatus.subscriberCACerts: Certification authorities of the subscriber, as PEM.
TriggerStatus.subscriberAudience: The OIDC audience of the subscriber.
TriggerStatus.auth: The identity the events are sent under.
EventTypeSpec.reference: The object such events can be had from.
EventTypeSpec.description: The type in words.
EventTypeSpec.attributes: The attributes of such events.
EventAttributeDefinition.name: The name of the attribute.
EventAttributeDefinition.required: Whether all such events have it.
EventAttributeDefinition.value: Its value; parts in braces are variable.
EventPolicySpec.from: Who may send.
EventPolicySpec.to: To what; everything in the namespace if empty.
EventPolicySpec.filters: Filters the events must pass.
EventPolicySpecFrom.ref: An object that sends.
EventPolicySpecFrom.sub: A subject, or the beginning of one with * behind it.
EventPolicySpecTo.ref: An object that receives.
EventPolicySpecTo.selector: Objects that receive.
EventPolicyStatus.from: The subjects that may send.
EventTransformSpec.sink: Where transformed events go; back to the caller if not set.
EventTransformSpec.reply: What happens to the sink's answer.
EventTransformSpec.jsonata: A transformation in JSONata.
ReplySpec.jsonata: A transformation of the answer in JSONata.
ReplySpec.discard: Whether the answer is dropped.
JsonataEventTransformationSpec.expression: The expression; the event is its input.
RequestReplySpec.brokerRef: The Broker requests are sent into.
RequestReplySpec.correlationAttribute: The attribute that is put on requests.
RequestReplySpec.replyAttribute: The attribute by which an answer names its request.
RequestReplySpec.timeout: How long an answer is waited for, as an ISO 8601 duration.
RequestReplySpec.delivery: What happens to events that cannot be delivered.
SubscribableSpec.subscribers: Who gets the events. Written by the controller of Subscriptions.
SubscriberSpec.subscriberUri: Who gets the events.
SubscriberSpec.replyUri: Who gets the answers.
SubscriberSpec.uid: The UID of the Subscription.
SubscriberSpec.generation: The generation of the Subscription.
SubscriberSpec.delivery: What happens to events that cannot be delivered.
ChannelableSpec.delivery: What happens to events that cannot be delivered.
ChannelSpec.channelTemplate: What the channel is made of; the namespace's default if not set.
TypeMeta.kind: The kind of the objects made.
TypeMeta.apiVersion: The API version of the objects made.
ChannelTemplateSpec.spec: The spec of the channels made.
ChannelableStatus.subscribers: Which subscribers are in force.
ChannelableStatus.deadLetterChannel: The channel that takes what cannot be delivered.
ChannelStatus.channel: The channel that does the work.
SubscriptionSpec.channel: The channel whose events are wanted.
SubscriptionSpec.subscriber: Who gets the events.
SubscriptionSpec.reply: Who gets the answers.
SubscriptionSpec.delivery: What happens to events that cannot be delivered.
SubscriptionStatus.physicalSubscription: The addresses behind the references.
SubscriptionStatus.auth: The identity the events are sent under.
SequenceSpec.steps: The steps, in their order.
SequenceSpec.channelTemplate: What the channels between the steps are made of.
SequenceSpec.reply: Who gets the answer of the last step.
ParallelSpec.branches: The branches.
ParallelSpec.channelTemplate: What the channels in front of the branches are made of.
ParallelSpec.reply: Who gets the answers of branches that say nothing of their own.
ParallelBranch.filter: Who decides on an event: what it answers goes on, nothing ends the branch.
ParallelBranch.subscriber: Who gets the events.
ParallelBranch.reply: Who gets the answers.
ParallelBranch.delivery: What happens to events that cannot be delivered.
SourceSpec.sink: Where the events go.
SourceSpec.ceOverrides: What is changed on every event.
CloudEventOverrides.extensions: Attributes that are set.
ApiServerSourceSpec.resources: The kinds whose objects are watched.
ApiServerSourceSpec.owner: Only objects of such owners are watched.
ApiServerSourceSpec.mode: Reference: events name the object. Resource: events hold it.
ApiServerSourceSpec.serviceAccountName: Whose rights the watches have.
ApiServerSourceSpec.namespaceSelector: The namespaces that are watched; the source's own if not set.
ApiServerSourceSpec.filters: Filters the events must pass.
APIVersionKindSelector.apiVersion: The API version of the objects.
APIVersionKindSelector.kind: The kind of the objects.
APIVersionKindSelector.selector: Labels the objects must have.
ApiServerSourceStatus.namespaces: The namespaces that are watched.
ContainerSourceSpec.template: The Pod that makes the events.
BindingSpec.subject: The objects whose Pods are told.
Reference.apiVersion: The API version of the objects.
Reference.kind: The kind of the objects.
Reference.namespace: The namespace of the objects.
Reference.name: The name of the object.
Reference.selector: Labels of the objects, instead of a name.
SinkBindingStatus.oidcTokenSecretName: The Secret with the token of the subject.
PingSourceSpec.schedule: When, as cron has it; a field for seconds may come first.
PingSourceSpec.timezone: The time zone of the schedule, by its name in the IANA database.
PingSourceSpec.contentType: The content type of the data.
PingSourceSpec.data: The data of the events.
PingSourceSpec.dataBase64: The data of the events, in base64.
IntegrationSourceSpec.timer: An event every so often.
IntegrationSourceSpec.aws: Events of Amazon Web Services.
IntegrationSourceSpec.template: What the Pod of the source is to have besides.
Timer.period: The time between two events, in milliseconds.
Timer.message: The data of the events.
Timer.contentType: The content type of the data.
Timer.repeatCount: How many events are made; no end if not set.
IntegrationSinkSpec.log: Events are logged.
IntegrationSinkSpec.aws: Events go to Amazon Web Services.
JobSinkSpec.job: The Job that is made for each event.
GitHubSourceSpec.ownerAndRepository: OWNER/REPOSITORY, or OWNER for a whole organization.
GitHubSourceSpec.eventTypes: The webhook events wanted.
GitHubSourceSpec.accessToken: The Secret with the token for GitHub's API.
GitHubSourceSpec.secretToken: The Secret with the key GitHub signs its calls with.
GitHubSourceSpec.githubAPIURL: The API of a GitHub of one's own.
GitHubSourceSpec.secure: Whether GitHub is to call by https.
GitHubSourceSpec.serviceAccountName: The ServiceAccount of the receiver.
GitHubSourceStatus.webhookIDKey: The webhook at GitHub.
GitHubSourceStatus.webhookUrl: Where GitHub is to post.";

/// What `kind` is.
pub(super) fn kind(kind: &str) -> &'static str {
    find(KINDS, kind).unwrap_or_default()
}

/// What `field` of type `of` is.
pub(super) fn field(of: &str, field: &str) -> Option<&'static str> {
    find(FIELDS, &format!("{of}.{field}"))
}

fn find(table: &'static str, name: &str) -> Option<&'static str> {
    let rows = table.lines().filter_map(|line| line.split_once(": "));
    rows.into_iter()
        .find(|(key, _)| *key == name)
        .map(|(_, text)| text)
}

/// The annotation of a source: types and descriptions as JSON.
pub(super) fn event_types(kind: &str) -> Option<String> {
    let types: Vec<Value> = match kind {
        "ApiServerSource" => api_server_types(),
        "PingSource" => vec![json!({
            "type": "dev.knative.sources.ping",
            "description": "An event on a schedule, with the data of the spec",
        })],
        "IntegrationSource" => vec![json!({
            "type": "dev.knative.eventing.timer",
            "description": "An event of the timer",
        })],
        "GitHubSource" => github_types(),
        _ => return None,
    };
    Some(Value::Array(types).to_string())
}

fn api_server_types() -> Vec<Value> {
    let modes = [("resource", "Resource"), ("ref", "Reference")];
    let verbs = [
        ("add", "made"),
        ("update", "changed"),
        ("delete", "deleted"),
    ];
    let pairs = modes
        .iter()
        .flat_map(|mode| verbs.iter().map(move |verb| (mode, verb)));
    pairs
        .map(|((short, mode), (verb, what))| {
            json!({
                "type": format!("dev.knative.apiserver.{short}.{verb}"),
                "description": format!("An object was {what}, in mode {mode}"),
            })
        })
        .collect()
}

/// GitHub's webhook events that the source takes.
pub const GITHUB_EVENTS: &[&str] = &[
    "check_suite",
    "commit_comment",
    "create",
    "delete",
    "deployment",
    "deployment_status",
    "fork",
    "gollum",
    "installation",
    "integration_installation",
    "issue_comment",
    "issues",
    "label",
    "member",
    "membership",
    "milestone",
    "organization",
    "org_block",
    "page_build",
    "ping",
    "project_card",
    "project_column",
    "project",
    "public",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "push",
    "release",
    "repository",
    "status",
    "team",
    "team_add",
    "watch",
];

fn github_types() -> Vec<Value> {
    let types = GITHUB_EVENTS.iter();
    types
        .map(|event| json!({"type": format!("dev.knative.source.github.{event}")}))
        .collect()
}
