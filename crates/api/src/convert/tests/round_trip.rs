//! v1alpha1 → v1 → v1alpha1 gives back what was written, for any object of the old shapes; and
//! v1 → v1alpha1 → v1 likewise.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{NEW, OLD, convert, object};

/// A JSON object of those fields that are there.
fn fields(entries: Vec<(&'static str, Option<Value>)>) -> Value {
    let present = entries
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(present.collect::<Map<_, _>>())
}

fn name() -> BoxedStrategy<Value> {
    "[a-z][a-z0-9]{0,5}".prop_map(Value::from).boxed()
}

fn container() -> BoxedStrategy<Value> {
    let port = prop_oneof![Just(8080), Just(80)];
    let port = port.prop_map(|port| json!([{"containerPort": port}]));
    let env = name().prop_map(|name| json!([{"name": name, "value": "x"}]));
    let parts = (
        name(),
        prop::option::of(env),
        prop::option::of(port),
        prop::option::of(name()),
    );
    parts
        .prop_map(|(image, env, ports, name)| {
            fields(vec![
                ("image", Some(image)),
                ("env", env),
                ("ports", ports),
                ("name", name),
            ])
        })
        .boxed()
}

/// The object a Revision waits for, by name or by reference.
fn build_reference() -> BoxedStrategy<(&'static str, Option<Value>)> {
    let by_name = name().prop_map(|name| ("buildName", Some(name)));
    let by_reference = name().prop_map(|name| {
        let reference =
            json!({"apiVersion": "build.knative.dev/v1alpha1", "kind": "Build", "name": name});
        ("buildRef", Some(reference))
    });
    prop_oneof![Just(("buildRef", None)), by_name, by_reference].boxed()
}

fn revision_spec() -> BoxedStrategy<Value> {
    let model = prop_oneof![Just(json!("Single")), Just(json!("Multi"))];
    let state = prop_oneof![Just(json!("Active")), Just(json!("Retired"))];
    let parts = (
        container(),
        any::<bool>(),
        prop::option::of(model),
        prop::option::of((0..3i64).prop_map(Value::from)),
        prop::option::of(state),
        prop::option::of((1..600i64).prop_map(Value::from)),
        prop::option::of(name()),
        build_reference(),
    );
    parts
        .prop_map(
            |(container, one, model, concurrency, state, timeout, account, build)| {
                let container = if one {
                    ("container", Some(container))
                } else {
                    ("containers", Some(json!([container])))
                };
                fields(vec![
                    container,
                    ("concurrencyModel", model),
                    ("containerConcurrency", concurrency),
                    ("servingState", state),
                    ("timeoutSeconds", timeout),
                    ("serviceAccountName", account),
                    build,
                ])
            },
        )
        .boxed()
}

fn metadata() -> BoxedStrategy<Value> {
    let map = || (name(), name()).prop_map(|(key, value)| json!({key.as_str().unwrap(): value}));
    let parts = (
        prop::option::of(map()),
        prop::option::of(map()),
        prop::option::of(name()),
    );
    let some = |(labels, annotations, name): &(Option<Value>, Option<Value>, Option<Value>)| {
        labels.is_some() || annotations.is_some() || name.is_some()
    };
    parts
        .prop_filter("metadata says something", some)
        .prop_map(|(labels, annotations, name)| {
            fields(vec![
                ("labels", labels),
                ("annotations", annotations),
                ("name", name),
            ])
        })
        .boxed()
}

fn build() -> BoxedStrategy<Value> {
    let raw = || name().prop_map(|image| json!({"steps": [{"image": image, "args": ["a"]}]}));
    let whole = raw().prop_map(
        |spec| json!({"apiVersion": "build.knative.dev/v1alpha1", "kind": "Build", "spec": spec}),
    );
    prop_oneof![raw(), whole].boxed()
}

fn configuration() -> BoxedStrategy<Value> {
    let parts = (
        prop::option::of(metadata()),
        revision_spec(),
        any::<bool>(),
        prop::option::of(build()),
        prop::option::of((1..9i64).prop_map(Value::from)),
    );
    parts
        .prop_map(|(metadata, spec, of_2018, build, generation)| {
            let template = fields(vec![("metadata", metadata), ("spec", Some(spec))]);
            let key = if of_2018 {
                "revisionTemplate"
            } else {
                "template"
            };
            fields(vec![
                (key, Some(template)),
                ("build", build),
                ("generation", generation),
            ])
        })
        .boxed()
}

fn revision_name() -> BoxedStrategy<Value> {
    prop_oneof![Just(json!("@latest")), name()].boxed()
}

fn traffic() -> BoxedStrategy<Value> {
    let key = prop_oneof![Just("name"), Just("tag")];
    let target = (name(), 0..101i64, prop::option::of((key, name())));
    let target = target.prop_map(|(revision, percent, tag)| {
        let mut target = json!({"revisionName": revision, "percent": percent});
        if let Some((key, tag)) = tag {
            target[key] = tag;
        }
        target
    });
    // A tag is given once.
    prop::collection::vec(target, 0..4)
        .prop_map(|mut targets| {
            let mut seen = std::collections::BTreeSet::new();
            for target in &mut targets {
                for key in ["name", "tag"] {
                    let tag = target[key].as_str().map(str::to_owned);
                    let fields = target.as_object_mut().unwrap();
                    if tag.is_none_or(|tag| !seen.insert(tag)) {
                        fields.remove(key);
                    }
                }
            }
            targets.into()
        })
        .boxed()
}

fn service() -> BoxedStrategy<Value> {
    let run_latest = configuration().prop_map(|it| json!({"runLatest": {"configuration": it}}));
    let pinned = (configuration(), name())
        .prop_map(|(it, name)| json!({"pinned": {"configuration": it, "revisionName": name}}));
    let one = (
        configuration(),
        revision_name(),
        prop::option::of(Just(json!(0))),
    );
    let one = one.prop_map(|(it, name, percent)| {
        json!({"release": fields(vec![
            ("configuration", Some(it)),
            ("revisions", Some(json!([name]))),
            ("rolloutPercent", percent),
        ])})
    });
    let percent = prop::option::of((0..100i64).prop_map(Value::from));
    let two = (configuration(), revision_name(), revision_name(), percent);
    let two = two.prop_map(|(it, current, next, percent)| {
        json!({"release": fields(vec![
            ("configuration", Some(it)),
            ("revisions", Some(json!([current, next]))),
            ("rolloutPercent", percent),
        ])})
    });
    let inline = (configuration(), traffic()).prop_map(|(mut it, traffic)| {
        it["traffic"] = traffic;
        it
    });
    prop_oneof![
        run_latest,
        pinned,
        one,
        two,
        inline,
        Just(json!({"manual": {}}))
    ]
    .boxed()
}

fn route() -> BoxedStrategy<Value> {
    traffic()
        .prop_map(|traffic| json!({"traffic": traffic, "generation": 3}))
        .boxed()
}

/// The spec of a Service as v1 has it.
fn today() -> BoxedStrategy<Value> {
    (container(), traffic())
        .prop_map(|(container, mut traffic)| {
            for target in traffic.as_array_mut().into_iter().flatten() {
                let fields = target.as_object_mut().unwrap();
                if let Some(name) = fields.remove("name") {
                    fields.insert("tag".to_owned(), name);
                }
            }
            json!({"template": {"spec": {"containers": [container]}}, "traffic": traffic})
        })
        .boxed()
}

fn old() -> BoxedStrategy<Value> {
    prop_oneof![
        service().prop_map(|spec| object("Service", OLD, spec)),
        configuration().prop_map(|spec| object("Configuration", OLD, spec)),
        revision_spec().prop_map(|spec| object("Revision", OLD, spec)),
        route().prop_map(|spec| object("Route", OLD, spec)),
    ]
    .boxed()
}

proptest! {
    #[test]
    fn what_was_written_reads_back(old in old()) {
        let new = convert(old.clone(), NEW).unwrap();
        prop_assert_eq!(convert(new.clone(), OLD).unwrap(), old);
        // The beta in between is the same shape as v1.
        let beta = convert(new.clone(), "serving.knative.dev/v1beta1").unwrap();
        prop_assert_eq!(convert(beta, NEW).unwrap(), new);
    }

    #[test]
    fn what_is_stored_is_not_lost_on_the_way(old in old()) {
        let new = convert(old, NEW).unwrap();
        let there = convert(new.clone(), OLD).unwrap();
        prop_assert_eq!(convert(there, NEW).unwrap(), new);
    }

    #[test]
    fn a_service_of_today_comes_back_from_the_old_version(spec in today()) {
        let new = object("Service", NEW, spec);
        let there = convert(new.clone(), OLD).unwrap();
        prop_assert_eq!(convert(there, NEW).unwrap(), new);
    }
}
