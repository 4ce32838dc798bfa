//! What `list` and `describe` show of every noun: ages, conditions, references.

use jiff::Timestamp;
use serde_json::Value;

use super::super::get::ready;
use super::super::output;

/// A string field, or nothing.
pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub(super) fn namespace(object: &Value) -> String {
    text(&object["metadata"]["namespace"])
}

pub(super) fn name(object: &Value) -> String {
    text(&object["metadata"]["name"])
}

pub(super) fn url(object: &Value) -> String {
    text(&object["status"]["address"]["url"])
}

/// How old an object is.
pub(super) fn age(object: &Value) -> String {
    since(&object["metadata"]["creationTimestamp"])
}

/// The time since a timestamp, in the units kubectl takes.
fn since(timestamp: &Value) -> String {
    let Some(then) = timestamp
        .as_str()
        .and_then(|text| text.parse::<Timestamp>().ok())
    else {
        return String::new();
    };
    human(Timestamp::now().duration_since(then).as_secs().max(0))
}

fn human(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    match seconds {
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 10 * MINUTE && s % MINUTE != 0 => format!("{}m{}s", s / MINUTE, s % MINUTE),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR && s % HOUR >= MINUTE => format!("{}h{}m", s / HOUR, s % HOUR / MINUTE),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s => format!("{}d", s / DAY),
    }
}

fn conditions_of(object: &Value) -> impl Iterator<Item = &Value> {
    let conditions = object["status"]["conditions"].as_array();
    conditions.into_iter().flatten()
}

/// `4 OK / 5`.
pub(super) fn conditions(object: &Value) -> String {
    let all = conditions_of(object).count();
    let good = conditions_of(object).filter(|condition| condition["status"] == "True");
    format!("{} OK / {all}", good.count())
}

pub(super) fn is_ready(object: &Value) -> String {
    ready(object).0
}

/// Why it is not ready.
pub(super) fn reason(object: &Value) -> String {
    let mut not_ready = conditions_of(object)
        .filter(|condition| condition["type"] == "Ready" && condition["status"] != "True");
    not_ready.next().map_or_else(String::new, |condition| {
        format!(
            "{} : {}",
            text(&condition["reason"]),
            text(&condition["message"])
        )
    })
}

/// A destination as `--sink` takes it: `ksvc:NAME`, `broker:NAME`, a URL.
pub(super) fn sink(destination: &Value) -> String {
    let reference = &destination["ref"];
    if reference.is_null() {
        return text(&destination["uri"]);
    }
    let version = text(&reference["apiVersion"]);
    let prefix = match (text(&reference["kind"]).as_str(), version.split('/').next()) {
        ("Service", Some("serving.knative.dev")) => "ksvc".to_owned(),
        ("Service", _) => "svc".to_owned(),
        (kind, _) => kind.to_lowercase(),
    };
    format!("{prefix}:{}", text(&reference["name"]))
}

/// The first lines of every `describe`.
pub(super) fn head(object: &Value) -> Vec<Vec<String>> {
    let pairs = |map: &Value| {
        let pairs = map.as_object().into_iter().flatten();
        let pairs = pairs.map(|(key, value)| format!("{key}={}", text(value)));
        pairs.collect::<Vec<_>>().join(", ")
    };
    let mut rows = vec![
        row("Name:", name(object)),
        row("Namespace:", text(&object["metadata"]["namespace"])),
    ];
    for (title, field) in [("Labels:", "labels"), ("Annotations:", "annotations")] {
        let pairs = pairs(&object["metadata"][field]);
        if !pairs.is_empty() {
            rows.push(row(title, pairs));
        }
    }
    rows.push(row("Age:", age(object)));
    rows
}

pub(super) fn row(title: &str, value: String) -> Vec<String> {
    vec![title.to_owned(), value]
}

/// The lines of a destination under `title`.
pub(super) fn destination(title: &str, destination: &Value) -> Vec<Vec<String>> {
    let mut rows = vec![vec![String::new()], vec![title.to_owned()]];
    let reference = &destination["ref"];
    if !reference.is_null() {
        rows.push(row("  Name:", text(&reference["name"])));
        rows.push(row("  Namespace:", text(&reference["namespace"])));
        let version = text(&reference["apiVersion"]);
        let kind = text(&reference["kind"]);
        rows.push(row("  Resource:", format!("{kind} ({version})")));
    }
    if let Some(uri) = destination["uri"].as_str() {
        rows.push(row("  URI:", uri.to_owned()));
    }
    rows
}

/// A whole description: the aligned lines and the table of conditions, as kn prints them.
pub(super) fn page(rows: &[Vec<String>], object: &Value) -> String {
    let mut out = output::columns(rows);
    let mut table = vec![["  OK TYPE", "AGE", "REASON"].map(str::to_owned).to_vec()];
    for condition in conditions_of(object) {
        let mark = match condition["status"].as_str() {
            Some("True") => "++",
            Some("False") => "!!",
            _ => "??",
        };
        table.push(vec![
            format!("  {mark} {}", text(&condition["type"])),
            since(&condition["lastTransitionTime"]),
            text(&condition["reason"]),
        ]);
    }
    out.push_str("\nConditions:\n");
    out.push_str(&output::columns(&table));
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ages_are_kubectls() {
        for (seconds, age) in [
            (0, "0s"),
            (119, "119s"),
            (125, "2m5s"),
            (600, "10m"),
            (3 * 3600 + 120, "3h2m"),
            (90_000, "25h"),
            (200_000, "2d"),
        ] {
            assert_eq!(human(seconds), age);
        }
    }

    #[test]
    fn destinations_are_said_as_sinks() {
        let knative = json!({"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "a"}});
        let plain = json!({"ref": {"apiVersion": "v1", "kind": "Service", "name": "a"}});
        let broker = json!({"ref": {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "b"}});
        let said = [knative, plain, broker, json!({"uri": "http://x"})].map(|to| sink(&to));
        assert_eq!(said, ["ksvc:a", "svc:a", "broker:b", "http://x"]);
    }
}
