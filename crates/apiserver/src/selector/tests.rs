//! Selectors as data: text, object, verdict.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;

fn check_labels(selector: &str, labels: &[(&str, &str)], expected: bool) {
    let labels: BTreeMap<_, _> = labels
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    let parsed = LabelSelector::parse(selector).unwrap();
    assert_eq!(
        parsed.matches(&labels),
        expected,
        "{selector} on {labels:?}"
    );
}

#[test]
fn labels_select() {
    let ab = [("a", "b"), ("n", "5"), ("x.io/y", "")];
    for (selector, expected) in [
        ("", true),
        ("a=b", true),
        ("a==b", true),
        ("a = b , n=5", true),
        ("a=c", false),
        ("a!=c", true),
        ("missing!=c", true),
        ("a in (c, b)", true),
        ("a notin (b)", false),
        ("missing notin (b)", true),
        ("a", true),
        ("!a", false),
        ("!missing,a", true),
        ("n>4", true),
        ("n<5", false),
        ("x.io/y=", true),
    ] {
        check_labels(selector, &ab, expected);
    }
}

#[test]
fn bad_label_selectors_are_refused() {
    for selector in [
        "a in b", "a b", ",", "a=b,", "a=(b", "-=x", "a in (b", "a>x",
    ] {
        assert!(LabelSelector::parse(selector).is_err(), "{selector}");
    }
}

#[test]
fn fields_select() {
    let object = json!({"status": {"phase": "Running"}, "spec": {}, "reason": "a,b"});
    for (selector, expected) in [
        ("status.phase=Running", true),
        ("status.phase!=Running", false),
        ("spec.nodeName=", true),
        ("spec.nodeName=a", false),
        ("status.phase==Running,spec.nodeName!=x", true),
        (r"reason=a\,b", true),
    ] {
        let parsed = FieldSelector::parse(selector).unwrap();
        assert_eq!(parsed.matches_object(&object), expected, "{selector}");
    }
    assert!(FieldSelector::parse("status.phase").is_err());
}
