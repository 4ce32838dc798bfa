//! From `openAPIV3Schema` JSON to the tree, with the rules for structural schemas.
//!
//! The definitions of built-in kinds go through the same code (`crate::builtin`), which adds `$ref`
//! by giving a resolver.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Checks, Field, Kind, Node, Patch, Pattern, Schema, Struct, Topology, rules};
use crate::builtin;
use crate::field::FieldError;

pub(super) fn crd(schema: &Value) -> Result<Schema, Vec<FieldError>> {
    let mut compiler = Compiler::new(&no_references);
    let mut root = compiler.node(schema, "");
    match schema["type"].as_str() {
        Some("object") => {}
        None => compiler.errors.push(FieldError::required(
            "type",
            "must not be empty at the root",
        )),
        Some(_) => compiler.errors.push(FieldError::invalid(
            "type",
            &schema["type"],
            "must be object at the root",
        )),
    }
    with_type_meta(&mut root, &schema["properties"]["metadata"]);
    compiler.rules(schema, &mut root, "");
    if compiler.errors.is_empty() {
        Ok(Schema {
            root: Arc::new(root),
            has_rules: compiler.has_rules,
            broken_rules: Arc::new(compiler.broken_rules),
        })
    } else {
        Err(compiler.errors)
    }
}

pub(super) fn any() -> Schema {
    let mut root = Node {
        kind: Kind::Struct(Struct::default()),
        ..Node::anything()
    };
    with_type_meta(&mut root, &Value::Null);
    Schema::of(Arc::new(root))
}

fn no_references(_: &str) -> Option<Arc<Node>> {
    None
}

/// Gives a root or embedded resource the fields every object has. `restricted` is what the schema
/// itself says of `metadata`: only restrictions of the name hold.
fn with_type_meta(node: &mut Node, restricted: &Value) {
    let Kind::Struct(shape) = &mut node.kind else {
        return;
    };
    let text = Arc::new(Node {
        kind: Kind::String,
        ..Node::default()
    });
    for name in ["apiVersion", "kind"] {
        shape.fields.insert(name.into(), Field::plain(text.clone()));
    }
    let metadata = metadata_node(restricted);
    shape
        .fields
        .insert("metadata".into(), Field::plain(metadata));
}

fn metadata_node(restricted: &Value) -> Arc<Node> {
    let shared = builtin::object_meta();
    let mut own: Option<Node> = None;
    for name in ["name", "generateName"] {
        let restriction = &restricted["properties"][name];
        if !restriction.is_object() {
            continue;
        }
        let node = own.get_or_insert_with(|| Node::clone(&shared));
        if let Kind::Struct(shape) = &mut node.kind {
            let compiled = Compiler::new(&no_references).node(restriction, "metadata");
            shape
                .fields
                .insert(name.into(), Field::plain(Arc::new(compiled)));
        }
    }
    own.map_or(shared, Arc::new)
}

impl Field {
    pub(crate) fn plain(node: Arc<Node>) -> Self {
        Self {
            node,
            patch: Patch::default(),
        }
    }
}

/// Compiles one schema document.
pub(crate) struct Compiler<'a> {
    /// What a `$ref` stands for.
    references: &'a dyn Fn(&str) -> Option<Arc<Node>>,
    pub(crate) errors: Vec<FieldError>,
    /// What is wrong with rules.
    broken_rules: Vec<FieldError>,
    has_rules: bool,
}

impl<'a> Compiler<'a> {
    pub(crate) fn new(references: &'a dyn Fn(&str) -> Option<Arc<Node>>) -> Self {
        Self {
            references,
            errors: Vec::new(),
            broken_rules: Vec::new(),
            has_rules: false,
        }
    }

    /// A node shared where the schema refers to a definition, its own otherwise.
    pub(crate) fn shared(&mut self, schema: &Value, path: &str) -> Arc<Node> {
        let Some(node) = schema["$ref"].as_str().and_then(self.references) else {
            return Arc::new(self.node(schema, path));
        };
        match schema["x-kubernetes-map-type"].as_str() {
            Some(kind) => Arc::new(Node {
                atomic: kind == "atomic",
                ..Node::clone(&node)
            }),
            None => node,
        }
    }

