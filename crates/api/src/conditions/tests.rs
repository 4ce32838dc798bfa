//! The rules of `ConditionSet`, one story each.

use super::*;

const SET: Set = Set::living(&["A", "B"]);

fn check(steps: impl Fn(&mut Conditions), expected: &[(&str, &str)]) {
    let mut conditions = Conditions::of(&Value::Null, SET, Timestamp::UNIX_EPOCH);
    steps(&mut conditions);
    let rendered = conditions.render();
    let summary: Vec<_> = rendered
        .as_array()
        .unwrap()
        .iter()
        .map(|c| {
            let status = c["status"].as_str().unwrap();
            let reason = c["reason"].as_str().unwrap_or_default();
            (
                c["type"].as_str().unwrap().to_owned(),
                format!("{status} {reason}"),
            )
        })
        .collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|(kind, text)| ((*kind).to_owned(), (*text).to_owned()))
        .collect();
    assert_eq!(summary, expected);
}

#[test]
fn ready_follows_its_dependents() {
    check(
        |_| {},
        &[("A", "Unknown "), ("B", "Unknown "), ("Ready", "Unknown ")],
    );
    check(
        |c| {
            c.mark_true("A");
            c.mark_true("B");
        },
        &[("A", "True "), ("B", "True "), ("Ready", "True ")],
    );
    check(
        |c| {
            c.mark_true("A");
            c.mark_unknown("B", "Waiting", "");
        },
        &[
            ("A", "True "),
            ("B", "Unknown Waiting"),
            ("Ready", "Unknown Waiting"),
        ],
    );
    check(
        |c| {
            c.mark_false("A", "Broken", "");
            c.mark_unknown("B", "Waiting", "");
        },
        &[
            ("A", "False Broken"),
            ("B", "Unknown Waiting"),
            ("Ready", "False Broken"),
        ],
    );
    check(
        |c| {
            c.mark_false("A", "Broken", "");
            c.mark_true("A");
            c.mark_true("B");
        },
        &[("A", "True "), ("B", "True "), ("Ready", "True ")],
    );
}

#[test]
fn informational_conditions_do_not_count() {
    check(
        |c| {
            c.mark_true("A");
            c.mark_true("B");
            c.mark_false("Active", "NoTraffic", "");
        },
        &[
            ("A", "True "),
            ("Active", "False NoTraffic"),
            ("B", "True "),
            ("Ready", "True "),
        ],
    );
}

#[test]
fn time_moves_only_with_the_content() {
    let at = |s| Timestamp::from_second(s).unwrap();
    let mut first = Conditions::of(&Value::Null, SET, at(10));
    first.mark_false("A", "Broken", "");
    let object = json!({"status": {"conditions": first.render()}});

    let mut again = Conditions::of(&object, SET, at(20));
    again.mark_true("A");
    again.mark_false("A", "Broken", "");
    assert_eq!(json!({"status": {"conditions": again.render()}}), object);

    let mut changed = Conditions::of(&object, SET, at(30));
    changed.mark_false("A", "Worse", "");
    assert_eq!(changed.get("A").unwrap().since, "1970-01-01T00:00:30Z");
    assert_eq!(changed.get("B").unwrap().since, "1970-01-01T00:00:10Z");
}

#[test]
fn a_new_generation_is_unknown_until_looked_at() {
    let object = json!({
        "metadata": {"generation": 2},
        "status": {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]},
    });
    let conditions = Conditions::of(&object, SET, Timestamp::UNIX_EPOCH);
    assert_eq!(
        conditions.get("Ready").unwrap().reason,
        "NewObservedGenFailure"
    );
}
