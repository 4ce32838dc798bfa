//! Admission of Knative's objects: what the webhooks of Knative Serving, Eventing and Build do to
//! an object before it is stored. Defaults are filled in, mistakes are refused in Knative's own words,
//! doubtful choices are answered with warnings. ConfigMaps are checked as `config.webhook` does.
//!
//! Called by the API server's hook (embedded) and by the webhook role (cluster). In reading
//! order: [`review`] decodes (`shape`), fills in and checks by `kinds`, prints; `errors` makes the
//! texts; `pod`, `container`, `probe`, `volume`, `traffic`, `autoscaling`, `metadata`, `revision`
//! hold the rules of Serving, `eventing` those of Eventing, `build` those of Build, `history`
//! those of the kinds of 2018.

mod autoscaling;
mod build;
mod container;
mod defaults;
mod diff;
mod disallowed;
mod errors;
mod eventing;
mod history;
mod image;
mod kinds;
mod metadata;
mod names;
mod pod;
mod probe;
mod revision;
pub(crate) mod shape;
mod traffic;
mod volume;

use serde_json::{Value, json};

use crate::config::eventing::SYSTEM_NAMESPACE as EVENTING_NAMESPACE;
use crate::config::{self, Configs, SYSTEM_NAMESPACE};
use crate::object::ObjectExt;
use errors::Level;
pub use eventing::{Needed, needed};
use kinds::{Kind, Subject};

/// The names under which one part of Knative answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Webhooks {
    /// The webhook that fills in.
    pub defaulting: &'static str,
    /// The webhook that checks objects.
    pub validation: &'static str,
}

/// Knative Serving's webhooks.
pub const SERVING: Webhooks = Webhooks {
    defaulting: "webhook.serving.knative.dev",
    validation: "validation.webhook.serving.knative.dev",
};
/// Knative Eventing's webhooks.
pub const EVENTING: Webhooks = Webhooks {
    defaulting: "webhook.eventing.knative.dev",
    validation: "validation.webhook.eventing.knative.dev",
};
/// The webhooks of InMemoryChannel, which come with its controller.
pub const IN_MEMORY_CHANNEL: Webhooks = Webhooks {
    defaulting: "inmemorychannel.eventing.knative.dev",
    validation: "validation.inmemorychannel.eventing.knative.dev",
};
/// Knative Build's webhook, which did both under one name.
pub const BUILD: Webhooks = Webhooks {
    defaulting: "webhook.build.knative.dev",
    validation: "webhook.build.knative.dev",
};
/// The webhook that checks Serving's ConfigMaps.
pub const CONFIG_VALIDATION: &str = "config.webhook.serving.knative.dev";
/// The webhook that checks Eventing's ConfigMaps.
pub const EVENTING_CONFIG_VALIDATION: &str = "config.webhook.eventing.knative.dev";

/// What is about to happen to an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// It is new.
    Create,
    /// It replaces another.
    Update,
}

/// A request to store an object. Changes of the status subresource are not reviewed.
#[derive(Clone, Copy, Debug)]
pub struct Review<'a> {
    /// Whether it is new.
    pub operation: Operation,
    /// The object as the user sent it.
    pub object: &'a Value,
    /// What is stored, on update.
    pub old: Option<&'a Value>,
    /// Who asks; becomes creator and last modifier. Empty leaves these alone.
    pub user: &'a str,
}

/// An object that may be stored.
#[derive(Clone, PartialEq, Debug)]
pub struct Admitted {
    /// The object with everything filled in.
    pub object: Value,
    /// What to tell the user, one entry per kind of concern.
    pub warnings: Vec<String>,
}

/// Why an object is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Denied {
    /// Which webhook refuses.
    pub webhook: &'static str,
    /// The whole text behind `denied the request: `.
    pub message: String,
    /// The part of it that tells the mistakes.
    pub mistakes: String,
    /// What to tell the user besides.
    pub warnings: Vec<String>,
}

impl Denied {
    fn new(webhook: &'static str, step: &str, mistakes: String, warnings: Vec<String>) -> Self {
        Self {
            webhook,
            message: format!("{step}: {mistakes}"),
            mistakes,
            warnings,
        }
    }

    /// What a client reads, as kube-apiserver words it. The status is 400, reason `BadRequest`.
    pub fn text(&self) -> String {
        denied(self.webhook, &self.message)
    }
}

/// The message of a request that `webhook` denied.
pub fn denied(webhook: &str, message: &str) -> String {
    format!("admission webhook \"{webhook}\" denied the request: {message}")
}

