//! How long Knative's admission and conversion take, by kind and outcome: `kn.webhook.handler.duration`,
//! which on a cluster the webhook Deployment measures. Wraps the hooks for `wire`; the console's page
//! shows it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use apiserver::{Admitted, Denied, Hooks, Review};
use controller::{BUCKET_BOUNDS_S, Histogram};
use serde_json::Value;

use super::Knative;

const NAME: &str = "kn_webhook_handler_duration_seconds";
/// The attributes, as the page has them, in the order of [`Labels`].
const ATTRIBUTES: [&str; 7] = [
    "kn_webhook_type",
    "kn_webhook_resource_group",
    "kn_webhook_resource_version",
    "kn_webhook_resource_kind",
    "kn_webhook_subresource",
    "kn_webhook_operation_type",
    "kn_webhook_operation_status",
];

type Labels = [String; ATTRIBUTES.len()];

/// What the calls took; all clones see the same.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<BTreeMap<Labels, Histogram>>>);

impl Calls {
    fn observe(&self, labels: [&str; ATTRIBUTES.len()], began: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let one = all.entry(labels.map(str::to_owned)).or_default();
        one.observe(began.elapsed());
    }

    /// The text, without an end mark. Writing to a String cannot fail.
    pub(crate) fn text(&self) -> String {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.is_empty() {
            return String::new();
        }
        let mut out = format!("# TYPE {NAME} histogram\n");
        for (labels, histogram) in &*all {
            let pairs = ATTRIBUTES.iter().zip(labels);
            let pairs: Vec<String> = pairs
                .map(|(name, value)| format!("{name}=\"{value}\""))
                .collect();
            let pairs = pairs.join(",");
            let mut below = 0;
            let bounds = BUCKET_BOUNDS_S.iter().map(f64::to_string);
            let bounds = bounds.chain(["+Inf".to_owned()]);
            for (bound, count) in bounds.zip(histogram.buckets) {
                below += count;
                let _ = writeln!(out, "{NAME}_bucket{{{pairs},le=\"{bound}\"}} {below}");
            }
            let _ = writeln!(out, "{NAME}_sum{{{pairs}}} {}", histogram.sum_s);
            let _ = writeln!(out, "{NAME}_count{{{pairs}}} {below}");
        }
        out
    }
}

/// The hooks, measured.
pub(crate) struct Measured(pub(crate) Calls);

impl Hooks for Measured {
    fn claims(&self, group: &str, kind: &str, subresource: &str) -> bool {
        Knative.claims(group, kind, subresource)
    }

    fn admit(&self, review: &Review<'_>) -> Result<Admitted, Denied> {
        let began = Instant::now();
        let admitted = Knative.admit(review);
        let labels = [
            "admission",
            review.group,
            review.version,
            review.kind,
            review.subresource,
            review.operation.as_str(),
            status(admitted.is_ok()),
        ];
        self.0.observe(labels, began);
        admitted
    }

    fn converts(&self, group: &str, kind: &str) -> bool {
        Knative.converts(group, kind)
    }

    fn convert(&self, object: Value, to_api_version: &str) -> Result<Value, String> {
        let began = Instant::now();
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        let converted = Knative.convert(object, to_api_version);
        let (group, version) = to_api_version
            .split_once('/')
            .unwrap_or(("", to_api_version));
        let status = status(converted.is_ok());
        let labels = ["conversion", group, version, &kind, "", "", status];
        self.0.observe(labels, began);
        converted
    }
}

const fn status(is_good: bool) -> &'static str {
    if is_good { "success" } else { "failed" }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_call_is_counted_by_what_it_was_for() {
        let hooks = Measured(Calls::default());
        assert_eq!(hooks.0.text(), "");
        let old = json!({"apiVersion": "serving.knative.dev/v1", "kind": "Service",
            "metadata": {"name": "a"}, "spec": {}});
        hooks.convert(old, "serving.knative.dev/v1beta1").unwrap();
        let text = hooks.0.text();
        let line = "kn_webhook_handler_duration_seconds_count{kn_webhook_type=\"conversion\",\
            kn_webhook_resource_group=\"serving.knative.dev\",\
            kn_webhook_resource_version=\"v1beta1\",kn_webhook_resource_kind=\"Service\",\
            kn_webhook_subresource=\"\",kn_webhook_operation_type=\"\",\
            kn_webhook_operation_status=\"success\"} 1";
        assert!(text.lines().any(|found| found == line), "{text}");
    }
}
