//! Structural schemas: the shape of the objects of one kind, compiled into a tree.
//!
//! The API server compiles a schema once per CustomResourceDefinition version (`from_crd`) or takes
//! that of a built-in kind (`crate::builtin`), then asks it per request: which fields are unknown,
//! prune them, fill in defaults, validate. Patches, apply and protobuf bodies walk the same tree.

mod compile;
mod decode;
mod default;
mod prune;
mod rules;
#[cfg(test)]
mod tests;
mod validate;

pub(crate) use compile::Compiler;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};

use regex::Regex;
use serde_json::Value;

use crate::field::FieldError;

/// The shape of the objects of one kind. Cheap to clone: the tree is shared.
#[derive(Clone, Debug)]
pub struct Schema {
    pub(crate) root: Arc<Node>,
    /// A node somewhere in it has rules.
    has_rules: bool,
    broken_rules: Arc<Vec<FieldError>>,
}

impl Schema {
    /// A schema without rules.
    pub(crate) fn of(root: Arc<Node>) -> Self {
        Self {
            root,
            has_rules: false,
            broken_rules: Arc::default(),
        }
    }

    /// What is wrong with the rules (`x-kubernetes-validations`) of a CustomResourceDefinition's
    /// schema, with paths below the schema. Such rules are not in the schema.
    #[must_use]
    pub fn broken_rules(&self) -> &[FieldError] {
        &self.broken_rules
    }

    /// Compiles the `openAPIV3Schema` of a CustomResourceDefinition version. `apiVersion`, `kind`
    /// and `metadata` are what they are for every kind, whatever the schema says of them (save
    /// restrictions of `metadata.name` and `metadata.generateName`, which hold).
    ///
    /// # Errors
    /// Every violation of the rules for structural schemas, with its path below the schema.
    pub fn from_crd(schema: &Value) -> Result<Self, Vec<FieldError>> {
        compile::crd(schema)
    }

    /// The schema of a kind about which nothing is known but that it has metadata: keeps every
    /// field. For CustomResourceDefinitions without a schema (v1beta1).
    #[must_use]
    pub fn any() -> Self {
        compile::any()
    }

    /// The paths of the fields of `object` the schema does not know, in document order, as strict
    /// field validation names them: `spec.containers[0].imag`.
    #[must_use]
    pub fn unknown_fields(&self, object: &Value) -> Vec<String> {
        prune::unknown(&self.root, object)
    }

    /// Removes the fields of `object` the schema does not know.
    pub fn prune(&self, object: &mut Value) {
        prune::prune(&self.root, object);
    }

    /// Sets absent fields that have a default, and removes nulls where null is no value.
    pub fn default(&self, object: &mut Value) {
        default::default(&self.root, object);
    }

    /// Why a Go server could not decode `object`, a built-in one, at all: the text of the first
    /// error, to stand behind `KIND in version "VERSION" cannot be handled as a KIND: `.
    #[must_use]
    pub fn decode_error(&self, object: &Value) -> Option<String> {
        decode::error(&self.root, object)
    }

    /// Every violation of the schema by `object`, in Kubernetes' words. With `old`, the object
    /// before an update, a value that did not change is not validated again (ratcheting).
    #[must_use]
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = validate::validate(&self.root, object, old);
        if !self.has_rules {
            return errors;
        }
        // Rules build on values that are of their types and there.
        if errors.iter().any(|error| error.violation.is_of_shape()) {
            let detail = "some validation rules were not checked because the object was invalid; \
                          correct the existing errors to complete validation";
            errors.push(FieldError::invalid("<nil>", &Value::Null, detail));
        } else {
            errors.extend(rules::evaluate(&self.root, object, old));
        }
        errors
    }
}

