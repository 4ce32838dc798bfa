//! Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs, CronJobs, autoscalers.

use api::cron::{Schedule, find_zone};
use serde_json::{Value, json};

use super::{Errors, NONE, Rules, items, pod, set, text};
use crate::field::Error;
use crate::selector::LabelSelector;
use crate::status::Result;
use crate::write::Call;

pub(super) const DEPLOYMENT: Rules = Rules {
    default: deployment_default,
    validate: deployment_validate,
    ..NONE
};
pub(super) const REPLICA_SET: Rules = Rules {
    default: replica_set_default,
    validate: replica_set_validate,
    ..NONE
};
pub(super) const STATEFUL_SET: Rules = Rules {
    default: stateful_set_default,
    validate: stateful_set_validate,
    ..NONE
};
pub(super) const DAEMON_SET: Rules = Rules {
    default: daemon_set_default,
    validate: templated_validate,
    ..NONE
};
pub(super) const JOB: Rules = Rules {
    default: job_default,
    prepare: job_prepare,
    validate: job_validate,
};
pub(super) const CRON_JOB: Rules = Rules {
    default: cron_job_default,
    validate: cron_job_validate,
    ..NONE
};

fn template_default(spec: &mut Value) {
    if spec["template"]["spec"].is_object() {
        pod::default_spec(&mut spec["template"]["spec"]);
    }
    if spec["template"].is_object() {
        set(&mut spec["template"], "metadata", json!({}));
    }
}

fn deployment_default(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else {
        return;
    };
    set(spec, "replicas", 1);
    set(spec, "revisionHistoryLimit", 10);
    set(spec, "progressDeadlineSeconds", 600);
    set(spec, "strategy", json!({}));
    set(&mut spec["strategy"], "type", "RollingUpdate");
    if spec["strategy"]["type"] == "RollingUpdate" {
        let strategy = &mut spec["strategy"];
        set(strategy, "rollingUpdate", json!({}));
        set(&mut strategy["rollingUpdate"], "maxUnavailable", "25%");
        set(&mut strategy["rollingUpdate"], "maxSurge", "25%");
    }
    template_default(spec);
}

fn replica_set_default(object: &mut Value) {
    let legacy = object["kind"] == "ReplicationController";
    let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else {
        return;
    };
    set(spec, "replicas", 1);
    let labels = spec["template"]["metadata"]["labels"].clone();
    if legacy && labels.is_object() {
        set(spec, "selector", labels);
    }
    template_default(spec);
}

fn stateful_set_default(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else {
        return;
    };
    set(spec, "replicas", 1);
    set(spec, "revisionHistoryLimit", 10);
    set(spec, "podManagementPolicy", "OrderedReady");
    set(
        spec,
        "updateStrategy",
        json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}),
    );
    template_default(spec);
}

fn daemon_set_default(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else {
        return;
    };
    set(spec, "revisionHistoryLimit", 10);
    let strategy =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}});
    set(spec, "updateStrategy", strategy);
    template_default(spec);
}

fn deployment_validate(object: &Value, old: Option<&Value>, errors: &mut Errors) {
    templated_validate(object, old, errors);
    let strategy = &object["spec"]["strategy"];
    let allowed = ["Recreate", "RollingUpdate"];
    if !allowed.contains(&text(&strategy["type"])) {
        errors.push(Error::not_supported(
            "spec.strategy.type",
            &strategy["type"],
            &allowed,
        ));
    }
    if strategy["type"] == "Recreate" && strategy["rollingUpdate"].is_object() {
        let detail = "may not be specified when strategy `type` is 'Recreate'";
        errors.push(Error::forbidden("spec.strategy.rollingUpdate", detail));
    }
}

fn replica_set_validate(object: &Value, old: Option<&Value>, errors: &mut Errors) {
    if object["kind"] == "ReplicaSet" {
        return templated_validate(object, old, errors);
    }
    replicas(&object["spec"], errors);
    pod::validate_spec(
        &object["spec"]["template"]["spec"],
        "spec.template.spec",
        errors,
    );
}

fn replicas(spec: &Value, errors: &mut Errors) {
    let replicas = &spec["replicas"];
    if replicas.as_i64().is_some_and(|number| number < 0) {
        let detail = "must be greater than or equal to 0";
        errors.push(Error::invalid("spec.replicas", replicas, detail));
    }
}

