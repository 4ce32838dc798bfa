//! `serving.knative.dev`: the kinds users write.

use serde_json::{Value, json};

use super::schema::{
    address, boolean, int32, int64, list, object, open, requiring, resource, status, string,
    strings,
};
use super::{Column, Crd, READY, REASON, SERVING, URL, pod};
use crate::serving::GROUP;

const CATEGORIES: &[&str] = &["all", "knative", "serving"];
const LATEST_CREATED: Column = (
    "LatestCreated",
    "string",
    ".status.latestCreatedRevisionName",
);
const LATEST_READY: Column = ("LatestReady", "string", ".status.latestReadyRevisionName");
const ADDRESSABLE: &str = "duck.knative.dev/addressable";
const PODSPECABLE: &str = "duck.knative.dev/podspecable";

pub(super) fn crds() -> Vec<Value> {
    let revision_spec = pod::revision_spec();
    let all = [
        service(&revision_spec),
        configuration(&revision_spec),
        revision(revision_spec),
        route(),
        domain_mapping(),
    ];
    all.into_iter().map(Crd::render).collect()
}

/// v1 is stored. v1beta1 has the same shape; v1alpha1 had several, which conversion knows.
fn versions(description: &str, spec: Value, status: Value) -> Vec<(&'static str, Value)> {
    let same = resource(description, spec, status);
    let old = resource(
        description,
        open("The spec as Knative had it before v1; converted when stored."),
        open("What the controller last saw."),
    );
    vec![("v1", same.clone()), ("v1beta1", same), ("v1alpha1", old)]
}

fn service(revision_spec: &Value) -> Crd {
    let spec = object(
        "What to run, and how requests are shared out.",
        [
            ("template", template(revision_spec)),
            ("traffic", traffic()),
        ],
    );
    let [url, address, shares] = route_status();
    let [created, ready] = configuration_status();
    let status = status([url, address, shares, created, ready]);
    let text =
        "Service manages a Configuration and a Route, and so the whole life of an application.";
    Crd {
        group: GROUP,
        kind: "Service",
        plural: "services",
        short_names: &["kservice", "ksvc"],
        categories: CATEGORIES,
        labels: &[ADDRESSABLE, PODSPECABLE],
        cluster_scoped: false,
        system: SERVING,
        columns: &[URL, LATEST_CREATED, LATEST_READY, READY, REASON],
        versions: versions(text, spec, status),
    }
}

fn configuration(revision_spec: &Value) -> Crd {
    let spec = object("What to run.", [("template", template(revision_spec))]);
    let text = "Configuration is the floating latest state of an application; each change makes a Revision.";
    Crd {
        group: GROUP,
        kind: "Configuration",
        plural: "configurations",
        short_names: &["config", "cfg"],
        categories: CATEGORIES,
        labels: &[PODSPECABLE],
        cluster_scoped: false,
        system: SERVING,
        columns: &[LATEST_CREATED, LATEST_READY, READY, REASON],
        versions: versions(text, spec, status(configuration_status())),
    }
}

fn revision(spec: Value) -> Crd {
    let container_status = |text: &str| {
        let item = object(
            "One container.",
            [
                ("name", string("The name of the container.")),
                ("imageDigest", string("The image it runs, by digest.")),
            ],
        );
        list(text, item)
    };
    let status = status([
        ("actualReplicas", int32("How many Pods are ready.")),
        ("desiredReplicas", int32("How many Pods are wanted.")),
        (
            "containerStatuses",
            container_status("What each container runs, in the order of the spec."),
        ),
        (
            "initContainerStatuses",
            container_status("What each init container runs, in the order of the spec."),
        ),
        (
            "logUrl",
            string("Where the logs of this Revision are found."),
        ),
    ]);
    let text = "Revision is an immutable snapshot of code and configuration.";
    Crd {
        group: GROUP,
        kind: "Revision",
        plural: "revisions",
        short_names: &["rev"],
        categories: CATEGORIES,
        labels: &[PODSPECABLE],
        cluster_scoped: false,
        system: SERVING,
        columns: &[
            (
                "Config Name",
                "string",
                ".metadata.labels['serving\\.knative\\.dev/configuration']",
            ),
            (
                "Generation",
                "string",
                ".metadata.labels['serving\\.knative\\.dev/configurationGeneration']",
            ),
            READY,
            REASON,
            ("Actual Replicas", "integer", ".status.actualReplicas"),
            ("Desired Replicas", "integer", ".status.desiredReplicas"),
        ],
        versions: versions(text, spec, status),
    }
}

