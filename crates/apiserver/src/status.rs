//! `metav1.Status`: the answer to everything that goes wrong, worded as Kubernetes words it.
//!
//! Clients match on `reason`, people read `message`; both come from
//! `k8s.io/apimachinery/pkg/api/errors`.

use serde_json::{Value, json};

use crate::field;
use crate::resource::Resource;

/// A failed request.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Status {
    /// The HTTP status code.
    pub code: u16,
    /// The machine-readable reason, e.g. `NotFound`.
    pub reason: &'static str,
    /// The sentence for people.
    pub message: String,
    /// `name`, `group`, `kind`, `causes`, `retryAfterSeconds` where known.
    pub details: Option<Value>,
}

/// The result of everything that can end in a [`Status`].
pub(crate) type Result<T, E = Status> = std::result::Result<T, E>;

impl Status {
    /// A failure without details.
    pub(crate) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: None,
        }
    }

    /// The object does not exist.
    pub(crate) fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.group_resource());
        Self::about(404, "NotFound", message, resource, name)
    }

    /// An object of this name exists.
    pub(crate) fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource.group_resource());
        Self::about(409, "AlreadyExists", message, resource, name)
    }

    /// The object is not in the state the request takes for granted.
    pub(crate) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let of = resource.group_resource();
        let message = format!("Operation cannot be fulfilled on {of} \"{name}\": {why}");
        Self::about(409, "Conflict", message, resource, name)
    }

    /// Somebody else wrote in between.
    pub(crate) fn modified(resource: &Resource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version \
                   and try again";
        Self::conflict(resource, name, why)
    }

    /// The request is understood and not allowed.
    pub(crate) fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let of = resource.group_resource();
        let message = match (of.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {why}"),
            (_, true) => format!("{of} is forbidden: {why}"),
            _ => format!("{of} \"{name}\" is forbidden: {why}"),
        };
        Self::about(403, "Forbidden", message, resource, name)
    }

    /// The object breaks rules of its kind.
    pub(crate) fn invalid(resource: &Resource, name: &str, errors: &[field::Error]) -> Self {
        let kind = match &*resource.group {
            "" => resource.kind.clone(),
            group => format!("{}.{group}", resource.kind),
        };
        Self::invalid_kind((&kind, &resource.group, &resource.kind), name, errors)
    }

    fn invalid_kind(
        (qualified, group, kind): (&str, &str, &str),
        name: &str,
        errors: &[field::Error],
    ) -> Self {
        let message = format!("{qualified} \"{name}\" is invalid: {}", field::join(errors));
        let causes: Vec<_> = errors.iter().map(field::Error::cause).collect();
        let mut details = json!({"name": name, "kind": kind, "causes": causes});
        if !group.is_empty() {
            details["group"] = group.into();
        }
        Self {
            code: 422,
            reason: "Invalid",
            message,
            details: Some(details),
        }
    }

    /// The request itself makes no sense.
    pub(crate) fn bad_request(why: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", why)
    }

    /// What the request needs does not answer.
    pub(crate) fn service_unavailable(why: &str) -> Self {
        Self::new(503, "ServiceUnavailable", why)
    }

    /// Something broke on our side.
    pub(crate) fn internal(why: impl std::fmt::Display) -> Self {
        let mut status = Self::new(
            500,
            "InternalError",
            format!("Internal error occurred: {why}"),
        );
        status.details = Some(json!({"causes": [{"message": why.to_string()}]}));
        status
    }

    /// The verb does not exist for this resource.
    pub(crate) fn method_not_supported(resource: &Resource, verb: &str) -> Self {
        let of = resource.group_resource();
        let message = format!("{verb} is not supported on resources of kind \"{of}\"");
        Self::about(405, "MethodNotAllowed", message, resource, "")
    }

    /// Nothing is served at this path.
    pub(crate) fn no_such_path() -> Self {
        let mut status = Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        );
        status.details = Some(json!({}));
        status
    }

    /// Changes since this revision are no longer known.
    pub(crate) fn expired(why: impl Into<String>) -> Self {
        Self::new(410, "Expired", why)
    }

    /// The body has an encoding nobody here reads.
    pub(crate) fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// The client accepts none of our encodings.
    pub(crate) fn not_acceptable() -> Self {
        let message = "only the following media types are accepted: application/json, \
                       application/yaml";
        Self::new(406, "NotAcceptable", message)
    }

    fn about(
        code: u16,
        reason: &'static str,
        message: String,
        resource: &Resource,
        name: &str,
    ) -> Self {
        let mut details = json!({"kind": resource.plural});
        if !name.is_empty() {
            details["name"] = name.into();
        }
        if !resource.group.is_empty() {
            details["group"] = (*resource.group).into();
        }
        Self {
            code,
            reason,
            message,
            details: Some(details),
        }
    }

    /// Adds a cause to the details.
    #[must_use]
    pub(crate) fn with_cause(mut self, reason: &str, message: &str, field: &str) -> Self {
        let details = self.details.get_or_insert_with(|| json!({}));
        let cause = json!({"reason": reason, "message": message, "field": field});
        match details["causes"].as_array_mut() {
            Some(causes) => causes.push(cause),
            None => details["causes"] = json!([cause]),
        }
        self
    }

    /// Tells the client when to try again.
    #[must_use]
    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        let details = self.details.get_or_insert_with(|| json!({}));
        details["retryAfterSeconds"] = seconds.into();
        self
    }

    /// The JSON object for the body.
    pub(crate) fn to_value(&self) -> Value {
        let mut out = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "code": self.code,
        });
        if !self.reason.is_empty() {
            out["reason"] = self.reason.into();
        }
        if let Some(details) = &self.details {
            out["details"] = details.clone();
        }
        out
    }
}
