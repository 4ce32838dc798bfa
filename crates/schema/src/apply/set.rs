//! Sets of field paths, and their form in `managedFields` (FieldsV1).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::path::Element;
use crate::structural::{Kind, Node};

/// A set of field paths: a tree whose nodes may be members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Set {
    members: BTreeSet<Element>,
    /// Never holds an empty set.
    children: BTreeMap<Element, Self>,
}

impl Set {
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.is_empty()
    }

    /// Adds `path`; the empty path is no member of any set.
    pub(crate) fn insert(&mut self, path: &[Element]) {
        match path {
            [] => {}
            [last] => {
                self.members.insert(last.clone());
            }
            [first, rest @ ..] => {
                let child = self.children.entry(first.clone()).or_default();
                child.insert(rest);
            }
        }
    }

    /// Makes `path` no member; what is below it stays.
    pub(crate) fn discard(&mut self, path: &[Element]) {
        match path {
            [] => {}
            [last] => {
                self.members.remove(last);
            }
            [first, rest @ ..] => {
                if let Some(child) = self.children.get_mut(first) {
                    child.discard(rest);
                    if child.is_empty() {
                        self.children.remove(first);
                    }
                }
            }
        }
    }

    /// The set without what is in or below top-level fields that are `ignored`.
    pub(crate) fn without(&self, ignored: impl Fn(&str) -> bool) -> Self {
        let stays = |element: &Element| !matches!(element, Element::Field(name) if ignored(name));
        let mut set = self.clone();
        set.members.retain(|element| stays(element));
        set.children.retain(|element, _| stays(element));
        set
    }

    /// Whether the one-step path is a member.
    pub(crate) fn has(&self, element: &Element) -> bool {
        self.members.contains(element)
    }

    /// The paths below `element`, without it.
    pub(crate) fn below(&self, element: &Element) -> Option<&Self> {
        self.children.get(element)
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        union.members.extend(other.members.iter().cloned());
        for (element, child) in &other.children {
            let own = union.children.entry(element.clone()).or_default();
            *own = own.union(child);
        }
        union
    }

    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let children = self.children.iter().filter_map(|(element, child)| {
            let both = child.intersection(other.children.get(element)?);
            (!both.is_empty()).then(|| (element.clone(), both))
        });
        Self {
            members: self.members.intersection(&other.members).cloned().collect(),
            children: children.collect(),
        }
    }

    pub(crate) fn difference(&self, other: &Self) -> Self {
        let children = self.children.iter().filter_map(|(element, child)| {
            let rest = match other.children.get(element) {
                Some(gone) => child.difference(gone),
                None => child.clone(),
            };
            (!rest.is_empty()).then(|| (element.clone(), rest))
        });
        Self {
            members: self.members.difference(&other.members).cloned().collect(),
            children: children.collect(),
        }
    }

    /// The set with every named field that has members below it (but no key of a map, no element
    /// of a list). Fields of structs have no existence apart from what is in them.
    pub(crate) fn with_named_fields(&self, node: &Node) -> Self {
        let mut set = Self {
            members: self.members.clone(),
            children: BTreeMap::new(),
        };
        for (element, child) in &self.children {
            let below = match (element, &node.kind) {
                (Element::Field(name), Kind::Struct(shape)) => {
                    if shape.fields.contains_key(name) {
                        set.members.insert(element.clone());
                    }
                    node.child(name)
                }
                (Element::Field(name), _) => node.child(name),
                _ => node.items(),
            };
            let below = below.unwrap_or_default();
            set.children
                .insert(element.clone(), child.with_named_fields(&below));
        }
        set
    }

    /// Every member, a node's own members before those below it.
    pub(crate) fn paths(&self) -> Vec<Vec<Element>> {
        let mut found = Vec::new();
        self.collect(&mut Vec::new(), &mut found);
        found
    }

    fn collect(&self, prefix: &mut Vec<Element>, found: &mut Vec<Vec<Element>>) {
        for element in &self.members {
            let mut path = prefix.clone();
            path.push(element.clone());
            found.push(path);
        }
        for (element, child) in &self.children {
            prefix.push(element.clone());
            child.collect(prefix, found);
            prefix.pop();
        }
    }

    /// The set as FieldsV1.
    pub(crate) fn encode(&self) -> Value {
        let mut fields = Map::new();
        for element in &self.members {
            fields.insert(element.encode(), Value::Object(Map::new()));
        }
        for (element, child) in &self.children {
            let mut encoded = child.encode();
            if self.members.contains(element) {
                encoded["."] = Value::Object(Map::new());
            }
            fields.insert(element.encode(), encoded);
        }
        Value::Object(fields)
    }

    /// The set `fields` (FieldsV1) stands for; `None` when it is not of that form.
    pub(crate) fn decode(fields: &Value) -> Option<Self> {
        let mut set = Self::default();
        for (name, below) in fields.as_object()? {
            if name == "." {
                continue;
            }
            // Steps of a kind yet unknown are nobody's.
            let Some(element) = Element::decode(name) else {
                continue;
            };
            let child = Self::decode(below)?;
            if child.is_empty() || below.get(".").is_some() {
                set.members.insert(element.clone());
            }
            if !child.is_empty() {
                set.children.insert(element, child);
            }
        }
        Some(set)
    }
}