/// What holds for every kind with a selector and a template.
fn templated_validate(object: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = &object["spec"];
    replicas(spec, errors);
    selector(spec, old, errors);
    let template = &spec["template"];
    super::metadata::labels(
        &template["metadata"]["labels"],
        "spec.template.metadata.labels",
        errors,
    );
    pod::validate_spec(&template["spec"], "spec.template.spec", errors);
    let policy = &template["spec"]["restartPolicy"];
    if policy.is_string() && policy != "Always" {
        let field = "spec.template.spec.restartPolicy";
        errors.push(Error::not_supported(field, policy, &["Always"]));
    }
}

fn selector(spec: &Value, old: Option<&Value>, errors: &mut Errors) {
    let selector = &spec["selector"];
    if !selector.is_object() {
        errors.push(Error::required("spec.selector", ""));
        return;
    }
    let labels = &spec["template"]["metadata"]["labels"];
    if LabelSelector::from_value(selector).is_empty() {
        let detail = "empty selector is invalid for deployment";
        errors.push(Error::invalid("spec.selector", selector, detail));
    } else {
        let map = labels.as_object().into_iter().flatten();
        let map = map
            .map(|(key, value)| (key.clone(), text(value).to_owned()))
            .collect();
        if !LabelSelector::from_value(selector).matches(&map) {
            let field = "spec.template.metadata.labels";
            let labels = if labels.is_null() { &json!({}) } else { labels };
            let detail = "`selector` does not match template `labels`";
            errors.push(Error::invalid(field, labels, detail));
        }
    }
    if old.is_some_and(|old| old["spec"]["selector"] != *selector) {
        errors.push(Error::invalid(
            "spec.selector",
            selector,
            "field is immutable",
        ));
    }
}

/// What of a StatefulSet may change after it was made.
const STATEFUL_SET_MUTABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

fn stateful_set_validate(object: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = &object["spec"];
    // Claims are volumes that need no other mention.
    let mut whole = object.clone();
    for claim in items(&spec["volumeClaimTemplates"]) {
        let volume = json!({"name": claim["metadata"]["name"], "emptyDir": {}});
        let volumes = &mut whole["spec"]["template"]["spec"]["volumes"];
        match volumes.as_array_mut() {
            Some(volumes) if volumes.iter().any(|one| one["name"] == volume["name"]) => {}
            Some(volumes) => volumes.push(volume),
            None => *volumes = json!([volume]),
        }
    }
    templated_validate(&whole, None, errors);
    let fixed = |spec: &Value| {
        let mut fields = spec.as_object().cloned().unwrap_or_default();
        fields.retain(|key, _| !STATEFUL_SET_MUTABLE.contains(&key.as_str()));
        fields
    };
    if old.is_some_and(|old| fixed(&old["spec"]) != fixed(spec)) {
        let (last, others) = (STATEFUL_SET_MUTABLE[6], &STATEFUL_SET_MUTABLE[..6]);
        let detail = format!(
            "updates to statefulset spec for fields other than '{}' and '{last}' are forbidden",
            others.join("', '")
        );
        errors.push(Error::forbidden("spec", &detail));
    }
}

fn job_default(object: &mut Value) {
    if let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) {
        job_spec_default(spec);
    }
}

fn job_spec_default(spec: &mut Value) {
    if spec["completions"].is_null() && spec["parallelism"].is_null() {
        set(spec, "completions", 1);
    }
    set(spec, "parallelism", 1);
    set(spec, "backoffLimit", 6);
    set(spec, "completionMode", "NonIndexed");
    set(spec, "suspend", false);
    set(spec, "manualSelector", false);
    set(spec, "podReplacementPolicy", "TerminatingOrFailed");
    template_default(spec);
    if let Some(fields) = spec.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
}

/// A Job's Pods are found by a label that carries its UID.
fn job_prepare(_call: &Call<'_>, job: &mut Value, old: Option<&Value>) -> Result<()> {
    if old.is_some()
        || job["spec"]["manualSelector"] == true
        || !job["spec"]["template"].is_object()
    {
        return Ok(());
    }
    let (uid, name) = (
        job["metadata"]["uid"].clone(),
        job["metadata"]["name"].clone(),
    );
    set(&mut job["spec"]["template"], "metadata", json!({}));
    set(
        &mut job["spec"]["template"]["metadata"],
        "labels",
        json!({}),
    );
    let labels = &mut job["spec"]["template"]["metadata"]["labels"];
    for (key, value) in [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ] {
        set(labels, key, value.clone());
    }
    let selector = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
    set(&mut job["spec"], "selector", selector);
    Ok(())
}

