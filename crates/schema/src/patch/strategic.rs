//! Strategic merge patch: a merge patch that knows which lists are keyed.
//!
//! The semantics are those of Kubernetes' `strategicpatch` with its directives: `$patch`,
//! `$retainKeys`, `$setElementOrder/LIST`, `$deleteFromPrimitiveList/LIST`.

use std::mem;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Error;
use crate::structural::{Kind, Node, Patch, Schema};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ORDER: &str = "$setElementOrder/";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";

type Fields = Map<String, Value>;

/// Applies a strategic merge patch to `original`, all of it or nothing.
///
/// # Errors
/// When a directive is malformed or an element of a keyed list lacks its key.
pub fn strategic_merge(schema: &Schema, original: &mut Value, patch: Value) -> Result<(), Error> {
    let Value::Object(patch) = patch else {
        return Err(Error::Decode(format!(
            "a strategic merge patch must be a JSON object, not {patch}"
        )));
    };
    let fields = original.as_object().cloned().unwrap_or_default();
    let merged = merge_map(fields, patch, &schema.root)?;
    *original = Value::Object(merged);
    Ok(())
}

fn merge_map(original: Fields, mut patch: Fields, node: &Arc<Node>) -> Result<Fields, Error> {
    if let Some(directive) = patch.remove(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => Ok(patch),
            Some("delete") => Ok(Fields::new()),
            Some("merge") => merge_map(original, patch, node),
            _ => Err(bad_directive(&directive, &patch)),
        };
    }
    let mut merged = original;
    retain_keys(&mut merged, &mut patch)?;
    set_element_orders(&mut merged, &mut patch, node)?;
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix(DELETE_FROM) {
            delete_from_list(&mut merged, list, value)?;
            continue;
        }
        if value.is_null() {
            merged.remove(&name);
            continue;
        }
        let (shape, patch) = lookup(node, &name);
        let value = match (merged.get_mut(&name).map(Value::take), value) {
            (Some(Value::Object(old)), Value::Object(new)) if !patch.replace => {
                Value::Object(merge_map(old, new, &shape)?)
            }
            (Some(Value::Array(old)), Value::Array(new)) if patch.merge => {
                Value::Array(merge_list(old, new, &shape, patch.merge_key.as_deref())?)
            }
            // What replaces or is new is taken as it is.
            (_, value) => plain(value),
        };
        merged.insert(name, value);
    }
    Ok(merged)
}

/// The node and patch strategy of field `name`.
fn lookup(node: &Arc<Node>, name: &str) -> (Arc<Node>, Patch) {
    let node = node.resolved();
    match &node.kind {
        Kind::Struct(shape) => match shape.fields.get(name) {
            Some(field) => (field.node.resolved(), field.patch.clone()),
            None => (Arc::new(Node::anything()), Patch::default()),
        },
        _ => {
            let child = node.child(name);
            let anything = || Arc::new(Node::anything());
            (child.unwrap_or_else(anything), Patch::default())
        }
    }
}

fn bad_directive(directive: &Value, map: &Fields) -> Error {
    Error::Directive {
        directive: directive.to_string(),
        map: Value::Object(map.clone()).to_string(),
    }
}

/// `$retainKeys`: fields of the original that are not listed go.
fn retain_keys(original: &mut Fields, patch: &mut Fields) -> Result<(), Error> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let Value::Array(keys) = keys else {
        return Err(Error::DirectiveValue {
            directive: RETAIN_KEYS.to_owned(),
            expected: "a list of field names",
        });
    };
    let listed = |name: &str| keys.iter().any(|key| key == name);
    let stray = patch
        .iter()
        .find(|(name, value)| !name.starts_with('$') && !value.is_null() && !listed(name));
    if let Some((name, _)) = stray {
        return Err(Error::RetainKeys(name.clone()));
    }
    original.retain(|name, _| listed(name));
    Ok(())
}

fn delete_from_list(fields: &mut Fields, name: &str, gone: Value) -> Result<(), Error> {
    let Value::Array(gone) = gone else {
        return Err(Error::DirectiveValue {
            directive: format!("{DELETE_FROM}{name}"),
            expected: "a list of values",
        });
    };
    if let Some(Value::Array(items)) = fields.get_mut(name) {
        items.retain(|item| !gone.contains(item));
    }
    Ok(())
}

/// `$setElementOrder/LIST`: merges the list and puts its elements into the order given.
fn set_element_orders(
    original: &mut Fields,
    patch: &mut Fields,
    node: &Arc<Node>,
) -> Result<(), Error> {
    let lists: Vec<String> = patch
        .keys()
        .filter_map(|name| name.strip_prefix(SET_ORDER))
        .map(ToOwned::to_owned)
        .collect();
    for name in lists {
        let Some(Value::Array(order)) = patch.remove(&format!("{SET_ORDER}{name}")) else {
            return Err(Error::DirectiveValue {
                directive: format!("{SET_ORDER}{name}"),
                expected: "a list",
            });
        };
        let (shape, strategy) = lookup(node, &name);
        let key = strategy.merge_key.as_deref();
        // Another value than a list is for the merge proper.
        if patch.get(&name).is_some_and(|value| !value.is_array()) {
            continue;
        }
        if let Some(gone) = patch.remove(&format!("{DELETE_FROM}{name}")) {
            delete_from_list(original, &name, gone)?;
        }
        let new = patch.remove(&name).map(into_list);
        let old = original.get(&name).cloned().map(into_list);
        if let Some(new) = &new {
            check_order(new, &order, key)?;
        }
        let merged = match (old.clone(), new) {
            (None, None) => continue,
            (Some(old), None) => old,
            (None, Some(new)) => into_list(plain(Value::Array(new))),
            (Some(old), Some(new)) => merge_elements(old, new, &shape, key)?.0,
        };
        let sorted = order_elements(merged, &order, &old.unwrap_or_default(), key);
        original.insert(name, Value::Array(sorted));
    }
    Ok(())
}

