//! `networking.internal.knative.dev`: ports, headers, labels and condition sets of the data path.

use crate::conditions::Set;

/// The API group.
pub const GROUP: &str = "networking.internal.knative.dev";
/// HTTP/1 port of queue-proxy and activator.
pub const HTTP_PORT: u16 = 8012;
/// HTTP/2 port of queue-proxy and activator.
pub const H2C_PORT: u16 = 8013;
/// TLS port of queue-proxy and activator.
pub const HTTPS_PORT: u16 = 8112;
/// Where the embedded gateway listens for Pods as the external gateway. Not Istio's or Kourier's
/// 8080, which users like to give to the listener on the machine.
pub const EXTERNAL_GATEWAY_PORT: u16 = 8014;
/// Where the embedded gateway listens for Pods as the cluster-local gateway.
pub const LOCAL_GATEWAY_PORT: u16 = 8015;
/// Where the embedded gateway listens for Pods as the external gateway, by TLS.
pub const EXTERNAL_GATEWAY_TLS_PORT: u16 = 8016;
/// Where the embedded gateway listens for Pods as the cluster-local gateway, by TLS.
pub const LOCAL_GATEWAY_TLS_PORT: u16 = 8017;
/// Where the challenges of ACME are answered.
pub const CHALLENGES_PORT: u16 = 8018;
/// Where the embedded broker listens for Pods: Brokers, channels, sinks.
pub const EVENTING_PORT: u16 = 8088;
/// The same by TLS.
pub const EVENTING_TLS_PORT: u16 = 8089;
/// queue-proxy's administration: `/wait-for-drain`.
pub const QUEUE_ADMIN_PORT: u16 = 8022;
/// queue-proxy's statistics for the autoscaler.
pub const AUTOSCALING_METRICS_PORT: u16 = 9090;
/// queue-proxy's metrics for people.
pub const USER_METRICS_PORT: u16 = 9091;
/// Profiles, when switched on.
pub const PROFILING_PORT: u16 = 8008;
/// The port of every Service people call.
pub const SERVICE_HTTP_PORT: u16 = 80;
/// The port of the Service of an `h2c` revision.
pub const SERVICE_H2C_PORT: u16 = 81;
/// The TLS port of every Service people call.
pub const SERVICE_HTTPS_PORT: u16 = 443;

/// Which controller answers for an Ingress.
pub const INGRESS_CLASS: &[&str] = &[
    "networking.knative.dev/ingress-class",
    "networking.knative.dev/ingress.class",
];
/// The value of [`INGRESS_CLASS`] that stands in every fresh installation.
pub const INGRESS_CLASS_DEFAULT: &str = "istio.ingress.networking.knative.dev";
/// On an Ingress of Kubernetes: its class, before it had a field for it.
pub const KUBERNETES_CLASS: &str = "kubernetes.io/ingress.class";
/// On an IngressClass of Kubernetes: Ingresses that name no class are of this one.
pub const KUBERNETES_CLASS_DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";
/// The controller of an IngressClass whose Ingresses the gateway answers for.
pub const KUBERNETES_CONTROLLER: &str = "rekindle.dev/ingress";
/// `Enabled` or `Redirected`.
pub const HTTP_PROTOCOL: &[&str] = &[
    "networking.knative.dev/http-protocol",
    "networking.knative.dev/httpOption",
];
/// Who sees to a Certificate.
pub const CERTIFICATE_CLASS: &[&str] = &[
    "networking.knative.dev/certificate-class",
    "networking.knative.dev/certificate.class",
];
/// Annotation: no certificates for this Route or DomainMapping.
pub const DISABLE_EXTERNAL_DOMAIN_TLS: &[&str] = &[
    "networking.knative.dev/disable-external-domain-tls",
    "networking.knative.dev/disableAutoTLS",
    "networking.knative.dev/disable-auto-tls",
];
/// Label on a Certificate: what its names are.
pub const CERTIFICATE_TYPE: &str = "networking.knative.dev/certificate-type";
/// A [`CERTIFICATE_TYPE`]: names that the world knows.
pub const EXTERNAL_DOMAIN: &str = "external-domain";
/// A [`CERTIFICATE_TYPE`]: names of the cluster.
pub const CLUSTER_LOCAL_DOMAIN: &str = "cluster-local-domain";
/// A [`CERTIFICATE_TYPE`]: parts of the system among themselves.
pub const SYSTEM_INTERNAL: &str = "system-internal";
/// The Certificate and Secret of a namespace's queue-proxies.
pub const SERVING_CERTIFICATE: &str = "serving-certs";
/// The Certificate and Secret of gateway and activator, in the system's namespace.
pub const ROUTING_CERTIFICATE: &str = "routing-serving-certs";
/// The name gateway and activator have in their certificate.
pub const ROUTING_NAME: &str = "kn-routing";
/// The name all parts of the system have in theirs, for clients that know no other.
pub const INTERNAL_NAME: &str = "data-plane.knative.dev";
/// Where queue-proxy has its certificate.
pub const SERVING_CERTIFICATE_PATH: &str = "/var/lib/knative/certs";

/// The name the queue-proxies of a namespace have in their certificate.
pub fn internal_name(namespace: &str) -> String {
    format!("kn-user-{namespace}")
}

/// Label on a Certificate for all names of a namespace: the domain.
pub const WILDCARD_DOMAIN: &str = "networking.knative.dev/wildcardDomain";
/// Where the paths begin by which ACME asks (RFC 8555 section 8.3).
pub const CHALLENGE_PATH: &str = "/.well-known/acme-challenge/";
/// Label: `cluster-local` keeps a host inside.
pub const VISIBILITY: &str = "networking.knative.dev/visibility";
/// The value of [`VISIBILITY`] that means something.
pub const CLUSTER_LOCAL: &str = "cluster-local";
/// Label on a revision's Services: the ServerlessService they belong to.
pub const SKS_LABEL: &str = "networking.internal.knative.dev/serverlessservice";
/// Label on a revision's Services: `Public` or `Private`.
pub const SERVICE_TYPE: &str = "networking.internal.knative.dev/serviceType";
/// Annotation on an Ingress: the state of a gradual rollout.
pub const ROLLOUT: &str = "networking.internal.knative.dev/rollout";
/// Header that picks a tag where that is allowed.
pub const TAG_HEADER: &str = "Knative-Serving-Tag";
/// Header that says no tag was picked.
pub const DEFAULT_ROUTE_HEADER: &str = "Knative-Serving-Default-Route";
/// Header that names the namespace of the revision to the activator.
pub const NAMESPACE_HEADER: &str = "Knative-Serving-Namespace";
/// Header that names the revision to the activator.
pub const REVISION_HEADER: &str = "Knative-Serving-Revision";

/// The condition set of Ingress.
pub const INGRESS_SET: Set = Set::living(&["NetworkConfigured", "LoadBalancerReady"]);
/// The condition set of Certificate.
pub const CERTIFICATE_SET: Set = Set::living(&[]);
/// The condition set of ServerlessService.
pub const SKS_SET: Set = Set::living(&["EndpointsPopulated"]);
