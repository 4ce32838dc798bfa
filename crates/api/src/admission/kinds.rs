//! The kinds admission knows: how each is filled in and checked. Decoded values in and out (see
//! `shape`); `review` does the reading and printing.

use serde_json::{Value, json};

use super::autoscaling;
use super::build;
use super::defaults;
use super::disallowed;
use super::errors::Errors;
use super::eventing;
use super::history;
use super::metadata;
use super::names;
use super::revision;
use super::traffic;
use super::{SERVING, Webhooks};
use crate::annotation::{annotations, autoscaling as keys};
use crate::config::autoscaler::HPA;
use crate::config::{CLUSTER_DOMAIN, Configs};
use crate::convert::is_manual;
use crate::gotext::quote;
use crate::object::ObjectExt;
use crate::serving::GROUP;

/// One object under review: what was before is there for updates alone.
pub(super) struct Subject<'a> {
    pub(super) object: Value,
    pub(super) old: Option<Value>,
    pub(super) user: &'a str,
    pub(super) configs: &'a Configs,
}

/// A kind: the name of its shape, its defaults and its rules.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) webhooks: Webhooks,
    pub(super) shape: &'static str,
    pub(super) fill: fn(&mut Subject<'_>),
    pub(super) check: fn(&Subject<'_>) -> Errors,
}

/// The rules for objects of `api_version` and `kind`, if there are any.
pub(super) fn find(api_version: &str, kind: &str) -> Option<Kind> {
    let kind = match (api_version, kind) {
        ("serving.knative.dev/v1", "Service") => Kind {
            webhooks: SERVING,
            shape: "Service",
            fill: fill_service,
            check: check_service,
        },
        ("serving.knative.dev/v1", "Configuration") => Kind {
            webhooks: SERVING,
            shape: "Configuration",
            fill: fill_configuration,
            check: check_configuration,
        },
        ("serving.knative.dev/v1", "Revision") => Kind {
            webhooks: SERVING,
            shape: "Revision",
            fill: fill_revision,
            check: check_revision,
        },
        ("serving.knative.dev/v1", "Route") => Kind {
            webhooks: SERVING,
            shape: "Route",
            fill: fill_route,
            check: check_route,
        },
        ("serving.knative.dev/v1beta1" | "serving.knative.dev/v1alpha1", "DomainMapping") => Kind {
            webhooks: SERVING,
            shape: "DomainMapping",
            fill: fill_domain_mapping,
            check: check_domain_mapping,
        },
        ("autoscaling.internal.knative.dev/v1alpha1", "PodAutoscaler") => Kind {
            webhooks: SERVING,
            shape: "PodAutoscaler",
            fill: fill_pod_autoscaler,
            check: check_pod_autoscaler,
        },
        _ => {
            let of_others = [eventing::find, history::find, build::find];
            return of_others.iter().find_map(|find| find(api_version, kind));
        }
    };
    Some(kind)
}

impl Subject<'_> {
    /// Whether the spec differs from the one before; `None` on creation.
    pub(super) fn spec_changed(&self) -> Option<bool> {
        let old = self.old.as_ref()?;
        Some(old["spec"] != self.object["spec"])
    }

    fn set_user(&mut self) {
        let changed = self.spec_changed();
        metadata::set_user(&mut self.object, GROUP, self.user, changed);
    }

    fn is_owned(&self) -> bool {
        !self.object.owner_references().is_empty()
    }

    fn fill_template(&mut self) {
        let name = self.object["spec"]["template"].name().to_owned();
        let renamed = |old: &Value| old["spec"]["template"].name() != name;
        // Filling in what the user left out would count as a change under the same name.
        if !name.is_empty() && !self.old.as_ref().is_none_or(renamed) {
            return;
        }
        let parent = self.object["metadata"].clone();
        let create = self.old.is_none();
        let spec = &mut self.object["spec"]["template"]["spec"];
        defaults::revision_spec(spec, &parent, create, self.configs);
    }

    fn check_template(&self) -> Errors {
        let template = &self.object["spec"]["template"];
        revision::validate_template(template, &self.object, self.configs)
            .via_field("template")
            .via_field("spec")
    }

    /// What may not change: the creator, and a template under its old name.
    fn check_update(&self, user: bool) -> Errors {
        let Some(old) = &self.old else {
            return Errors::NONE;
        };
        let changed = self.spec_changed().unwrap_or(true);
        let mut errors = Errors::NONE;
        if user {
            let found = metadata::validate_user(&self.object, old, changed);
            errors.add(found.via_field("metadata.annotations"));
        }
        let template = &self.object["spec"]["template"];
        if template.is_object() {
            let found = revision::validate_renamed(template, &old["spec"]["template"]);
            errors.add(found.via_field("spec.template"));
        }
        errors
    }

    fn check_metadata(&self, annotations: Errors, labels: Errors) -> Errors {
        metadata::validate_name(&self.object)
            .also(annotations.via_field("annotations"))
            .also(labels.via_field("labels"))
            .via_field("metadata")
    }
}

