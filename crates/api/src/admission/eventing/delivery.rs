//! What many kinds have: references, destinations, delivery. The rules of
//! `knative.dev/pkg/apis/duck/v1` and of Knative's `pkg/apis/duck/v1/delivery_types.go`.

use serde_json::{Value, json};

use super::super::errors::Errors;
use crate::config::eventing::Features;
use crate::gotext::{Period, quote};

const PEM_BEGIN: &str = "-----BEGIN ";
const PEM_DASHES: &str = "-----";
/// The tag of a sequence, which every certificate is.
const DER_SEQUENCE: u8 = 0x30;

/// What the rules depend on besides the value.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    features: &'a Features,
    /// References must stay in this namespace, unless it is empty.
    namespace: &'a str,
}

impl<'a> Scope<'a> {
    /// References may lead to any namespace.
    pub(super) fn anywhere(features: &'a Features) -> Self {
        Self {
            features,
            namespace: "",
        }
    }

    /// References must stay in `namespace`.
    pub(super) fn within(self, namespace: &'a str) -> Self {
        Self { namespace, ..self }
    }
}

/// Gives a reference without a namespace that of its holder.
pub(super) fn fill_reference(reference: Option<&mut Value>, namespace: &str) {
    if let Some(reference) = reference.filter(|reference| reference.is_object())
        && reference["namespace"].is_null()
        && !namespace.is_empty()
    {
        reference["namespace"] = json!(namespace);
    }
}

/// The same for the reference of a destination.
pub(super) fn fill_destination(destination: Option<&mut Value>, namespace: &str) {
    fill_reference(destination.and_then(|d| d.get_mut("ref")), namespace);
}

/// The same for the dead letter sink of `spec.delivery`.
pub(super) fn fill(spec: &mut Value, namespace: &str) {
    let delivery = spec.get_mut("delivery");
    fill_destination(
        delivery.and_then(|d| d.get_mut("deadLetterSink")),
        namespace,
    );
}

/// Checks a reference.
pub(super) fn check_reference(reference: &Value, scope: Scope<'_>) -> Errors {
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let mut errors = Errors::NONE;
    if text("name").is_empty() {
        errors.add(Errors::missing(&["name"]));
    }
    let (version, group) = (text("apiVersion"), text("group"));
    if scope.features.kreference_group {
        match (version.is_empty(), group.is_empty()) {
            (true, true) => {
                errors.add(Errors::missing(&["apiVersion"]).also(Errors::missing(&["group"])))
            }
            (false, false) => errors.add(Errors::detailed(
                "both apiVersion and group are specified",
                &["apiVersion", "group"],
                "Only one of them must be specified",
            )),
            _ => {}
        }
    } else {
        if !group.is_empty() {
            errors.add(Errors::disallowed(&["group"]));
        }
        if version.is_empty() {
            errors.add(Errors::missing(&["apiVersion"]));
        }
    }
    if text("kind").is_empty() {
        errors.add(Errors::missing(&["kind"]));
    }
    let namespace = text("namespace");
    if !namespace.is_empty() && !scope.namespace.is_empty() && namespace != scope.namespace {
        let why = format!(
            "parent namespace: {} does not match ref: {}",
            quote(scope.namespace),
            quote(namespace)
        );
        errors.add(Errors::detailed(
            "mismatched namespaces",
            &["namespace"],
            why,
        ));
    }
    errors
}

