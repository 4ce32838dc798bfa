//! The ConfigMaps of a fresh installation. Each shows its settings and their defaults in a
//! commented example; what differs from Knative's own defaults here is set: the domain that works
//! without DNS, the ingress class and the queue-proxy image of this project.
//!
//! Created by the embedded shape at its first start and printed by `rekindle manifest`.

use serde_json::{Map, Value, json};

use super::webhook::{CHECKSUM_ANNOTATION, EXAMPLE_KEY, checksum};
use super::{
    Autoscaler, Defaults, Deployment, Domain, Features, Gc, LeaderElection, Logging, Network,
    Observability, SYSTEM_NAMESPACE,
};

/// The ingress class of this project's gateway.
pub const INGRESS_CLASS: &str = "rekindle.ingress.networking.knative.dev";
/// The queue-proxy image of this project; the embedded shape never pulls it.
pub const QUEUE_IMAGE: &str = "rekindle.local/queue-proxy";

/// One ConfigMap.
pub(super) struct Stock {
    pub(super) name: &'static str,
    pub(super) component: &'static str,
    pub(super) about: &'static str,
    pub(super) set: &'static [(&'static str, &'static str)],
    /// Key, default, meaning.
    pub(super) settings: &'static [(&'static str, &'static str, &'static str)],
}

/// The ConfigMap objects of a fresh installation, in namespace `knative-serving`.
pub(super) fn stock() -> Vec<Value> {
    let mut objects: Vec<Value> = STOCK
        .iter()
        .map(|stock| stock.object(SYSTEM_NAMESPACE, stock.example()))
        .collect();
    objects.push(FEATURES.object(SYSTEM_NAMESPACE, features_example()));
    objects
}

impl Stock {
    /// The object in `namespace`, which is the name of the part of Knative too.
    pub(super) fn object(&self, namespace: &str, example: String) -> Value {
        let sum = checksum(&example);
        let mut data: Map<String, Value> = self
            .set
            .iter()
            .map(|(key, value)| ((*key).to_owned(), json!(value)))
            .collect();
        data.insert(EXAMPLE_KEY.to_owned(), Value::String(example));
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": self.name,
                "namespace": namespace,
                "labels": {
                    "app.kubernetes.io/name": namespace,
                    "app.kubernetes.io/component": self.component,
                },
                "annotations": {CHECKSUM_ANNOTATION: sum},
            },
            "data": data,
        })
    }

    /// The commented example of the settings.
    pub(super) fn example(&self) -> String {
        let mut text = header(self.about);
        for (key, default, meaning) in self.settings {
            text.push_str(&setting(key, default, meaning));
        }
        text
    }
}

fn header(about: &str) -> String {
    format!(
        "# {about}\n#\n# This block is an example and has no effect. To change a setting, copy its \
         line\n# to the top level of `data`, next to this block.\n"
    )
}

fn setting(key: &str, default: &str, meaning: &str) -> String {
    format!("\n# {meaning}\n{key}: {}\n", json!(default))
}

fn features_example() -> String {
    let mut text = header(FEATURES.about);
    for (key, default) in Features::ALL {
        let meaning = match key.split_once('.') {
            Some(("kubernetes", field)) => format!("Whether Pod templates may use {field}."),
            _ => format!("The feature {key}."),
        };
        text.push_str(&setting(key, default.name(), &meaning));
    }
    text
}

const FEATURES: Stock = Stock {
    name: Features::NAME,
    component: "controller",
    about: "Features: Enabled, Allowed (for those who ask for it) or Disabled.",
    set: &[],
    settings: &[],
};