fn fill_service(subject: &mut Subject<'_>) {
    if !is_manual(&subject.object) {
        subject.fill_template();
        defaults::traffic(&mut subject.object["spec"], true);
    }
    subject.set_user();
}

fn check_service(subject: &Subject<'_>) -> Errors {
    let object = &subject.object;
    let annotations = autoscaling::refuse(object).also(metadata::validate_rollout(object));
    if is_manual(object) {
        // It says nothing that could be wrong.
        return subject.check_metadata(annotations, Errors::NONE);
    }
    let targets = traffic::validate(&object["spec"]["traffic"], true);
    subject
        .check_metadata(annotations, Errors::NONE)
        .also(subject.check_template())
        .also(targets.via_field("traffic").via_field("spec"))
        .also(subject.check_update(true))
}

fn fill_configuration(subject: &mut Subject<'_>) {
    subject.fill_template();
    if !subject.is_owned() {
        subject.set_user();
    }
}

fn check_configuration(subject: &Subject<'_>) -> Errors {
    let object = &subject.object;
    let owner = metadata::validate_owner(object, "serving.knative.dev/service", "Service");
    subject
        .check_metadata(autoscaling::refuse(object), owner)
        .also(subject.check_template())
        .also(subject.check_update(!subject.is_owned()))
}

fn fill_revision(subject: &mut Subject<'_>) {
    // The spec of a Revision never changes, not even by new defaults.
    if subject.old.is_none() {
        let spec = &mut subject.object["spec"];
        defaults::revision_spec(spec, &Value::Null, true, subject.configs);
    }
}

fn check_revision(subject: &Subject<'_>) -> Errors {
    let object = &subject.object;
    let label = "serving.knative.dev/configuration";
    let owner = metadata::validate_owner(object, label, "Configuration");
    let annotations = autoscaling::validate(object, &subject.configs.autoscaler);
    let errors = subject.check_metadata(annotations, owner);
    let Some(old) = &subject.old else {
        let found = revision::validate_spec(&object["spec"], subject.configs);
        return errors.also(found.via_field("spec"));
    };
    let changed = revision::validate_unchanged(&object["spec"], &old["spec"]);
    if changed == Errors::NONE {
        errors
    } else {
        changed
    }
}

fn fill_route(subject: &mut Subject<'_>) {
    defaults::traffic(&mut subject.object["spec"], false);
    if !subject.is_owned() {
        subject.set_user();
    }
}

fn check_route(subject: &Subject<'_>) -> Errors {
    let object = &subject.object;
    let annotations = autoscaling::refuse(object).also(metadata::validate_rollout(object));
    let owner = metadata::validate_owner(object, "serving.knative.dev/service", "Service");
    let targets = traffic::validate(&object["spec"]["traffic"], false);
    subject
        .check_metadata(annotations, owner)
        .also(targets.via_field("traffic").via_field("spec"))
        .also(subject.check_update(!subject.is_owned()))
}

fn fill_domain_mapping(subject: &mut Subject<'_>) {
    let namespace = subject.object.namespace().to_owned();
    let reference = &mut subject.object["spec"]["ref"];
    if reference["namespace"].is_null() && !namespace.is_empty() {
        reference["namespace"] = Value::String(namespace);
    }
    subject.set_user();
}

