//! Listening in another namespace: what the user must be allowed to do there. The rule of Knative's
//! `pkg/crossnamespace`. Whoever can ask the cluster's roles does so when the object is admitted.

use serde_json::Value;

use super::super::errors::{Errors, Level};
use super::super::{Denied, EVENTING};
use crate::config::eventing::Features;
use crate::object::ObjectExt;

/// A right without which an object is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Needed {
    /// The verb: `knsubscribe`.
    pub verb: &'static str,
    /// API group of the target.
    pub group: String,
    /// What the target's kind may be called in roles: its resource, or the kind itself, which
    /// Knative asks for.
    pub resources: [String; 2],
    /// The namespace of the target.
    pub namespace: String,
    /// The name of the target.
    pub name: String,
}

/// The right that `user` needs in order to store `object`, which was admitted.
pub fn needed(object: &Value, features: &Features) -> Option<Needed> {
    let reference = match object.kind() {
        "Trigger" => &object["spec"]["brokerRef"],
        "Subscription" => &object["spec"]["channel"],
        _ => return None,
    };
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let namespace = text("namespace");
    if !features.cross_namespace_event_links
        || namespace.is_empty()
        || namespace == object.namespace()
    {
        return None;
    }
    let group = match text("group") {
        "" => text("apiVersion").split('/').next().unwrap_or_default(),
        group => group,
    };
    let kind = text("kind");
    Some(Needed {
        verb: "knsubscribe",
        group: group.to_owned(),
        resources: [format!("{}s", kind.to_lowercase()), kind.to_owned()],
        namespace: namespace.to_owned(),
        name: text("name").to_owned(),
    })
}

impl Needed {
    /// The refusal of an object whose `user` has no such right.
    pub fn denied(&self, user: &str) -> Denied {
        let [_, kind] = &self.resources;
        let namespace = &self.namespace;
        let message = format!(
            "user {user} is not authorized to get target resource in namespace: {namespace}"
        );
        let errors = Errors::new(message, &[&format!("spec.{kind}Namespace")]);
        let mistakes = errors.texts(Level::Error).join("\n");
        Denied::new(
            EVENTING.validation,
            "validation failed",
            mistakes,
            Vec::new(),
        )
    }
}