    pub(crate) fn node(&mut self, schema: &Value, path: &str) -> Node {
        let preserve = flag(schema, "x-kubernetes-preserve-unknown-fields");
        let kind = self.kind(schema, path);
        let mut node = Node {
            name: None,
            preserve: preserve || matches!(kind, Kind::Any),
            kind,
            nullable: flag(schema, "nullable"),
            atomic: schema["x-kubernetes-map-type"] == "atomic",
            default: schema
                .get("default")
                .filter(|value| !value.is_null() || flag(schema, "nullable"))
                .map(|value| Box::new(value.clone())),
            checks: self.checks(schema, path),
            rules: None,
        };
        if flag(schema, "x-kubernetes-embedded-resource") {
            if matches!(node.kind, Kind::Any) {
                node.kind = Kind::Struct(Struct::default());
            }
            with_type_meta(&mut node, &schema["properties"]["metadata"]);
        }
        // Those of the root wait until it has the fields of every object.
        if !path.is_empty() {
            self.rules(schema, &mut node, path);
        }
        node
    }

    fn rules(&mut self, schema: &Value, node: &mut Node, path: &str) {
        let of = Arc::new(node.clone());
        let rules = rules::compile(schema, &of, path, &mut self.broken_rules);
        if !rules.is_empty() {
            node.rules = Some(Arc::new(rules));
            self.has_rules = true;
        }
    }

    fn kind(&mut self, schema: &Value, path: &str) -> Kind {
        if flag(schema, "x-kubernetes-int-or-string") {
            return Kind::IntOrString;
        }
        match schema["type"].as_str() {
            Some("boolean") => Kind::Bool,
            Some("integer") => Kind::Integer,
            Some("number") => Kind::Number,
            Some("string") => Kind::String,
            Some("array") => self.list(schema, path),
            Some("object") => self.object(schema, path),
            Some(_) => {
                let supported = ["array", "boolean", "integer", "number", "object", "string"];
                self.errors.push(FieldError::not_supported(
                    at(path, "type"),
                    &schema["type"],
                    &supported.map(Value::from),
                ));
                Kind::Any
            }
            None => {
                // Without a type a schema must keep what it does not know.
                if !flag(schema, "x-kubernetes-preserve-unknown-fields") && !path.is_empty() {
                    self.errors.push(FieldError::required(
                        at(path, "type"),
                        "must not be empty for specified object fields",
                    ));
                }
                if schema["properties"].is_object() {
                    return self.object(schema, path);
                }
                Kind::Any
            }
        }
    }

