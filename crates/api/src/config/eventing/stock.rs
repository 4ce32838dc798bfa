//! The ConfigMaps of a fresh installation, in namespace `knative-eventing`. What differs from
//! Knative's own is set: namespaces labelled for injection get a Broker.

use serde_json::Value;

use super::{BrokerDefaults, ChannelDefaults, Features, Mapping, Ping, SYSTEM_NAMESPACE, Sugar};
use crate::config::stock::Stock;
use crate::config::{LeaderElection, Logging, Observability};

/// The ConfigMap objects.
pub fn stock() -> Vec<Value> {
    let objects = STOCK.iter();
    objects
        .map(|stock| stock.object(SYSTEM_NAMESPACE, stock.example()))
        .collect()
}

const STOCK: &[Stock] = &[
    Stock {
        name: "config-br-default-channel",
        component: "config",
        about: "What the channels of a Broker are made of.",
        set: &[(
            "channel-template-spec",
            "apiVersion: messaging.knative.dev/v1\nkind: InMemoryChannel\n",
        )],
        settings: &[],
    },
    Stock {
        name: BrokerDefaults::NAME,
        component: "config",
        about: "The class and configuration of Brokers that name none, for the cluster and by \
                namespace.",
        set: &[(
            "default-br-config",
            "clusterDefault:\n  brokerClass: MTChannelBasedBroker\n  apiVersion: v1\n  \
             kind: ConfigMap\n  name: config-br-default-channel\n  namespace: knative-eventing\n  \
             delivery:\n    retry: 10\n    backoffPolicy: exponential\n    backoffDelay: PT0.2S\n",
        )],
        settings: &[],
    },
    Stock {
        name: ChannelDefaults::NAME,
        component: "config",
        about: "What Channels without a template are made of, for the cluster and by namespace.",
        set: &[(
            "default-ch-config",
            "clusterDefault:\n  apiVersion: messaging.knative.dev/v1\n  kind: InMemoryChannel\n",
        )],
        settings: &[],
    },
    FEATURES,
    Stock {
        name: Sugar::NAME,
        component: "eventing-controller",
        about: "Which namespaces and Triggers get a Broker made for them: label selectors. Nothing \
                is selected by an empty one; {} selects everything.",
        set: &[
            (
                "namespace-selector",
                "matchExpressions:\n- key: eventing.knative.dev/injection\n  operator: In\n  \
             values: [enabled]\n",
            ),
            (
                "trigger-selector",
                "matchExpressions:\n- key: eventing.knative.dev/injection\n  operator: In\n  \
             values: [enabled]\n",
            ),
        ],
        settings: &[
            ("namespace-selector", "", "The namespaces."),
            ("trigger-selector", "", "The Triggers."),
        ],
    },
    Stock {
        name: Ping::NAME,
        component: "eventing-controller",
        about: "Limits of PingSources.",
        set: &[],
        settings: &[(
            "data-max-size",
            "-1",
            "How many bytes of data an event may carry; -1 is no limit.",
        )],
    },
    Stock {
        name: Mapping::NAME,
        component: "eventing-controller",
        about: "Kinds whose objects stand for a URL: KIND.VERSION.GROUP and a template with .Name, \
                .Namespace, .SystemNamespace and .UID. Counts if the feature kreference-mapping \
                is on.",
        set: &[],
        settings: &[(
            "Pod.v1",
            "https://{{ .SystemNamespace }}.example.com/{{ .Namespace }}/{{ .Name }}",
            "A URL for each Pod.",
        )],
    },
    Stock {
        name: LeaderElection::NAME,
        component: "eventing-controller",
        about: "Which of several controllers works.",
        set: &[],
        settings: &[
            (
                "lease-duration",
                "60s",
                "How long others wait for the leader.",
            ),
            (
                "renew-deadline",
                "40s",
                "How long the leader tries to stay.",
            ),
            (
                "retry-period",
                "10s",
                "How long each waits between two tries.",
            ),
            ("buckets", "1", "Into how many shares the work is cut."),
        ],
    },
    Stock {
        name: Logging::NAME,
        component: "eventing-controller",
        about: "How much the components log: loglevel.COMPONENT.",
        set: &[],
        settings: &[
            ("loglevel.controller", "info", "The controllers."),
            ("loglevel.webhook", "info", "Admission."),
            ("loglevel.mt_broker_ingress", "info", "What takes events."),
            ("loglevel.mt_broker_filter", "info", "What delivers them."),
        ],
    },
    OBSERVABILITY,
    Stock {
        name: "config-tracing",
        component: "eventing-controller",
        about: "Traces as they were set up before config-observability had them.",
        set: &[],
        settings: &[
            ("backend", "none", "none or zipkin."),
            ("zipkin-endpoint", "", "Where traces go."),
            ("debug", "false", "Whether everything is traced."),
            ("sample-rate", "0.1", "The share of events traced, 0 to 1."),
        ],
    },
    Stock {
        name: "config-imc-event-dispatcher",
        component: "imc-dispatcher",
        about: "Connections of channels to their subscribers.",
        set: &[],
        settings: &[
            (
                "MaxIdleConnections",
                "1000",
                "How many are kept open without use.",
            ),
            (
                "MaxIdleConnectionsPerHost",
                "100",
                "How many of these to one host.",
            ),
        ],
    },
    Stock {
        name: "eventing-integrations-images",
        component: "eventing-controller",
        about: "Images of the integrations that need a container. The timer source and the log \
                sink are part of this program.",
        set: &[],
        settings: &[
            (
                "timer-source",
                "rekindle.local/timer-source",
                "IntegrationSource.timer.",
            ),
            (
                "log-sink",
                "rekindle.local/log-sink",
                "IntegrationSink.log.",
            ),
        ],
    },
    Stock {
        name: "eventing-transformations-images",
        component: "eventing-controller",
        about: "Images of transformations.",
        set: &[],
        settings: &[("transform-jsonata", "", "EventTransform.jsonata.")],
    },
];

