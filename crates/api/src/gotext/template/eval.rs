//! Runs a parsed template.

use serde_json::Value;

use super::Error;
use super::parse::{Command, Node, Operand, Pipeline};
use crate::gotext::{format_float, quote};

/// The functions a template may call.
pub(super) const FUNCTIONS: [&str; 17] = [
    "index", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not", "len", "print", "printf",
    "js", "html", "urlquery", "println",
];

/// What stays the same throughout a template.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) root: &'a Value,
    /// A missing key is nothing, at the top, too.
    pub(super) of_maps: bool,
}

pub(super) fn run(
    nodes: &[Node],
    scope: Scope<'_>,
    dot: &Value,
    out: &mut String,
) -> Result<(), Error> {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Print(pipeline) => out.push_str(&show(&value(pipeline, scope, dot)?)),
            Node::Branch {
                condition,
                rebinds,
                then,
                otherwise,
            } => {
                let value = value(condition, scope, dot)?;
                let holds = is_true(&value);
                let dot = if holds && *rebinds { &value } else { dot };
                run(if holds { then } else { otherwise }, scope, dot, out)?;
            }
            Node::Range {
                over,
                body,
                otherwise,
            } => {
                let items = items(value(over, scope, dot)?).map_err(|text| Error {
                    line: over.line,
                    text,
                })?;
                for item in &items {
                    run(body, scope, item, out)?;
                }
                if items.is_empty() {
                    run(otherwise, scope, dot, out)?;
                }
            }
        }
    }
    Ok(())
}

/// What `range` goes through: the values of a map by their keys.
fn items(over: Value) -> Result<Vec<Value>, String> {
    match over {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => Ok(items),
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.into_iter().collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Ok(fields.into_iter().map(|(_, value)| value).collect())
        }
        other => Err(format!("range can't iterate over {}", show(&other))),
    }
}

fn value(pipeline: &Pipeline, scope: Scope<'_>, dot: &Value) -> Result<Value, Error> {
    let mut last = None;
    for command in &pipeline.commands {
        last = Some(run_command(command, scope, dot, last, pipeline.line)?);
    }
    Ok(last.unwrap_or(Value::Null))
}

fn run_command(
    command: &Command,
    scope: Scope<'_>,
    dot: &Value,
    piped: Option<Value>,
    line: usize,
) -> Result<Value, Error> {
    let mut arguments = Vec::with_capacity(command.operands.len() + 1);
    for operand in &command.operands {
        arguments.push(operand_value(operand, scope, dot, line)?);
    }
    arguments.extend(piped);
    let error = |text: String| Error { line, text };
    match &command.function {
        Some(name) => {
            call(name, &arguments).map_err(|text| error(format!("error calling {name}: {text}")))
        }
        None if arguments.len() == 1 => Ok(arguments.remove(0)),
        None => Err(error("can't give argument to non-function".to_owned())),
    }
}

fn operand_value(
    operand: &Operand,
    scope: Scope<'_>,
    dot: &Value,
    line: usize,
) -> Result<Value, Error> {
    let (base, path) = match operand {
        Operand::Text(text) => return Ok(Value::from(text.as_str())),
        Operand::Number(number) => return Ok(number_value(*number)),
        Operand::Bool(value) => return Ok(Value::Bool(*value)),
        Operand::Nil => return Ok(Value::Null),
        Operand::Field { root: true, path } => (scope.root.clone(), path),
        Operand::Field { root: false, path } => (dot.clone(), path),
        Operand::Nested(pipeline, path) => (value(pipeline, scope, dot)?, path),
    };
    let mut at = base;
    for (depth, name) in path.iter().enumerate() {
        at = match at {
            Value::Object(mut fields) => match fields.remove(name) {
                Some(value) => value,
                // A key missing in a map is nothing; a field missing at the top is a mistake.
                None if depth > 0 || scope.of_maps => Value::Null,
                None => return Err(cannot_evaluate(name, line)),
            },
            Value::Null if depth > 0 || scope.of_maps => Value::Null,
            _ => return Err(cannot_evaluate(name, line)),
        };
    }
    Ok(at)
}

fn cannot_evaluate(name: &str, line: usize) -> Error {
    Error {
        line,
        text: format!("can't evaluate field {name}"),
    }
}

fn number_value(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        Value::from(number as i64)
    } else {
        Value::from(number)
    }
}

