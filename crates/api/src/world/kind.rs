//! Names of kinds, as the API server's paths and the World's indexes spell them.

/// A kind of object: enough to build its URL and to find it in the World.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Kind {
    /// API group; empty for core.
    pub group: &'static str,
    /// The version plans read and write.
    pub version: &'static str,
    /// The kind, in CamelCase.
    pub kind: &'static str,
    /// The resource name in URLs.
    pub plural: &'static str,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
}

impl Kind {
    const fn new(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Self {
        Self {
            group,
            version,
            kind,
            plural,
            namespaced: true,
        }
    }

    /// The `apiVersion` of its objects.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The kind of an object with this `apiVersion` and `kind`, if plans know it.
    pub fn find(api_version: &str, kind: &str) -> Option<Self> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let known = ALL.iter().chain(&CLUSTER_SCOPED);
        known
            .copied()
            .find(|k| k.kind == kind && k.group == group && k.version == version)
    }
}

macro_rules! kinds {
    ($($name:ident = $group:literal $version:literal $kind:literal $plural:literal;)*) => {
        $(#[doc = concat!("`", $kind, "` of `", $group, "/", $version, "`.")]
        pub const $name: Kind = Kind::new($group, $version, $kind, $plural);)*

        /// The namespaced kinds.
        const ALL: &[Kind] = &[$($name),*];
    };
}