const FEATURES: Stock = Stock {
    name: Features::NAME,
    component: "eventing-controller",
    about: "Features: enabled or disabled, unless it says otherwise.",
    set: &[],
    settings: &[
        (
            "kreference-group",
            "disabled",
            "References may name a group instead of an API version.",
        ),
        (
            "kreference-mapping",
            "disabled",
            "config-kreference-mapping counts.",
        ),
        (
            "delivery-retryafter",
            "disabled",
            "delivery.retryAfterMax may be set.",
        ),
        (
            "delivery-timeout",
            "enabled",
            "delivery.timeout may be set.",
        ),
        (
            "transport-encryption",
            "disabled",
            "disabled, permissive (both) or strict (TLS alone).",
        ),
        (
            "eventtype-auto-create",
            "disabled",
            "EventTypes are made of the events that pass.",
        ),
        (
            "authentication-oidc",
            "disabled",
            "Senders have identities, and EventPolicies count.",
        ),
        (
            "default-authorization-mode",
            "allow-same-namespace",
            "Who may send where no EventPolicy says anything: allow-all, deny-all or \
             allow-same-namespace.",
        ),
        (
            "cross-namespace-event-links",
            "disabled",
            "Triggers and Subscriptions may listen in other namespaces.",
        ),
        (
            "new-apiserversource-filters",
            "disabled",
            "ApiServerSources may have filters.",
        ),
        (
            "oidc-discovery-base-url",
            "https://kubernetes.default.svc",
            "The issuer of the tokens.",
        ),
        (
            "requestreply-default-timeout",
            "PT30S",
            "How long a RequestReply waits that says nothing of its own.",
        ),
    ],
};

const OBSERVABILITY: Stock = Stock {
    name: Observability::NAME,
    component: "eventing-controller",
    about: "Metrics and traces.",
    set: &[],
    settings: &[
        (
            "metrics-protocol",
            "none",
            "none, prometheus, http/protobuf or grpc.",
        ),
        ("metrics-endpoint", "", "Where the last two send to."),
        (
            "metrics-export-interval",
            "0s",
            "How often; 0 leaves it to the exporter.",
        ),
        (
            "sink-event-error-reporting.enable",
            "false",
            "Whether a source makes a Kubernetes event of an event it could not send.",
        ),
        (
            "tracing-protocol",
            "none",
            "none, http/protobuf, grpc or stdout.",
        ),
        ("tracing-endpoint", "", "Where traces go."),
        (
            "tracing-sampling-rate",
            "0",
            "The share of events traced, 0 to 1.",
        ),
        (
            "runtime-profiling",
            "disabled",
            "Whether the components can be profiled.",
        ),
    ],
};
