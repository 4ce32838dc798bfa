//! From what Pods use to a number of replicas: the formula of kube-controller-manager's replica
//! calculator for resource metrics, with its care for Pods that are starting or not measured.

use api::object::ObjectExt;
use api::quantity::Quantity;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Seen;
use crate::{condition, pods};

/// No change while the ratio of usage to target is this close to 1.
const TOLERANCE: f64 = 0.1;
/// What an autoscaler without metrics aims at: percent of the CPU request.
const DEFAULT_UTILIZATION: i64 = 80;
/// A Pod younger than this counts for CPU only while it is ready: starting up uses CPU.
const CPU_INITIALIZATION: SignedDuration = SignedDuration::from_secs(300);
/// A Pod that became unready this soon after its start has never been ready.
const INITIAL_READINESS: SignedDuration = SignedDuration::from_secs(30);

/// The largest number of replicas that any metric asks for.
pub(super) struct Proposal {
    pub(super) replicas: i32,
    /// Of the metric that asks for it.
    pub(super) name: String,
    /// `status.currentMetrics`.
    pub(super) statuses: Value,
}

/// Why there is no number.
pub(super) struct Failure {
    pub(super) reason: &'static str,
    pub(super) text: String,
}

impl Failure {
    /// As the condition has it.
    pub(super) fn message(&self) -> String {
        format!(
            "the HPA was unable to compute the replica count: {}",
            self.text
        )
    }
}

/// The target of one metric.
#[derive(Clone, Copy)]
enum Target {
    /// Percent of what the Pods request.
    Utilization(i64),
    /// Per Pod, in the metric's own unit.
    AverageValue(f64),
}

/// One measured quantity of the Pods.
struct Resource<'a> {
    name: &'a str,
    /// Of this container; empty means of all together.
    container: &'a str,
    target: Target,
}

