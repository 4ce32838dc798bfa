//! Rows for people: what `kubectl get` prints, built-in kinds as Kubernetes prints them, custom
//! resources by their `additionalPrinterColumns`.

mod builtin;
mod duration;
pub mod jsonpath;
mod pod;
#[cfg(test)]
mod tests;
mod workload;

use serde_json::{Value, json};

pub(crate) use duration::{age, human};

use crate::resource::Resource;

/// How much of the object a row carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Include {
    /// Nothing.
    None,
    /// Its metadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

impl Include {
    /// The query parameter `includeObject`.
    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "None" => Self::None,
            "Object" => Self::Object,
            _ => Self::Metadata,
        }
    }
}

/// One column of a built-in kind.
struct Column {
    name: &'static str,
    kind: &'static str,
    /// 0 is always shown, 1 with `-o wide`.
    priority: u8,
}

/// The columns of a built-in kind and the function that fills them.
struct Printer {
    columns: &'static [Column],
    cells: fn(&Value) -> Vec<Value>,
}

const fn text(name: &'static str) -> Column {
    Column {
        name,
        kind: "string",
        priority: 0,
    }
}

const fn integer(name: &'static str) -> Column {
    Column {
        name,
        kind: "integer",
        priority: 0,
    }
}

const fn wide(name: &'static str) -> Column {
    Column {
        name,
        kind: "string",
        priority: 1,
    }
}

/// The column definitions of a resource's tables.
pub(crate) fn columns(resource: &Resource) -> Vec<Value> {
    if let Some(custom) = &resource.custom {
        let name = definition("Name", "string", "name", "Name of the resource", 0);
        let own = custom
            .columns
            .iter()
            .map(|c| definition(&c.name, &c.kind, &c.format, &c.description, c.priority));
        return std::iter::once(name).chain(own).collect();
    }
    let columns = builtin::printer(resource).columns.iter();
    columns
        .map(|column| {
            let format = if column.name == "Name" { "name" } else { "" };
            definition(column.name, column.kind, format, "", column.priority.into())
        })
        .collect()
}

fn definition(name: &str, kind: &str, format: &str, description: &str, priority: i64) -> Value {
    json!({
        "name": name,
        "type": kind,
        "format": format,
        "description": description,
        "priority": priority,
    })
}

/// The row of one object.
pub(crate) fn row(resource: &Resource, object: &Value, include: Include) -> Value {
    let cells = match &resource.custom {
        Some(custom) => {
            let name = object["metadata"]["name"].clone();
            let own = custom
                .columns
                .iter()
                .map(|column| custom_cell(object, &column.kind, &column.path));
            std::iter::once(name).chain(own).collect()
        }
        None => (builtin::printer(resource).cells)(object),
    };
    let mut row = json!({"cells": cells});
    match include {
        Include::None => {}
        Include::Object => row["object"] = object.clone(),
        Include::Metadata => {
            row["object"] = json!({
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": object["metadata"],
            });
        }
    }
    row
}

/// The cell of a printer column: absent values are null, dates become ages.
fn custom_cell(object: &Value, kind: &str, path: &str) -> Value {
    let found = jsonpath::find(object, path);
    let Some(first) = found.first() else {
        return Value::Null;
    };
    match (kind, first) {
        ("integer", Value::Number(number)) => number
            .as_i64()
            .or_else(|| number.as_f64().map(|f| f as i64))
            .map_or(Value::Null, Value::from),
        ("number" | "boolean", value) => (*value).clone(),
        ("date", Value::String(time)) => age(time).into(),
        ("date", _) => "<unknown>".into(),
        ("string", _) if found.len() > 1 => {
            let all: Vec<Value> = found.into_iter().cloned().collect();
            jsonpath::show(&Value::Array(all)).into()
        }
        ("string", value) => jsonpath::show(value).into(),
        (_, value) => (*value).clone(),
    }
}
