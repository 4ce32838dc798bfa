//! Values seen through their schema: which fields they have, how two differ, how they merge.
//!
//! The walks are those of structured-merge-diff: a leaf is owned as a whole (scalars, atomic lists
//! and maps), keyed lists and sets are owned element by element, the rest field by field.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::path::Element;
use super::set::Set;
use crate::structural::{Kind, Node, Topology};

/// How two values differ.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) added: Set,
    pub(super) modified: Set,
    pub(super) removed: Set,
}

/// How a value is taken apart.
enum Shape<'a> {
    Leaf,
    Fields(&'a Map<String, Value>),
    /// A keyed list or set.
    Elements(&'a [Value]),
}

static NULL: Value = Value::Null;

fn shape<'a>(node: &Node, value: &'a Value) -> Shape<'a> {
    match (&node.kind, value) {
        (Kind::List { topology, .. }, Value::Array(items)) if *topology != Topology::Atomic => {
            Shape::Elements(items)
        }
        (Kind::Any | Kind::Map { .. } | Kind::Struct(_), Value::Object(fields)) if !node.atomic => {
            Shape::Fields(fields)
        }
        _ => Shape::Leaf,
    }
}

/// Whether null stands for an empty value that would be taken apart.
fn is_composite(node: &Node) -> bool {
    match &node.kind {
        Kind::List { topology, .. } => *topology != Topology::Atomic,
        Kind::Map { .. } | Kind::Struct(_) => !node.atomic,
        _ => false,
    }
}

/// The node of field `name`, and whether the schema names it.
fn field(node: &Node, name: &str) -> (Arc<Node>, bool) {
    match (&node.kind, node.child(name)) {
        (Kind::Struct(_), Some(child)) => (child, true),
        (_, Some(child)) => (child, false),
        _ => (Arc::new(Node::anything()), false),
    }
}

fn items(node: &Node) -> Arc<Node> {
    node.items().unwrap_or_else(|| Arc::new(Node::anything()))
}

/// What identifies `item` in the list `node`; the name of the key it lacks otherwise.
fn identity(node: &Node, item: &Value) -> Result<Element, String> {
    let Kind::List { items, topology } = &node.kind else {
        return Err(String::new());
    };
    let Topology::Map(keys) = topology else {
        return Ok(Element::value(item));
    };
    let shape = items.resolved();
    let presets: Vec<Option<Value>> = keys
        .iter()
        .map(|key| {
            shape
                .child(key)
                .and_then(|node| node.default.as_deref().cloned())
        })
        .collect();
    let mut found = BTreeMap::new();
    for (key, preset) in keys.iter().zip(&presets) {
        let value = item.get(&**key).filter(|value| !value.is_null());
        match value.or(preset.as_ref()) {
            Some(value) => found.insert(&**key, value),
            None => return Err(key.to_string()),
        };
    }
    Ok(Element::key(&found))
}

/// The elements of a stored list with what identifies them; their place where nothing does.
fn index<'a>(node: &Node, list: &'a [Value]) -> Vec<(Element, &'a Value)> {
    list.iter()
        .enumerate()
        .map(|(at, item)| {
            let place = |_| Element::Index(i64::try_from(at).unwrap_or(i64::MAX));
            (identity(node, item).unwrap_or_else(place), item)
        })
        .collect()
}

/// The same, elements with one identity together: stored lists may hold duplicates, which then are
/// owned, compared and replaced as one.
fn by_identity<'a>(node: &Node, list: &'a [Value]) -> BTreeMap<Element, Vec<&'a Value>> {
    let mut found: BTreeMap<Element, Vec<&Value>> = BTreeMap::new();
    for (element, item) in index(node, list) {
        found.entry(element).or_default().push(item);
    }
    found
}

/// The paths of everything `value` has.
pub(super) fn field_set(node: &Node, value: &Value) -> Set {
    let mut set = Set::default();
    collect_fields(node, value, &mut Vec::new(), &mut set);
    set
}

