//! `build.knative.dev`: Build and its templates, as Knative Build 0.7 had them. Steps are
//! Kubernetes' containers and not looked into here: the Pod they become is checked.

use serde_json::{Value, json};

use super::schema::{list, object, open, resource, status, string, strings};
use super::{Column, Crd};

/// The group of Knative Build's kinds.
const GROUP: &str = "build.knative.dev";
/// The part of Knative they belong to, and its webhook.
const BUILD: (&str, &str) = ("knative-build", "build-webhook");
const CATEGORIES: &[&str] = &["all", "knative"];
const AGE: Column = ("Age", "date", ".metadata.creationTimestamp");
const COLUMNS: &[Column] = &[
    (
        "Succeeded",
        "string",
        ".status.conditions[?(@.type==\"Succeeded\")].status",
    ),
    (
        "Reason",
        "string",
        ".status.conditions[?(@.type==\"Succeeded\")].reason",
    ),
    ("StartTime", "date", ".status.startTime"),
    ("CompletionTime", "date", ".status.completionTime"),
];

pub(super) fn crds() -> Vec<Value> {
    let template = |kind, plural, cluster_scoped, about| {
        let status = status([]);
        definition(
            kind,
            plural,
            cluster_scoped,
            &[AGE],
            resource(about, template_spec(), status),
        )
    };
    let of_namespace =
        "BuildTemplate holds steps that Builds of its namespace share, with parameters.";
    let of_cluster = "ClusterBuildTemplate holds steps that the Builds of all namespaces share.";
    let build = "Build runs steps in order over a source, once.";
    let build = resource(build, build_spec(), build_status());
    [
        definition("Build", "builds", false, COLUMNS, build),
        template("BuildTemplate", "buildtemplates", false, of_namespace),
        template(
            "ClusterBuildTemplate",
            "clusterbuildtemplates",
            true,
            of_cluster,
        ),
    ]
    .into_iter()
    .map(Crd::render)
    .collect()
}

fn definition(
    kind: &'static str,
    plural: &'static str,
    cluster_scoped: bool,
    columns: &'static [Column],
    schema: Value,
) -> Crd {
    Crd {
        group: GROUP,
        kind,
        plural,
        short_names: &[],
        categories: CATEGORIES,
        labels: &[],
        cluster_scoped,
        system: BUILD,
        columns,
        versions: vec![("v1alpha1", schema)],
    }
}

fn containers(text: &str) -> Value {
    list(text, open("A container, as in a Pod."))
}

fn volumes() -> Value {
    let text = "Volumes that steps may mount.";
    list(text, open("A volume, as in a Pod."))
}

fn build_spec() -> Value {
    let template = object(
        "The template whose steps are run.",
        [
            ("name", string("The name of the template.")),
            (
                "kind",
                string("BuildTemplate, which is the default, or ClusterBuildTemplate."),
            ),
            ("arguments", arguments()),
            (
                "env",
                list(
                    "Environment variables for all steps; they win over the template's.",
                    open("A variable, as in a container."),
                ),
            ),
        ],
    );
    object(
        "What is to be done.",
        [
            ("generation", json!({"type": "integer", "format": "int64"})),
            ("source", source()),
            (
                "sources",
                list("Several sources, each in a directory of its own.", source()),
            ),
            (
                "steps",
                containers("Run one after the other until one fails."),
            ),
            ("volumes", volumes()),
            (
                "serviceAccountName",
                string("Runs the Build; its Secrets are the Build's credentials."),
            ),
            ("template", template),
            ("nodeSelector", strings("Labels a node must have.")),
            (
                "timeout",
                string("How long the Build may take, 10m unless said, 24h at most."),
            ),
            ("affinity", open("Where to run, as in a Pod.")),
            ("status", string("BuildCancelled stops the Build.")),
            ("Status", string("The same, as older clients write it.")),
        ],
    )
}

fn arguments() -> Value {
    let argument = object(
        "The value of a parameter.",
        [
            ("name", string("The parameter.")),
            ("value", string("Its value.")),
        ],
    );
    list("Values of the template's parameters.", argument)
}

fn source() -> Value {
    object(
        "Where the source code comes from.",
        [
            (
                "git",
                object(
                    "A git repository.",
                    [
                        ("url", string("The URL of the repository.")),
                        ("revision", string("A branch, a tag or a commit.")),
                    ],
                ),
            ),
            (
                "gcs",
                object(
                    "An archive, or a manifest of files, in object storage.",
                    [
                        ("type", string("Archive or Manifest.")),
                        ("location", string("gs://BUCKET/OBJECT, or any HTTP URL.")),
                    ],
                ),
            ),
            (
                "custom",
                open("A container that brings the source, as in a Pod."),
            ),
            (
                "subPath",
                string("The directory of the source that steps see."),
            ),
            ("name", string("The name of the source.")),
            (
                "targetPath",
                string("The directory below /workspace it goes to."),
            ),
        ],
    )
}

fn template_spec() -> Value {
    let parameter = object(
        "Something a Build says.",
        [
            ("name", string("Its name; steps refer to it as ${NAME}.")),
            ("description", string("What it is for.")),
            (
                "default",
                string("Its value if a Build does not say; without one, a Build must."),
            ),
        ],
    );
    object(
        "The steps.",
        [
            ("generation", json!({"type": "integer", "format": "int64"})),
            (
                "parameters",
                list("What Builds may or must say.", parameter),
            ),
            (
                "steps",
                containers("Run one after the other until one fails."),
            ),
            ("volumes", volumes()),
        ],
    )
}

fn build_status() -> Value {
    let cluster = object(
        "Where it runs.",
        [
            ("namespace", string("The namespace of the Pod.")),
            ("podName", string("The name of the Pod.")),
        ],
    );
    status([
        ("builder", string("Who builds: Cluster.")),
        ("cluster", cluster),
        ("startTime", string("When the Build began.")),
        ("completionTime", string("When it ended.")),
        (
            "stepStates",
            list("How far each step is.", open("As a container's state.")),
        ),
        (
            "stepsCompleted",
            list("The steps that have ended.", string("A step's name.")),
        ),
    ])
}
