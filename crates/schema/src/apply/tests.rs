//! Server-side apply and ownership on a built-in kind: entries, conflicts, kubectl, properties.

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::testing::arbitrary_json;
use crate::{Schema, builtin};

const EARLY: &str = "2024-01-01T00:00:00Z";
const LATE: &str = "2024-01-02T00:00:00Z";

fn deployments() -> std::sync::Arc<Schema> {
    builtin("apps", "v1", "Deployment").expect("Kubernetes has Deployments")
}

fn by(manager: &str) -> Operation<'_> {
    Operation {
        manager,
        time: EARLY,
        api_version: "apps/v1",
        subresource: "",
    }
}

fn deployment(spec: Value) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": spec,
    })
}

/// Applies on a Deployment; fails the test on conflicts.
fn applied(live: Option<&Value>, spec: Value, manager: &str) -> Value {
    apply(&deployments(), live, &deployment(spec), &by(manager), false)
        .expect("nobody else owns these fields")
}

fn stored(mut object: Value) -> Value {
    object["metadata"]["uid"] = "u".into();
    object
}

/// The owners of an object, one line each.
fn owners(object: &Value) -> String {
    let entries = object["metadata"]["managedFields"].as_array();
    let lines: Vec<String> = entries
        .into_iter()
        .flatten()
        .map(|entry| {
            let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            let time = text("time");
            format!(
                "{} {} {}{}: {}",
                text("operation"),
                text("manager"),
                time.get(8..10).unwrap_or_default(),
                text("subresource"),
                entry["fieldsV1"]
            )
        })
        .collect();
    lines.join("\n")
}

fn check_owners(object: &Value, expected: Expect) {
    expected.assert_eq(&owners(object));
}

#[test]
fn whoever_applies_owns_what_he_says() {
    let spec = json!({
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "i", "args": ["a"],
                "ports": [{"containerPort": 80}]}]},
        },
    });
    let object = applied(None, spec, "kubectl");
    check_owners(
        &object,
        expect![[
            r#"Apply kubectl 01: {"f:spec":{"f:replicas":{},"f:selector":{},"f:template":{"f:metadata":{"f:labels":{"f:app":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:args":{},"f:image":{},"f:name":{},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}}}}}}"#
        ]],
    );
    assert_eq!(object["spec"]["replicas"], 2);
}

#[test]
fn whoever_creates_owns_what_he_made() {
    let mut object = deployment(json!({
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}},
        "template": {"spec": {"containers": [{"name": "c", "image": "i", "resources": {},
            "env": [{"name": "A", "value": "1"}]}], "securityContext": {}}},
    }));
    object["metadata"]["labels"] = json!({"app": "web"});
    let object = update(&deployments(), None, &object, &by("kubectl-create"));
    check_owners(
        &object,
        expect![[
            r#"Update kubectl-create 01: {"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:replicas":{},"f:selector":{},"f:strategy":{"f:rollingUpdate":{".":{},"f:maxSurge":{}},"f:type":{}},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:env":{".":{},"k:{\"name\":\"A\"}":{".":{},"f:name":{},"f:value":{}}},"f:image":{},"f:name":{},"f:resources":{}}},"f:securityContext":{}}}}}"#
        ]],
    );
}

#[test]
fn what_is_no_longer_applied_goes() {
    let live = applied(None, json!({"replicas": 2, "paused": true}), "a");
    let live = applied(Some(&live), json!({"replicas": 2}), "a");
    assert_eq!(live["spec"], json!({"replicas": 2}));
    let live = applied(Some(&live), json!({}), "a");
    assert_eq!(live.get("spec"), Some(&json!({})));
}

