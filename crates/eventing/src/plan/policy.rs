//! A `DeliverySpec` as the value the broker takes, and where its dead letters go.

use std::time::Duration;

use api::conditions::Conditions;
use api::delivery::{Endpoint, Format, Growth, Policy};
use api::draft::Draft;
use api::gotext::Period;
use api::quantity::Quantity;
use serde_json::Value;

use super::own_annotation;

use super::resolve::{Unresolved, known, note, resolve, whole, with_nulls};

/// The policy that `delivery` states, without its dead letter sink.
pub(super) fn policy(delivery: &Value, dead_letter: Option<Endpoint>) -> Policy {
    let growth = match delivery["backoffPolicy"].as_str() {
        Some("linear") => Some(Growth::Linear),
        Some("exponential") => Some(Growth::Exponential),
        _ => None,
    };
    let retry = delivery["retry"].as_u64().unwrap_or_default();
    Policy {
        retry: u32::try_from(retry).unwrap_or(u32::MAX),
        backoff: growth.zip(duration(&delivery["backoffDelay"])),
        timeout: duration(&delivery["timeout"]).filter(|timeout| !timeout.is_zero()),
        retry_after_max: duration(&delivery["retryAfterMax"]),
        format: match delivery["format"].as_str() {
            Some("json") => Some(Format::Json),
            Some("binary") => Some(Format::Binary),
            _ => None,
        },
        dead_letter,
    }
}

/// A `DeliverySpec` for a child: what it does not say must not be there.
pub(super) fn whole_delivery(delivery: &Value) -> Value {
    let keys = [
        "deadLetterSink",
        "retry",
        "timeout",
        "backoffPolicy",
        "backoffDelay",
        "retryAfterMax",
        "format",
    ];
    let mut delivery = with_nulls(delivery, &keys);
    if delivery["deadLetterSink"].is_object() {
        delivery["deadLetterSink"] = whole(&delivery["deadLetterSink"]);
    }
    delivery
}

/// An ISO 8601 duration.
pub(super) fn duration(value: &Value) -> Option<Duration> {
    let period = Period::parse(value.as_str()?)?;
    (!period.is_negative()).then(|| period.duration())
}

/// How long and how much an ingress keeps of what everybody has, by its annotations.
pub(super) fn kept(object: &Value) -> (Option<Duration>, Option<u64>) {
    let time = own_annotation(object, "retention").and_then(|text| duration(&text.into()));
    let bytes = own_annotation(object, "retention-bytes").and_then(|text| {
        let bytes = Quantity::parse(text).ok()?.as_f64();
        (bytes >= 1.0).then_some(bytes as u64)
    });
    (time, bytes)
}

/// Settles `DeadLetterSinkResolved` and `status.deadLetterSink*` for `delivery`; answers where
/// dead letters go. A sink that cannot be found now keeps its last address in the data plane.
pub(super) fn dead_letter_sink(
    draft: &mut Draft<'_>,
    conditions: &mut Conditions,
    delivery: &Value,
) -> Option<Endpoint> {
    let sink = &delivery["deadLetterSink"];
    if !sink.is_object() {
        note(&mut draft.status, "deadLetterSink", None);
        conditions.mark_true_because(
            RESOLVED,
            "DeadLetterSinkNotConfigured",
            "No dead letter sink is configured.",
        );
        return None;
    }
    match resolve(draft, sink) {
        Ok(endpoint) => {
            note(&mut draft.status, "deadLetterSink", Some(&endpoint));
            conditions.mark_true(RESOLVED);
            Some(endpoint)
        }
        Err(Unresolved::Pending) => {
            conditions.mark_unknown(
                RESOLVED,
                "Resolving",
                "The dead letter sink is being looked up.",
            );
            known(&draft.object["status"], "deadLetterSink")
        }
        Err(Unresolved::Because(why)) => {
            conditions.mark_false(RESOLVED, "Unable to get the dead letter sink's URI", &why);
            known(&draft.object["status"], "deadLetterSink")
        }
    }
}

/// The condition.
pub(super) const RESOLVED: &str = "DeadLetterSinkResolved";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn durations_are_iso_8601() {
        for (text, millis) in [
            ("PT0.2S", Some(200)),
            ("PT1M30S", Some(90_000)),
            ("P1DT1H", Some(90_000_000)),
            ("PT0S", Some(0)),
            ("1s", None),
            ("-PT1S", None),
            ("", None),
        ] {
            let expected = millis.map(Duration::from_millis);
            assert_eq!(duration(&json!(text)), expected, "{text}");
        }
    }

    #[test]
    fn waits_need_both_policy_and_delay() {
        let both = json!({"retry": 3, "backoffPolicy": "linear", "backoffDelay": "PT1S", "format": "json"});
        let policy = policy(&both, None);
        assert_eq!(policy.retry, 3);
        assert_eq!(
            policy.backoff,
            Some((Growth::Linear, Duration::from_secs(1)))
        );
        assert_eq!(policy.format, Some(Format::Json));
        for half in [
            json!({"backoffPolicy": "linear"}),
            json!({"backoffDelay": "PT1S"}),
        ] {
            assert_eq!(super::policy(&half, None).backoff, None);
        }
    }
}
