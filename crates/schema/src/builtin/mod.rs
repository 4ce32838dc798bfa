//! Schemas of Kubernetes' built-in kinds.
//!
//! Structure and descriptions come from k8s-openapi, what those lack from `facts.txt`. A kind is
//! compiled at its first use; definitions are shared between kinds and stay, their JSON does not.
//! The OpenAPI documents are made from the same JSON, protobuf bodies decoded by the same facts.

pub(crate) mod facts;
mod kinds;
mod legacy;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use schemars::SchemaGenerator;
use serde_json::{Map, Value};

use crate::structural::{Kind, Node, Schema};

/// Definitions by name.
type Definitions = BTreeMap<String, Arc<Node>>;

/// The schema of a built-in kind; `None` for kinds Kubernetes does not have or we do not serve.
#[must_use]
pub fn builtin(group: &str, version: &str, kind: &str) -> Option<Arc<Schema>> {
    let row = row(group, version, kind)?;
    let root = intern(row.definition);
    Some(Arc::new(Schema::of(root)))
}

/// Group, version and kind of every built-in kind there is a schema for.
pub fn builtin_kinds() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    kinds::KINDS
        .iter()
        .map(|row| (row.group, row.version, row.kind))
}

/// The name of a built-in kind's definition: `io.k8s.api.core.v1.Pod`.
pub(crate) fn definition(group: &str, version: &str, kind: &str) -> Option<String> {
    let row = row(group, version, kind)?;
    Some((row.definition.name)().into_owned())
}

/// The JSON of a built-in kind's definition and of all it refers to, with Kubernetes' extensions:
/// the kind's definition name and the definitions by name. References are `#/$defs/NAME`.
pub(crate) fn documents(
    group: &str,
    version: &str,
    kind: &str,
) -> Option<(String, Map<String, Value>)> {
    row(group, version, kind).map(|row| generate(row.definition))
}

/// The same for `ObjectMeta`.
pub(crate) fn object_meta_documents() -> (String, Map<String, Value>) {
    generate(kinds::OBJECT_META)
}

/// The same for `ListMeta`.
pub(crate) fn list_meta_documents() -> (String, Map<String, Value>) {
    generate(kinds::LIST_META)
}

/// The node of `ObjectMeta`, which custom resources share.
pub(crate) fn object_meta() -> Arc<Node> {
    static NODE: OnceLock<Arc<Node>> = OnceLock::new();
    Arc::clone(NODE.get_or_init(|| intern(kinds::OBJECT_META)))
}

/// The node of `JSONSchemaProps`, the schemas inside CustomResourceDefinitions.
pub(crate) fn json_schema_props() -> Arc<Node> {
    static NODE: OnceLock<Arc<Node>> = OnceLock::new();
    Arc::clone(NODE.get_or_init(|| intern(kinds::JSON_SCHEMA_PROPS)))
}

/// The kind of version `version` whose group is `group`, by its name.
fn row(group: &str, version: &str, kind: &str) -> Option<&'static kinds::Row> {
    kinds::KINDS
        .iter()
        .find(|row| row.kind == kind && row.group == group && row.version == version)
}

fn generate(definition: kinds::Definition) -> (String, Map<String, Value>) {
    let mut generator = SchemaGenerator::default();
    (definition.generate)(&mut generator);
    let mut definitions = generator.take_definitions(true);
    for (name, definition) in &mut definitions {
        facts::decorate(name, definition);
    }
    ((definition.name)().into_owned(), definitions)
}

/// The name a `$ref` ends in.
pub(crate) fn definition_name(reference: &str) -> &str {
    reference.rsplit('/').next().unwrap_or(reference)
}

/// Compiles `definition`, unless that is done.
fn intern(definition: kinds::Definition) -> Arc<Node> {
    static DEFINITIONS: Mutex<Definitions> = Mutex::new(BTreeMap::new());
    let name = (definition.name)();
    // A panic while compiling leaves only whole definitions behind.
    let mut shared = DEFINITIONS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(node) = shared.get(&*name) {
        return Arc::clone(node);
    }
    let (name, documents) = generate(definition);
    let builder = Builder {
        documents,
        done: RefCell::new(std::mem::take(&mut *shared)),
        open: RefCell::default(),
    };
    let node = builder.definition(&name);
    *shared = builder.done.into_inner();
    node
}

struct Builder {
    documents: Map<String, Value>,
    done: RefCell<Definitions>,
    /// Definitions being compiled: a reference to one of them is recursive.
    open: RefCell<BTreeMap<String, Arc<OnceLock<Weak<Node>>>>>,
}

impl Builder {
    fn definition(&self, name: &str) -> Arc<Node> {
        if let Some(node) = self.done.borrow().get(name) {
            return Arc::clone(node);
        }
        if let Some(cell) = self.open.borrow().get(name) {
            return Arc::new(Node {
                kind: Kind::Recursive(Arc::clone(cell)),
                ..Node::default()
            });
        }
        let cell = Arc::<OnceLock<Weak<Node>>>::default();
        self.open
            .borrow_mut()
            .insert(name.to_owned(), Arc::clone(&cell));
        let references = |reference: &str| Some(self.definition(definition_name(reference)));
        let mut compiler = crate::structural::Compiler::new(&references);
        let mut node = match opaque(name) {
            true => Node {
                atomic: true,
                ..Node::anything()
            },
            false => compiler.node(self.documents.get(name).unwrap_or(&Value::Null), ""),
        };
        node.name = Some(name.into());
        let node = Arc::new(node);
        // The cell is ours alone, nobody has filled it.
        let _ = cell.set(Arc::downgrade(&node));
        self.open.borrow_mut().remove(name);
        self.done
            .borrow_mut()
            .insert(name.to_owned(), Arc::clone(&node));
        node
    }
}

/// Definitions whose values are any JSON.
fn opaque(name: &str) -> bool {
    let short = name.rsplit('.').next().unwrap_or_default();
    matches!(
        short,
        "RawExtension"
            | "FieldsV1"
            | "JSON"
            | "JSONSchemaPropsOrArray"
            | "JSONSchemaPropsOrBool"
            | "JSONSchemaPropsOrStringArray"
    )
}
