//! Comparing a child as it is with the child as it should be. Used by [`super::draft`] alone.

use serde_json::{Map, Value};

/// How the child as it is must agree with the child as it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Agree {
    /// Labels, annotations and spec are the plan's alone: what is not wanted is removed. For the
    /// kinds of this project.
    Exactly,
    /// What is wanted must be there; what else is there (defaults, what others set) stays. A
    /// wanted `null` must be absent. For Kubernetes' own kinds.
    AtLeast,
}

/// Parts of an object that are never compared or replaced.
const FIXED: &[&str] = &["apiVersion", "kind", "metadata", "status"];

/// The object to write so that `have` becomes `want`, or `None` when it agrees already.
pub(super) fn merged(have: &Value, want: &Value, agree: Agree) -> Option<Value> {
    let wanted = || want.as_object().into_iter().flatten();
    let body = || wanted().filter(|(key, _)| !FIXED.contains(&key.as_str()));
    let same = |have: &Value, want: &Value| match agree {
        Agree::Exactly => equal(have, want),
        Agree::AtLeast => covers(have, want, ""),
    };
    let meta = ["labels", "annotations"];
    if body().all(|(key, value)| same(&have[key], value))
        && meta
            .iter()
            .all(|key| same(&have["metadata"][key], &want["metadata"][key]))
    {
        return None;
    }
    let mut new = have.clone();
    for (key, value) in body() {
        replace(&mut new[key], value, agree);
    }
    for key in meta {
        replace(&mut new["metadata"][key], &want["metadata"][key], agree);
    }
    Some(new)
}

fn replace(have: &mut Value, want: &Value, agree: Agree) {
    match agree {
        Agree::Exactly => have.clone_from(want),
        Agree::AtLeast => overlay(have, want),
    }
}

/// Equal but for nulls and empty maps and lists, which mean the same as nothing.
pub fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let one = |a: &Map<String, Value>, b: &Map<String, Value>| {
                a.iter()
                    .all(|(key, value)| equal(value, b.get(key).unwrap_or(&Value::Null)))
            };
            one(a, b) && one(b, a)
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (a, b) => a == b || (is_nothing(a) && is_nothing(b)),
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().all(is_nothing),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        other => is_nothing(other),
    }
}

/// Whether everything `want` says is so in `have`. `within` is the key that led here: amounts of
/// resources are compared as quantities, because the API server rewrites them.
fn covers(have: &Value, want: &Value, within: &str) -> bool {
    match (have, want) {
        (Value::Object(have), Value::Object(want)) => want.iter().all(|(key, value)| {
            let quantities = matches!(within, "requests" | "limits") || key == "sizeLimit";
            let within = if quantities { "quantity" } else { key };
            covers(have.get(key).unwrap_or(&Value::Null), value, within)
        }),
        (Value::Array(have), Value::Array(want)) => {
            have.len() == want.len() && have.iter().zip(want).all(|(h, w)| covers(h, w, ""))
        }
        // A Go server leaves out fields that are empty, zero or false.
        (Value::Null, want) => is_zero(want),
        (have, Value::Null) => is_nothing(have),
        (have, want) if within == "quantity" => quantity(have) == quantity(want),
        (have, want) => have == want,
    }
}

/// The amount a quantity stands for, in units; the comparison of two spellings needs no more.
pub fn quantity(value: &Value) -> Option<f64> {
    let text = match value {
        Value::Number(number) => return number.as_f64(),
        Value::String(text) => text,
        _ => return None,
    };
    let end = text
        .find(|c: char| c.is_ascii_alphabetic() && !matches!(c, 'e' | 'E'))
        .unwrap_or(text.len());
    let factor = match &text[end..] {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        "Pi" => 1_125_899_906_842_624.0,
        _ => return None,
    };
    text[..end].parse::<f64>().ok().map(|n| n * factor)
}

/// Writes what `want` says into `have`, leaving the rest. A `null` removes.
fn overlay(have: &mut Value, want: &Value) {
    let Value::Object(want) = want else {
        if !want.is_null() {
            have.clone_from(want);
        }
        return;
    };
    if !have.is_object() {
        if want.is_empty() {
            return;
        }
        *have = Value::Object(Map::new());
    }
    let Value::Object(have) = have else { return };
    for (key, value) in want {
        if value.is_null() {
            have.remove(key);
        } else {
            overlay(have.entry(key).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(agree: Agree, have: Value, want: Value, expected: Option<Value>) {
        let wrap = |spec: Value| json!({"metadata": {}, "spec": spec});
        let merged = merged(&wrap(have), &wrap(want), agree);
        assert_eq!(merged.map(|m| m["spec"].clone()), expected);
    }

    #[test]
    fn defaults_of_others_are_left_alone() {
        let have = json!({"a": 1, "b": [{"x": 1, "default": 2}]});
        check(Agree::AtLeast, have.clone(), json!({"b": [{"x": 1}]}), None);
        let wanted = json!({"b": [{"x": 2}]});
        let expected = json!({"a": 1, "b": [{"x": 2}]});
        check(Agree::AtLeast, have.clone(), wanted.clone(), Some(expected));
        check(Agree::Exactly, have, wanted.clone(), Some(wanted));
    }

    #[test]
    fn quantities_are_amounts() {
        let have = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
        let want = json!({"limits": {"cpu": "1000m", "memory": "1024Mi"}});
        check(Agree::AtLeast, have, want, None);
        let have = json!({"limits": {"cpu": "1"}});
        let want = json!({"limits": {"cpu": "100m"}});
        check(Agree::AtLeast, have, want.clone(), Some(want));
    }

    #[test]
    fn what_a_go_server_leaves_out_is_not_missing() {
        let want =
            json!({"env": [{"name": "A", "value": ""}], "stdin": false, "delay": 0, "x": {}});
        check(Agree::AtLeast, json!({"env": [{"name": "A"}]}), want, None);
        let want = json!({"a": "b"});
        check(Agree::AtLeast, json!({}), want.clone(), Some(want));
    }

    #[test]
    fn null_means_absent() {
        let want = json!({"externalName": null});
        check(Agree::AtLeast, json!({"x": 1}), want.clone(), None);
        check(
            Agree::AtLeast,
            json!({"externalName": "a", "x": 1}),
            want,
            Some(json!({"x": 1})),
        );
    }
}
