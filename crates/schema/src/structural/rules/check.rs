//! What can be said of an expression before there is a value: names that are not there, fields the
//! schema does not have, how much work it is.

use std::sync::Arc;

use cel::Program;
use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue};

use super::NOT_ENFORCED;
use super::value::unescaped;
use crate::structural::{Kind, Node};

/// Functions that there are beside operators.
const FUNCTIONS: [&str; 66] = [
    "all",
    "bool",
    "bytes",
    "ceil",
    "charAt",
    "contains",
    "distinct",
    "double",
    "dyn",
    "endsWith",
    "exists",
    "exists_one",
    "existsOne",
    "filter",
    "find",
    "findAll",
    "first",
    "flatten",
    "floor",
    "format",
    "greatest",
    "has",
    "hasValue",
    "indexOf",
    "int",
    "isFinite",
    "isInf",
    "isNaN",
    "isSorted",
    "join",
    "last",
    "lastIndexOf",
    "least",
    "lowerAscii",
    "map",
    "matches",
    "max",
    "min",
    "none",
    "of",
    "ofNonZeroValue",
    "optFlatMap",
    "optMap",
    "or",
    "orValue",
    "quote",
    "range",
    "replace",
    "reverse",
    "round",
    "size",
    "slice",
    "sort",
    "sortBy",
    "split",
    "sqrt",
    "startsWith",
    "string",
    "substring",
    "sum",
    "trim",
    "trunc",
    "type",
    "uint",
    "upperAscii",
    "value",
];
/// What stands before a function without being a value.
const NAMESPACES: [&str; 7] = [
    "optional", "math", "lists", "strings", "sets", "base64", "format",
];
/// Names of types.
const TYPES: [&str; 12] = [
    "bool",
    "bytes",
    "double",
    "dyn",
    "int",
    "list",
    "map",
    "null_type",
    "optional_type",
    "string",
    "type",
    "uint",
];

/// What was found in one expression.
pub(super) struct Findings {
    /// Where, by the number of the expression's part, and what.
    pub(super) mistakes: Vec<(u64, String)>,
    functions: Vec<String>,
    pub(super) uses_old: bool,
    /// Nothing says that it is something else.
    pub(super) may_be_bool: bool,
    pub(super) size: u64,
    pub(super) depth: u32,
}

impl Findings {
    /// Whether it calls one of these functions.
    pub(super) fn uses(&self, names: &[&str]) -> bool {
        self.functions
            .iter()
            .any(|name| names.contains(&name.as_str()))
    }
}

/// What a name stands for: values of a node, or of anything.
type Type = Option<Arc<Node>>;

struct Walk<'a> {
    node: &'a Arc<Node>,
    findings: Findings,
    /// Variables of the loops around.
    bound: Vec<(String, Type)>,
    loops: u32,
}

/// Looks through an expression about values of `node`.
pub(super) fn inspect(program: &Program, node: &Arc<Node>) -> Findings {
    let mut walk = Walk {
        node,
        findings: Findings {
            mistakes: Vec::new(),
            functions: Vec::new(),
            uses_old: false,
            may_be_bool: true,
            size: 0,
            depth: 0,
        },
        bound: Vec::new(),
        loops: 0,
    };
    let root = program.expression();
    let of = walk.look(root);
    let is_other =
        of.is_some_and(|node| !matches!(node.kind, Kind::Bool | Kind::Any | Kind::IntOrString));
    let is_literal = match &root.expr {
        Expr::Literal(literal) => !matches!(literal, LiteralValue::Boolean(_)),
        Expr::List(_) | Expr::Map(_) => true,
        _ => false,
    };
    walk.findings.may_be_bool = !is_other && !is_literal;
    walk.findings
}