const STOCK: [Stock; 9] = [
    Stock {
        name: Autoscaler::NAME,
        component: "autoscaler",
        about: "How the autoscaler measures, decides and bounds.",
        set: &[],
        settings: &[
            (
                "container-concurrency-target-percentage",
                "70",
                "The share of a Pod's concurrency to aim for, in percent.",
            ),
            (
                "container-concurrency-target-default",
                "100",
                "The concurrency of a Pod that sets no limit.",
            ),
            (
                "requests-per-second-target-default",
                "200",
                "The target of the metric rps.",
            ),
            (
                "target-burst-capacity",
                "211",
                "Requests that may arrive at once without queueing in Pods. 0 takes the activator \
                 out of the path of a running revision, -1 never does.",
            ),
            (
                "stable-window",
                "60s",
                "The span the usual decision looks back on.",
            ),
            (
                "panic-window-percentage",
                "10.0",
                "The panic window in percent of the stable one.",
            ),
            (
                "panic-threshold-percentage",
                "200.0",
                "The load, in percent of what the ready Pods can take, at which panic begins.",
            ),
            (
                "max-scale-up-rate",
                "1000.0",
                "Pods are at most multiplied by this at once.",
            ),
            (
                "max-scale-down-rate",
                "2.0",
                "Pods are at most divided by this at once.",
            ),
            (
                "enable-scale-to-zero",
                "true",
                "Whether the last Pod may go.",
            ),
            (
                "scale-to-zero-grace-period",
                "30s",
                "How long the network may take to be ready for the last Pod to go.",
            ),
            (
                "scale-to-zero-pod-retention-period",
                "0s",
                "How long the last Pod stays at least after traffic has ended.",
            ),
            (
                "pod-autoscaler-class",
                "kpa.autoscaling.knative.dev",
                "Who scales unless a revision says otherwise.",
            ),
            (
                "activator-capacity",
                "100.0",
                "Requests one activator can hold.",
            ),
            ("initial-scale", "1", "Pods a revision starts with."),
            (
                "allow-zero-initial-scale",
                "false",
                "Whether it may start with none.",
            ),
            ("min-scale", "0", "Fewest Pods of a revision."),
            (
                "max-scale",
                "0",
                "Most Pods of a revision, 0 without limit.",
            ),
            (
                "max-scale-limit",
                "0",
                "What max-scale may be at most, 0 without limit.",
            ),
            (
                "scale-down-delay",
                "0s",
                "How long a lower load must last before Pods go.",
            ),
        ],
    },
    Stock {
        name: Defaults::NAME,
        component: "controller",
        about: "What is filled in where a Service says nothing.",
        set: &[],
        settings: &[
            (
                "revision-timeout-seconds",
                "300",
                "How long a request may take.",
            ),
            (
                "max-revision-timeout-seconds",
                "600",
                "The longest timeout one may ask for.",
            ),
            (
                "revision-response-start-timeout-seconds",
                "300",
                "How long the first byte of a response may take.",
            ),
            (
                "revision-idle-timeout-seconds",
                "0",
                "How long a response may pause, 0 for ever.",
            ),
            (
                "container-name-template",
                "user-container",
                "The name of a nameless container.",
            ),
            (
                "init-container-name-template",
                "init-container",
                "The name of a nameless init container.",
            ),
            (
                "container-concurrency",
                "0",
                "Requests one Pod takes at once, 0 without limit.",
            ),
            (
                "container-concurrency-max-limit",
                "1000",
                "The most one may ask for.",
            ),
            (
                "allow-container-concurrency-zero",
                "true",
                "Whether no limit may be asked for.",
            ),
            (
                "enable-service-links",
                "false",
                "Whether Pods get an environment variable for each Service: true, false, or \
                 default, which leaves it to Kubernetes.",
            ),
        ],
    },
    Stock {
        name: Deployment::NAME,
        component: "controller",
        about: "How a Revision becomes a Deployment.",
        set: &[("queue-sidecar-image", QUEUE_IMAGE)],
        settings: &[
            (
                "registries-skipping-tag-resolving",
                "kind.local,ko.local,dev.local",
                "Registries whose tags are not resolved to digests.",
            ),
            (
                "digest-resolution-timeout",
                "10s",
                "How long a tag may take to resolve.",
            ),
            (
                "progress-deadline",
                "600s",
                "How long a Revision may take to become ready.",
            ),
            (
                "queue-sidecar-cpu-request",
                "25m",
                "The CPU the queue-proxy container requests.",
            ),
            (
                "queue-sidecar-token-audiences",
                "",
                "Audiences of its tokens, by commas.",
            ),
            ("queue-sidecar-rootca", "", "A root certificate it trusts."),
            (
                "default-affinity-type",
                "prefer-spread-revision-over-nodes",
                "Where Pods go when a Service sets no affinity; the other choice is none.",
            ),
            (
                "runtime-class-name",
                "",
                "A map of runtime classes to selectors of labels.",
            ),
            (
                "pod-is-always-schedulable",
                "false",
                "Whether a Pod without a node is no failure, for a node may still come.",
            ),
        ],
    },
    Stock {
        name: Domain::NAME,
        component: "controller",
        about: "Domains and, as `selector:`, the labels of the Routes under them.",
        set: &[("localhost", "")],
        settings: &[(
            "svc.cluster.local",
            "selector:\n  app: secret\n",
            "Routes with this label are reached from inside the cluster alone.",
        )],
    },
    Stock {
        name: Gc::NAME,
        component: "controller",
        about: "Which Revisions that get no traffic are kept. `disabled` lifts a bound.",
        set: &[],
        settings: &[
            ("retain-since-create-time", "48h", "Younger ones are kept."),
            (
                "retain-since-last-active-time",
                "15h",
                "Ones in use this recently are kept.",
            ),
            (
                "min-non-active-revisions",
                "20",
                "This many are kept in any case.",
            ),
            (
                "max-non-active-revisions",
                "1000",
                "No more than this many are kept.",
            ),
        ],
    },
    Stock {
        name: LeaderElection::NAME,
        component: "controller",
        about: "Leases of the controllers, where several run.",
        set: &[],
        settings: &[
            ("lease-duration", "60s", "How long a lease holds."),
            (
                "renew-deadline",
                "40s",
                "How long a leader tries to renew it.",
            ),
            ("retry-period", "10s", "How often one tries to get it."),
            ("buckets", "1", "Shares the work is cut into, at most 10."),
        ],
    },
    Stock {
        name: Logging::NAME,
        component: "logging",
        about: "How much the components log: debug, info, warn or error.",
        set: &[],
        settings: &[
            ("loglevel.controller", "info", "The controllers."),
            ("loglevel.autoscaler", "info", "The autoscaler."),
            ("loglevel.queueproxy", "info", "The queue-proxies."),
            ("loglevel.webhook", "info", "Admission."),
            ("loglevel.activator", "info", "The activator."),
            ("loglevel.hpaautoscaler", "info", "The HPA class."),
        ],
    },
    Stock {
        name: Network::NAME,
        component: "networking",
        about: "Names, classes and TLS of what is routed.",
        set: &[
            ("ingress-class", INGRESS_CLASS),
            ("autocreate-cluster-domain-claims", "true"),
        ],
        settings: &[
            (
                "ingress-class",
                "istio.ingress.networking.knative.dev",
                "Who makes Ingresses work.",
            ),
            (
                "certificate-class",
                "cert-manager.certificate.networking.knative.dev",
                "Who provides Certificates.",
            ),
            (
                "namespace-wildcard-cert-selector",
                "",
                "A selector of the namespaces that get a wildcard certificate.",
            ),
            (
                "domain-template",
                "{{.Name}}.{{.Namespace}}.{{.Domain}}",
                "The host of a Route. Annotations and Labels can be used, too.",
            ),
            (
                "tag-template",
                "{{.Tag}}-{{.Name}}",
                "The name of a tag of a Route.",
            ),
            (
                "external-domain-tls",
                "Disabled",
                "Whether Routes get certificates.",
            ),
            (
                "cluster-local-domain-tls",
                "Disabled",
                "The same for hosts inside the cluster.",
            ),
            (
                "system-internal-tls",
                "Disabled",
                "Whether the components talk TLS.",
            ),
            (
                "http-protocol",
                "Enabled",
                "Enabled, Disabled or Redirected to https.",
            ),
            (
                "rollout-duration",
                "0",
                "Seconds over which traffic moves to a new Revision.",
            ),
            (
                "autocreate-cluster-domain-claims",
                "false",
                "Whether a DomainMapping may claim a free domain by itself.",
            ),
            (
                "enable-mesh-pod-addressability",
                "false",
                "Whether a mesh lets Pods be dialled.",
            ),
            (
                "mesh-compatibility-mode",
                "auto",
                "auto, enabled or disabled.",
            ),
            (
                "default-external-scheme",
                "http",
                "The scheme of URLs without a certificate.",
            ),
        ],
    },
    Stock {
        name: Observability::NAME,
        component: "observability",
        about: "Metrics, traces and request logs.",
        set: &[],
        settings: &[
            (
                "logging.enable-var-log-collection",
                "false",
                "Whether /var/log is collected.",
            ),
            (
                "logging.revision-url-template",
                "",
                "The log URL; ${REVISION_UID} is the UID.",
            ),
            (
                "logging.enable-request-log",
                "false",
                "Whether requests are logged.",
            ),
            (
                "logging.enable-probe-request-log",
                "false",
                "Whether probes are, too.",
            ),
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
                "request-metrics-protocol",
                "none",
                "The same for the queue-proxies.",
            ),
            (
                "request-metrics-endpoint",
                "",
                "The same for the queue-proxies.",
            ),
            (
                "request-metrics-export-interval",
                "0s",
                "The same for the queue-proxies.",
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
                "The share of requests traced, 0 to 1.",
            ),
            (
                "runtime-profiling",
                "disabled",
                "Whether the components can be profiled.",
            ),
        ],
    },
];