fn collect_fields(node: &Node, value: &Value, path: &mut Vec<Element>, set: &mut Set) {
    match shape(node, value) {
        Shape::Leaf if value.is_null() && is_composite(node) => {}
        Shape::Leaf => set.insert(path),
        Shape::Fields(fields) => {
            for (name, value) in fields {
                let (child, named) = field(node, name);
                path.push(Element::Field(name.as_str().into()));
                collect_fields(&child, value, path, set);
                let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                if empty || !named {
                    set.insert(path);
                }
                path.pop();
            }
        }
        Shape::Elements(list) => {
            let child = items(node);
            for (element, same) in by_identity(node, list) {
                path.push(element);
                if let [only] = same.as_slice() {
                    collect_fields(&child, only, path, set);
                }
                set.insert(path);
                path.pop();
            }
        }
    }
}

/// How `new` differs from `old`.
pub(super) fn compare(node: &Node, old: &Value, new: &Value) -> Comparison {
    let mut comparison = Comparison::default();
    comparison.walk(node, Some(old), Some(new), &mut Vec::new());
    comparison
}

impl Comparison {
    fn walk(
        &mut self,
        node: &Node,
        old: Option<&Value>,
        new: Option<&Value>,
        path: &mut Vec<Element>,
    ) {
        if old == new {
            return;
        }
        let parts = |value: Option<&Value>| match value.map(|value| shape(node, value)) {
            Some(Shape::Fields(fields)) => fields.len(),
            Some(Shape::Elements(list)) => list.len(),
            Some(Shape::Leaf) | None => 0,
        };
        // Two empty values differ as leaves do: null is not the same as empty.
        if parts(old) == 0 && parts(new) == 0 {
            self.leaf(old, new, path);
            return;
        }
        match (old.map(|it| shape(node, it)), new.map(|it| shape(node, it))) {
            (Some(Shape::Elements(_)), _) | (_, Some(Shape::Elements(_))) => {
                self.elements(node, old, new, path);
            }
            _ => self.fields(node, old, new, path),
        }
        // A value of another sort takes the place of this one.
        let other_sort = |value: Option<&Value>| {
            value.is_some_and(|value| !value.is_null() && matches!(shape(node, value), Shape::Leaf))
        };
        if other_sort(old) || other_sort(new) || old.is_none() || new.is_none() {
            self.leaf(old, new, path);
        }
    }

    fn leaf(&mut self, old: Option<&Value>, new: Option<&Value>, path: &[Element]) {
        match (old, new) {
            (None, _) => self.added.insert(path),
            (_, None) => self.removed.insert(path),
            _ => self.modified.insert(path),
        }
    }

    fn fields(
        &mut self,
        node: &Node,
        old: Option<&Value>,
        new: Option<&Value>,
        path: &mut Vec<Element>,
    ) {
        let names: BTreeSet<&String> = [old, new]
            .into_iter()
            .flatten()
            .filter_map(Value::as_object)
            .flat_map(Map::keys)
            .collect();
        for name in names {
            let (child, _) = field(node, name);
            let preset = always_there(node, name, &child);
            let (before, after) = (part(old, name, preset), part(new, name, preset));
            path.push(Element::Field(name.as_str().into()));
            self.walk(&child, before, after, path);
            path.pop();
        }
    }

    fn elements(
        &mut self,
        node: &Node,
        old: Option<&Value>,
        new: Option<&Value>,
        path: &mut Vec<Element>,
    ) {
        let (old, new) = (by_identity(node, list(old)), by_identity(node, list(new)));
        let child = items(node);
        let none = Vec::new();
        let elements: BTreeSet<&Element> = old.keys().chain(new.keys()).collect();
        for element in elements {
            let before = old.get(element).unwrap_or(&none);
            let after = new.get(element).unwrap_or(&none);
            path.push(element.clone());
            match (before.as_slice(), after.as_slice()) {
                ([] | [_], [] | [_]) => {
                    self.walk(
                        &child,
                        before.first().copied(),
                        after.first().copied(),
                        path,
                    );
                }
                (before, after) if before == after => {}
                (before, after) => self.duplicates(&child, before, after, path),
            }
            path.pop();
        }
    }

