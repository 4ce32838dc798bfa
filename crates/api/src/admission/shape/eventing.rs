//! The fields of the Go types of Knative Eventing, in the notation of `table`. The definitions of
//! `crds` are made from the same lines, so that what the schema shows is what admission reads. A
//! type whose name ends in `Status` is read by nobody but the schema.

pub(super) const TABLE: &str = "
Destination: ref *KReference, uri=URI *string, CACerts *string, audience *string
DeliverySpec: deadLetterSink *Destination, retry *int, timeout *string, backoffPolicy *string, backoffDelay *string, retryAfterMax *string, format *string
LabelSelector: matchLabels map, matchExpressions []LabelSelectorRequirement
LabelSelectorRequirement: key! string, operator! string, values []string
Addressable: name *string, url=URL *string, CACerts *string, audience *string
AddressStatus: address *Addressable, addresses []Addressable
DeadLetterStatus: deadLetterSinkUri=DeadLetterSinkURI *string, deadLetterSinkCACerts *string, deadLetterSinkAudience *string
PoliciesStatus: policies []AppliedEventPolicyRef
AppliedEventPolicyRef: name! string, apiVersion! string
AuthStatus: serviceAccountName *string, serviceAccountNames []string
SinkStatus: sinkUri=SinkURI *string, sinkCACerts *string, sinkAudience *string, ceAttributes=CloudEventAttributes []CloudEventAttributes, auth *AuthStatus
CloudEventAttributes: type string, source string
BrokerSpec: config *KReference, delivery *DeliverySpec
BrokerStatus: ...AddressStatus, ...DeadLetterStatus, ...PoliciesStatus
Broker: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec BrokerSpec, status opaque
TriggerSpec: broker string, brokerRef *KReference, filter *TriggerFilter, filters []SubscriptionsAPIFilter, subscriber! Destination, delivery *DeliverySpec
TriggerFilter: attributes map
SubscriptionsAPIFilter: all []SubscriptionsAPIFilter, any []SubscriptionsAPIFilter, not *SubscriptionsAPIFilter, exact map, prefix map, suffix map, cesql=CESQL string
TriggerStatus: subscriberUri=SubscriberURI *string, subscriberCACerts *string, subscriberAudience *string, ...DeadLetterStatus, auth *AuthStatus
Trigger: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec TriggerSpec, status opaque
EventTypeSpec: reference *KReference, description string, attributes []EventAttributeDefinition
EventAttributeDefinition: name! string, required! bool, value string
EventType: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec EventTypeSpec, status opaque
EventPolicySpec: from []EventPolicySpecFrom, to []EventPolicySpecTo, filters []SubscriptionsAPIFilter
EventPolicySpecFrom: ref *EventPolicyFromReference, sub *string
EventPolicyFromReference: apiVersion string, kind string, name string, namespace string
EventPolicySpecTo: ref *EventPolicyToReference, selector *EventPolicySelector
EventPolicyToReference: apiVersion string, kind string, name string
EventPolicySelector: matchLabels map, matchExpressions []LabelSelectorRequirement, apiVersion string, kind string
EventPolicyStatus: from []string
EventPolicy: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec EventPolicySpec, status opaque
EventTransformSpec: sink *Destination, reply *ReplySpec, jsonata *JsonataEventTransformationSpec
ReplySpec: jsonata *JsonataEventTransformationSpec, discard *bool
JsonataEventTransformationSpec: expression string
EventTransformStatus: ...SinkStatus, ...AddressStatus, ...PoliciesStatus, jsonata=JsonataTransformationStatus *any
EventTransform: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec EventTransformSpec, status opaque
RequestReplySpec: brokerRef! KReference, correlationAttribute string, replyAttribute string, timeout *string, delivery *DeliverySpec
RequestReplyStatus: ...AddressStatus, ...PoliciesStatus, desiredReplicas *int, readyReplicas *int
RequestReply: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec RequestReplySpec, status opaque
SubscribableSpec: subscribers []SubscriberSpec
SubscriberSpec: name *string, uid=UID string, generation int, subscriberUri=SubscriberURI *string, subscriberCACerts *string, subscriberAudience *string, replyUri=ReplyURI *string, replyCACerts *string, replyAudience *string, delivery *DeliverySpec, auth *AuthStatus
ChannelableSpec: ...SubscribableSpec, delivery *DeliverySpec
ChannelableStatus: ...AddressStatus, subscribers []SubscriberStatus, deadLetterChannel *KReference, ...DeadLetterStatus, ...PoliciesStatus
SubscriberStatus: uid=UID string, observedGeneration int, ready string, message string, auth *AuthStatus
TypeMeta: kind string, apiVersion=APIVersion string
ChannelTemplateSpec: ...TypeMeta, spec *any
ChannelSpec: channelTemplate *ChannelTemplateSpec, ...ChannelableSpec
ChannelStatus: ...ChannelableStatus, channel *KReference
Channel: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec ChannelSpec, status opaque
InMemoryChannelSpec: ...ChannelableSpec
InMemoryChannelStatus: ...ChannelableStatus
InMemoryChannel: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec InMemoryChannelSpec, status opaque
SubscriptionSpec: channel! KReference, subscriber *Destination, reply *Destination, delivery *DeliverySpec
SubscriptionStatus: physicalSubscription SubscriptionStatusPhysicalSubscription, auth *AuthStatus
SubscriptionStatusPhysicalSubscription: subscriberUri=SubscriberURI *string, subscriberCACerts *string, subscriberAudience *string, replyUri=ReplyURI *string, replyCACerts *string, replyAudience *string, ...DeadLetterStatus
Subscription: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec SubscriptionSpec, status opaque
SequenceSpec: steps! []SequenceStep, channelTemplate *ChannelTemplateSpec, reply *Destination
SequenceStep: ...Destination, delivery *DeliverySpec
SequenceStatus: subscriptionStatuses []any, channelStatuses []any, ...AddressStatus, auth *AuthStatus, ...PoliciesStatus
Sequence: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec SequenceSpec, status opaque
ParallelSpec: branches! []ParallelBranch, channelTemplate *ChannelTemplateSpec, reply *Destination
ParallelBranch: filter *Destination, subscriber! Destination, reply *Destination, delivery *DeliverySpec
ParallelStatus: ingressChannelStatus *any, branchStatuses []any, ...AddressStatus, auth *AuthStatus, ...PoliciesStatus
Parallel: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec ParallelSpec, status opaque
SourceSpec: sink Destination, ceOverrides=CloudEventOverrides *CloudEventOverrides
CloudEventOverrides: extensions map
ApiServerSourceSpec: ...SourceSpec, resources []APIVersionKindSelector, owner=ResourceOwner *APIVersionKind, mode=EventMode string, serviceAccountName string, namespaceSelector *LabelSelector, filters []SubscriptionsAPIFilter
APIVersionKindSelector: apiVersion!=APIVersion string, kind! string, selector=LabelSelector *LabelSelector
APIVersionKind: apiVersion!=APIVersion string, kind! string
ApiServerSourceStatus: ...SinkStatus, namespaces []string
ApiServerSource: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec ApiServerSourceSpec, status opaque
PodTemplateSpec: metadata=ObjectMeta ObjectMeta, spec PodSpec
ContainerSourceSpec: ...SourceSpec, template! PodTemplateSpec
ContainerSourceStatus: ...SinkStatus
ContainerSource: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec ContainerSourceSpec, status opaque
BindingSpec: subject! Reference
Reference: apiVersion=APIVersion string, kind string, namespace string, name string, selector *LabelSelector
SinkBindingSpec: ...SourceSpec, ...BindingSpec
SinkBindingStatus: ...SinkStatus, oidcTokenSecretName=OIDCTokenSecretName *string
SinkBinding: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec SinkBindingSpec, status opaque
PingSourceSpec: ...SourceSpec, schedule string, timezone string, contentType string, data string, dataBase64 string
PingSourceStatus: ...SinkStatus
PingSource: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec PingSourceSpec, status opaque
IntegrationSourceSpec: ...SourceSpec, timer *Timer, aws *Aws, template *PodTemplateSpec
Timer: period! int, message! string, contentType! string, repeatCount int
Aws: s3=S3 *AWSS3, sqs=SQS *AWSSQS, ddbStreams=DDBStreams *AWSDDBStreams, sns=SNS *AWSSNS, eventbridge *AWSEventbridge, auth *Auth
AWSCommon: region string, uriEndpointOverride=URIEndpointOverride string, overrideEndpoint! bool
AWSS3: ...AWSCommon, arn string, deleteAfterRead *bool, moveAfterRead! bool, destinationBucket string, destinationBucketPrefix string, destinationBucketSuffix string, autoCreateBucket! bool, prefix string, ignoreBody! bool, forcePathStyle! bool, delay! int, maxMessagesPerPoll! int
AWSSQS: ...AWSCommon, arn string, deleteAfterRead *bool, autoCreateQueue! bool, host! string, protocol! string, queueURL string, greedy! bool, delay! int, maxMessagesPerPoll! int, waitTimeSeconds int, visibilityTimeout int
AWSDDBStreams: ...AWSCommon, table string, streamIteratorType string, delay int
AWSEventbridge: ...AWSCommon, arn string
AWSSNS: ...AWSCommon, arn string, autoCreateTopic! bool
Auth: secret *Secret, serviceAccountName string
Secret: ref *SecretReference
SecretReference: name! string
IntegrationSourceStatus: ...SinkStatus
IntegrationSource: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec IntegrationSourceSpec, status opaque
IntegrationSinkSpec: log *Log, aws *Aws
Log: loggerName string, level string, logMask bool, marker string, multiline bool, showAllProperties bool, showBody *bool, showBodyType *bool, showExchangePattern *bool, showHeaders bool, showProperties bool, showStreams bool, showCachedStreams *bool
IntegrationSinkStatus: ...AddressStatus, ...PoliciesStatus
IntegrationSink: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec IntegrationSinkSpec, status opaque
JobSinkSpec: job *any
JobSinkStatus: ...AddressStatus, ...PoliciesStatus, job *any
JobSink: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec JobSinkSpec, status opaque
GitHubSourceSpec: serviceAccountName string, ownerAndRepository! string, eventTypes! []string, accessToken! SecretValueFromSource, secretToken! SecretValueFromSource, githubAPIURL string, secure *bool, ...SourceSpec
SecretValueFromSource: secretKeyRef *SecretKeySelector
GitHubSourceStatus: ...SinkStatus, webhookIDKey string, webhookUrl string
GitHubSource: kind string, apiVersion=APIVersion string, metadata=ObjectMeta ObjectMeta, spec GitHubSourceSpec, status opaque
";
