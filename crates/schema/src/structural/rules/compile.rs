//! Rules as a schema states them, compiled; what is wrong with them in the words of Kubernetes.

use std::sync::Arc;

use cel::Program;
use serde_json::Value;

use super::check::{self, Findings};
use super::{ENV, NOT_ENFORCED, Rule};
use crate::field::{FieldError, Violation, join};
use crate::structural::Node;

const KEYWORD: &str = "x-kubernetes-validations";
const REASONS: [(&str, Violation); 4] = [
    ("FieldValueRequired", Violation::Required),
    ("FieldValueForbidden", Violation::Forbidden),
    ("FieldValueInvalid", Violation::Invalid),
    ("FieldValueDuplicate", Violation::Duplicate),
];

/// The rules of a node whose schema is at `path`. Those with a mistake are left out and reported;
/// those that need what is not there are left out.
pub(in crate::structural) fn compile(
    schema: &Value,
    node: &Arc<Node>,
    path: &str,
    errors: &mut Vec<FieldError>,
) -> Vec<Rule> {
    let stated = schema[KEYWORD].as_array().into_iter().flatten();
    let stated = stated.enumerate().filter_map(|(index, stated)| {
        let path = join(path, &format!("{KEYWORD}[{index}]"));
        rule(stated, node, &path, errors)
    });
    stated.collect()
}

fn rule(
    stated: &Value,
    node: &Arc<Node>,
    path: &str,
    errors: &mut Vec<FieldError>,
) -> Option<Rule> {
    let before = errors.len();
    let text = |key: &str| stated[key].as_str().unwrap_or_default();
    let at = |key: &str| join(path, key);
    let source = text("rule").trim();
    words(stated, path, errors);
    if source.is_empty() {
        errors.push(FieldError::required(at("rule"), "rule is not specified"));
        return None;
    }
    let (program, findings) = expression(source, node, true)
        .map_err(|why| errors.push(FieldError::invalid(at("rule"), &source.into(), why)))
        .ok()?;
    let mut is_enforced = !findings.uses(&NOT_ENFORCED);
    let mut message_expression = None;
    let said = text("messageExpression").trim();
    if !said.is_empty() {
        match expression(said, node, false) {
            Ok((program, findings)) => {
                is_enforced &= !findings.uses(&NOT_ENFORCED);
                message_expression = Some(program);
            }
            Err(why) => {
                let field = at("messageExpression");
                errors.push(FieldError::invalid(field, &said.into(), why));
            }
        }
    }
    let reason = REASONS.iter().find(|(name, _)| *name == text("reason"));
    let is_optional = stated["optionalOldSelf"] == true;
    let rule = Rule {
        text: source.into(),
        message: text("message").into(),
        message_expression,
        violation: reason.map_or(Violation::Invalid, |(_, violation)| *violation),
        field_path: field_path(text("fieldPath")).into(),
        is_optional,
        is_of_changes: findings.uses_old && !is_optional,
        size: findings.size,
        depth: findings.depth,
        program,
    };
    (is_enforced && errors.len() == before).then_some(rule)
}

/// What is wrong with a rule beside its expressions.
fn words(stated: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let at = |key: &str| join(path, key);
    let rule = stated["rule"].as_str().unwrap_or_default();
    let message = &stated["message"];
    match message.as_str() {
        Some(text) if !text.is_empty() && text.trim().is_empty() => {
            let detail = "message must be non-empty if specified";
            errors.push(FieldError::invalid(at("message"), message, detail));
        }
        Some(text) if text.trim().contains('\n') => {
            let detail = "message must not contain line breaks";
            errors.push(FieldError::invalid(at("message"), message, detail));
        }
        None | Some("") if rule.trim().contains('\n') => {
            let detail = "message must be specified if rule contains line breaks";
            errors.push(FieldError::required(at("message"), detail));
        }
        _ => {}
    }
    let said = stated["messageExpression"].as_str().unwrap_or_default();
    if !said.is_empty() && said.trim().is_empty() {
        let detail = "must be non-empty if specified";
        errors.push(FieldError::required(at("messageExpression"), detail));
    }
    let reason = &stated["reason"];
    let is_known = |reason: &str| REASONS.iter().any(|(name, _)| *name == reason);
    if reason.as_str().is_some_and(|reason| !is_known(reason)) {
        let names = REASONS.map(|(name, _)| Value::from(name));
        errors.push(FieldError::not_supported(at("reason"), reason, &names));
    }
}

/// Compiles an expression about values of `node`; why it cannot be, otherwise.
fn expression(
    source: &str,
    node: &Arc<Node>,
    is_rule: bool,
) -> Result<(Program, Findings), String> {
    let failed = |why: &str| format!("compilation failed: {why}");
    let program = ENV
        .compile(source)
        .map_err(|errors| failed(&errors.to_string()))?;
    let findings = check::inspect(&program, node);
    let shown: Vec<String> = findings
        .mistakes
        .iter()
        .map(|(id, what)| check::show(&program, source, *id, what))
        .collect();
    if !shown.is_empty() {
        return Err(failed(&shown.join("\n")));
    }
    if is_rule && !findings.may_be_bool {
        return Err("cel expression must evaluate to a bool".to_owned());
    }
    Ok((program, findings))
}

/// `.spec.x['a.b']` as errors name fields: `spec.x[a.b]`.
fn field_path(path: &str) -> String {
    path.trim()
        .trim_start_matches('.')
        .replace("['", "[")
        .replace("']", "]")
}