    /// Several elements share an identity: they change as one, and the fields of a single one come
    /// or go.
    fn duplicates(
        &mut self,
        node: &Node,
        before: &[&Value],
        after: &[&Value],
        path: &mut Vec<Element>,
    ) {
        if let [only] = before {
            self.walk(node, Some(only), None, path);
            self.removed.discard(path);
        }
        if let [only] = after {
            self.walk(node, None, Some(only), path);
            self.added.discard(path);
        }
        match (before, after) {
            ([], _) => self.added.insert(path),
            (_, []) => self.removed.insert(path),
            _ => self.modified.insert(path),
        }
    }
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Field `name` of `fields`, or what stands for it when it is left out.
fn part<'a>(fields: Option<&'a Value>, name: &str, preset: Option<&'a Value>) -> Option<&'a Value> {
    fields?.get(name).or(preset)
}

/// What a field of a built-in struct is when JSON leaves it out: Go's types hold some structs by
/// value, and required fields even when empty. Nobody comes to own those by making them.
fn always_there(node: &Node, name: &str, child: &Node) -> Option<&'static Value> {
    const BY_VALUE: [&str; 8] = [
        "jobTemplate",
        "metadata",
        "resources",
        "spec",
        "status",
        "strategy",
        "template",
        "updateStrategy",
    ];
    let Kind::Struct(shape) = &node.kind else {
        return None;
    };
    let by_value = BY_VALUE.contains(&name) && matches!(child.kind, Kind::Struct(_));
    let required = is_composite(child) && shape.required.iter().any(|it| &**it == name);
    (node.name.is_some() && (by_value || required)).then_some(&NULL)
}