kinds! {
    POD = "" "v1" "Pod" "pods";
    BINDING = "" "v1" "Binding" "bindings";
    SERVICE = "" "v1" "Service" "services";
    ENDPOINTS = "" "v1" "Endpoints" "endpoints";
    CONFIG_MAP = "" "v1" "ConfigMap" "configmaps";
    SECRET = "" "v1" "Secret" "secrets";
    SERVICE_ACCOUNT = "" "v1" "ServiceAccount" "serviceaccounts";
    EVENT = "" "v1" "Event" "events";
    ENDPOINT_SLICE = "discovery.k8s.io" "v1" "EndpointSlice" "endpointslices";
    DEPLOYMENT = "apps" "v1" "Deployment" "deployments";
    REPLICA_SET = "apps" "v1" "ReplicaSet" "replicasets";
    STATEFUL_SET = "apps" "v1" "StatefulSet" "statefulsets";
    DAEMON_SET = "apps" "v1" "DaemonSet" "daemonsets";
    CONTROLLER_REVISION = "apps" "v1" "ControllerRevision" "controllerrevisions";
    JOB = "batch" "v1" "Job" "jobs";
    CRON_JOB = "batch" "v1" "CronJob" "cronjobs";
    LEASE = "coordination.k8s.io" "v1" "Lease" "leases";
    PERSISTENT_VOLUME_CLAIM = "" "v1" "PersistentVolumeClaim" "persistentvolumeclaims";
    HPA = "autoscaling" "v2" "HorizontalPodAutoscaler" "horizontalpodautoscalers";
    KNATIVE_SERVICE = "serving.knative.dev" "v1" "Service" "services";
    CONFIGURATION = "serving.knative.dev" "v1" "Configuration" "configurations";
    REVISION = "serving.knative.dev" "v1" "Revision" "revisions";
    ROUTE = "serving.knative.dev" "v1" "Route" "routes";
    POD_AUTOSCALER = "autoscaling.internal.knative.dev" "v1alpha1" "PodAutoscaler" "podautoscalers";
    METRIC = "autoscaling.internal.knative.dev" "v1alpha1" "Metric" "metrics";
    INGRESS = "networking.internal.knative.dev" "v1alpha1" "Ingress" "ingresses";
    KUBERNETES_INGRESS = "networking.k8s.io" "v1" "Ingress" "ingresses";
    SERVERLESS_SERVICE = "networking.internal.knative.dev" "v1alpha1" "ServerlessService" "serverlessservices";
    CERTIFICATE = "networking.internal.knative.dev" "v1alpha1" "Certificate" "certificates";
    DOMAIN_MAPPING = "serving.knative.dev" "v1beta1" "DomainMapping" "domainmappings";
    IMAGE = "caching.internal.knative.dev" "v1alpha1" "Image" "images";
    BROKER = "eventing.knative.dev" "v1" "Broker" "brokers";
    TRIGGER = "eventing.knative.dev" "v1" "Trigger" "triggers";
    EVENT_TYPE = "eventing.knative.dev" "v1beta3" "EventType" "eventtypes";
    EVENT_POLICY = "eventing.knative.dev" "v1alpha1" "EventPolicy" "eventpolicies";
    EVENT_TRANSFORM = "eventing.knative.dev" "v1alpha1" "EventTransform" "eventtransforms";
    REQUEST_REPLY = "eventing.knative.dev" "v1alpha1" "RequestReply" "requestreplies";
    CHANNEL = "messaging.knative.dev" "v1" "Channel" "channels";
    IN_MEMORY_CHANNEL = "messaging.knative.dev" "v1" "InMemoryChannel" "inmemorychannels";
    SUBSCRIPTION = "messaging.knative.dev" "v1" "Subscription" "subscriptions";
    SEQUENCE = "flows.knative.dev" "v1" "Sequence" "sequences";
    PARALLEL = "flows.knative.dev" "v1" "Parallel" "parallels";
    API_SERVER_SOURCE = "sources.knative.dev" "v1" "ApiServerSource" "apiserversources";
    CONTAINER_SOURCE = "sources.knative.dev" "v1" "ContainerSource" "containersources";
    SINK_BINDING = "sources.knative.dev" "v1" "SinkBinding" "sinkbindings";
    PING_SOURCE = "sources.knative.dev" "v1" "PingSource" "pingsources";
    INTEGRATION_SOURCE = "sources.knative.dev" "v1alpha1" "IntegrationSource" "integrationsources";
    GITHUB_SOURCE = "sources.knative.dev" "v1alpha1" "GitHubSource" "githubsources";
    JOB_SINK = "sinks.knative.dev" "v1alpha1" "JobSink" "jobsinks";
    BUILD = "build.knative.dev" "v1alpha1" "Build" "builds";
    BUILD_TEMPLATE = "build.knative.dev" "v1alpha1" "BuildTemplate" "buildtemplates";
    INTEGRATION_SINK = "sinks.knative.dev" "v1alpha1" "IntegrationSink" "integrationsinks";
    BUS = "channels.knative.dev" "v1alpha1" "Bus" "buses";
    BUS_CHANNEL = "channels.knative.dev" "v1alpha1" "Channel" "channels";
    BUS_SUBSCRIPTION = "channels.knative.dev" "v1alpha1" "Subscription" "subscriptions";
    FEED = "feeds.knative.dev" "v1alpha1" "Feed" "feeds";
    FEED_EVENT_TYPE = "feeds.knative.dev" "v1alpha1" "EventType" "eventtypes";
    EVENT_SOURCE = "feeds.knative.dev" "v1alpha1" "EventSource" "eventsources";
    FLOW = "flows.knative.dev" "v1alpha1" "Flow" "flows";
    CHANNEL_OF_2019 = "eventing.knative.dev" "v1alpha1" "Channel" "channels";
    SUBSCRIPTION_OF_2019 = "eventing.knative.dev" "v1alpha1" "Subscription" "subscriptions";
    CHOICE = "messaging.knative.dev" "v1alpha1" "Choice" "choices";
    SEQUENCE_OF_2019 = "messaging.knative.dev" "v1alpha1" "Sequence" "sequences";
    PARALLEL_OF_2019 = "messaging.knative.dev" "v1alpha1" "Parallel" "parallels";
    OLD_API_SERVER_SOURCE = "sources.eventing.knative.dev" "v1alpha1" "ApiServerSource" "apiserversources";
    OLD_AWS_SQS_SOURCE = "sources.eventing.knative.dev" "v1alpha1" "AwsSqsSource" "awssqssources";
    OLD_CAMEL_SOURCE = "sources.eventing.knative.dev" "v1alpha1" "CamelSource" "camelsources";
    OLD_CONTAINER_SOURCE = "sources.eventing.knative.dev" "v1alpha1" "ContainerSource" "containersources";
    OLD_CRON_JOB_SOURCE = "sources.eventing.knative.dev" "v1alpha1" "CronJobSource" "cronjobsources";
    OLD_GCP_PUB_SUB_SOURCE = "sources.eventing.knative.dev" "v1alpha1" "GcpPubSubSource" "gcppubsubsources";
    OLD_GITHUB_SOURCE = "sources.eventing.knative.dev" "v1alpha1" "GitHubSource" "githubsources";
    OLD_KAFKA_SOURCE = "sources.eventing.knative.dev" "v1alpha1" "KafkaSource" "kafkasources";
    OLD_KUBERNETES_EVENT_SOURCE = "sources.eventing.knative.dev" "v1alpha1" "KubernetesEventSource" "kuberneteseventsources";
    OLD_SINK_BINDING = "sources.eventing.knative.dev" "v1alpha1" "SinkBinding" "sinkbindings";
}

