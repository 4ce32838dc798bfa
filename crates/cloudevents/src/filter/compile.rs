//! From the JSON of a Trigger to a [`Filter`].

use serde_json::Value;

use super::{Filter, How, Node};
use crate::cesql::Expression;
use crate::display::utc;

/// Deeper nesting is refused: matching must not use up the stack.
const DEPTH_MAX: usize = 64;

/// Why a filter does not compile.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct FilterError {
    /// The field, such as `filters[0].any[1].cesql`.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Filter {
    /// Of a Trigger's `spec`: `filters` if there are any, else the older `filter`.
    pub fn of_trigger(spec: &Value) -> Result<Self, FilterError> {
        match spec["filters"].as_array() {
            Some(filters) if !filters.is_empty() => Self::compile(filters),
            _ => Self::attributes(&spec["filter"]["attributes"]),
        }
    }

    /// Of a list of filters, all of which must pass.
    pub fn compile(filters: &[Value]) -> Result<Self, FilterError> {
        Ok(Self {
            root: list(filters, "filters", 0)?.and_then(all),
        })
    }

    /// Of the older filter: every attribute must be there, and equal unless the value is `""`.
    pub fn attributes(attributes: &Value) -> Result<Self, FilterError> {
        let nodes = attributes_of(attributes, How::Exact, "filter.attributes")?;
        let exists = |node| match node {
            Node::Attribute { name, text, .. } if text.is_empty() => Node::Attribute {
                name,
                how: How::Exists,
                text,
            },
            other => other,
        };
        Ok(Self {
            root: all(nodes.into_iter().map(exists).collect()),
        })
    }
}

/// A list's filters; `None` when it is empty, which is as if it were absent.
fn list(filters: &[Value], path: &str, depth: usize) -> Result<Option<Vec<Node>>, FilterError> {
    let mut nodes = Vec::new();
    for (at, filter) in filters.iter().enumerate() {
        nodes.extend(one(filter, &format!("{path}[{at}]"), depth)?);
    }
    Ok((!nodes.is_empty()).then_some(nodes))
}

fn all(mut nodes: Vec<Node>) -> Option<Node> {
    match nodes.len() {
        0 => None,
        1 => nodes.pop(),
        _ => Some(Node::All(nodes)),
    }
}

/// One element. Knative looks at its dialects in this order and takes every one that is set.
fn one(filter: &Value, path: &str, depth: usize) -> Result<Option<Node>, FilterError> {
    let problem = |problem: &str| FilterError {
        path: path.to_owned(),
        problem: problem.to_owned(),
    };
    if depth > DEPTH_MAX {
        return Err(problem("filters are nested too deep"));
    }
    if filter.is_null() {
        return Ok(None);
    }
    let Some(dialects) = filter.as_object() else {
        return Err(problem("must be an object with one dialect"));
    };
    let mut nodes = Vec::new();
    for (dialect, value) in dialects {
        let path = format!("{path}.{dialect}");
        let list_of = || -> Result<Option<Vec<Node>>, FilterError> {
            match value {
                Value::Array(filters) => list(filters, &path, depth + 1),
                Value::Null => Ok(None),
                _ => Err(FilterError {
                    path: path.clone(),
                    problem: "must be a list of filters".to_owned(),
                }),
            }
        };
        match dialect.as_str() {
            "exact" => nodes.extend(attributes_of(value, How::Exact, &path)?),
            "prefix" => nodes.extend(attributes_of(value, How::Prefix, &path)?),
            "suffix" => nodes.extend(attributes_of(value, How::Suffix, &path)?),
            "all" => nodes.extend(list_of()?.and_then(all)),
            "any" => nodes.extend(list_of()?.map(Node::Any)),
            "not" => {
                let inner = one(value, &path, depth + 1)?;
                nodes.extend(inner.map(|inner| Node::Not(Box::new(inner))));
            }
            "cesql" | "sql" => nodes.extend(cesql(value, &path)?),
            _ => {
                return Err(problem(&format!(
                    "{dialect:?} is no filter dialect: use exact, prefix, suffix, all, any, not or cesql"
                )));
            }
        }
    }
    Ok(all(nodes))
}

fn attributes_of(attributes: &Value, how: How, path: &str) -> Result<Vec<Node>, FilterError> {
    let problem = |problem: &str| FilterError {
        path: path.to_owned(),
        problem: problem.to_owned(),
    };
    let attributes = match attributes {
        Value::Null => return Ok(Vec::new()),
        Value::Object(attributes) => attributes,
        _ => return Err(problem("must map attributes to strings")),
    };
    let node = |(name, value): (&String, &Value)| {
        let Some(text) = value.as_str() else {
            return Err(problem(&format!("the value of {name:?} must be a string")));
        };
        // A whole timestamp is compared as such, wherever its time zone is.
        let is_time = name == "time" && how == How::Exact;
        Ok(Node::Attribute {
            name: name.clone(),
            how,
            text: if is_time { utc(text) } else { text.to_owned() },
        })
    };
    attributes.iter().map(node).collect()
}

fn cesql(value: &Value, path: &str) -> Result<Option<Node>, FilterError> {
    let problem = |problem| FilterError {
        path: path.to_owned(),
        problem,
    };
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) => match Expression::parse(text) {
            Ok(expression) => Ok(Some(Node::Cesql(Box::new(expression)))),
            Err(error) => Err(problem(error.to_string())),
        },
        _ => Err(problem("must be a string".to_owned())),
    }
}