/// `live` with everything `applied` says.
pub(super) fn merge(node: &Node, live: Option<&Value>, applied: Option<&Value>) -> Value {
    let (live, applied) = match (live, applied) {
        (live, None) => return live.cloned().unwrap_or_default(),
        (None, Some(applied)) => (&NULL, applied),
        (Some(live), Some(applied)) => (live, applied),
    };
    match (shape(node, live), shape(node, applied)) {
        (Shape::Fields(old), Shape::Fields(new)) => {
            let mut merged = old.clone();
            for (name, value) in new {
                let (child, _) = field(node, name);
                let value = merge(&child, old.get(name), Some(value));
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (Shape::Elements(old), Shape::Elements(new)) => merge_elements(node, old, new),
        // Null applied over a composite leaves what is there.
        (Shape::Fields(_) | Shape::Elements(_), Shape::Leaf)
            if applied.is_null() && is_composite(node) =>
        {
            live.clone()
        }
        _ => applied.clone(),
    }
}

/// Elements only one list has keep their places relative to their neighbours; those of both come
/// in the applied order.
fn merge_elements(node: &Node, live: &[Value], applied: &[Value]) -> Value {
    let child = items(node);
    let old = index(node, live);
    let new = index(node, applied);
    // Of duplicates there is none to merge with: what is applied takes the place of them all.
    let mut olds: BTreeMap<&Element, Option<&Value>> = BTreeMap::new();
    for (key, item) in &old {
        olds.entry(key)
            .and_modify(|known| *known = None)
            .or_insert(Some(item));
    }
    let news: BTreeMap<&Element, &Value> = new.iter().map(|(key, item)| (key, *item)).collect();
    let before = |key: &Element| olds.get(key).copied().flatten();
    let mut shared = new
        .iter()
        .map(|(key, _)| key)
        .filter(|key| olds.contains_key(key));
    let mut next_shared = shared.next();
    let mut done = BTreeSet::new();
    let mut merged = Vec::with_capacity(old.len() + new.len());
    let (mut o, mut n) = (0, 0);
    while o < old.len() || n < new.len() {
        if let (Some((key, _)), Some((applied, _))) = (old.get(o), new.get(n)) {
            if key == applied {
                done.insert(key);
                merged.push(merge(&child, before(key), news.get(key).copied()));
                (o, n) = (o + 1, n + 1);
                next_shared = shared.next();
                continue;
            }
            if news.contains_key(key) && next_shared.is_some_and(|it| it != key) {
                o += 1;
                continue;
            }
        }
        if let Some((key, item)) = old.get(o) {
            if !news.contains_key(key) {
                merged.push((*item).clone());
                o += 1;
                continue;
            }
            if done.contains(key) {
                o += 1;
            }
        }
        if let Some((key, item)) = new.get(n) {
            done.insert(key);
            merged.push(merge(&child, before(key), Some(item)));
            n += 1;
            if next_shared == Some(key) {
                next_shared = shared.next();
            }
        }
    }
    Value::Array(merged)
}

/// `value` without the paths of `gone`; `None` when nothing is left of it.
pub(super) fn remove(node: &Node, value: &Value, gone: &Set) -> Option<Value> {
    match shape(node, value) {
        Shape::Leaf => Some(value.clone()),
        Shape::Fields(fields) => {
            let kept: Map<String, Value> = fields
                .iter()
                .filter_map(|(name, value)| {
                    let element = Element::Field(name.as_str().into());
                    let child = || field(node, name).0;
                    Some((name.clone(), remove_part(child, value, &element, gone)?))
                })
                .collect();
            (fields.is_empty() || !kept.is_empty()).then_some(Value::Object(kept))
        }
        Shape::Elements(list) => {
            let kept: Vec<Value> = list
                .iter()
                .filter_map(|item| match identity(node, item) {
                    Ok(element) => remove_part(|| items(node), item, &element, gone),
                    Err(_) => Some(item.clone()),
                })
                .collect();
            (list.is_empty() || !kept.is_empty()).then_some(Value::Array(kept))
        }
    }
}

fn remove_part(
    node: impl FnOnce() -> Arc<Node>,
    value: &Value,
    element: &Element,
    gone: &Set,
) -> Option<Value> {
    if gone.has(element) {
        return None;
    }
    match gone.below(element) {
        Some(below) => remove(&node(), value, below),
        None => Some(value.clone()),
    }
}

/// What an applied configuration has that its schema does not allow, as structured-merge-diff
/// words it.
pub(super) fn check(node: &Node, value: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    check_value(node, value, &mut Vec::new(), &mut errors);
    errors
}

fn check_value(node: &Node, value: &Value, path: &mut Vec<Element>, errors: &mut Vec<String>) {
    let mut complain = |path: &[Element], text: String| {
        errors.push(format!("{}: {text}", super::path::display(path)));
    };
    if value.is_null() {
        return;
    }
    if let Some(text) = mismatch(node, value) {
        complain(path, text);
        return;
    }
    match (&node.kind, value) {
        (Kind::Struct(_) | Kind::Map { .. }, Value::Object(fields)) => {
            for (name, value) in fields {
                path.push(Element::Field(name.as_str().into()));
                match node.child(name) {
                    Some(child) => check_value(&child, value, path, errors),
                    None if node.preserve => {}
                    None => {
                        let path = super::path::display(path);
                        errors.push(format!("{path}: field not declared in schema"));
                    }
                }
                path.pop();
            }
        }
        (Kind::List { topology, .. }, Value::Array(list)) => {
            check_list(node, topology, list, path, errors);
        }
        _ => {}
    }
}

fn check_list(
    node: &Node,
    topology: &Topology,
    list: &[Value],
    path: &mut Vec<Element>,
    errors: &mut Vec<String>,
) {
    let child = items(node);
    let mut seen = BTreeSet::new();
    for (at, item) in list.iter().enumerate() {
        let by_index = Element::Index(i64::try_from(at).unwrap_or(i64::MAX));
        let element = match topology {
            Topology::Atomic => by_index,
            _ => match identity(node, item) {
                Ok(element) => element,
                Err(key) => {
                    let path = super::path::display(path);
                    errors.push(format!(
                        "{path}: element {at}: associative list with keys has an element that omits key field {key:?} (and doesn't have default value)"
                    ));
                    continue;
                }
            },
        };
        if !seen.insert(element.clone()) {
            let path = super::path::display(path);
            errors.push(format!("{path}: duplicate entries for key {element}"));
        }
        path.push(element);
        check_value(&child, item, path, errors);
        path.pop();
    }
}

fn mismatch(node: &Node, value: &Value) -> Option<String> {
    let expected = match (&node.kind, value) {
        (Kind::Struct(_) | Kind::Map { .. }, value) if !value.is_object() => "map",
        (Kind::List { .. }, value) if !value.is_array() => "list",
        (Kind::Integer | Kind::Number, value) if !value.is_number() => "numeric (int or float)",
        (Kind::String, value) if !value.is_string() => "string",
        (Kind::Bool, value) if !value.is_boolean() => "boolean",
        (Kind::IntOrString, Value::Object(_) | Value::Array(_)) => "untyped scalar",
        _ => return None,
    };
    let found = match value {
        Value::String(_) if expected.starts_with("numeric") => "string".to_owned(),
        other => other.to_string(),
    };
    Some(format!("expected {expected}, got {found}"))
}
