//! Families as the bytes of OpenTelemetry's protocol: `ExportMetricsServiceRequest` of
//! `opentelemetry/proto/collector/metrics/v1`. Pure.

use std::collections::BTreeMap;

use crate::traces::otlp::{Message, envelope};

use super::page::{Distribution, Family, Labels, Points};

/// Field numbers of the messages, by message and field.
mod field {
    pub(super) const METRIC_NAME: u32 = 1;
    pub(super) const METRIC_UNIT: u32 = 3;
    pub(super) const METRIC_GAUGE: u32 = 5;
    pub(super) const METRIC_SUM: u32 = 7;
    pub(super) const METRIC_HISTOGRAM: u32 = 9;
    /// Of all three.
    pub(super) const POINTS: u32 = 1;
    /// Of sums and histograms.
    pub(super) const TEMPORALITY: u32 = 2;
    pub(super) const SUM_IS_MONOTONIC: u32 = 3;
    pub(super) const POINT_START: u32 = 2;
    pub(super) const POINT_TIME: u32 = 3;
    pub(super) const NUMBER_DOUBLE: u32 = 4;
    pub(super) const NUMBER_ATTRIBUTES: u32 = 7;
    pub(super) const HISTOGRAM_COUNT: u32 = 4;
    pub(super) const HISTOGRAM_SUM: u32 = 5;
    pub(super) const HISTOGRAM_COUNTS: u32 = 6;
    pub(super) const HISTOGRAM_BOUNDS: u32 = 7;
    pub(super) const HISTOGRAM_ATTRIBUTES: u32 = 9;
}

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const CUMULATIVE: u64 = 2;

/// The request that takes `families` to a collector; the parts of Knative that measure them are
/// resources of their own. The times are when counting began and now, nanoseconds since 1970.
pub(super) fn request(families: &[Family], times: (u64, u64), version: &str) -> Vec<u8> {
    let mut by_part: BTreeMap<&str, Vec<&Family>> = BTreeMap::new();
    for family in families {
        by_part.entry(part(&family.name)).or_default().push(family);
    }
    envelope(by_part, version, |message, family| {
        write(message, family, times);
    })
}

/// Which part of Knative measures this.
fn part(name: &str) -> &'static str {
    let of = |prefix: &str| name.starts_with(prefix);
    if of("kn.revision.request.") || of("http.") {
        "activator"
    } else if of("kn.revision.") || of("kn.autoscaler.") {
        "autoscaler"
    } else if of("kn.webhook.") {
        "webhook"
    } else if of("kn.workqueue.") {
        "controller"
    } else {
        "rekindle"
    }
}

fn write(metric: &mut Message, family: &Family, times: (u64, u64)) {
    metric.bytes(field::METRIC_NAME, family.name.as_bytes());
    if !family.unit.is_empty() {
        metric.bytes(field::METRIC_UNIT, family.unit.as_bytes());
    }
    match &family.points {
        Points::Gauge(points) => metric.message(field::METRIC_GAUGE, |gauge| {
            numbers(gauge, points, times);
        }),
        Points::Counter(points) => metric.message(field::METRIC_SUM, |sum| {
            numbers(sum, points, times);
            sum.number(field::TEMPORALITY, CUMULATIVE);
            sum.number(field::SUM_IS_MONOTONIC, 1);
        }),
        Points::Histogram(points) => metric.message(field::METRIC_HISTOGRAM, |histogram| {
            for (labels, distribution) in points {
                histogram.message(field::POINTS, |point| {
                    distributed(point, (labels, distribution), times);
                });
            }
            histogram.number(field::TEMPORALITY, CUMULATIVE);
        }),
    }
}

fn numbers(message: &mut Message, points: &[(Labels, f64)], (start, now): (u64, u64)) {
    for (labels, value) in points {
        message.message(field::POINTS, |point| {
            point.fixed64(field::POINT_START, start);
            point.fixed64(field::POINT_TIME, now);
            point.fixed64(field::NUMBER_DOUBLE, value.to_bits());
            attributes(point, field::NUMBER_ATTRIBUTES, labels);
        });
    }
}

fn distributed(
    point: &mut Message,
    (labels, distribution): (&Labels, &Distribution),
    (start, now): (u64, u64),
) {
    point.fixed64(field::POINT_START, start);
    point.fixed64(field::POINT_TIME, now);
    let count = distribution.counts.iter().sum();
    point.fixed64(field::HISTOGRAM_COUNT, count);
    point.fixed64(field::HISTOGRAM_SUM, distribution.sum.to_bits());
    let packed = |values: &mut dyn Iterator<Item = u64>| -> Vec<u8> {
        values.flat_map(u64::to_le_bytes).collect()
    };
    let counts = packed(&mut distribution.counts.iter().copied());
    point.bytes(field::HISTOGRAM_COUNTS, &counts);
    let bounds = packed(&mut distribution.bounds.iter().map(|bound| bound.to_bits()));
    point.bytes(field::HISTOGRAM_BOUNDS, &bounds);
    attributes(point, field::HISTOGRAM_ATTRIBUTES, labels);
}

fn attributes(point: &mut Message, field: u32, labels: &Labels) {
    for (name, value) in labels {
        point.attribute(field, name, &trace::Value::Text(value.as_str().into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_its_fields_in_order() {
        let family = Family {
            name: "n".to_owned(),
            unit: "s",
            points: Points::Histogram(vec![(
                vec![("a".to_owned(), "b".to_owned())],
                Distribution {
                    bounds: vec![1.0],
                    counts: vec![2, 3],
                    sum: 0.5,
                },
            )]),
        };
        let mut message = Message::default();
        write(&mut message, &family, (1, 2));
        // Field by field, by the rules of the encoding.
        let point = [
            b"\x11\x01\0\0\0\0\0\0\0".as_slice(),
            b"\x19\x02\0\0\0\0\0\0\0",
            b"\x21\x05\0\0\0\0\0\0\0",
            b"\x29\0\0\0\0\0\0\xe0\x3f",
            b"\x32\x10\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0",
            b"\x3a\x08\0\0\0\0\0\0\xf0\x3f",
            b"\x4a\x08\x0a\x01a\x12\x03\x0a\x01b",
        ]
        .concat();
        assert_eq!(point.len(), 74);
        let expected = [
            b"\x0a\x01n\x1a\x01s\x4a\x4e\x0a\x4a".as_slice(),
            &point,
            b"\x10\x02",
        ];
        assert_eq!(message.0, expected.concat());
    }

    #[test]
    fn each_part_is_a_resource() {
        let parts = [
            "kn.revision.request.active",
            "http.server.request.duration",
            "kn.revision.pods.count",
            "kn.workqueue.adds",
            "kn.webhook.handler.duration",
            "rekindle_eventing_lag_events",
        ];
        let expected = [
            "activator",
            "activator",
            "autoscaler",
            "controller",
            "webhook",
            "rekindle",
        ];
        assert_eq!(parts.map(part), expected);
    }
}