/// Calls function `name`; see Go's `text/template` for what each does.
fn call(name: &str, arguments: &[Value]) -> Result<Value, String> {
    let joined = || arguments.iter().map(show).collect::<String>();
    Ok(match (name, arguments) {
        ("index", [base, keys @ ..]) => return index(base, keys),
        ("eq", [first, others @ ..]) if !others.is_empty() => {
            Value::Bool(others.iter().any(|other| other == first))
        }
        ("ne", [a, b]) => Value::Bool(a != b),
        ("lt" | "le" | "gt" | "ge", [a, b]) => Value::Bool(ordered(name, a, b)?),
        ("and", [_, ..]) => pick(arguments, |value| !is_true(value)),
        ("or", [_, ..]) => pick(arguments, is_true),
        ("not", [value]) => Value::Bool(!is_true(value)),
        ("len", [value]) => return length(value),
        ("print", _) => Value::from(joined()),
        ("printf", [Value::String(format), rest @ ..]) => Value::from(printf(format, rest)),
        ("println", _) => {
            let shown: Vec<String> = arguments.iter().map(show).collect();
            Value::from(format!("{}\n", shown.join(" ")))
        }
        ("js", _) => Value::from(escape_js(&joined())),
        ("html", _) => Value::from(escape_html(&joined())),
        ("urlquery", _) => Value::from(escape_query(&joined())),
        _ => return Err(format!("wrong arguments for {name}")),
    })
}

/// The first argument that decides, else the last.
fn pick(arguments: &[Value], decides: impl Fn(&Value) -> bool) -> Value {
    let decided = arguments.iter().find(|value| decides(value));
    decided
        .or_else(|| arguments.last())
        .cloned()
        .unwrap_or(Value::Null)
}

fn index(base: &Value, keys: &[Value]) -> Result<Value, String> {
    let mut at = base;
    for key in keys {
        at = match (at, key) {
            (Value::Object(fields), Value::String(key)) => {
                // The zero value of a map of strings.
                fields.get(key).unwrap_or(&EMPTY)
            }
            (Value::Array(items), key) => {
                let position = key.as_u64().and_then(|n| usize::try_from(n).ok());
                let item = position.and_then(|n| items.get(n));
                item.ok_or_else(|| format!("index out of range: {}", show(key)))?
            }
            (Value::Null, _) => &EMPTY,
            _ => return Err(format!("can't index item of type {}", kind(at))),
        };
    }
    Ok(at.clone())
}

static EMPTY: Value = Value::String(String::new());

fn ordered(name: &str, a: &Value, b: &Value) -> Result<bool, String> {
    let order = match (a, b) {
        (Value::String(a), Value::String(b)) => a.partial_cmp(b),
        _ => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => a.partial_cmp(&b),
            _ => None,
        },
    };
    let order = order.ok_or("incompatible types for comparison")?;
    Ok(match name {
        "lt" => order.is_lt(),
        "le" => order.is_le(),
        "gt" => order.is_gt(),
        _ => order.is_ge(),
    })
}

fn length(value: &Value) -> Result<Value, String> {
    let length = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        Value::Object(fields) => fields.len(),
        other => return Err(format!("len of type {}", kind(other))),
    };
    Ok(Value::from(length))
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_i64().map_or_else(
            || format_float(number.as_f64().unwrap_or(0.0)),
            |n| n.to_string(),
        ),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(show).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(key, value)| format!("{key}:{}", show(value)))
                .collect();
            format!("map[{}]", fields.join(" "))
        }
        Value::Bool(value) => value.to_string(),
    }
}

/// The verbs `%s`, `%v`, `%d`, `%q` and `%%`, without widths.
fn printf(format: &str, arguments: &[Value]) -> String {
    let mut out = String::new();
    let mut arguments = arguments.iter();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match (chars.next(), arguments.as_slice()) {
            (Some('%'), _) | (None, _) => out.push('%'),
            (Some('q'), [argument, ..]) => {
                out.push_str(&quote(&show(argument)));
                arguments.next();
            }
            (Some(_), [argument, ..]) => {
                out.push_str(&show(argument));
                arguments.next();
            }
            (Some(verb), []) => {
                out.push_str("%!");
                out.push(verb);
                out.push_str("(MISSING)");
            }
        }
    }
    out
}

fn escape_js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", c as u32)),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04X}", c as u32)),
            _ => out.push(c),
        }
    }
    out
}

fn escape_html(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&#34;".to_owned(),
            '\'' => "&#39;".to_owned(),
            '\0' => "\u{fffd}".to_owned(),
            _ => c.to_string(),
        })
        .collect()
}

fn escape_query(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b' ' => "+".to_owned(),
            b'-' | b'_' | b'.' | b'~' => char::from(b).to_string(),
            _ if b.is_ascii_alphanumeric() => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}
