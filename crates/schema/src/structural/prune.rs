//! Unknown fields: find them (strict field validation) and remove them (pruning).

use std::sync::Arc;

use serde_json::Value;

use super::{Kind, Node};
use crate::field::join;

pub(super) fn unknown(root: &Arc<Node>, object: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if !is_known(root, object) {
        collect(root, object, "", &mut found);
    }
    found
}

/// Whether nothing is unknown, which is the rule: then no paths need to be written.
fn is_known(node: &Arc<Node>, value: &Value) -> bool {
    let node = node.resolved();
    match (value, &node.kind) {
        (Value::Object(fields), Kind::Struct(known)) => {
            fields
                .iter()
                .all(|(name, value)| match known.fields.get(name.as_str()) {
                    Some(field) => is_known(&field.node, value),
                    None => node.preserve,
                })
        }
        (Value::Object(fields), Kind::Map { values }) => {
            fields.values().all(|value| is_known(values, value))
        }
        (Value::Array(items), Kind::List { items: shape, .. }) => {
            items.iter().all(|item| is_known(shape, item))
        }
        _ => true,
    }
}

fn collect(node: &Arc<Node>, value: &Value, path: &str, found: &mut Vec<String>) {
    let node = node.resolved();
    match (value, &node.kind) {
        (Value::Object(fields), Kind::Struct(known)) => {
            for (name, value) in fields {
                let path = join(path, name);
                match known.fields.get(name.as_str()) {
                    Some(field) => collect(&field.node, value, &path, found),
                    None if node.preserve => {}
                    None => found.push(path),
                }
            }
        }
        (Value::Object(fields), Kind::Map { values }) => {
            for (name, value) in fields {
                collect(values, value, &join(path, name), found);
            }
        }
        (Value::Array(items), Kind::List { items: shape, .. }) => {
            for (index, item) in items.iter().enumerate() {
                collect(shape, item, &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

pub(super) fn prune(node: &Arc<Node>, value: &mut Value) {
    let node = node.resolved();
    match (value, &node.kind) {
        (Value::Object(fields), Kind::Struct(known)) => {
            fields.retain(|name, value| match known.fields.get(name.as_str()) {
                Some(field) => {
                    prune(&field.node, value);
                    true
                }
                None => node.preserve,
            });
        }
        (Value::Object(fields), Kind::Map { values }) => {
            fields.values_mut().for_each(|value| prune(values, value));
        }
        (Value::Array(items), Kind::List { items: shape, .. }) => {
            items.iter_mut().for_each(|item| prune(shape, item));
        }
        _ => {}
    }
}
