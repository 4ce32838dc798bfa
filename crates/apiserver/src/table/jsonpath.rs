//! The JSONPath of printer columns and of templates: `.spec.x`, `['a.b']`, `[0]`, `[*]`,
//! `[?(@.type=="Ready")]`.

use serde_json::Value;

/// Everything `path` points at.
pub fn find<'a>(object: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut found = vec![object];
    let mut rest = path
        .trim()
        .trim_start_matches('{')
        .trim_end_matches('}')
        .trim_start_matches('$');
    while !rest.is_empty() && !found.is_empty() {
        let (step, after) = next_step(rest);
        rest = after;
        found = found
            .into_iter()
            .flat_map(|value| step.take(value))
            .collect();
    }
    found.retain(|value| !value.is_null());
    found
}

enum Step<'a> {
    Key(String),
    Index(i64),
    All,
    Filter {
        path: &'a str,
        operator: &'a str,
        value: &'a str,
    },
    Nothing,
}

fn next_step(path: &str) -> (Step<'_>, &str) {
    if let Some(rest) = path.strip_prefix('[') {
        let end = closing(rest);
        let (inner, after) = (rest[..end].trim(), rest.get(end + 1..).unwrap_or_default());
        return (bracket(inner), after);
    }
    let rest = path.trim_start_matches('.');
    let (key, end) = unescaped(rest, &['.', '[']);
    let step = match &*key {
        "" => Step::Nothing,
        "*" => Step::All,
        _ => Step::Key(key),
    };
    (step, &rest[end..])
}

/// The closing bracket, quotes and nested brackets skipped.
fn closing(text: &str) -> usize {
    let (mut quote, mut depth) = (None, 0);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return at,
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

fn bracket(inner: &str) -> Step<'_> {
    if inner == "*" {
        return Step::All;
    }
    if let Ok(index) = inner.parse() {
        return Step::Index(index);
    }
    if let Some(condition) = inner.strip_prefix("?(").and_then(|c| c.strip_suffix(')')) {
        let operators = ["==", "!=", ">=", "<=", ">", "<"];
        let split = operators
            .iter()
            .find_map(|op| Some((condition.split_once(op)?, *op)));
        let Some(((path, value), operator)) = split else {
            let path = condition.trim().trim_start_matches('@');
            return Step::Filter {
                path,
                operator: "",
                value: "",
            };
        };
        let path = path.trim().trim_start_matches('@');
        let value = value.trim().trim_matches(|c| c == '"' || c == '\'');
        return Step::Filter {
            path,
            operator,
            value,
        };
    }
    let key = inner.trim_matches(|c| c == '"' || c == '\'');
    let (key, _) = unescaped(key, &[]);
    Step::Key(key)
}

/// A key up to one of `ends`, without the backslashes that take a character as it is; and where it
/// ended.
fn unescaped(text: &str, ends: &[char]) -> (String, usize) {
    let (mut key, mut is_escaped) = (String::new(), false);
    for (at, c) in text.char_indices() {
        if !is_escaped && ends.contains(&c) {
            return (key, at);
        }
        is_escaped = c == '\\' && !is_escaped;
        if !is_escaped {
            key.push(c);
        }
    }
    (key, text.len())
}

impl Step<'_> {
    fn take<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match self {
            Self::Key(key) => value.get(key).into_iter().collect(),
            Self::Index(index) => {
                let Some(list) = value.as_array() else {
                    return Vec::new();
                };
                let len = i64::try_from(list.len()).unwrap_or(i64::MAX);
                let index = if *index < 0 { len + index } else { *index };
                usize::try_from(index)
                    .ok()
                    .and_then(|index| list.get(index))
                    .into_iter()
                    .collect()
            }
            Self::All => match value {
                Value::Array(list) => list.iter().collect(),
                Value::Object(map) => map.values().collect(),
                _ => Vec::new(),
            },
            Self::Filter {
                path,
                operator,
                value: wanted,
            } => {
                let items = value.as_array().into_iter().flatten();
                items
                    .filter(|item| holds(item, path, operator, wanted))
                    .collect()
            }
            Self::Nothing => vec![value],
        }
    }
}

fn holds(item: &Value, path: &str, operator: &str, wanted: &str) -> bool {
    let found = find(item, path);
    let Some(actual) = found.first() else {
        return operator == "!=";
    };
    let text = show(actual);
    let numbers = || Some((text.parse::<f64>().ok()?, wanted.parse::<f64>().ok()?));
    match operator {
        "" => true,
        "==" => text == wanted,
        "!=" => text != wanted,
        _ => numbers().is_some_and(|(actual, wanted)| match operator {
            ">" => actual > wanted,
            "<" => actual < wanted,
            ">=" => actual >= wanted,
            _ => actual <= wanted,
        }),
    }
}

/// A value as text: strings bare, everything else as JSON.
pub fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