#[test]
fn what_another_owns_too_stays() {
    let live = applied(None, json!({"replicas": 2, "paused": true}), "a");
    let live = applied(Some(&live), json!({"replicas": 2}), "b");
    let live = applied(Some(&live), json!({"paused": true}), "a");
    assert_eq!(live["spec"], json!({"replicas": 2, "paused": true}));
    check_owners(
        &live,
        expect![[r#"
            Apply a 01: {"f:spec":{"f:paused":{}}}
            Apply b 01: {"f:spec":{"f:replicas":{}}}"#]],
    );
}

#[test]
fn elements_of_keyed_lists_have_owners() {
    let container = |name: &str| json!({"name": name, "image": "i"});
    let spec = |names: &[&str]| {
        let containers: Vec<Value> = names.iter().map(|name| container(name)).collect();
        json!({"template": {"spec": {"containers": containers}}})
    };
    let names = |object: &Value| -> Vec<String> {
        let list = object["spec"]["template"]["spec"]["containers"].as_array();
        list.into_iter()
            .flatten()
            .map(|item| item["name"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    let live = applied(None, spec(&["a", "b"]), "x");
    let live = applied(Some(&live), spec(&["c"]), "y");
    assert_eq!(names(&live), ["a", "b", "c"]);
    let live = applied(Some(&live), spec(&["b", "a"]), "x");
    assert_eq!(names(&live), ["b", "c", "a"]);
    let live = applied(Some(&live), spec(&["a"]), "x");
    assert_eq!(names(&live), ["c", "a"]);
    let live = applied(Some(&live), json!({}), "x");
    assert_eq!(names(&live), ["c"]);
}

#[test]
fn elements_of_sets_have_owners() {
    let finalizers = |names: &[&str]| {
        let mut object = deployment(json!({}));
        object["metadata"]["finalizers"] = names.iter().copied().collect();
        object
    };
    let schema = deployments();
    let live = apply(&schema, None, &finalizers(&["a", "b"]), &by("x"), false);
    let live = live.expect("nobody else is there");
    let live = apply(
        &schema,
        Some(&live),
        &finalizers(&["b", "c"]),
        &by("y"),
        false,
    );
    let live = live.expect("a set has room for all");
    let live = apply(&schema, Some(&live), &finalizers(&["a"]), &by("x"), false);
    let live = live.expect("a set has room for all");
    assert_eq!(live["metadata"]["finalizers"], json!(["a", "b", "c"]));
    check_owners(
        &live,
        expect![[r#"
            Apply x 01: {"f:metadata":{"f:finalizers":{"v:\"a\"":{}}},"f:spec":{}}
            Apply y 01: {"f:metadata":{"f:finalizers":{"v:\"b\"":{},"v:\"c\"":{}}},"f:spec":{}}"#]],
    );
}

fn check_conflict(live: &Value, spec: Value, expected: Expect) {
    let error = apply(
        &deployments(),
        Some(live),
        &deployment(spec),
        &by("me"),
        false,
    )
    .expect_err("others own these fields");
    expected.assert_eq(&error.to_string());
}

#[test]
fn conflicts_read_as_kubernetes_words_them() {
    let created = deployment(json!({"replicas": 2, "paused": true}));
    let live = update(
        &deployments(),
        None,
        &created,
        &by("kubectl-client-side-apply"),
    );
    check_conflict(
        &live,
        json!({"replicas": 3}),
        expect![[
            r#"Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps/v1: .spec.replicas"#
        ]],
    );
    let template = json!({"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}});
    let live = applied(Some(&live), template, "other");
    check_conflict(
        &live,
        json!({"replicas": 3, "paused": false,
            "template": {"spec": {"containers": [{"name": "c", "image": "j"}]}}}),
        expect![[r#"
            Apply failed with 3 conflicts: conflicts with "kubectl-client-side-apply" using apps/v1:
            - .spec.paused
            - .spec.replicas
            conflicts with "other":
            - .spec.template.spec.containers[name="c"].image"#]],
    );
    // The same value is no conflict.
    applied(Some(&live), json!({"replicas": 2}), "me");
}

#[test]
fn force_takes_fields_over() {
    let live = applied(None, json!({"replicas": 2, "paused": true}), "a");
    let forced = deployment(json!({"replicas": 3}));
    let live = apply(&deployments(), Some(&live), &forced, &by("b"), true).expect("it is forced");
    assert_eq!(live["spec"], json!({"replicas": 3, "paused": true}));
    check_owners(
        &live,
        expect![[r#"
            Apply a 01: {"f:spec":{"f:paused":{}}}
            Apply b 01: {"f:spec":{"f:replicas":{}}}"#]],
    );
}

#[test]
fn an_ordinary_write_takes_what_it_changes() {
    let live = stored(applied(None, json!({"replicas": 2, "paused": true}), "a"));
    let mut changed = live.clone();
    changed["spec"]["replicas"] = 5.into();
    changed["status"] = json!({"replicas": 5});
    let live = update(&deployments(), Some(&live), &changed, &by("scaler"));
    let status = Operation {
        subresource: "status",
        time: LATE,
        ..by("controller")
    };
    let mut changed = live.clone();
    changed["metadata"]["managedFields"] = json!([]);
    changed["status"]["readyReplicas"] = 1.into();
    let live = update(&deployments(), Some(&live), &changed, &status);
    check_owners(
        &live,
        expect![[r#"
            Apply a 01: {"f:spec":{"f:paused":{}}}
            Update scaler 01: {"f:spec":{"f:replicas":{}}}
            Update controller 02status: {"f:status":{"f:readyReplicas":{}}}"#]],
    );
}

#[test]
fn an_object_without_owners_belonged_to_somebody() {
    let live = stored(deployment(json!({"replicas": 2})));
    check_conflict(
        &live,
        json!({"replicas": 3}),
        expect![[
            r#"Apply failed with 1 conflict: conflict with "before-first-apply" using apps/v1: .spec.replicas"#
        ]],
    );
}

#[test]
fn an_empty_list_forgets_the_owners() {
    let live = stored(applied(None, json!({"replicas": 2}), "a"));
    for reset in [json!([]), json!([{}])] {
        let mut changed = live.clone();
        changed["metadata"]["managedFields"] = reset;
        let live = update(&deployments(), Some(&live), &changed, &by("b"));
        assert_eq!(live["metadata"].get("managedFields"), None);
    }
    // A client that knows nothing of them does not.
    let mut changed = live.clone();
    changed["metadata"]
        .as_object_mut()
        .expect("metadata is an object")
        .remove("managedFields");
    let live = update(&deployments(), Some(&live), &changed, &by("b"));
    check_owners(
        &live,
        expect![[r#"Apply a 01: {"f:spec":{"f:replicas":{}}}"#]],
    );
}

#[test]
fn kubectl_may_go_on_where_it_applied_by_itself() {
    let configuration = deployment(json!({"replicas": 2, "paused": true}));
    let mut created = configuration.clone();
    created["metadata"]["annotations"] = json!({LAST_APPLIED: configuration.to_string()});
    let schema = deployments();
    let live = update(&schema, None, &created, &by("kubectl-client-side-apply"));
    let next = deployment(json!({"replicas": 3}));
    assert!(apply(&schema, Some(&live), &next, &by("other"), false).is_err());
    let live = apply(&schema, Some(&live), &next, &by("kubectl"), false)
        .expect("only kubectl's own past is in the way");
    assert_eq!(live["spec"], json!({"replicas": 3, "paused": true}));
    let annotation = live["metadata"]["annotations"][LAST_APPLIED].as_str();
    assert_eq!(annotation, Some(format!("{next}\n").as_str()));
}

#[test]
fn kubectl_does_not_override_others_even_so() {
    let configuration = deployment(json!({"replicas": 2}));
    let mut created = configuration.clone();
    created["metadata"]["annotations"] = json!({LAST_APPLIED: configuration.to_string()});
    let schema = deployments();
    let live = stored(update(
        &schema,
        None,
        &created,
        &by("kubectl-client-side-apply"),
    ));
    let mut scaled = live.clone();
    scaled["spec"]["replicas"] = 7.into();
    let live = update(&schema, Some(&live), &scaled, &by("scaler"));
    let next = deployment(json!({"replicas": 3}));
    let error = apply(&schema, Some(&live), &next, &by("kubectl"), false);
    expect![[
        r#"Apply failed with 1 conflict: conflict with "scaler" using apps/v1: .spec.replicas"#
    ]]
    .assert_eq(&error.expect_err("the scaler owns them").to_string());
}

#[test]
fn old_writers_are_merged() {
    let schema = deployments();
    let mut live = stored(update(
        &schema,
        None,
        &deployment(json!({"replicas": 0})),
        &by("m00"),
    ));
    for number in 1..=12 {
        let manager = format!("m{number:02}");
        let mut changed = live.clone();
        changed["metadata"]["labels"][&manager] = "x".into();
        live = update(&schema, Some(&live), &changed, &by(&manager));
    }
    let entries = live["metadata"]["managedFields"]
        .as_array()
        .expect("there are owners");
    let managers: Vec<&str> = entries
        .iter()
        .filter_map(|it| it["manager"].as_str())
        .collect();
    assert_eq!(managers.len(), 10);
    assert_eq!(managers[0], "ancient-changes");
}

fn check_refused(object: Value, expected: Expect) {
    let error = apply(&deployments(), None, &object, &by("me"), false);
    expected.assert_eq(&error.expect_err("it does not fit").to_string());
}

#[test]
fn what_does_not_fit_the_schema_is_refused() {
    check_refused(
        deployment(json!({"replicsa": 3, "replicas": "x"})),
        expect![[r#"
            failed to create typed patch object (default/web; apps/v1, Kind=Deployment): .spec.replicas: expected numeric (int or float), got string
            .spec.replicsa: field not declared in schema"#]],
    );
    check_refused(
        deployment(
            json!({"template": {"spec": {"containers": [{"name": "a"}, {"name": "a"}, {}]}}}),
        ),
        expect![[r#"
            failed to create typed patch object (default/web; apps/v1, Kind=Deployment): .spec.template.spec.containers: duplicate entries for key [name="a"]
            .spec.template.spec.containers: element 2: associative list with keys has an element that omits key field "name" (and doesn't have default value)"#]],
    );
    let mut owned = deployment(json!({}));
    owned["metadata"]["managedFields"] = json!([{"manager": "me"}]);
    check_refused(owned, expect!["metadata.managedFields must be nil"]);
}

#[test]
fn fields_of_unknown_shape_are_owned_one_by_one() {
    let schema = Schema::any();
    let object = json!({"metadata": {"name": "x"}, "spec": {"a": {"b": 1}, "list": [{"c": 2}]}});
    let live = apply(&schema, None, &object, &by("x"), false).expect("nobody else is there");
    check_owners(
        &live,
        expect![[r#"Apply x 01: {"f:spec":{".":{},"f:a":{".":{},"f:b":{}},"f:list":{}}}"#]],
    );
}

fn arbitrary_set() -> impl Strategy<Value = Set> {
    let element = prop_oneof![
        "[a-c]{0,2}".prop_map(|name| Element::Field(name.into())),
        ("[a-c]", 0i64..3).prop_map(|(name, port)| {
            Element::Key(json!({"name": name, "port": port}).to_string().into())
        }),
        "[a-c]".prop_map(|value| Element::value(&value.into())),
        (0i64..3).prop_map(Element::Index),
    ];
    let path = proptest::collection::vec(element, 1..4);
    proptest::collection::vec(path, 0..8).prop_map(|paths| {
        let mut set = Set::default();
        paths.iter().for_each(|path| set.insert(path));
        set
    })
}

fn arbitrary_spec() -> impl Strategy<Value = Value> {
    let container = (
        "[a-c]",
        proptest::option::of("[a-b]"),
        proptest::option::of(0i64..3),
    )
        .prop_map(|(name, image, port)| {
            let mut container = json!({"name": name});
            if let Some(image) = image {
                container["image"] = image.into();
            }
            if let Some(port) = port {
                container["ports"] = json!([{"containerPort": port}]);
            }
            (name, container)
        });
    let containers = proptest::collection::btree_map("[a-c]", container, 0..3).prop_map(|found| {
        let mut named = std::collections::BTreeMap::new();
        found.into_values().for_each(|(name, container)| {
            named.insert(name, container);
        });
        named.into_values().collect::<Vec<Value>>()
    });
    (
        proptest::option::of(0i64..3),
        proptest::option::of(any::<bool>()),
        containers,
    )
        .prop_map(|(replicas, paused, containers)| {
            let mut spec = json!({});
            if let Some(replicas) = replicas {
                spec["replicas"] = replicas.into();
            }
            if let Some(paused) = paused {
                spec["paused"] = paused.into();
            }
            if !containers.is_empty() {
                spec["template"] = json!({"spec": {"containers": containers}});
            }
            spec
        })
}

proptest! {
    #[test]
    fn fields_survive_their_encoding(set in arbitrary_set()) {
        prop_assert_eq!(Set::decode(&set.encode()), Some(set));
    }

    #[test]
    fn applying_twice_is_applying_once(first in arbitrary_spec(), second in arbitrary_spec()) {
        let schema = deployments();
        let live = applied(None, first, "a");
        let later = |time| Operation { time, ..by("b") };
        let config = deployment(second);
        let once = apply(&schema, Some(&live), &config, &later(EARLY), true).expect("it is forced");
        let twice = apply(&schema, Some(&once), &config, &later(LATE), true).expect("it is forced");
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn what_one_alone_applied_he_can_take_back(first in arbitrary_spec(), second in arbitrary_spec()) {
        let live = applied(None, first, "a");
        let live = applied(Some(&live), second.clone(), "a");
        let fresh = applied(None, second, "a");
        prop_assert_eq!(&live["spec"], &fresh["spec"]);
    }

    #[test]
    fn an_ordinary_write_changes_nothing_but_the_owners(spec in arbitrary_json(), next in arbitrary_json()) {
        let schema = deployments();
        let live = stored(update(&schema, None, &deployment(spec), &by("a")));
        let mut changed = live.clone();
        changed["spec"] = next.clone();
        let after = update(&schema, Some(&live), &changed, &by("b"));
        prop_assert_eq!(&after["spec"], &next);
    }
}