/// All metrics. One that fails stands in the way of going down, not of going up.
pub(super) fn propose(now: Timestamp, seen: &Seen<'_>, current: i32) -> Result<Proposal, Failure> {
    let standard = json!([{"type": "Resource", "resource": {"name": "cpu", "target": {
        "type": "Utilization", "averageUtilization": DEFAULT_UTILIZATION}}}]);
    let given = seen.object["spec"]["metrics"].as_array();
    let metrics = given.filter(|all| !all.is_empty()).or(standard.as_array());
    let mut best: Option<(i32, String)> = None;
    let mut statuses = Vec::new();
    let mut failure = None;
    for spec in metrics.into_iter().flatten() {
        match one(spec, now, seen, current) {
            Ok((replicas, name, status)) => {
                statuses.push(status);
                if best.as_ref().is_none_or(|(most, _)| replicas > *most) {
                    best = Some((replicas, name));
                }
            }
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match (best, failure) {
        (Some((replicas, name)), failure) if failure.is_none() || replicas > current => {
            Ok(Proposal {
                replicas,
                name,
                statuses: statuses.into(),
            })
        }
        (_, Some(failure)) => Err(failure),
        (_, None) => Err(Failure {
            reason: "InvalidMetricSourceType",
            text: "no metrics are specified".to_owned(),
        }),
    }
}

fn one(
    spec: &Value,
    now: Timestamp,
    seen: &Seen<'_>,
    current: i32,
) -> Result<(i32, String, Value), Failure> {
    let kind = spec["type"].as_str().unwrap_or_default();
    let (field, source) = match kind {
        "Resource" => ("resource", &spec["resource"]),
        "ContainerResource" => ("containerResource", &spec["containerResource"]),
        _ => {
            return Err(Failure {
                reason: "InvalidMetricSourceType",
                text: format!(
                    "metrics of type {kind:?} need a custom metrics API, which is not served; \
                     use type \"Resource\""
                ),
            });
        }
    };
    let resource = Resource::of(source).ok_or_else(|| Failure {
        reason: "FailedGetResourceMetric",
        text: format!("{field}.target must have averageUtilization or averageValue"),
    })?;
    let failed = |text| Failure {
        reason: "FailedGetResourceMetric",
        text: format!("failed to get {} utilization: {text}", resource.name),
    };
    let measured = Measured::of(&resource, now, seen).map_err(failed)?;
    let replicas = measured.replicas(resource.target, current);
    let mut status = json!({"type": kind});
    status[field] = json!({"name": resource.name, "current": measured.current(&resource)});
    if !resource.container.is_empty() {
        status[field]["container"] = json!(resource.container);
    }
    let name = match resource.target {
        Target::Utilization(_) => format!(
            "{} resource utilization (percentage of request)",
            resource.name
        ),
        Target::AverageValue(_) => format!("{} resource", resource.name),
    };
    Ok((replicas, name, status))
}

impl<'a> Resource<'a> {
    fn of(source: &'a Value) -> Option<Self> {
        let target = &source["target"];
        let target = match target["averageUtilization"].as_i64() {
            Some(percent) => Target::Utilization(percent),
            None => Target::AverageValue(quantity(&target["averageValue"])?),
        };
        Some(Self {
            name: source["name"].as_str()?,
            container: source["container"].as_str().unwrap_or_default(),
            target,
        })
    }

    /// The sum over the containers that count, of what `value` finds in each.
    fn sum(
        &self,
        containers: &Value,
        value: impl Fn(&Value) -> Option<f64>,
    ) -> Result<f64, String> {
        let all = containers.as_array().into_iter().flatten();
        let mut counted = all
            .filter(|c| self.container.is_empty() || c["name"] == self.container)
            .peekable();
        if counted.peek().is_none() {
            return Err(format!("container {} not present", self.container));
        }
        counted
            .map(|c| {
                let name = c["name"].as_str().unwrap_or_default();
                value(c).ok_or_else(|| name.to_owned())
            })
            .sum()
    }
}

/// Usage and requests of the Pods that count.
struct Measured {
    /// Used and requested.
    ready: Vec<(f64, f64)>,
    /// Requested by Pods that have no measurement.
    missing: Vec<f64>,
    /// Requested by Pods that are still starting.
    unready: Vec<f64>,
}

impl Measured {
    fn of(resource: &Resource<'_>, now: Timestamp, seen: &Seen<'_>) -> Result<Self, String> {
        let mut measured = Self {
            ready: Vec::new(),
            missing: Vec::new(),
            unready: Vec::new(),
        };
        for pod in seen.pods.iter().filter(|pod| pods::is_active(pod)) {
            let requested = requested(resource, pod)?;
            let usage = seen.usage.get(pod.name()).and_then(|usage| {
                let used = |c: &Value| quantity(&c["usage"][resource.name]);
                resource.sum(&usage["containers"], used).ok()
            });
            if pod["status"]["phase"] == "Pending" {
                measured.unready.push(requested);
            } else if let Some(used) = usage {
                match resource.name == "cpu" && is_starting(pod, now) {
                    true => measured.unready.push(requested),
                    false => measured.ready.push((used, requested)),
                }
            } else {
                measured.missing.push(requested);
            }
        }
        if measured.ready.is_empty() {
            return Err("did not receive metrics for targeted pods (pods might be unready)".into());
        }
        Ok(measured)
    }

    fn replicas(&self, target: Target, current: i32) -> i32 {
        let near = |ratio: f64| (ratio - 1.0).abs() <= TOLERANCE;
        let count = |ratio: f64, pods: usize| (ratio * pods as f64).ceil() as i32;
        let first = ratio(target, &self.ready);
        let growing = first > 1.0;
        let unready = if growing { &self.unready[..] } else { &[] };
        if unready.is_empty() && self.missing.is_empty() {
            return match near(first) {
                true => current,
                false => count(first, self.ready.len()),
            };
        }
        // Pods without a measurement are taken to stand in the way of any change.
        let assumed = |requested: f64| match target {
            _ if growing => 0.0,
            Target::Utilization(percent) => requested * percent.max(100) as f64 / 100.0,
            Target::AverageValue(value) => value,
        };
        let missing = self.missing.iter().map(|r| (assumed(*r), *r));
        let unready = unready.iter().map(|r| (0.0, *r));
        let all: Vec<(f64, f64)> = self
            .ready
            .iter()
            .copied()
            .chain(missing)
            .chain(unready)
            .collect();
        let second = ratio(target, &all);
        let turned = growing != (second > 1.0);
        let replicas = count(second, all.len());
        let backwards = growing && replicas < current || !growing && replicas > current;
        match near(second) || turned || backwards {
            true => current,
            false => replicas,
        }
    }

    /// `current` of a metric's status.
    fn current(&self, resource: &Resource<'_>) -> Value {
        let used: f64 = self.ready.iter().map(|(used, _)| used).sum();
        let average = used / self.ready.len() as f64;
        let value = match resource.name {
            "cpu" => format!("{}m", (average * 1000.0).round() as i64),
            _ => format!("{}", average.round() as i64),
        };
        match resource.target {
            Target::Utilization(_) => json!({
                "averageUtilization": utilization(&self.ready),
                "averageValue": value,
            }),
            Target::AverageValue(_) => json!({"averageValue": value}),
        }
    }
}

/// Percent of the requests that is used, whole as Kubernetes counts it.
fn utilization(pods: &[(f64, f64)]) -> i64 {
    let used: f64 = pods.iter().map(|(used, _)| used).sum();
    let requested: f64 = pods.iter().map(|(_, requested)| requested).sum();
    if requested == 0.0 {
        return 0;
    }
    (used * 100.0 / requested) as i64
}

fn ratio(target: Target, pods: &[(f64, f64)]) -> f64 {
    match target {
        Target::Utilization(percent) => utilization(pods) as f64 / percent.max(1) as f64,
        Target::AverageValue(value) => {
            let used: f64 = pods.iter().map(|(used, _)| used).sum();
            used / pods.len() as f64 / value.max(f64::MIN_POSITIVE)
        }
    }
}

/// What a Pod requests of the resource; only a target in percent needs it to.
fn requested(resource: &Resource<'_>, pod: &Value) -> Result<f64, String> {
    let request = |c: &Value| quantity(&c["resources"]["requests"][resource.name]);
    match (
        resource.target,
        resource.sum(&pod["spec"]["containers"], request),
    ) {
        (_, Ok(sum)) => Ok(sum),
        (Target::AverageValue(_), Err(_)) => Ok(0.0),
        (Target::Utilization(_), Err(container)) => Err(format!(
            "missing request for {} in container {container} of Pod {}",
            resource.name,
            pod.name()
        )),
    }
}

/// Whether a running Pod's CPU says nothing yet, since it is starting.
fn is_starting(pod: &Value, now: Timestamp) -> bool {
    let time = |value: &Value| value.as_str().and_then(|t| t.parse::<Timestamp>().ok());
    let Some(start) = time(&pod["status"]["startTime"]) else {
        return true;
    };
    let ready = pods::is_ready(pod);
    if start + CPU_INITIALIZATION > now {
        return !ready;
    }
    let condition = condition::get(pod, "Ready");
    let changed = condition.and_then(|ready| time(&ready["lastTransitionTime"]));
    !ready && changed.is_none_or(|changed| start + INITIAL_READINESS > changed)
}

fn quantity(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => Quantity::parse(text).ok().map(|q| q.as_f64()),
        Value::Number(number) => number.as_f64(),
        _ => None,
    }
}