/// The kinds that live in no namespace.
const CLUSTER_SCOPED: [Kind; 9] = [
    NAMESPACE,
    NODE,
    KUBERNETES_INGRESS_CLASS,
    CLUSTER_DOMAIN_CLAIM,
    CLUSTER_BUS,
    CLUSTER_CHANNEL_PROVISIONER,
    CLUSTER_EVENT_TYPE,
    CLUSTER_EVENT_SOURCE,
    CLUSTER_BUILD_TEMPLATE,
];

/// `ClusterBuildTemplate`: steps for the Builds of all namespaces.
pub const CLUSTER_BUILD_TEMPLATE: Kind = Kind {
    namespaced: false,
    ..Kind::new(
        "build.knative.dev",
        "v1alpha1",
        "ClusterBuildTemplate",
        "clusterbuildtemplates",
    )
};
/// `Namespace`, the one cluster-scoped kind most plans meet.
pub const NAMESPACE: Kind = Kind {
    namespaced: false,
    ..Kind::new("", "v1", "Namespace", "namespaces")
};
/// `Node`.
pub const NODE: Kind = Kind {
    namespaced: false,
    ..Kind::new("", "v1", "Node", "nodes")
};
/// `IngressClass` of Kubernetes.
pub const KUBERNETES_INGRESS_CLASS: Kind = Kind {
    namespaced: false,
    ..Kind::new("networking.k8s.io", "v1", "IngressClass", "ingressclasses")
};
/// `ClusterDomainClaim`: which namespace may map a domain.
pub const CLUSTER_DOMAIN_CLAIM: Kind = Kind {
    namespaced: false,
    ..Kind::new(
        "networking.internal.knative.dev",
        "v1alpha1",
        "ClusterDomainClaim",
        "clusterdomainclaims",
    )
};
/// `ClusterBus` of 2018.
pub const CLUSTER_BUS: Kind = Kind {
    namespaced: false,
    ..Kind::new(
        "channels.knative.dev",
        "v1alpha1",
        "ClusterBus",
        "clusterbuses",
    )
};
/// `ClusterChannelProvisioner` of 2019.
pub const CLUSTER_CHANNEL_PROVISIONER: Kind = Kind {
    namespaced: false,
    ..Kind::new(
        "eventing.knative.dev",
        "v1alpha1",
        "ClusterChannelProvisioner",
        "clusterchannelprovisioners",
    )
};
/// `ClusterEventType` of 2018.
pub const CLUSTER_EVENT_TYPE: Kind = Kind {
    namespaced: false,
    ..Kind::new(
        "feeds.knative.dev",
        "v1alpha1",
        "ClusterEventType",
        "clustereventtypes",
    )
};
/// `ClusterEventSource` of 2018.
pub const CLUSTER_EVENT_SOURCE: Kind = Kind {
    namespaced: false,
    ..Kind::new(
        "feeds.knative.dev",
        "v1alpha1",
        "ClusterEventSource",
        "clustereventsources",
    )
};