    fn list(&mut self, schema: &Value, path: &str) -> Kind {
        let items = match schema.get("items") {
            Some(items) => self.shared(items, &at(path, "items")),
            None => {
                self.errors
                    .push(FieldError::required(at(path, "items"), "must be specified"));
                Arc::new(Node::anything())
            }
        };
        let topology = match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => Topology::Set,
            Some("map") => Topology::Map(strings(&schema["x-kubernetes-list-map-keys"])),
            _ => Topology::Atomic,
        };
        if topology == Topology::Map(Box::default()) {
            self.errors.push(FieldError::required(
                at(path, "x-kubernetes-list-map-keys"),
                "must not be empty if x-kubernetes-list-type is map",
            ));
        }
        Kind::List { items, topology }
    }

    fn object(&mut self, schema: &Value, path: &str) -> Kind {
        let properties = schema["properties"].as_object();
        match (&schema["additionalProperties"], properties) {
            (Value::Null | Value::Bool(false), _) => {}
            (_, Some(properties)) if !properties.is_empty() => {
                self.errors.push(FieldError::forbidden(
                    at(path, "additionalProperties"),
                    "additionalProperties and properties are mutual exclusive",
                ));
            }
            (Value::Bool(true), _) => {
                return Kind::Map {
                    values: Arc::new(Node::anything()),
                };
            }
            (values, _) => {
                return Kind::Map {
                    values: self.shared(values, &at(path, "additionalProperties")),
                };
            }
        }
        Kind::Struct(self.fields(schema, properties, path))
    }

    fn fields(
        &mut self,
        schema: &Value,
        properties: Option<&Map<String, Value>>,
        path: &str,
    ) -> Struct {
        let fields: BTreeMap<Box<str>, Field> = properties
            .into_iter()
            .flatten()
            .map(|(name, property)| {
                let path = at(path, &format!("properties[{name}]"));
                let field = Field {
                    node: self.shared(property, &path),
                    patch: patch(property),
                };
                (name.as_str().into(), field)
            })
            .collect();
        Struct {
            fields,
            required: strings(&schema["required"]),
        }
    }

    fn checks(&mut self, schema: &Value, path: &str) -> Option<Box<Checks>> {
        const KEYWORDS: [&str; 17] = [
            "format",
            "enum",
            "pattern",
            "minimum",
            "maximum",
            "multipleOf",
            "minLength",
            "maxLength",
            "minItems",
            "maxItems",
            "uniqueItems",
            "minProperties",
            "maxProperties",
            "allOf",
            "anyOf",
            "oneOf",
            "not",
        ];
        let branch = self.branch(schema);
        if branch.is_none() && !KEYWORDS.iter().any(|keyword| schema.get(keyword).is_some()) {
            return None;
        }
        if let Some(error) = schema["pattern"].as_str().and_then(Pattern::error) {
            let detail = format!("must be a valid regular expression, but isn't: {error}");
            self.errors.push(FieldError::invalid(
                at(path, "pattern"),
                &schema["pattern"],
                detail,
            ));
        }
        let count = |name: &str| schema[name].as_u64();
        Some(Box::new(Checks {
            format: schema["format"].as_str().map(Into::into),
            choices: schema["enum"].as_array().cloned(),
            pattern: schema["pattern"].as_str().map(Pattern::new),
            minimum: bound(schema, "minimum", "exclusiveMinimum"),
            maximum: bound(schema, "maximum", "exclusiveMaximum"),
            multiple_of: schema["multipleOf"].as_f64(),
            length_min: count("minLength"),
            length_max: count("maxLength"),
            items_min: count("minItems"),
            items_max: count("maxItems"),
            unique_items: flag(schema, "uniqueItems"),
            properties_min: count("minProperties"),
            properties_max: count("maxProperties"),
            all_of: self.branches(&schema["allOf"]),
            any_of: self.branches(&schema["anyOf"]),
            one_of: self.branches(&schema["oneOf"]),
            not: schema.get("not").map(|not| self.logical(not)),
            branch,
        }))
    }

    fn branches(&mut self, schemas: &Value) -> Vec<Node> {
        schemas
            .as_array()
            .into_iter()
            .flatten()
            .map(|schema| self.logical(schema))
            .collect()
    }

    /// A schema under `allOf`, `anyOf`, `oneOf` or `not`: it restricts values and specifies no
    /// structure, so it needs no types.
    fn logical(&mut self, schema: &Value) -> Node {
        let mut inner = Compiler::new(self.references);
        let mut node = inner.node(schema, "");
        if schema.get("type").is_none() && !matches!(node.kind, Kind::IntOrString) {
            node.kind = Kind::Any;
        }
        // Null is the main schema's affair.
        node.nullable = true;
        node
    }

    /// `required` and `properties` of a schema that says no `type`.
    fn branch(&mut self, schema: &Value) -> Option<Struct> {
        if schema.get("type").is_some() {
            return None;
        }
        let properties = schema["properties"].as_object();
        if properties.is_none() && !schema["required"].is_array() {
            return None;
        }
        let fields = properties
            .into_iter()
            .flatten()
            .map(|(name, property)| {
                let node = Arc::new(self.logical(property));
                (name.as_str().into(), Field::plain(node))
            })
            .collect();
        Some(Struct {
            fields,
            required: strings(&schema["required"]),
        })
    }
}

fn patch(property: &Value) -> Patch {
    let strategy = property["x-kubernetes-patch-strategy"]
        .as_str()
        .unwrap_or_default();
    let mut patch = Patch {
        merge_key: property["x-kubernetes-patch-merge-key"]
            .as_str()
            .map(Into::into),
        ..Patch::default()
    };
    patch.add_strategies(strategy);
    patch
}

impl Patch {
    pub(crate) fn add_strategies(&mut self, strategies: &str) {
        for strategy in strategies.split(',') {
            match strategy {
                "merge" => self.merge = true,
                "replace" => self.replace = true,
                "retainKeys" => self.retain_keys = true,
                _ => {}
            }
        }
    }
}

fn flag(schema: &Value, name: &str) -> bool {
    schema[name] == Value::Bool(true)
}

fn bound(schema: &Value, name: &str, exclusive: &str) -> Option<(f64, bool)> {
    Some((schema[name].as_f64()?, flag(schema, exclusive)))
}

fn strings(list: &Value) -> Box<[Box<str>]> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(Into::into)
        .collect()
}

fn at(path: &str, name: &str) -> String {
    crate::field::join(path, name)
}
