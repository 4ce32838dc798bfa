//! The kinds that Knative's controllers write for one another.

use serde_json::{Value, json};

use super::schema::{
    boolean, int32, int64, list, object, open, requiring, resource, status, string, strings,
};
use super::{Crd, READY, REASON, SERVING};
use crate::{autoscaling, networking};

pub(super) fn crds() -> Vec<Value> {
    let all = [
        pod_autoscaler(),
        metric(),
        ingress(),
        serverless_service(),
        certificate(),
        cluster_domain_claim(),
        image(),
    ];
    all.into_iter().map(Crd::render).collect()
}

fn reference(text: &str) -> Value {
    object(
        text,
        [
            ("apiVersion", string("The API version of the object.")),
            ("kind", string("The kind of the object.")),
            ("name", string("The name of the object.")),
            ("namespace", string("The namespace of the object.")),
            ("uid", string("The UID of the object.")),
            (
                "resourceVersion",
                string("The version of the object that is meant."),
            ),
            ("fieldPath", string("The part of the object that is meant.")),
        ],
    )
}

fn pod_autoscaler() -> Crd {
    let spec = object(
        "What is scaled, and by what.",
        [
            (
                "containerConcurrency",
                int64("How many requests a Pod serves at once; 0 is unlimited."),
            ),
            ("protocolType", string("http1 or h2c.")),
            (
                "reachability",
                string("Whether a Route leads here: Reachable, Unreachable or empty."),
            ),
            (
                "scaleTargetRef",
                reference("The object whose scale is set."),
            ),
        ],
    );
    let status = status([
        ("actualScale", int32("How many Pods are ready.")),
        ("desiredScale", int32("How many Pods are wanted.")),
        (
            "metricsServiceName",
            string("The Service whose Pods are measured."),
        ),
        (
            "serviceName",
            string("The Service that serves the revision."),
        ),
    ]);
    let text = "PodAutoscaler scales the Pods of one Revision.";
    let spec = requiring(spec, &["protocolType", "scaleTargetRef"]);
    Crd {
        group: autoscaling::GROUP,
        kind: "PodAutoscaler",
        plural: "podautoscalers",
        short_names: &["kpa", "pa"],
        categories: &["knative-internal", "autoscaling"],
        labels: &[],
        cluster_scoped: false,
        system: SERVING,
        columns: &[
            ("DesiredScale", "integer", ".status.desiredScale"),
            ("ActualScale", "integer", ".status.actualScale"),
            READY,
            REASON,
        ],
        versions: vec![("v1alpha1", resource(text, spec, status))],
    }
}

fn metric() -> Crd {
    let spec = object(
        "What is measured over which time.",
        [
            ("panicWindow", int64("The short window, in nanoseconds.")),
            ("stableWindow", int64("The long window, in nanoseconds.")),
            (
                "scrapeTarget",
                string("The Service whose Pods are measured."),
            ),
        ],
    );
    let text = "Metric asks for the load of one Revision to be measured.";
    let spec = requiring(spec, &["panicWindow", "scrapeTarget", "stableWindow"]);
    Crd {
        group: autoscaling::GROUP,
        kind: "Metric",
        plural: "metrics",
        short_names: &[],
        categories: &["knative-internal", "autoscaling"],
        labels: &[],
        cluster_scoped: false,
        system: SERVING,
        columns: &[READY, REASON],
        versions: vec![("v1alpha1", resource(text, spec, status([])))],
    }
}

/// A port by number or name.
fn port(text: &str) -> Value {
    json!({
        "description": text,
        "x-kubernetes-int-or-string": true,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
    })
}

fn ingress_path() -> Value {
    let split = object(
        "One share of the requests.",
        [
            ("appendHeaders", strings("Headers set on the request.")),
            ("percent", int64("The share, of 100 altogether.")),
            ("serviceName", string("The Service that gets it.")),
            ("serviceNamespace", string("The namespace of the Service.")),
            ("servicePort", port("The port of the Service.")),
        ],
    );
    let split = requiring(split, &["serviceName", "serviceNamespace", "servicePort"]);
    let header = object(
        "How a header must look.",
        [("exact", string("The value it must have."))],
    );
    let headers = json!({
        "type": "object",
        "description": "Headers the request must have.",
        "additionalProperties": header,
    });
    let path = object(
        "What to do with requests for one path.",
        [
            ("appendHeaders", strings("Headers set on the request.")),
            ("headers", headers),
            (
                "path",
                string("How the path must begin; empty is any path."),
            ),
            ("rewriteHost", string("The Host header on the way on.")),
            ("splits", list("How the requests are shared out.", split)),
        ],
    );
    requiring(path, &["splits"])
}

fn ingress_spec() -> Value {
    let http = object(
        "What to do, path by path.",
        [("paths", list("The paths.", ingress_path()))],
    );
    let hosts = || list("The hosts.", json!({"type": "string"}));
    let rule = object(
        "What to do with requests for some hosts.",
        [
            ("hosts", hosts()),
            ("http", http),
            ("visibility", string("ExternalIP or ClusterLocal.")),
        ],
    );
    let tls = object(
        "A certificate for some hosts.",
        [
            ("hosts", hosts()),
            ("secretName", string("The Secret with the certificate.")),
            ("secretNamespace", string("The namespace of the Secret.")),
        ],
    );
    object(
        "Which requests go where.",
        [
            ("httpOption", string("Enabled, or Redirected to https.")),
            ("rules", list("The rules, host by host.", rule)),
            ("tls", list("The certificates.", tls)),
        ],
    )
}