/// Checks a destination. What is not set must have been found out before.
pub(super) fn check_destination(destination: &Value, scope: Scope<'_>) -> Errors {
    let uri = destination["uri"].as_str();
    let is_absolute = |uri: &str| {
        uri.split_once(':')
            .is_some_and(|(scheme, _)| is_scheme(scheme))
    };
    match (destination["ref"].is_object(), uri) {
        (false, None) => Errors::new("expected at least one, got none", &["ref", "uri"]),
        (true, Some(uri)) if is_absolute(uri) => Errors::new(
            "Absolute URI is not allowed when Ref or [apiVersion, kind, name] is present",
            &["[apiVersion, kind, name]", "ref", "uri"],
        ),
        (false, Some(uri)) if !is_absolute(uri) || host(uri).is_empty() => Errors::invalid(
            "Relative URI is not allowed when Ref and [apiVersion, kind, name] is absent",
            "uri",
        ),
        (true, None) => check_reference(&destination["ref"], scope).via_field("ref"),
        _ => check_certificates(&destination["CACerts"]),
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// The host of an absolute URI, as Go's `url.Parse` finds it.
fn host(uri: &str) -> &str {
    let Some((_, rest)) = uri.split_once("://") else {
        return "";
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
}

/// Checks certificates: PEM, and of certificates. What is in them is found out when they are used.
fn check_certificates(text: &Value) -> Errors {
    let Some(text) = text.as_str() else {
        return Errors::NONE;
    };
    match pem_block(text) {
        None => Errors::invalid("CA Cert provided is invalid", "caCert"),
        Some((kind, _)) if kind != "CERTIFICATE" => {
            Errors::invalid("CA Cert provided is not a certificate", "caCert")
        }
        Some((_, first)) if first != Some(DER_SEQUENCE) => {
            Errors::invalid("CA Cert provided is invalid", "caCert")
        }
        Some(_) => Errors::NONE,
    }
}

/// The kind of the first PEM block and the first byte in it.
fn pem_block(text: &str) -> Option<(&str, Option<u8>)> {
    let (_, rest) = text.split_once(PEM_BEGIN)?;
    let (kind, rest) = rest.split_once(PEM_DASHES)?;
    let (body, _) = rest.split_once(&format!("-----END {kind}-----"))?;
    let mut sextets = body
        .bytes()
        .filter(|b| !b.is_ascii_whitespace())
        .map(sextet);
    let first = sextets.next().flatten().zip(sextets.next().flatten());
    Some((kind, first.map(|(high, low)| high << 2 | low >> 4)))
}

fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// Checks a delivery spec; none is good.
pub(super) fn check(delivery: &Value, scope: Scope<'_>) -> Errors {
    if delivery.is_null() {
        return Errors::NONE;
    }
    let mut errors = Errors::NONE;
    if !delivery["deadLetterSink"].is_null() {
        let found = check_destination(&delivery["deadLetterSink"], scope);
        errors.add(found.via_field("deadLetterSink"));
    }
    if let Some(retry) = delivery["retry"].as_i64().filter(|retry| *retry < 0) {
        errors.add(Errors::invalid(retry, "retry"));
    }
    let features = scope.features;
    errors.add(check_period(
        delivery,
        "timeout",
        features.delivery_timeout,
        |period| !period.is_zero(),
    ));
    errors.add(check_word(
        delivery,
        "backoffPolicy",
        &["exponential", "linear"],
    ));
    errors.add(check_period(delivery, "backoffDelay", true, |_| true));
    errors.add(check_word(delivery, "format", &["json", "binary"]));
    errors.add(check_period(
        delivery,
        "retryAfterMax",
        features.delivery_retry_after,
        |period| !period.is_negative(),
    ));
    errors
}

fn check_period(
    delivery: &Value,
    field: &str,
    is_allowed: bool,
    is_good: impl Fn(Period) -> bool,
) -> Errors {
    let Some(text) = delivery[field].as_str() else {
        return Errors::NONE;
    };
    if !is_allowed {
        return Errors::disallowed(&[field]);
    }
    if Period::parse(text).is_some_and(is_good) {
        Errors::NONE
    } else {
        Errors::invalid(text, field)
    }
}

fn check_word(delivery: &Value, field: &str, words: &[&str]) -> Errors {
    match delivery[field].as_str() {
        Some(word) if !words.contains(&word) => Errors::invalid(word, field),
        _ => Errors::NONE,
    }
}