fn route() -> Crd {
    let spec = object("How requests are shared out.", [("traffic", traffic())]);
    let text = "Route maps a network address to one or several Revisions.";
    Crd {
        group: GROUP,
        kind: "Route",
        plural: "routes",
        short_names: &["rt"],
        categories: CATEGORIES,
        labels: &[ADDRESSABLE],
        cluster_scoped: false,
        system: SERVING,
        columns: &[URL, READY, REASON],
        versions: versions(text, spec, status(route_status())),
    }
}

fn domain_mapping() -> Crd {
    let reference = object(
        "What the domain stands for: a Knative Service or Route, or a Kubernetes Service.",
        [
            ("address", string("The name of one of several addresses.")),
            ("apiVersion", string("The API version of the object.")),
            (
                "group",
                string("The API group of the object, instead of apiVersion."),
            ),
            ("kind", string("The kind of the object.")),
            ("name", string("The name of the object.")),
            (
                "namespace",
                string("The namespace of the object: that of the mapping."),
            ),
        ],
    );
    let tls = object(
        "TLS with a certificate of one's own.",
        [(
            "secretName",
            string("The name of the Secret with the certificate."),
        )],
    );
    let spec = object(
        "Where requests for the domain go.",
        [
            ("ref", requiring(reference, &["kind", "name"])),
            ("tls", requiring(tls, &["secretName"])),
        ],
    );
    let status = status([
        ("address", address()),
        ("url", string("The URL of the domain.")),
    ]);
    let text = "DomainMapping gives a Service a domain name of one's own: the name of this object.";
    let schema = resource(text, requiring(spec, &["ref"]), status);
    Crd {
        group: GROUP,
        kind: "DomainMapping",
        plural: "domainmappings",
        short_names: &["dm"],
        categories: CATEGORIES,
        labels: &[],
        cluster_scoped: false,
        system: SERVING,
        columns: &[URL, READY, REASON],
        versions: vec![("v1beta1", schema.clone()), ("v1alpha1", schema)],
    }
}

fn template(revision_spec: &Value) -> Value {
    let mut metadata = object(
        "Metadata of the Revision.",
        [
            ("annotations", strings("Annotations of the Revision.")),
            ("labels", strings("Labels of the Revision.")),
            (
                "name",
                string("The name of the Revision; chosen for you when empty."),
            ),
            ("namespace", string("The namespace of the Revision.")),
            (
                "finalizers",
                list("Finalizers of the Revision.", json!({"type": "string"})),
            ),
        ],
    );
    metadata["x-kubernetes-preserve-unknown-fields"] = json!(true);
    object(
        "The Revision to make; each change makes another one.",
        [("metadata", metadata), ("spec", revision_spec.clone())],
    )
}

fn traffic() -> Value {
    let target = object(
        "One share of the traffic.",
        [
            (
                "configurationName",
                string("The Configuration whose latest ready Revision gets this share."),
            ),
            (
                "latestRevision",
                boolean("Whether the share follows the latest ready Revision."),
            ),
            ("percent", int64("The share, of 100 altogether.")),
            ("revisionName", string("The Revision that gets this share.")),
            (
                "tag",
                string("A name that gives this share a URL of its own."),
            ),
            ("url", string("That URL; set in the status only.")),
        ],
    );
    list("How requests are shared out among Revisions.", target)
}

fn route_status() -> [(&'static str, Value); 3] {
    [
        ("address", address()),
        ("traffic", traffic()),
        ("url", string("Where the application is called.")),
    ]
}

fn configuration_status() -> [(&'static str, Value); 2] {
    [
        (
            "latestCreatedRevisionName",
            string("The Revision that was made last."),
        ),
        (
            "latestReadyRevisionName",
            string("The latest Revision that became ready."),
        ),
    ]
}