fn load_balancer(text: &str) -> Value {
    let item = object(
        "One load balancer.",
        [
            ("domain", string("Its name.")),
            ("domainInternal", string("Its name inside the cluster.")),
            ("ip", string("Its address.")),
            (
                "meshOnly",
                boolean("There is none; the mesh does its work."),
            ),
        ],
    );
    object(text, [("ingress", list("The load balancers.", item))])
}

fn ingress() -> Crd {
    let status = status([
        (
            "privateLoadBalancer",
            load_balancer("Where requests from inside arrive."),
        ),
        (
            "publicLoadBalancer",
            load_balancer("Where requests from outside arrive."),
        ),
    ]);
    let text = "Ingress says which requests reach which Services.";
    Crd {
        group: networking::GROUP,
        kind: "Ingress",
        plural: "ingresses",
        short_names: &["kingress", "king"],
        categories: &["knative-internal", "networking"],
        labels: &[],
        cluster_scoped: false,
        system: SERVING,
        columns: &[READY, REASON],
        versions: vec![("v1alpha1", resource(text, ingress_spec(), status))],
    }
}

fn serverless_service() -> Crd {
    let spec = object(
        "Who answers for a Revision.",
        [
            ("mode", string("Serve: its Pods. Proxy: activators.")),
            (
                "numActivators",
                int32("How many activators, in mode Proxy."),
            ),
            ("objectRef", reference("The object whose Pods are meant.")),
            ("protocolType", string("http1 or h2c.")),
        ],
    );
    let status = status([
        ("privateServiceName", string("The Service of the Pods.")),
        ("serviceName", string("The Service of whoever answers.")),
    ]);
    let text = "ServerlessService is a Service whose endpoints are Pods, or activators while there are none.";
    let spec = requiring(spec, &["objectRef", "protocolType"]);
    Crd {
        group: networking::GROUP,
        kind: "ServerlessService",
        plural: "serverlessservices",
        short_names: &["sks"],
        categories: &["knative-internal", "networking"],
        labels: &[],
        cluster_scoped: false,
        system: SERVING,
        columns: &[
            ("Mode", "string", ".spec.mode"),
            ("Activators", "integer", ".spec.numActivators"),
            ("ServiceName", "string", ".status.serviceName"),
            ("PrivateServiceName", "string", ".status.privateServiceName"),
            READY,
            REASON,
        ],
        versions: vec![("v1alpha1", resource(text, spec, status))],
    }
}

fn certificate() -> Crd {
    let spec = object(
        "Which names the certificate is for.",
        [
            ("dnsNames", list("The names.", json!({"type": "string"}))),
            ("domain", string("The domain of the names.")),
            ("secretName", string("Where the certificate is to be put.")),
        ],
    );
    let challenge = object(
        "A challenge the authority wants answered over HTTP.",
        [
            ("serviceName", string("The Service that answers.")),
            ("serviceNamespace", string("The namespace of the Service.")),
            ("servicePort", port("The port of the Service.")),
            ("url", string("The URL that is asked for.")),
        ],
    );
    let status = status([
        (
            "http01Challenges",
            list("Challenges to be answered.", challenge),
        ),
        (
            "notAfter",
            json!({
                "type": "string",
                "format": "date-time",
                "description": "When the certificate ends.",
            }),
        ),
    ]);
    let text = "Certificate asks for a TLS certificate.";
    let spec = requiring(spec, &["dnsNames", "secretName"]);
    Crd {
        group: networking::GROUP,
        kind: "Certificate",
        plural: "certificates",
        short_names: &["kcert"],
        categories: &["knative-internal", "networking"],
        labels: &[],
        cluster_scoped: false,
        system: SERVING,
        columns: &[READY, REASON],
        versions: vec![("v1alpha1", resource(text, spec, status))],
    }
}

fn cluster_domain_claim() -> Crd {
    let spec = object(
        "Who may use the domain.",
        [(
            "namespace",
            string("The namespace that may map the domain."),
        )],
    );
    let text = "ClusterDomainClaim reserves a domain name for one namespace.";
    let spec = requiring(spec, &["namespace"]);
    Crd {
        group: networking::GROUP,
        kind: "ClusterDomainClaim",
        plural: "clusterdomainclaims",
        short_names: &["cdc"],
        categories: &["knative-internal", "networking"],
        labels: &[],
        cluster_scoped: true,
        system: SERVING,
        columns: &[],
        versions: vec![("v1alpha1", resource(text, spec, open("Not used.")))],
    }
}

fn image() -> Crd {
    let secret = object(
        "A pull secret.",
        [("name", string("The name of the Secret."))],
    );
    let spec = object(
        "Which image will be wanted.",
        [
            ("image", string("The image.")),
            ("imagePullSecrets", list("Secrets to pull it with.", secret)),
            (
                "serviceAccountName",
                string("The account whose secrets may be used."),
            ),
        ],
    );
    let text = "Image announces that an image will be wanted, so that a node can fetch it ahead.";
    let spec = requiring(spec, &["image"]);
    Crd {
        group: "caching.internal.knative.dev",
        kind: "Image",
        plural: "images",
        short_names: &[],
        categories: &["knative-internal", "caching"],
        labels: &[],
        cluster_scoped: false,
        system: SERVING,
        columns: &[("Image", "string", ".spec.image")],
        versions: vec![("v1alpha1", resource(text, spec, status([])))],
    }
}