fn check_domain_mapping(subject: &Subject<'_>) -> Errors {
    let object = &subject.object;
    let name = object.name();
    let mut found = Errors::NONE;
    if !object["metadata"]["generateName"].is_null() {
        found.add(Errors::disallowed(&["generateName"]));
    }
    if let Some(problem) = names::domain_name(name) {
        let message = format!("invalid name {}: {problem}", quote(name));
        found.add(Errors::new(message, &["name"]));
    }
    if name.ends_with(&format!(".{CLUSTER_DOMAIN}")) {
        let message = format!(
            "invalid name {}: must not be a subdomain of cluster local domain {}",
            quote(name),
            quote(CLUSTER_DOMAIN)
        );
        found.add(Errors::new(message, &["name"]));
    }
    let reference = check_reference(&object["spec"]["ref"], object.namespace());
    found
        .via_field("metadata")
        .also(reference.via_field("ref").via_field("spec"))
        .also(subject.check_update(true))
}

fn check_reference(reference: &Value, namespace: &str) -> Errors {
    let mut errors = Errors::NONE;
    for field in ["name", "apiVersion", "kind"] {
        if reference[field].is_null() {
            errors.add(Errors::missing(&[field]));
        }
    }
    let own = reference["namespace"].as_str().unwrap_or_default();
    if !own.is_empty() && !namespace.is_empty() && own != namespace {
        let why = format!(
            "parent namespace: {} does not match ref: {}",
            quote(namespace),
            quote(own)
        );
        errors.add(Errors::detailed(
            "mismatched namespaces",
            &["namespace"],
            why,
        ));
    }
    errors
}

fn fill_pod_autoscaler(subject: &mut Subject<'_>) {
    let class = annotations(&subject.object)
        .and_then(|annotations| annotations.get(keys::CLASS[0])?.as_str())
        .unwrap_or(&subject.configs.autoscaler.pod_autoscaler_class)
        .to_owned();
    let metric = if class == HPA { "cpu" } else { "concurrency" };
    let metadata = &mut subject.object["metadata"];
    if !metadata["annotations"].is_object() {
        metadata["annotations"] = json!({});
    }
    let annotations = &mut metadata["annotations"];
    for (key, value) in [(keys::CLASS[0], class.as_str()), (keys::METRIC[0], metric)] {
        if annotations[key].is_null() {
            annotations[key] = json!(value);
        }
    }
}

fn check_pod_autoscaler(subject: &Subject<'_>) -> Errors {
    let spec = &subject.object["spec"];
    let annotations = autoscaling::validate(&subject.object, &subject.configs.autoscaler);
    let concurrency =
        revision::validate_concurrency(&spec["containerConcurrency"], subject.configs);
    let protocol = match spec["protocolType"].as_str() {
        Some("http1" | "h2c") => Errors::NONE,
        None => Errors::missing(&["protocolType"]),
        Some(other) => Errors::invalid(other, "protocolType"),
    };
    let found = check_scale_target(&spec["scaleTargetRef"])
        .via_field("scaleTargetRef")
        .also(concurrency.via_field("containerConcurrency"))
        .also(protocol);
    subject
        .check_metadata(annotations, Errors::NONE)
        .also(found.via_field("spec"))
}

/// What speaks against a name.
type NameRule = fn(&str) -> Vec<String>;

fn check_scale_target(target: &Value) -> Errors {
    let rules: [(&str, NameRule); 3] = [
        ("apiVersion", names::qualified_name),
        ("kind", names::c_identifier),
        ("name", names::dns_1123_label),
    ];
    let mut errors = disallowed::check(target, &["apiVersion", "kind", "name"]);
    for (field, problems) in rules {
        match target[field].as_str() {
            None => errors.add(Errors::missing(&[field])),
            Some(value) => {
                let problems = problems(value);
                if !problems.is_empty() {
                    errors.add(Errors::invalid(problems.join(", "), field));
                }
            }
        }
    }
    errors
}