/// What one value may look like.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    /// The OpenAPI definition this node is, for messages of built-in kinds
    /// (`io.k8s.api.core.v1.PodSpec`).
    pub(crate) name: Option<Arc<str>>,
    pub(crate) kind: Kind,
    /// Null is a value of its own.
    pub(crate) nullable: bool,
    /// Fields the schema does not name are kept.
    pub(crate) preserve: bool,
    /// A map or struct that has one owner and is replaced whole (`x-kubernetes-map-type: atomic`).
    pub(crate) atomic: bool,
    pub(crate) default: Option<Box<Value>>,
    pub(crate) checks: Option<Box<Checks>>,
    /// Rules about its values; shared by the copies of the node.
    pub(crate) rules: Option<Arc<Vec<rules::Rule>>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) enum Kind {
    /// Anything at all.
    #[default]
    Any,
    Bool,
    Integer,
    Number,
    String,
    /// `IntOrString` and quantities.
    IntOrString,
    List {
        items: Arc<Node>,
        topology: Topology,
    },
    Map {
        values: Arc<Node>,
    },
    Struct(Struct),
    /// A definition that contains itself. The definition's owner fills the cell.
    Recursive(Arc<OnceLock<Weak<Node>>>),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Struct {
    pub(crate) fields: BTreeMap<Box<str>, Field>,
    pub(crate) required: Box<[Box<str>]>,
}

#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) node: Arc<Node>,
    pub(crate) patch: Patch,
}

/// How a strategic merge patch treats a field (`x-kubernetes-patch-strategy`, `-merge-key`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Patch {
    pub(crate) merge: bool,
    pub(crate) replace: bool,
    pub(crate) retain_keys: bool,
    pub(crate) merge_key: Option<Box<str>>,
}

/// Who may own what of a list (`x-kubernetes-list-type`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Topology {
    /// The list has one owner.
    #[default]
    Atomic,
    /// Every scalar element has an owner.
    Set,
    /// Every element has an owner; these fields identify it.
    Map(Box<[Box<str>]>),
}

/// Value validations. Absent ones cost nothing but their place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checks {
    pub(crate) format: Option<Box<str>>,
    pub(crate) choices: Option<Vec<Value>>,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) minimum: Option<(f64, bool)>,
    pub(crate) maximum: Option<(f64, bool)>,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) length_min: Option<u64>,
    pub(crate) length_max: Option<u64>,
    pub(crate) items_min: Option<u64>,
    pub(crate) items_max: Option<u64>,
    pub(crate) unique_items: bool,
    pub(crate) properties_min: Option<u64>,
    pub(crate) properties_max: Option<u64>,
    pub(crate) all_of: Vec<Node>,
    pub(crate) any_of: Vec<Node>,
    pub(crate) one_of: Vec<Node>,
    pub(crate) not: Option<Node>,
    /// Required fields of a branch that does not say `type` (only values of a struct are looked
    /// at, others pass).
    pub(crate) branch: Option<Struct>,
}

#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    pub(crate) text: Box<str>,
    /// Compiled at the first use; `None` when the expression is not one of ours.
    compiled: Arc<OnceLock<Option<Regex>>>,
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Self {
        Self {
            text: text.into(),
            compiled: Arc::default(),
        }
    }

    /// Why `text` is no regular expression, if so.
    pub(crate) fn error(text: &str) -> Option<String> {
        Regex::new(text).err().map(|error| error.to_string())
    }

    pub(crate) fn matches(&self, value: &str) -> bool {
        self.compiled
            .get_or_init(|| Regex::new(&self.text).ok())
            .as_ref()
            .is_none_or(|regex| regex.is_match(value))
    }
}

impl Node {
    /// The node itself, or the definition a recursive reference stands for.
    pub(crate) fn resolved(self: &Arc<Self>) -> Arc<Self> {
        match &self.kind {
            Kind::Recursive(cell) => cell
                .get()
                .and_then(Weak::upgrade)
                .unwrap_or_else(|| Arc::new(Self::anything())),
            _ => Arc::clone(self),
        }
    }

    /// A node that allows and keeps everything.
    pub(crate) fn anything() -> Self {
        Self {
            preserve: true,
            ..Self::default()
        }
    }

    /// The node of field `name`, where a value of this node may have one.
    pub(crate) fn child(&self, name: &str) -> Option<Arc<Self>> {
        match &self.kind {
            Kind::Struct(fields) => fields.fields.get(name).map(|field| field.node.resolved()),
            Kind::Map { values } => Some(values.resolved()),
            _ => None,
        }
    }

    /// The node of the list's elements.
    pub(crate) fn items(&self) -> Option<Arc<Self>> {
        match &self.kind {
            Kind::List { items, .. } => Some(items.resolved()),
            _ => None,
        }
    }
}