fn into_list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

/// The patch list must name its elements in the order the directive says.
fn check_order(list: &[Value], order: &[Value], key: Option<&str>) -> Result<(), Error> {
    let mut rest = order.iter();
    let living = list.iter().filter(|item| item.get(DIRECTIVE).is_none());
    for item in living {
        if !rest.any(|place| same(place, item, key)) {
            return Err(Error::Order {
                list: Value::from(list.to_vec()).to_string(),
                order: Value::from(order.to_vec()).to_string(),
            });
        }
    }
    Ok(())
}

fn merge_list(
    original: Vec<Value>,
    patch: Vec<Value>,
    list: &Node,
    key: Option<&str>,
) -> Result<Vec<Value>, Error> {
    let before = original.clone();
    let (merged, order) = merge_elements(original, patch, list, key)?;
    Ok(order_elements(merged, &order, &before, key))
}

/// Merges without regard to order. Gives the merged elements and the patch's living ones.
fn merge_elements(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    list: &Node,
    key: Option<&str>,
) -> Result<(Vec<Value>, Vec<Value>), Error> {
    let maps = original
        .iter()
        .chain(&patch)
        .filter(|item| item.is_object());
    let count = maps.count();
    if count != 0 && count != original.len() + patch.len() {
        return Err(Error::Mixed(Value::Array(patch).to_string()));
    }
    let Some(key) = key.filter(|_| count != 0) else {
        for item in &patch {
            if !original.contains(item) {
                original.push(item.clone());
            }
        }
        return Ok((original, patch));
    };
    let anything = || Arc::new(Node::anything());
    let items = list.items().unwrap_or_else(anything);
    let patch = apply_element_directives(&mut original, patch, key)?;
    for element in &patch {
        let Value::Object(fields) = element.clone() else {
            continue;
        };
        if !fields.contains_key(key) {
            return Err(no_merge_key(element, key));
        }
        match original
            .iter_mut()
            .find(|old| same(old, element, Some(key)))
        {
            Some(old) => {
                let fields = merge_map(into_fields(old.take()), fields, &items)?;
                *old = Value::Object(fields);
            }
            None => original.push(plain(Value::Object(fields))),
        }
    }
    Ok((original, patch))
}

fn into_fields(value: Value) -> Fields {
    match value {
        Value::Object(fields) => fields,
        _ => Fields::new(),
    }
}

fn no_merge_key(element: &Value, key: &str) -> Error {
    Error::MergeKey {
        map: element.to_string(),
        key: key.to_owned(),
    }
}

/// Carries out the elements with `$patch` and gives the others.
fn apply_element_directives(
    original: &mut Vec<Value>,
    patch: Vec<Value>,
    key: &str,
) -> Result<Vec<Value>, Error> {
    let mut living = Vec::with_capacity(patch.len());
    let mut replace = false;
    for element in patch {
        match element.get(DIRECTIVE).map(Value::as_str) {
            None => living.push(element),
            Some(Some("delete")) => {
                if element.get(key).is_none() {
                    return Err(no_merge_key(&element, key));
                }
                original.retain(|old| !same(old, &element, Some(key)));
            }
            Some(Some("replace")) => replace = true,
            Some(_) => {
                let fields = into_fields(element);
                return Err(bad_directive(&fields[DIRECTIVE], &fields));
            }
        }
    }
    if replace {
        *original = mem::take(&mut living).into_iter().map(plain).collect();
    }
    Ok(living)
}

fn same(left: &Value, right: &Value, key: Option<&str>) -> bool {
    match key {
        Some(key) if left.is_object() => left.get(key) == right.get(key),
        _ => left == right,
    }
}

fn position(list: &[Value], item: &Value, key: Option<&str>) -> Option<usize> {
    list.iter().position(|other| same(other, item, key))
}

/// Elements named in `order` come in that order; the others keep their places among those that
/// were there `before`; a new element comes before the others that are left.
fn order_elements(
    merged: Vec<Value>,
    order: &[Value],
    before: &[Value],
    key: Option<&str>,
) -> Vec<Value> {
    let place = |item: &Value| position(before, item, key);
    let (mut named, mut others): (Vec<Value>, Vec<Value>) = merged
        .into_iter()
        .partition(|item| position(order, item, key).is_some());
    named.sort_by_key(|item| position(order, item, key));
    others.sort_by_key(|item| place(item).unwrap_or(usize::MAX));
    let mut sorted = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for item in named {
        let at = place(&item);
        while let Some(other) =
            others.next_if(|other| matches!((place(other), at), (Some(o), Some(n)) if o < n))
        {
            sorted.push(other);
        }
        sorted.push(item);
    }
    sorted.extend(others);
    sorted
}

/// A value that meets nothing to merge with: without nulls in maps and without directives.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let deleted = fields.get(DIRECTIVE).is_some_and(|it| it == "delete");
            let fields = fields
                .into_iter()
                .filter(|(name, value)| !deleted && !is_directive(name) && !value.is_null())
                .map(|(name, value)| (name, plain(value)));
            Value::Object(fields.collect())
        }
        Value::Array(items) => items
            .into_iter()
            .filter(|item| item.get(DIRECTIVE).is_none_or(|it| !it.is_string()))
            .map(plain)
            .collect(),
        scalar => scalar,
    }
}

fn is_directive(name: &str) -> bool {
    name == DIRECTIVE
        || name == RETAIN_KEYS
        || name.starts_with(SET_ORDER)
        || name.starts_with(DELETE_FROM)
}