fn job_validate(job: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = &job["spec"];
    for key in ["parallelism", "completions", "backoffLimit"] {
        if spec[key].as_i64().is_some_and(|number| number < 0) {
            let detail = "must be greater than or equal to 0";
            errors.push(Error::invalid(format!("spec.{key}"), &spec[key], detail));
        }
    }
    job_template(&spec["template"], "spec.template", errors);
    let Some(old) = old else { return };
    for key in ["completions", "selector", "template", "completionMode"] {
        let mutable = old["spec"]["suspend"] == true && key == "template";
        if !mutable && spec[key] != old["spec"][key] {
            errors.push(Error::invalid(
                format!("spec.{key}"),
                &spec[key],
                "field is immutable",
            ));
        }
    }
}

fn job_template(template: &Value, field: &str, errors: &mut Errors) {
    pod::validate_spec(&template["spec"], &format!("{field}.spec"), errors);
    let policy = &template["spec"]["restartPolicy"];
    if *policy == "Always" {
        let field = format!("{field}.spec.restartPolicy");
        let detail = "valid values: \"OnFailure\", \"Never\"";
        errors.push(Error::required(field, detail));
    }
}

fn cron_job_default(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else {
        return;
    };
    set(spec, "concurrencyPolicy", "Allow");
    set(spec, "suspend", false);
    set(spec, "successfulJobsHistoryLimit", 3);
    set(spec, "failedJobsHistoryLimit", 1);
    let template = &mut spec["jobTemplate"]["spec"]["template"];
    if template["spec"].is_object() {
        pod::default_spec(&mut template["spec"]);
        set(template, "metadata", json!({}));
    }
}

fn cron_job_validate(object: &Value, _old: Option<&Value>, errors: &mut Errors) {
    let spec = &object["spec"];
    schedule(spec, errors);
    if text(&object["metadata"]["name"]).len() > CRON_JOB_NAME_MAX {
        let detail = format!("must be no more than {CRON_JOB_NAME_MAX} characters");
        errors.push(Error::invalid(
            "metadata.name",
            &object["metadata"]["name"],
            &detail,
        ));
    }
    let allowed = ["Allow", "Forbid", "Replace"];
    if !allowed.contains(&text(&spec["concurrencyPolicy"])) {
        errors.push(Error::not_supported(
            "spec.concurrencyPolicy",
            &spec["concurrencyPolicy"],
            &allowed,
        ));
    }
    job_template(
        &spec["jobTemplate"]["spec"]["template"],
        "spec.jobTemplate.spec.template",
        errors,
    );
}

/// A CronJob's Jobs are called after it and the time they are for.
const CRON_JOB_NAME_MAX: usize = 52;
/// Fields of a schedule.
const SCHEDULE_FIELDS: usize = 5;

fn schedule(spec: &Value, errors: &mut Errors) {
    let (schedule, zone) = (&spec["schedule"], &spec["timeZone"]);
    let words: Vec<&str> = text(schedule).split_whitespace().collect();
    let count = words.len();
    let zoned = text(schedule).contains("TZ");
    let wrong = match count {
        0 => return errors.push(Error::required("spec.schedule", "")),
        _ if zoned => {
            Some("cannot use TZ or CRON_TZ in schedule, use timeZone field instead".to_owned())
        }
        SCHEDULE_FIELDS => None,
        _ if words[0].starts_with('@') => None,
        _ => Some(format!(
            "expected exactly {SCHEDULE_FIELDS} fields, found {count}: [{}]",
            words.join(" ")
        )),
    };
    let wrong = wrong.or_else(|| Some(Schedule::parse(text(schedule), "").err()?.to_string()));
    if let Some(detail) = wrong {
        errors.push(Error::invalid("spec.schedule", schedule, &detail));
    }
    if zone.is_string() && find_zone(text(zone)).is_err() {
        let detail = format!("unknown time zone {}", text(zone));
        errors.push(Error::invalid("spec.timeZone", zone, &detail));
    }
}
