//! CESQL against the official test cases and our own: `tests/cesql_tck`.

use cloudevents::cesql::{EvalError, Expression, Value};
use cloudevents::{Event, Limits, decode_one};
use proptest::prelude::*;
use serde_json::{Map, json};

/// The kit's event: valid, with these attributes on top.
fn event(overrides: Option<&str>) -> Event {
    let base = json!({"specversion": "1.0", "id": "id", "source": "localhost", "type": "ty"});
    let mut members: Map<String, serde_json::Value> =
        serde_json::from_value(base).expect("an object");
    if let Some(overrides) = overrides {
        let more: Map<_, _> = serde_json::from_str(overrides).expect("attributes as JSON");
        members.extend(more);
    }
    let body = serde_json::to_vec(&members).expect("JSON");
    let headers = [("content-type", "application/cloudevents+json")];
    decode_one(&headers[..], body.into(), &Limits::default()).expect("a valid event")
}

fn name(error: &EvalError) -> &'static str {
    match error {
        EvalError::Math(_) => "math",
        EvalError::Cast(..) => "cast",
        EvalError::MissingFunction(..) => "missingFunction",
        EvalError::MissingAttribute(_) => "missingAttribute",
        EvalError::FunctionEvaluation(_) => "functionEvaluation",
    }
}

/// What an expression gives, in the form of the case files.
fn outcome(expression: &str, event: &Event) -> (String, String) {
    let Ok(expression) = Expression::parse(expression) else {
        return ("-".to_owned(), "parse".to_owned());
    };
    let evaluation = expression.evaluate(event);
    let value = match &evaluation.value {
        Value::Boolean(flag) => json!(flag),
        Value::Integer(number) => json!(number),
        Value::String(text) => json!(text),
    };
    let error = evaluation.error.as_ref().map_or("", name);
    (value.to_string(), error.to_owned())
}

fn check(cases: &str) {
    let mut checked = 0;
    let mut wrong = Vec::new();
    for line in cases.lines().filter(|line| !line.starts_with('#')) {
        let (expression, rest) = line.split_once(" => ").expect("EXPRESSION => RESULT");
        let (rest, overrides) = match rest.split_once(" @ ") {
            Some((rest, overrides)) => (rest, Some(overrides)),
            None => (rest, None),
        };
        let (wanted, error) = rest.split_once(" ! ").unwrap_or((rest, ""));
        let (mut value, found) = outcome(expression, &event(overrides));
        if wanted == "-" {
            value = "-".to_owned();
        }
        if (value.as_str(), found.as_str()) != (wanted.trim(), error) {
            wrong.push(format!("{line}\n    gave {value} ! {found}"));
        }
        checked += 1;
    }
    assert!(checked > 50, "the file holds the cases");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_official_cases_hold() {
    check(include_str!("cesql_tck/official.txt"));
}

#[test]
fn our_own_cases_hold() {
    check(include_str!("cesql_tck/more.txt"));
}

#[test]
fn an_error_says_where() {
    let error = Expression::parse("type = 'a' AND (id").unwrap_err();
    assert_eq!(
        error.to_string(),
        "expected \")\", found the end at character 19"
    );
}

#[test]
fn depth_and_length_are_bounded() {
    let chain = |operator: &str, links: usize| {
        let text = vec!["TRUE"; links].join(operator);
        Expression::parse(&text).map(|expression| expression.matches(&event(None)))
    };
    assert_eq!(chain(" OR ", 5_000), Ok(true));
    assert_eq!(chain(" AND ", 5_000), Ok(true));
    assert_eq!(chain(" = ", 100), Ok(true));
    assert!(chain(" + ", 5_000).is_err() && chain(" XOR ", 5_000).is_err());
    for open in ["(", "NOT ", "- ", "ABS(", "1 IN ("] {
        assert!(Expression::parse(&open.repeat(10_000)).is_err());
    }
    assert!(Expression::parse(&" ".repeat(1 << 20)).is_err());
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,40}") {
        if let Ok(expression) = Expression::parse(&text) {
            let _ = expression.evaluate(&event(None));
        }
    }

    #[test]
    fn no_row_of_words_panics(words in proptest::collection::vec(prop_oneof![
        Just("NOT"), Just("AND"), Just("OR"), Just("XOR"), Just("LIKE"), Just("IN"), Just("EXISTS"),
        Just("("), Just(")"), Just(","), Just("-"), Just("+"), Just("*"), Just("/"), Just("%"),
        Just("="), Just("<"), Just("'a%_\\\\b'"), Just("id"), Just("gone"), Just("2147483647"),
        Just("-2147483648"), Just("TRUE"), Just("SUBSTRING("), Just("LEFT("), Just("CONCAT_WS("),
    ], 0..14)) {
        if let Ok(expression) = Expression::parse(&words.join(" ")) {
            let _ = expression.evaluate(&event(None));
        }
    }
}
