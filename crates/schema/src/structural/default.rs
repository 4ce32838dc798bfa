//! Defaults: absent fields get theirs, null goes where it is no value.

use std::sync::Arc;

use serde_json::Value;

use super::{Kind, Node};

pub(super) fn default(node: &Arc<Node>, value: &mut Value) {
    let node = node.resolved();
    match (value, &node.kind) {
        (Value::Object(fields), Kind::Struct(known)) => {
            // A null where null is no value counts as absent.
            fields.retain(|name, value| {
                !value.is_null()
                    || known
                        .fields
                        .get(name.as_str())
                        .is_none_or(|field| field.node.resolved().takes_null())
            });
            for (name, field) in &known.fields {
                match (fields.get_mut(&**name), &field.node.default) {
                    (Some(value), _) => default(&field.node, value),
                    (None, Some(preset)) => {
                        let mut preset = Value::clone(preset);
                        default(&field.node, &mut preset);
                        fields.insert(name.to_string(), preset);
                    }
                    (None, None) => {}
                }
            }
        }
        (Value::Object(fields), Kind::Map { values }) => {
            if !values.resolved().takes_null() {
                fields.retain(|_, value| !value.is_null());
            }
            fields.values_mut().for_each(|value| default(values, value));
        }
        (Value::Array(items), Kind::List { items: shape, .. }) => {
            items.iter_mut().for_each(|item| default(shape, item));
        }
        _ => {}
    }
}

impl Node {
    fn takes_null(&self) -> bool {
        self.nullable || matches!(self.kind, Kind::Any)
    }
}
