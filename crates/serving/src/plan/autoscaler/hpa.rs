//! The HPA class: a HorizontalPodAutoscaler scales, Pods always answer themselves.

use api::annotation;
use api::conditions::Conditions;
use api::config::Autoscaler;
use api::world::{HPA, SERVERLESS_SERVICE};
use serde_json::{Value, json};

use super::{
    ACTIVE, SCALE_TARGET_INITIALIZED, SKS_READY, child_annotations, child_labels, ensure_sks,
    mark_sks,
};
use crate::autoscale::{scaler, spec};
use api::draft::Agree;
use api::draft::{Child, Draft, not_owned};

pub(super) fn reconcile(draft: &mut Draft<'_>, conditions: &mut Conditions, config: &Autoscaler) {
    let want = wanted(draft, config);
    let hpa = match draft.ensure(HPA, want, Agree::AtLeast) {
        Child::Have(hpa) => Some(hpa),
        Child::Created => None,
        Child::Foreign => {
            let text = not_owned("HorizontalPodAutoscaler", draft.name());
            conditions.mark_false(ACTIVE, "NotOwned", &text);
            return;
        }
    };
    ensure_sks(draft, conditions, "Serve", 0);
    match draft.get(SERVERLESS_SERVICE, draft.name()) {
        Some(sks) if sks["status"]["serviceName"].is_string() => {
            draft.status["serviceName"] = sks["status"]["serviceName"].clone();
            draft.status["metricsServiceName"] = sks["status"]["privateServiceName"].clone();
            mark_sks(conditions, &sks);
        }
        _ => conditions.mark_unknown(SKS_READY, "NotReady", "No Private Service Name"),
    }
    let replicas = |field: &str| {
        let hpa = hpa.as_deref()?;
        i32::try_from(hpa["status"][field].as_i64()?).ok()
    };
    let current = replicas("currentReplicas").unwrap_or(0);
    if current >= scaler::ready_min(&draft.object, config) {
        conditions.mark_true(SCALE_TARGET_INITIALIZED);
    }
    conditions.mark_true(ACTIVE);
    draft.status["actualScale"] = json!(current);
    draft.status["desiredScale"] = json!(replicas("desiredReplicas").unwrap_or(0));
}

fn wanted(draft: &Draft<'_>, config: &Autoscaler) -> Value {
    let pa = &draft.object;
    let (min, max) = spec::scale_bounds(pa, config);
    let mut spec = json!({
        "scaleTargetRef": pa["spec"]["scaleTargetRef"],
        "maxReplicas": if max == 0 { i32::MAX } else { max },
    });
    if min > 0 {
        spec["minReplicas"] = json!(min);
    }
    if let Some(target) = spec::target_annotation(pa) {
        spec["metrics"] = json!([metric(spec::metric_name(pa), target)]);
    }
    if annotation::get(pa, annotation::autoscaling::WINDOW).is_some() {
        let window = json!({
            "stabilizationWindowSeconds": spec::stable_window(pa, config).as_secs(),
        });
        spec["behavior"] = json!({"scaleUp": window, "scaleDown": window});
    }
    json!({
        "apiVersion": HPA.api_version(),
        "kind": HPA.kind,
        "metadata": draft.child_meta(draft.name(), child_labels(draft), child_annotations(draft)),
        "spec": spec,
    })
}

fn metric(name: &str, target: f64) -> Value {
    let resource =
        |target: Value| json!({"type": "Resource", "resource": {"name": name, "target": target}});
    let whole = target as i64;
    match name {
        "cpu" => {
            resource(json!({"type": "Utilization", "averageUtilization": target.ceil() as i64}))
        }
        "memory" => resource(json!({"type": "AverageValue", "averageValue": format!("{whole}Mi")})),
        _ => json!({
            "type": "Pods",
            "pods": {
                "metric": {"name": name},
                "target": {"type": "AverageValue", "averageValue": whole.to_string()},
            },
        }),
    }
}
