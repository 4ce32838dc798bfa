//! Judges an object by the rules of its schema.

use std::sync::Arc;

use cel::extractors::This;
use cel::objects::{OptionalValue, ResolveResult};
use cel::{Context, ExecutionError, Program};
use regex::Regex;
use serde_json::Value;

use super::value::{self, largest, type_name};
use super::{ENV, Rule};
use crate::field::{FieldError, Violation, join};
use crate::structural::{Kind, Node};

/// Operations one rule may take, as Kubernetes' `PerCallLimit`; what it would take is estimated
/// before it is asked.
const RULE_COST_MAX: u64 = 1_000_000;
/// Operations all rules of one object may take together, as Kubernetes' `RuntimeCELCostBudget`.
const OBJECT_COST_MAX: u64 = 10_000_000;

/// Every rule that does not hold of `object`. With `old`, rules about changes are asked, too, and
/// what did not change is judged by these alone.
pub(in crate::structural) fn evaluate(
    root: &Arc<Node>,
    object: &Value,
    old: Option<&Value>,
) -> Vec<FieldError> {
    let mut judge = Judge {
        budget: OBJECT_COST_MAX,
        is_over: false,
        errors: Vec::new(),
    };
    judge.look(root, object, old, "", true);
    judge.errors
}

struct Judge {
    budget: u64,
    /// The budget has run out.
    is_over: bool,
    errors: Vec<FieldError>,
}

/// A value, what it was, and where it is.
struct Subject<'a> {
    node: &'a Arc<Node>,
    value: &'a Value,
    old: Option<&'a Value>,
    path: &'a str,
    is_root: bool,
}

impl Judge {
    fn look(
        &mut self,
        node: &Arc<Node>,
        value: &Value,
        old: Option<&Value>,
        path: &str,
        is_root: bool,
    ) {
        if value.is_null() || self.is_over {
            return;
        }
        let node = &node.resolved();
        if let Some(rules) = &node.rules {
            self.ask(
                rules,
                &Subject {
                    node,
                    value,
                    old,
                    path,
                    is_root,
                },
            );
        }
        match (value, &node.kind) {
            (Value::Object(fields), Kind::Struct(shape)) => {
                for (name, field) in &shape.fields {
                    if let Some(value) = fields.get(&**name) {
                        let old = old.and_then(|old| old.get(&**name));
                        self.look(&field.node, value, old, &join(path, name), false);
                    }
                }
            }
            (Value::Object(fields), Kind::Map { values }) => {
                for (name, value) in fields {
                    let old = old.and_then(|old| old.get(name));
                    self.look(values, value, old, &format!("{path}[{name}]"), false);
                }
            }
            (Value::Array(list), Kind::List { items, topology }) => {
                for (index, item) in list.iter().enumerate() {
                    let old = topology.counterpart(item, old);
                    self.look(items, item, old, &format!("{path}[{index}]"), false);
                }
            }
            _ => {}
        }
    }

    fn ask(&mut self, rules: &[Rule], subject: &Subject<'_>) {
        let is_same = subject.old == Some(subject.value);
        let count = largest(subject.value).max(1);
        for rule in rules {
            let is_asked = match (rule.is_of_changes, subject.old) {
                (true, old) => old.is_some(),
                (false, _) => !is_same || rule.is_optional,
            };
            if !is_asked {
                continue;
            }
            let cost = rule.size.saturating_mul(count.saturating_pow(rule.depth));
            if cost > RULE_COST_MAX || cost > self.budget {
                self.is_over = true;
                let detail = "validation failed due to running out of cost budget, no further \
                              validation rules will be run";
                self.errors
                    .push(subject.error(Violation::Invalid, "", detail));
                return;
            }
            self.budget -= cost;
            self.errors.extend(rule.error(subject));
        }
    }
}

impl Subject<'_> {
    fn error(&self, violation: Violation, below: &str, detail: &str) -> FieldError {
        let field = match (self.path, below) {
            ("", "") => "<nil>".to_owned(),
            (path, "") => path.to_owned(),
            (path, below) => join(path, below),
        };
        let kind = Value::from(type_name(self.node));
        match violation {
            Violation::Required => FieldError::required(field, detail),
            Violation::Forbidden => FieldError::forbidden(field, detail),
            Violation::Duplicate => FieldError::duplicate(field, &kind),
            _ => FieldError::invalid(field, &kind, detail),
        }
    }

    fn run(&self, program: &Program, is_optional: bool) -> ResolveResult {
        let mut context = Context::with_env(Arc::clone(&ENV));
        add_functions(&mut context)?;
        let of = |value: &Value| value::of(self.node, value, self.is_root);
        context.add_variable_from_value("self", of(self.value));
        let old = self.old.map(of);
        let old = match (is_optional, old) {
            (true, old) => {
                let old = old.map_or_else(OptionalValue::none, OptionalValue::of);
                Some(cel::Value::Opaque(Arc::new(old)))
            }
            (false, old) => old,
        };
        if let Some(old) = old {
            context.add_variable_from_value("oldSelf", old);
        }
        program.execute(&context)
    }
}