/// Reviews an object. Objects without rules are admitted as they are.
///
/// # Errors
/// The object has mistakes; what was filled in is lost.
pub fn review(review: &Review<'_>, configs: &Configs) -> Result<Admitted, Denied> {
    if is_config_map(review.object) {
        return review_config(review.object);
    }
    let Some(kind) = kinds::find(review.object.api_version(), review.object.kind()) else {
        return Ok(Admitted {
            object: review.object.clone(),
            warnings: Vec::new(),
        });
    };
    let subject = prepare(&kind, review, configs).map_err(|text| {
        let text = format!("cannot decode incoming new object: {text}");
        Denied::new(
            kind.webhooks.defaulting,
            "mutation failed",
            text,
            Vec::new(),
        )
    })?;
    let errors = (kind.check)(&subject);
    let warnings = errors.texts(Level::Warning);
    let mistakes = errors.texts(Level::Error);
    if mistakes.is_empty() {
        let object = shape::encode(kind.shape, &subject.object);
        return Ok(Admitted { object, warnings });
    }
    let mistakes = mistakes.join("\n");
    Err(Denied::new(
        kind.webhooks.validation,
        "validation failed",
        mistakes,
        warnings,
    ))
}

/// The object with everything filled in, mistakes or not: what the defaulting webhook alone
/// answers.
///
/// # Errors
/// The object cannot be read as its kind.
pub fn fill(review: &Review<'_>, configs: &Configs) -> Result<Value, String> {
    let Some(kind) = kinds::find(review.object.api_version(), review.object.kind()) else {
        return Ok(review.object.clone());
    };
    let subject = prepare(&kind, review, configs)?;
    Ok(shape::encode(kind.shape, &subject.object))
}

/// The object filled in, and what was before.
fn prepare<'a>(
    kind: &Kind,
    review: &Review<'a>,
    configs: &'a Configs,
) -> Result<Subject<'a>, String> {
    let decode = |value: &Value| shape::decode(kind.shape, value);
    let old = match (review.operation, review.old) {
        // What is stored was admitted once; rules that came later do not make it unreadable.
        (Operation::Update, Some(old)) => Some(decode(old).unwrap_or_else(|_| old.clone())),
        _ => None,
    };
    let mut subject = Subject {
        object: decode(review.object)?,
        old,
        user: review.user,
        configs,
    };
    (kind.fill)(&mut subject);
    subject.object = decode(&subject.object)?;
    Ok(subject)
}

fn is_config_map(object: &Value) -> bool {
    object.kind() == "ConfigMap"
        && object.api_version() == "v1"
        && [SYSTEM_NAMESPACE, EVENTING_NAMESPACE].contains(&object.namespace())
}

fn review_config(object: &Value) -> Result<Admitted, Denied> {
    let (webhook, judged) = match object.namespace() {
        EVENTING_NAMESPACE => (
            EVENTING_CONFIG_VALIDATION,
            config::eventing::validate(object),
        ),
        _ => (CONFIG_VALIDATION, config::validate(object)),
    };
    judged.map_err(|error| {
        Denied::new(webhook, "validation failed", error.to_string(), Vec::new())
    })?;
    Ok(Admitted {
        object: object.clone(),
        warnings: Vec::new(),
    })
}

/// The Pod that stands for an admitted Service or Configuration in a dry run: the API server is to
/// validate it and report an error through [`dry_run_failed`]. `None` for kinds without a
/// template, and for a Configuration whose Service is asked instead.
pub fn dry_run_pod(object: &Value) -> Option<Value> {
    let owned = object
        .owner_references()
        .iter()
        .any(|owner| owner["kind"] == "Service");
    if !matches!(object.kind(), "Service" | "Configuration") || owned {
        return None;
    }
    let mut spec = object["spec"]["template"]["spec"].clone();
    for field in [
        "containerConcurrency",
        "timeoutSeconds",
        "responseStartTimeoutSeconds",
        "idleTimeoutSeconds",
    ] {
        spec.as_object_mut()?.remove(field);
    }
    Some(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "dry-run-validation",
            "namespace": object.namespace(),
            "labels": object["spec"]["template"]["metadata"]["labels"],
            "annotations": object["spec"]["template"]["metadata"]["annotations"],
        },
        "spec": spec,
    }))
}

/// The refusal of an object whose Pod the API server would refuse with `error`.
pub fn dry_run_failed(error: &str) -> Denied {
    let mistakes = format!("dry run failed with {error}: spec.template");
    Denied::new(
        SERVING.validation,
        "validation callback failed",
        mistakes,
        Vec::new(),
    )
}

#[cfg(test)]
mod tests;