impl Walk<'_> {
    /// Looks at a part; says what its values are, where that is known.
    fn look(&mut self, part: &IdedExpr) -> Type {
        self.findings.size += 1;
        match &part.expr {
            Expr::Ident(name) => self.name(part.id, name),
            Expr::Select(select) => {
                let of = self.look(&select.operand)?;
                self.field(part.id, &of, &select.field)
            }
            Expr::Call(call) => {
                self.function(part.id, &call.func_name);
                let of = match &call.target {
                    Some(target) if is_namespace(target) => None,
                    Some(target) => self.look(target),
                    None => None,
                };
                drop(of);
                let mut types = call
                    .args
                    .iter()
                    .map(|arg| self.look(arg))
                    .collect::<Vec<_>>();
                match (call.func_name.as_str(), types.is_empty()) {
                    ("_[_]", false) => element(&types.swap_remove(0)?),
                    _ => None,
                }
            }
            Expr::Comprehension(inner) => {
                self.comprehension(inner);
                None
            }
            Expr::List(list) => {
                for element in &list.elements {
                    self.look(element);
                }
                None
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.look(&entry.key);
                        self.look(&entry.value);
                    }
                }
                None
            }
            Expr::Struct(_) | Expr::Literal(_) | Expr::Unspecified => None,
        }
    }

    fn name(&mut self, id: u64, name: &str) -> Type {
        if let Some((_, of)) = self.bound.iter().rev().find(|(bound, _)| bound == name) {
            return of.clone();
        }
        match name {
            "self" => Some(Arc::clone(self.node)),
            "oldSelf" => {
                self.findings.uses_old = true;
                // It may be an optional.
                None
            }
            name if name.starts_with('@') || TYPES.contains(&name) => None,
            name => {
                let what = format!("undeclared reference to '{name}' (in container '')");
                self.findings.mistakes.push((id, what));
                None
            }
        }
    }

    fn field(&mut self, id: u64, of: &Arc<Node>, name: &str) -> Type {
        let of = of.resolved();
        match &of.kind {
            Kind::Struct(shape) => match shape.fields.get(&*unescaped(name)) {
                Some(field) => Some(Arc::clone(&field.node)),
                None => {
                    let what = format!("undefined field '{name}'");
                    self.findings.mistakes.push((id, what));
                    None
                }
            },
            Kind::Map { values } => Some(Arc::clone(values)),
            Kind::Any | Kind::IntOrString | Kind::Recursive(_) => None,
            Kind::Bool | Kind::Integer | Kind::Number | Kind::String | Kind::List { .. } => {
                let kind = super::value::type_name(&of);
                let what = format!("type '{kind}' does not support field selection");
                self.findings.mistakes.push((id, what));
                None
            }
        }
    }

    fn function(&mut self, id: u64, name: &str) {
        let is_operator = !name.starts_with(|c: char| c.is_ascii_alphabetic());
        if is_operator {
            return;
        }
        if !FUNCTIONS.contains(&name) && !NOT_ENFORCED.contains(&name) {
            let what = format!("undeclared reference to '{name}' (in container '')");
            self.findings.mistakes.push((id, what));
        }
        self.findings.functions.push(name.to_owned());
    }

    fn comprehension(&mut self, inner: &ComprehensionExpr) {
        let over = self.look(&inner.iter_range);
        self.look(&inner.accu_init);
        let outside = self.bound.len();
        let is_list = over
            .as_ref()
            .is_some_and(|over| matches!(over.resolved().kind, Kind::List { .. }));
        let of_element = over.as_ref().and_then(element);
        // Of a map the keys come first.
        let (first, second) = match (&inner.iter_var2, is_list) {
            (None, true) => (of_element, None),
            (Some(_), _) => (None, of_element),
            (None, false) => (None, None),
        };
        self.bound.push((inner.iter_var.clone(), first));
        if let Some(name) = &inner.iter_var2 {
            self.bound.push((name.clone(), second));
        }
        self.bound.push((inner.accu_var.clone(), None));
        self.loops += 1;
        self.findings.depth = self.findings.depth.max(self.loops);
        self.look(&inner.loop_cond);
        self.look(&inner.loop_step);
        self.loops -= 1;
        self.look(&inner.result);
        self.bound.truncate(outside);
    }
}

fn is_namespace(part: &IdedExpr) -> bool {
    matches!(&part.expr, Expr::Ident(name) if NAMESPACES.contains(&name.as_str()))
}

/// What an index or a loop gives.
fn element(of: &Arc<Node>) -> Type {
    match &of.resolved().kind {
        Kind::List { items, .. } => Some(Arc::clone(items)),
        Kind::Map { values } => Some(Arc::clone(values)),
        _ => None,
    }
}

/// A mistake with its place, as compilers of the language show it.
pub(super) fn show(program: &Program, source: &str, id: u64, what: &str) -> String {
    let offset = program.source_info().offset_for(id);
    let offset = offset
        .map_or(0, |(start, _)| start as usize)
        .min(source.len());
    let before = source.get(..offset).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    let text = source.lines().nth(line - 1).unwrap_or_default();
    let dots = ".".repeat(column - 1);
    format!("ERROR: <input>:{line}:{column}: {what}\n | {text}\n | {dots}^")
}
