//! What Builds and templates are refused for, and what is filled in.

use serde_json::{Value, json};

use crate::admission::{Operation, Review, review};
use crate::config::Configs;

fn admit(kind: &str, name: &str, spec: Value) -> Result<Value, String> {
    let object = json!({
        "apiVersion": "build.knative.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": "ns"}, "spec": spec,
    });
    let request = Review {
        operation: Operation::Create,
        object: &object,
        old: None,
        user: "",
    };
    let admitted = review(&request, &Configs::default());
    admitted
        .map(|admitted| admitted.object["spec"].clone())
        .map_err(|denied| denied.text())
}

/// A Build of one good step, with `more` in its spec.
fn build(more: Value) -> Result<Value, String> {
    let mut spec = json!({"steps": [{"image": "i"}]});
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    admit("Build", "b", spec)
}

#[test]
fn defaults_are_filled_in() {
    let expected = json!({
        "steps": [{"image": "i"}], "serviceAccountName": "default", "timeout": "10m0s",
        "status": "BuildCancelled",
    });
    assert_eq!(build(json!({"Status": "BuildCancelled"})), Ok(expected));
    let spec = json!({"template": {"name": "t"}, "timeout": "1h"});
    let filled = admit("Build", "b", spec).unwrap();
    assert_eq!(filled["template"]["kind"], "BuildTemplate");
    assert_eq!(filled["timeout"], "1h");
}

#[test]
fn good_builds_pass() {
    let git = json!({"url": "u", "revision": "r"});
    for more in [
        json!({"source": {"git": git, "subPath": "a"}}),
        json!({"sources": [
            {"name": "a", "git": git, "targetPath": "a"}, {"name": "b", "git": git, "targetPath": "ab"},
            {"name": "c", "custom": {"image": "i"}}, {"name": "d", "gcs": {"location": "gs://b/o"}},
        ]}),
        json!({"timeout": "24h", "volumes": [{"name": "v", "emptyDir": {}}]}),
        json!({"steps": [{"image": "i"}, {"image": "i"}, {"name": "n", "image": "i"}]}),
    ] {
        build(more.clone()).unwrap_or_else(|error| panic!("{more}: {error}"));
    }
}

/// What is wrong with a Build, as YAML beside its one good step, and what is said of it.
const MISTAKES: &[(&str, &str)] = &[
    (
        "steps: []",
        "expected exactly one, got neither: spec.steps, spec.template",
    ),
    (
        "template: {name: t}",
        "expected exactly one, got both: spec.steps, spec.template",
    ),
    (
        "steps: [{image: i}, {name: a}]",
        "missing field(s): spec.steps[1].image",
    ),
    (
        "steps: [{name: a, image: i}, {name: a, image: i}]",
        "expected exactly one, got both: spec.steps.name",
    ),
    (
        "volumes: [{name: v}, {name: v}]",
        "expected exactly one, got both: spec.volumes.name",
    ),
    (
        "timeout: 25h",
        "invalid value: 25h should be < 24h: spec.timeout",
    ),
    (
        "timeout: -1s",
        "invalid value: -1s should be > 0: spec.timeout",
    ),
    (
        "timeout: soon",
        "invalid value: soon: spec.timeout\ntime: invalid duration \"soon\"",
    ),
    (
        "source: {}",
        "expected exactly one, got neither: spec.source.custom, spec.source.gcs, spec.source.git",
    ),
    (
        "source: {git: {url: u}, gcs: {location: l}}",
        "expected exactly one, got both: spec.source.custom, spec.source.gcs, spec.source.git",
    ),
    ("source: {git: {}}", "missing field(s): spec.source.git.url"),
    (
        "source: {gcs: {type: Tape, location: l}}",
        "invalid value: Tape: spec.source.gcs.type",
    ),
    (
        "{source: {git: {url: u}}, sources: [{name: a, git: {url: u}}]}",
        "expected exactly one, got both: spec.source, spec.sources",
    ),
    (
        "sources: [{name: a, git: {url: u}, targetPath: b}, {name: a, git: {url: u}, targetPath: c}]",
        "expected exactly one, got both: spec.sources.name",
    ),
    (
        "sources: [{name: a, git: {url: u}, targetPath: c}, {name: b, git: {url: u}, targetPath: c/d}]",
        "expected exactly one, got both: spec.sources.targetPath",
    ),
    (
        "sources: [{name: a, git: {url: u}}, {name: b, git: {url: u}}]",
        "invalid value: Empty Target Path: spec.sources.targetPath",
    ),
    (
        "sources: [{name: a, custom: {image: i}, targetPath: c}]",
        "invalid value: c: spec.sources[0].targetPath",
    ),
    (
        "sources: [{name: a, git: {url: u}, targetPath: c, subPath: s}, {name: b, git: {url: u}, targetPath: d, subPath: t}]",
        "invalid value: t: spec.sources.subPath",
    ),
    (
        "source: {git: {url: u}, subPath: ../c}",
        "invalid value: ../c: spec.source.subPath\nit leads out of /workspace",
    ),
];

#[test]
fn mistakes_are_told() {
    let prefix =
        "admission webhook \"webhook.build.knative.dev\" denied the request: validation failed: ";
    for (more, text) in MISTAKES {
        let said = build(serde_saphyr::from_str(more).unwrap()).expect_err(more);
        assert_eq!(said, format!("{prefix}{text}"), "{more}");
    }
    let names = [
        ("a.b", "special character . must not be present"),
        (&"a".repeat(64), "no more than 63"),
    ];
    for (name, text) in names {
        let said = admit("Build", name, json!({"steps": [{"image": "i"}]})).unwrap_err();
        assert!(said.contains(text), "{said}");
    }
    let template = json!({"template": {"name": "", "kind": "Recipe"}});
    let said = admit("Build", "b", template).unwrap_err();
    assert!(
        said.contains("invalid value: Recipe: spec.template.kind"),
        "{said}"
    );
    assert!(
        said.contains("missing field(s): spec.template.name"),
        "{said}"
    );
}

#[test]
fn templates() {
    for kind in ["BuildTemplate", "ClusterBuildTemplate"] {
        let good = json!({"parameters": [{"name": "IMAGE"}, {"name": "DIR", "default": ""}],
            "steps": [{"image": "${IMAGE}", "args": ["${DIR}"]}]});
        let kept = admit(kind, "t", good.clone()).unwrap();
        assert_eq!(kept, good);
        let twice =
            json!({"parameters": [{"name": "A"}, {"name": "A"}], "steps": [{"image": "i"}]});
        let said = admit(kind, "t", twice).unwrap_err();
        assert!(
            said.contains("invalid key name \"A\": spec.parameters"),
            "{said}"
        );
    }
}
