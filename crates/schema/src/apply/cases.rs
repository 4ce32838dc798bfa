//! Histories of an object: who wrote what, what came of it and who owns it then. What
//! structured-merge-diff is tested for, on a custom resource with every sort of list and map.

use serde_json::{Value, json};

use super::*;

/// One write.
enum Step {
    Apply(&'static str, Value),
    Force(&'static str, Value),
    Update(&'static str, Value),
    /// An apply that must fail with these conflicts.
    Conflict(&'static str, Value, &'static [&'static str]),
}

use Step::{Apply, Conflict, Force, Update};

fn schema() -> Schema {
    let text = json!({"type": "string"});
    let number = json!({"type": "integer"});
    let set = json!({"type": "array", "x-kubernetes-list-type": "set", "items": number});
    let keyed = |value: Value| {
        json!({
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "required": ["name"], "properties": {
                "name": text, "a": number, "b": number, "value": value,
            }},
        })
    };
    let map = |value: Value| json!({"type": "object", "additionalProperties": value});
    let schema = json!({"type": "object", "properties": {
        "number": number,
        "other": number,
        "set": set,
        "list": keyed(set.clone()),
        "ports": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["port", "protocol"],
            "items": {"type": "object", "required": ["port", "protocol"], "properties": {
                "port": number, "name": text,
                "protocol": {"type": "string", "default": "TCP"},
            }},
        },
        "plain": {"type": "array", "items": number},
        "sets": map(set.clone()),
        "maps": map(map(text.clone())),
        "whole": {"type": "object", "x-kubernetes-map-type": "atomic",
            "properties": {"a": number, "b": number}},
        "struct": {"type": "object", "nullable": true,
            "properties": {"name": text, "value": number}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }});
    Schema::from_crd(&schema).expect("the schema is structural")
}

fn by(manager: &str) -> Operation<'_> {
    Operation {
        manager,
        time: "2024-01-01T00:00:00Z",
        api_version: "v1",
        subresource: "",
    }
}

/// Runs the steps from nothing; then the object must be `expected` and each owner own these paths.
fn check(steps: Vec<Step>, expected: Value, owners: &[(&str, &[&str])]) {
    let schema = schema();
    let mut live: Option<Value> = None;
    for step in steps {
        let attempt = |manager, object: &Value, force| {
            apply(&schema, live.as_ref(), object, &by(manager), force)
        };
        live = Some(match step {
            Apply(manager, object) => {
                attempt(manager, &object, false).expect("there are no conflicts")
            }
            Force(manager, object) => attempt(manager, &object, true).expect("it is forced"),
            Update(manager, object) => {
                let mut object = object;
                object["metadata"] = json!({});
                update(&schema, live.as_ref(), &object, &by(manager))
            }
            Conflict(manager, object, fields) => {
                check_conflicts(attempt(manager, &object, false), fields);
                continue;
            }
        });
    }
    let mut live = live.expect("there was a write");
    let found: Vec<(String, Vec<String>)> = managed::decode(&live)
        .into_iter()
        .map(|entry| {
            let paths = entry.set.paths();
            (
                entry.manager,
                paths.iter().map(|path| path::display(path)).collect(),
            )
        })
        .collect();
    let wanted: Vec<(String, Vec<String>)> = owners
        .iter()
        .map(|(manager, paths)| {
            let paths = paths.iter().map(ToString::to_string).collect();
            ((*manager).to_owned(), paths)
        })
        .collect();
    assert_eq!(found, wanted);
    live.as_object_mut()
        .expect("an object stays one")
        .remove("metadata");
    assert_eq!(live, expected);
}

fn check_conflicts(outcome: Result<Value, Error>, fields: &[&str]) {
    match outcome {
        Err(Error::Conflicts(found)) => {
            let found: Vec<String> = found.conflicts.into_iter().map(|it| it.field).collect();
            assert_eq!(found, fields);
        }
        other => panic!("expected conflicts, got {other:?}"),
    }
}

#[test]
fn leaves() {
    check(
        vec![
            Apply("a", json!({"number": 1})),
            Apply("b", json!({"number": 1, "other": 2})),
        ],
        json!({"number": 1, "other": 2}),
        &[("a", &[".number"]), ("b", &[".number", ".other"])],
    );
    check(
        vec![
            Apply("a", json!({"number": 1})),
            Update("u", json!({"number": 2})),
            Conflict("a", json!({"number": 1}), &[".number"]),
            Force("a", json!({"number": 1})),
        ],
        json!({"number": 1}),
        &[("a", &[".number"])],
    );
    // Who applied it gave it up; who wrote it later keeps it.
    check(
        vec![
            Apply("a", json!({"number": 1})),
            Update("u", json!({"number": 2})),
            Apply("a", json!({})),
        ],
        json!({"number": 2}),
        &[("u", &[".number"])],
    );
    check(
        vec![
            Apply("a", json!({"number": 1, "other": 1})),
            Update("u", json!({"number": 1})),
        ],
        json!({"number": 1}),
        &[("a", &[".number"])],
    );
}

#[test]
fn shared_fields_go_with_the_last_owner() {
    let both = json!({"number": 1, "other": 1});
    check(
        vec![
            Apply("a", both.clone()),
            Apply("b", both.clone()),
            Apply("a", json!({"number": 1})),
        ],
        both.clone(),
        &[("a", &[".number"]), ("b", &[".number", ".other"])],
    );
    check(
        vec![
            Apply("a", both.clone()),
            Apply("b", both),
            Apply("a", json!({"number": 1})),
            Apply("b", json!({"number": 1})),
        ],
        json!({"number": 1}),
        &[("a", &[".number"]), ("b", &[".number"])],
    );
}

#[test]
fn whole_maps_and_lists() {
    check(
        vec![
            Apply("a", json!({"whole": {"a": 1}, "plain": [1, 2]})),
            Conflict(
                "b",
                json!({"whole": {"b": 1}, "plain": [2]}),
                &[".plain", ".whole"],
            ),
            Force("b", json!({"whole": {"b": 1}, "plain": [2]})),
        ],
        json!({"whole": {"b": 1}, "plain": [2]}),
        &[("b", &[".plain", ".whole"])],
    );
}

#[test]
fn sets_and_maps_inside_others() {
    check(
        vec![
            Apply("a", json!({"list": [{"name": "x", "value": [1, 2]}]})),
            Apply("a", json!({"list": [{"name": "x", "value": [3, 2]}]})),
        ],
        json!({"list": [{"name": "x", "value": [3, 2]}]}),
        &[(
            "a",
            &[
                r#".list[name="x"]"#,
                r#".list[name="x"].name"#,
                r#".list[name="x"].value[=2]"#,
                r#".list[name="x"].value[=3]"#,
            ],
        )],
    );
    check(
        vec![
            Apply(
                "a",
                json!({"sets": {"x": [1, 2]}, "maps": {"m": {"p": "1", "q": "2"}}}),
            ),
            Apply(
                "a",
                json!({"sets": {"y": [1]}, "maps": {"m": {"r": "1", "q": "3"}}}),
            ),
        ],
        json!({"sets": {"y": [1]}, "maps": {"m": {"r": "1", "q": "3"}}}),
        &[(
            "a",
            &[
                ".maps.m",
                ".maps.m.q",
                ".maps.m.r",
                ".sets.y",
                ".sets.y[=1]",
            ],
        )],
    );
}

#[test]
fn structs_go_when_empty() {
    let first = || Apply("a", json!({"struct": {"name": "n"}}));
    let written = |name: &str| Update("u", json!({"struct": {"name": name, "value": 1}}));
    check(vec![first(), Apply("a", json!({}))], json!({}), &[]);
    check(
        vec![first(), Apply("a", json!({"struct": null}))],
        json!({"struct": null}),
        &[("a", &[".struct"])],
    );
    for empty in [json!({}), json!({"struct": {}}), json!({"struct": null})] {
        let own: &[(&str, &[&str])] = match empty.get("struct") {
            Some(_) => &[("a", &[".struct"]), ("u", &[".struct.value"])],
            None => &[("u", &[".struct.value"])],
        };
        check(
            vec![first(), written("n"), Apply("a", empty)],
            json!({"struct": {"value": 1}}),
            own,
        );
    }
    check(
        vec![first(), written("m"), Apply("a", json!({}))],
        json!({"struct": {"name": "m", "value": 1}}),
        &[("u", &[".struct.name", ".struct.value"])],
    );
}

#[test]
fn keys_have_defaults() {
    check(
        vec![
            Apply("a", json!({"ports": [{"port": 80, "name": "x"}]})),
            Apply(
                "b",
                json!({"ports": [{"port": 80, "protocol": "UDP"}, {"port": 80, "protocol": "TCP"}]}),
            ),
        ],
        json!({"ports": [
            {"port": 80, "protocol": "UDP"},
            {"port": 80, "name": "x", "protocol": "TCP"},
        ]}),
        &[
            (
                "a",
                &[
                    r#".ports[port=80,protocol="TCP"]"#,
                    r#".ports[port=80,protocol="TCP"].name"#,
                    r#".ports[port=80,protocol="TCP"].port"#,
                ],
            ),
            (
                "b",
                &[
                    r#".ports[port=80,protocol="TCP"]"#,
                    r#".ports[port=80,protocol="UDP"]"#,
                    r#".ports[port=80,protocol="TCP"].port"#,
                    r#".ports[port=80,protocol="TCP"].protocol"#,
                    r#".ports[port=80,protocol="UDP"].port"#,
                    r#".ports[port=80,protocol="UDP"].protocol"#,
                ],
            ),
        ],
    );
}

#[test]
fn duplicates_are_one() {
    let twice =
        || json!({"list": [{"name": "a", "a": 1}, {"name": "a", "a": 2}, {"name": "b", "a": 3}]});
    let b: &[&str] = &[
        ".list",
        r#".list[name="b"]"#,
        r#".list[name="b"].a"#,
        r#".list[name="b"].name"#,
    ];
    check(
        vec![Update("u", twice())],
        twice(),
        &[(
            "u",
            &[
                ".list",
                r#".list[name="a"]"#,
                r#".list[name="b"]"#,
                r#".list[name="b"].a"#,
                r#".list[name="b"].name"#,
            ],
        )],
    );
    // Whoever changes one owns them.
    let once = json!({"list": [{"name": "a", "a": 1}, {"name": "b", "a": 3}]});
    check(
        vec![Update("u", once), Update("v", twice())],
        twice(),
        &[("u", b), ("v", &[r#".list[name="a"]"#])],
    );
    // What is applied takes the place of them all.
    check(
        vec![
            Update("u", twice()),
            Conflict(
                "a",
                json!({"list": [{"name": "a", "a": 3}]}),
                &[r#".list[name="a"]"#],
            ),
            Force("a", json!({"list": [{"name": "a", "a": 3}]})),
        ],
        json!({"list": [{"name": "a", "a": 3}, {"name": "b", "a": 3}]}),
        &[
            (
                "a",
                &[
                    r#".list[name="a"]"#,
                    r#".list[name="a"].a"#,
                    r#".list[name="a"].name"#,
                ],
            ),
            ("u", b),
        ],
    );
    // What is applied beside them leaves them alone.
    check(
        vec![
            Update("u", json!({"set": [1, 1, 3]})),
            Apply("a", json!({"set": [5]})),
        ],
        json!({"set": [1, 1, 3, 5]}),
        &[
            ("a", &[".set[=5]"]),
            ("u", &[".set", ".set[=1]", ".set[=3]"]),
        ],
    );
}

#[test]
fn unknown_fields_are_maps_and_whole_lists() {
    check(
        vec![
            Apply("a", json!({"free": {"x": {"y": 1}, "l": [{"z": 1}]}})),
            Apply("b", json!({"free": {"x": {"w": 2}}})),
            Conflict("b", json!({"free": {"l": [{"z": 2}]}}), &[".free.l"]),
        ],
        json!({"free": {"x": {"y": 1, "w": 2}, "l": [{"z": 1}]}}),
        &[
            ("a", &[".free.l", ".free.x", ".free.x.y"]),
            ("b", &[".free.x", ".free.x.w"]),
        ],
    );
}
