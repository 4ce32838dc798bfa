//! Filters as Triggers write them, and the index over many of them.

use cloudevents::{Event, Filter, Index, SpecVersion};
use proptest::prelude::*;
use serde_json::{Value, json};

fn sample() -> Event {
    let mut event = Event::new("id-1", "/orders/7", "com.example.created").expect("valid");
    for (name, value) in [
        ("subject", "blue"),
        ("time", "2020-01-01T02:00:00.50+02:00"),
    ] {
        event.set(name, value).expect("valid");
    }
    event.set("count", 7).expect("valid");
    event.set("dataschema", "http://schema").expect("valid");
    event
}

/// Filters in the form of `spec.filters`, and whether the sample passes.
const FILTERS: &[(&str, bool)] = &[
    (r#"[]"#, true),
    (r#"[{}]"#, true),
    (r#"[{"exact": {"type": "com.example.created"}}]"#, true),
    (r#"[{"exact": {"type": "com.example.Created"}}]"#, false),
    (
        r#"[{"exact": {"type": "com.example.created", "subject": "red"}}]"#,
        false,
    ),
    (r#"[{"exact": {"type": ""}}]"#, false),
    (r#"[{"exact": {"absent": "x"}}]"#, false),
    (r#"[{"exact": {"specversion": "1.0"}}]"#, true),
    (r#"[{"exact": {"count": "7"}}]"#, true),
    (r#"[{"exact": {"time": "2020-01-01T00:00:00.5Z"}}]"#, true),
    (
        r#"[{"exact": {"time": "2020-01-01T01:00:00.5+01:00"}}]"#,
        true,
    ),
    (r#"[{"prefix": {"time": "2020-01-01T00"}}]"#, true),
    (r#"[{"exact": {"schemaurl": "http://schema"}}]"#, true),
    (r#"[{"prefix": {"type": "com.example."}}]"#, true),
    (r#"[{"suffix": {"source": "/7"}}]"#, true),
    (r#"[{"suffix": {"source": "/8"}}]"#, false),
    (r#"[{"prefix": {"absent": ""}}]"#, false),
    (
        r#"[{"exact": {"subject": "blue"}}, {"suffix": {"type": "x"}}]"#,
        false,
    ),
    (
        r#"[{"all": [{"exact": {"subject": "blue"}}, {"prefix": {"id": "id"}}]}]"#,
        true,
    ),
    (
        r#"[{"any": [{"exact": {"subject": "red"}}, {"prefix": {"id": "id"}}]}]"#,
        true,
    ),
    (
        r#"[{"any": [{"exact": {"subject": "red"}}, {"prefix": {"id": "x"}}]}]"#,
        false,
    ),
    (r#"[{"any": []}]"#, true),
    (r#"[{"not": {"exact": {"subject": "red"}}}]"#, true),
    (r#"[{"not": {"exact": {"absent": "x"}}}]"#, true),
    (r#"[{"not": {}}]"#, true),
    (r#"[{"cesql": "type LIKE '%created' AND count = 7"}]"#, true),
    (r#"[{"cesql": "absent = 'x'"}]"#, false),
    (r#"[{"cesql": "NOT (absent = 'x')"}]"#, false),
    (r#"[{"cesql": "count"}]"#, false),
];

#[test]
fn dialects_mean_what_knative_means() {
    for (filters, passes) in FILTERS {
        let filters: Vec<Value> = serde_json::from_str(filters).expect("JSON");
        let filter = Filter::compile(&filters).expect("valid");
        assert_eq!(filter.matches(&sample()), *passes, "{filters:?}");
    }
}

#[test]
fn the_older_filter_asks_for_presence_by_an_empty_value() {
    for (attributes, passes) in [
        (json!(null), true),
        (json!({}), true),
        (json!({"type": "com.example.created"}), true),
        (json!({"type": "", "subject": ""}), true),
        (json!({"absent": ""}), false),
        (json!({"type": "", "source": "other"}), false),
    ] {
        let spec = json!({"filter": {"attributes": attributes}});
        let filter = Filter::of_trigger(&spec).expect("valid");
        assert_eq!(filter.matches(&sample()), passes, "{spec}");
    }
    let both =
        json!({"filter": {"attributes": {"type": "no"}}, "filters": [{"exact": {"id": "id-1"}}]});
    assert!(Filter::of_trigger(&both).expect("valid").matches(&sample()));
    let none = json!({"filter": {"attributes": {"type": "no"}}, "filters": []});
    assert!(!Filter::of_trigger(&none).expect("valid").matches(&sample()));
}

#[test]
fn filters_of_0_3_find_its_attributes() {
    let mut event = Event::with_version(SpecVersion::V03, "1", "/s", "t").expect("valid");
    event.set("schemaurl", "http://schema").expect("valid");
    for filters in [
        json!([{"exact": {"dataschema": "http://schema"}}]),
        json!([{"exact": {"specversion": "0.3"}}]),
        json!([{"cesql": "dataschema = 'http://schema'"}]),
    ] {
        let filter = Filter::compile(filters.as_array().expect("a list")).expect("valid");
        assert!(filter.matches(&event), "{filters}");
        let mut index = Index::default();
        index.add((), filter);
        assert_eq!(index.matching(&event).len(), 1, "{filters}");
    }
}

#[test]
fn what_does_not_compile_says_where() {
    for (filters, message) in [
        (
            json!([{"exact": {"type": 1}}]),
            "filters[0].exact: the value of \"type\" must be a string",
        ),
        (
            json!([{}, {"any": [{"cesql": "type ="}]}]),
            "filters[1].any[0].cesql: expected a value, found the end at character 7",
        ),
        (
            json!([{"regex": {}}]),
            "filters[0]: \"regex\" is no filter dialect: use exact, prefix, suffix, all, any, not or cesql",
        ),
        (
            json!([{"all": {}}]),
            "filters[0].all: must be a list of filters",
        ),
    ] {
        let error = Filter::compile(filters.as_array().expect("a list")).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn of_a_thousand_subscribers_those_that_match_are_found() {
    let mut index = Index::default();
    for subscriber in 0..1_000u32 {
        let filters = [json!({"exact": {"type": format!("t{}", subscriber % 100)}})];
        index.add(subscriber, Filter::compile(&filters).expect("valid"));
    }
    let event = Event::new("1", "/s", "t42").expect("valid");
    let found: Vec<u32> = index.matching(&event).into_iter().copied().collect();
    assert_eq!(found, [42, 142, 242, 342, 442, 542, 642, 742, 842, 942]);
    index.remove(&142);
    index.add(242, Filter::default());
    let other = Event::new("1", "/s", "other").expect("valid");
    assert_eq!(index.matching(&event).len(), 9);
    assert_eq!(index.matching(&other), [&242]);
    assert_eq!(index.len(), 999);
}

fn filter() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        Just("type"),
        Just("source"),
        Just("ext"),
        Just("specversion"),
        Just("schemaurl"),
        Just("time")
    ];
    let text = prop_oneof![
        Just("a"),
        Just("b"),
        Just(""),
        Just("1.0"),
        Just("5"),
        Just("true")
    ];
    let leaf = prop_oneof![
        (name.clone(), text.clone()).prop_map(|(n, t)| json!({"exact": {n: t}})),
        (name.clone(), text.clone()).prop_map(|(n, t)| json!({"prefix": {n: t}})),
        (name.clone(), text.clone()).prop_map(|(n, t)| json!({"cesql": format!("{n} = '{t}'")})),
        (name.clone(), text.clone())
            .prop_map(|(n, t)| json!({"cesql": format!("{n} IN ('{t}', 'b') OR ext = '{t}'")})),
        (name, text).prop_map(|(n, t)| json!({"cesql": format!("{n} != '{t}' AND type = 'a'")})),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(|f| json!({"all": f})),
            proptest::collection::vec(inner.clone(), 0..3).prop_map(|f| json!({"any": f})),
            inner.prop_map(|f| json!({"not": f})),
        ]
    })
}

proptest! {
    #[test]
    fn the_index_finds_what_the_filters_let_pass(
        filters in proptest::collection::vec(filter(), 1..8),
        kind in "[ab]",
        ext in prop_oneof![Just(None), Just(Some(json!("b"))), Just(Some(json!(5))), Just(Some(json!(true)))],
        schema in any::<bool>(),
    ) {
        let mut event = Event::new("1", "a", &kind).expect("valid");
        match ext {
            Some(Value::String(text)) => event.set("ext", text).expect("valid"),
            Some(Value::Bool(flag)) => event.set("ext", flag).expect("valid"),
            Some(_) => event.set("ext", 5).expect("valid"),
            None => {}
        }
        if schema {
            event.set("dataschema", "a").expect("valid");
            event.set("schemaurl", "b").expect("valid");
        }
        let mut index = Index::default();
        let mut wanted = Vec::new();
        for (at, filter) in filters.iter().enumerate() {
            let filter = Filter::compile(std::slice::from_ref(filter)).expect("valid");
            if filter.matches(&event) {
                wanted.push(at);
            }
            index.add(at, filter);
        }
        prop_assert_eq!(index.matching(&event), wanted.iter().collect::<Vec<_>>());
        for at in 0..filters.len() {
            index.remove(&at);
        }
        prop_assert!(index.matching(&event).is_empty() && index.is_empty());
    }
}
