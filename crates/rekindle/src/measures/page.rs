//! Prometheus' text read back into families, under OpenTelemetry's names: those of Knative's, which
//! the page has with underscores and with the unit behind. Pure.

use std::collections::BTreeMap;

/// Labels by name.
pub(super) type Labels = Vec<(String, String)>;

/// One metric of the page.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Family {
    /// As OpenTelemetry has it.
    pub(super) name: String,
    /// `s` for what is measured in seconds, else empty.
    pub(super) unit: &'static str,
    pub(super) points: Points,
}

/// What is measured.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Points {
    /// A value that goes up and down.
    Gauge(Vec<(Labels, f64)>),
    /// One that only grows.
    Counter(Vec<(Labels, f64)>),
    Histogram(Vec<(Labels, Distribution)>),
}

/// One histogram: how many values are up to each bound and above the one before, the last above
/// all.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Distribution {
    pub(super) bounds: Vec<f64>,
    pub(super) counts: Vec<u64>,
    pub(super) sum: f64,
}

/// What a name of Knative's or OpenTelemetry's begins with.
const KNOWN: [&str; 3] = ["kn_", "http_", "k8s_"];
/// Where an underscore is one in OpenTelemetry, too.
const KEPT: [(&str, &str); 2] = [("not.ready", "not_ready"), ("status.code", "status_code")];

/// The families of a page, in its order. A line that is no sample is left out.
pub(super) fn read(page: &str) -> Vec<Family> {
    let mut families = Vec::new();
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(declared) = line.strip_prefix("# TYPE ") else {
            continue;
        };
        let Some((name, kind)) = declared.split_once(' ') else {
            continue;
        };
        let mut samples = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with("# TYPE ")) {
            samples.extend(sample(line).filter(|(of, ..)| of.starts_with(name)));
        }
        let plain = || {
            let all = samples.iter();
            all.map(|(_, labels, value)| (renamed(labels), *value))
                .collect()
        };
        let points = match kind {
            "counter" => Points::Counter(plain()),
            "histogram" => Points::Histogram(distributions(name, &samples)),
            _ => Points::Gauge(plain()),
        };
        let (name, unit) = match name.strip_suffix("_seconds") {
            Some(name) => (name, "s"),
            None => (name.strip_suffix("_total").unwrap_or(name), ""),
        };
        families.push(Family {
            name: dotted(name),
            unit,
            points,
        });
    }
    families
}

type Sample<'a> = (&'a str, Labels, f64);

/// `name{label="value",…} 1.5`.
fn sample(line: &str) -> Option<Sample<'_>> {
    let (head, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, rest)) = head.split_once('{') else {
        return (!line.starts_with('#')).then(|| (head, Labels::new(), value));
    };
    let mut labels = Labels::new();
    let mut rest = rest.strip_suffix('}')?;
    while !rest.is_empty() {
        let (label, quoted) = rest.split_once("=\"")?;
        let (text, after) = unquoted(quoted)?;
        labels.push((label.to_owned(), text));
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    Some((name, labels, value))
}

/// The text up to the quotation mark that ends it, and what follows.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((out, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => out.push('\n'),
                other => out.push(other),
            },
            char => out.push(char),
        }
    }
    None
}

/// Buckets of the page hold all values up to their bound; here each its own.
fn distributions(name: &str, samples: &[Sample<'_>]) -> Vec<(Labels, Distribution)> {
    let mut found: BTreeMap<Labels, Distribution> = BTreeMap::new();
    for (of, labels, value) in samples {
        let mut labels = labels.clone();
        let bound = labels.iter().position(|(label, _)| label == "le");
        let bound = bound.map(|at| labels.remove(at).1);
        let one = found.entry(renamed(&labels)).or_default();
        match of.strip_prefix(name) {
            Some("_sum") => one.sum = *value,
            Some("_bucket") => {
                let below: u64 = one.counts.iter().sum();
                one.counts.push((*value as u64).saturating_sub(below));
                let bound = bound.and_then(|bound| bound.parse::<f64>().ok());
                one.bounds.extend(bound.filter(|bound| bound.is_finite()));
            }
            _ => {}
        }
    }
    found.into_iter().collect()
}

fn renamed(labels: &Labels) -> Labels {
    let labels = labels.iter();
    labels
        .map(|(name, value)| (dotted(name), value.clone()))
        .collect()
}

fn dotted(name: &str) -> String {
    if !KNOWN.iter().any(|known| name.starts_with(known)) {
        return name.to_owned();
    }
    let dotted = name.replace('_', ".");
    KEPT.iter()
        .fold(dotted, |name, (from, to)| name.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn families_have_opentelemetrys_names() {
        let page = r#"# HELP kn_revision_pods_not_ready_count Pods.
# TYPE kn_revision_pods_not_ready_count gauge
kn_revision_pods_not_ready_count{kn_revision_name="a\"b"} 2
# TYPE kn_workqueue_adds_total counter
kn_workqueue_adds_total{name="Service"} 7
# TYPE http_server_request_duration_seconds histogram
# UNIT http_server_request_duration_seconds seconds
http_server_request_duration_seconds_sum{http_response_status_code="200"} 1.5
http_server_request_duration_seconds_count{http_response_status_code="200"} 3
http_server_request_duration_seconds_bucket{le="0.5",http_response_status_code="200"} 1
http_server_request_duration_seconds_bucket{le="1.0",http_response_status_code="200"} 1
http_server_request_duration_seconds_bucket{le="+Inf",http_response_status_code="200"} 3
# TYPE rekindle_eventing_lag_events gauge
rekindle_eventing_lag_events 4
# EOF
"#;
        let family = |name: &str, unit, points| Family {
            name: name.to_owned(),
            unit,
            points,
        };
        let distribution = Distribution {
            bounds: vec![0.5, 1.0],
            counts: vec![1, 0, 2],
            sum: 1.5,
        };
        let expected = [
            family(
                "kn.revision.pods.not_ready.count",
                "",
                Points::Gauge(vec![(labels(&[("kn.revision.name", "a\"b")]), 2.0)]),
            ),
            family(
                "kn.workqueue.adds",
                "",
                Points::Counter(vec![(labels(&[("name", "Service")]), 7.0)]),
            ),
            family(
                "http.server.request.duration",
                "s",
                Points::Histogram(vec![(
                    labels(&[("http.response.status_code", "200")]),
                    distribution,
                )]),
            ),
            family(
                "rekindle_eventing_lag_events",
                "",
                Points::Gauge(vec![(Labels::new(), 4.0)]),
            ),
        ];
        assert_eq!(read(page), expected);
    }
}