impl Rule {
    /// Why the rule does not hold, if it does not.
    fn error(&self, subject: &Subject<'_>) -> Option<FieldError> {
        let rule = &self.text;
        let detail = match subject.run(&self.program, self.is_optional) {
            Ok(cel::Value::Bool(true)) => return None,
            Ok(_) => {
                let message = self.said(subject);
                return Some(subject.error(self.violation, &self.field_path, &message));
            }
            Err(ExecutionError::NoSuchKey(key)) => {
                format!("no such key: {key} evaluating rule: {rule}")
            }
            Err(ExecutionError::NoSuchOverload(_)) => format!(
                "'no such overload': call arguments did not match a supported operator, function \
                 or macro signature for rule: {rule}"
            ),
            Err(other) => format!("{other} evaluating rule: {rule}"),
        };
        Some(subject.error(Violation::Invalid, "", &detail))
    }

    /// The message of a rule that does not hold.
    fn said(&self, subject: &Subject<'_>) -> String {
        let expression = self.message_expression.as_ref();
        let said = expression.and_then(|said| subject.run(said, self.is_optional).ok());
        match said {
            Some(cel::Value::String(text)) if !text.trim().is_empty() && !text.contains('\n') => {
                text.trim().to_owned()
            }
            _ if !self.message.is_empty() => self.message.to_string(),
            _ => format!("failed rule: {}", self.text),
        }
    }
}

/// The functions Kubernetes adds for lists and regular expressions.
fn add_functions(context: &mut Context<'_, '_>) -> Result<(), ExecutionError> {
    type OfList = fn(&[cel::Value]) -> ResolveResult;
    type OfText = fn(&str, &Regex) -> cel::Value;
    let of_lists: [(&str, OfList); 4] = [
        ("isSorted", |list| {
            let sorted = list.windows(2).all(|pair| !less(&pair[1], &pair[0]));
            Ok(cel::Value::Bool(sorted))
        }),
        ("min", |list| extreme("min", list, less)),
        ("max", |list| extreme("max", list, |a, b| less(b, a))),
        ("sum", sum),
    ];
    let of_texts: [(&str, OfText); 2] = [
        ("find", |text, regex| {
            let found = regex.find(text).map_or("", |found| found.as_str());
            cel::Value::from(found)
        }),
        ("findAll", |text, regex| {
            let all = regex.find_iter(text);
            let all = all.map(|found| cel::Value::from(found.as_str()));
            cel::Value::List(Arc::new(all.collect()))
        }),
    ];
    let failed = |error: cel::DeclarationError| ExecutionError::InternalError(error.to_string());
    for (name, of_list) in of_lists {
        let function = move |This(this): This<cel::Value>| match this {
            cel::Value::List(list) => of_list(&list),
            other => Err(ExecutionError::not_supported_as_method(name, other)),
        };
        context.add_function(name, function).map_err(failed)?;
    }
    for (name, of_text) in of_texts {
        let function = move |This(this): This<cel::Value>, regex: cel::Value| match (this, regex) {
            (cel::Value::String(text), cel::Value::String(regex)) => {
                let regex = Regex::new(&regex);
                let regex = regex.map_err(|error| ExecutionError::function_error(name, error))?;
                Ok(of_text(&text, &regex))
            }
            (other, _) => Err(ExecutionError::not_supported_as_method(name, other)),
        };
        context.add_function(name, function).map_err(failed)?;
    }
    Ok(())
}

fn less(a: &cel::Value, b: &cel::Value) -> bool {
    a.partial_cmp(b) == Some(std::cmp::Ordering::Less)
}

fn extreme(
    function: &str,
    list: &[cel::Value],
    better: fn(&cel::Value, &cel::Value) -> bool,
) -> ResolveResult {
    let best = list.iter().reduce(|best, next| match better(next, best) {
        true => next,
        false => best,
    });
    let empty = || ExecutionError::function_error(function, "called on an empty list");
    best.cloned().ok_or_else(empty)
}

fn sum(list: &[cel::Value]) -> ResolveResult {
    let mut whole = 0_i64;
    let mut real = None::<f64>;
    for value in list {
        match value {
            cel::Value::Int(number) => {
                let sum = whole.checked_add(*number);
                whole = sum.ok_or_else(|| ExecutionError::function_error("sum", "overflow"))?;
            }
            cel::Value::Float(number) => real = Some(real.unwrap_or(0.0) + number),
            _ => {
                return Err(ExecutionError::function_error(
                    "sum",
                    "numbers are added only",
                ));
            }
        }
    }
    Ok(real.map_or(cel::Value::Int(whole), cel::Value::Float))
}
