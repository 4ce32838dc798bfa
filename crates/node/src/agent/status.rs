//! The Pod's status as Kubernetes shows it, computed from the machine's state.

use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use stdx::Instant;

use super::container::{Container, Ended, Role, State};
use super::machine::{Ending, Ground, PodMachine};

/// What the launcher's names are prefixed with in `containerID`.
const ID_SCHEME: &str = "rekindle://";

/// The instant as Kubernetes writes times: whole seconds. The node's instants count from the
/// Unix epoch.
pub(super) fn time(instant: Instant) -> Time {
    let seconds = i64::try_from(instant.since_origin().as_secs()).unwrap_or(i64::MAX);
    Time(jiff::Timestamp::from_second(seconds).unwrap_or_default())
}

impl PodMachine {
    /// The whole status. `host_ip` is the machine's address; conditions of others in the Pod's
    /// present status are kept.
    pub(crate) fn status(&self, now: Instant, host_ip: &str) -> PodStatus {
        let pod_ip = match self.ground {
            Ground::Ready(ip) | Ground::Released(Some(ip)) => Some(ip.to_string()),
            _ => None,
        };
        let of = |roles: &[Role]| {
            let all = self.containers.iter();
            let all = all.filter(|one| roles.contains(&one.role));
            all.map(container_status).collect::<Vec<_>>()
        };
        let init = of(&[Role::Init, Role::Sidecar]);
        let ephemeral = of(&[Role::Ephemeral]);
        let (phase, reason, message) = self.phase();
        PodStatus {
            conditions: Some(self.conditions(now, phase)),
            container_statuses: Some(of(&[Role::Main])),
            ephemeral_container_statuses: (!ephemeral.is_empty()).then_some(ephemeral),
            host_ip: Some(host_ip.to_owned()),
            host_ips: Some(vec![HostIP {
                ip: host_ip.to_owned(),
            }]),
            init_container_statuses: (!init.is_empty()).then_some(init),
            message,
            phase: Some(phase.to_owned()),
            pod_ips: pod_ip.clone().map(|ip| vec![PodIP { ip }]),
            pod_ip,
            qos_class: Some(qos_class(&self.pod).to_owned()),
            reason,
            start_time: Some(time(self.started)),
            ..PodStatus::default()
        }
    }

    fn phase(&self) -> (&'static str, Option<String>, Option<String>) {
        let text = match &self.ending {
            Some((Ending::DeadlineExceeded, _)) => Some((
                "DeadlineExceeded",
                "Pod was active on the node longer than the specified deadline",
            )),
            Some((Ending::Evicted(message), _)) => Some(("Evicted", message.as_str())),
            Some((Ending::Deleted, _)) | None => None,
        };
        // A phase that is the last one is shown when nothing runs any more.
        let idle = self.containers.iter().all(Container::is_idle);
        if let Some((reason, message)) = text.filter(|_| idle) {
            return ("Failed", Some(reason.to_owned()), Some(message.to_owned()));
        }
        let over = |one: &Container| one.ended().is_some();
        let stopped = self.ending.is_some()
            && self
                .containers
                .iter()
                .filter(|one| one.role == Role::Main)
                .all(over);
        if text.is_none() && (self.is_finished() || stopped) {
            let failed = |one: &Container| one.ended().is_some_and(|end| end.code != 0);
            let counts = |one: &&Container| matches!(one.role, Role::Init | Role::Main);
            let any_failed = self.containers.iter().filter(counts).any(failed);
            return (if any_failed { "Failed" } else { "Succeeded" }, None, None);
        }
        let begun = |one: &Container| {
            !matches!(one.state, State::Waiting { .. } | State::Launching { .. })
                || one.last.is_some()
        };
        let mains = self.containers.iter().filter(|one| one.role == Role::Main);
        let pending = !self.is_initialized() || mains.clone().any(|one| !begun(one));
        (if pending { "Pending" } else { "Running" }, None, None)
    }

    fn is_initialized(&self) -> bool {
        self.containers.iter().all(|one| match one.role {
            Role::Main | Role::Ephemeral => true,
            Role::Init => one.ended().is_some_and(|ended| ended.code == 0),
            Role::Sidecar => one.is_started() || one.restarts > 0 || one.ended().is_some(),
        })
    }

    fn conditions(&self, now: Instant, phase: &str) -> Vec<PodCondition> {
        let names = |wanted: fn(&Container) -> bool| {
            let all = self.containers.iter().filter(|one| wanted(one));
            all.map(|one| one.spec.name.as_str())
                .collect::<Vec<_>>()
                .join(" ")
        };
        let unready = names(|one| match one.role {
            Role::Init | Role::Ephemeral => false,
            Role::Sidecar | Role::Main => !one.is_ready(),
        });
        let incomplete = names(|one| match one.role {
            Role::Main | Role::Ephemeral => false,
            Role::Init => one.ended().is_none_or(|ended| ended.code != 0),
            Role::Sidecar => !one.is_started(),
        });
        let (has_ip, over) = match self.ground {
            Ground::Ready(_) => (true, false),
            Ground::Released(_) => (false, true),
            _ => (false, false),
        };
        let not_ready = match (over || phase == "Succeeded" || phase == "Failed", phase) {
            (true, "Succeeded") => Some(("PodCompleted", String::new())),
            (true, _) => Some(("PodFailed", String::new())),
            _ if !unready.is_empty() => Some((
                "ContainersNotReady",
                format!("containers with unready status: [{unready}]"),
            )),
            _ => None,
        };
        let gate = self.closed_gate();
        let pod_ready = not_ready.clone().or(gate);
        let initialized = match incomplete.is_empty() || self.is_initialized() {
            true => None,
            false => {
                let text = format!("containers with incomplete status: [{incomplete}]");
                Some(("ContainersNotInitialized", text))
            }
        };
        let plain = |holds: bool| {
            if holds {
                None
            } else {
                Some(("", String::new()))
            }
        };
        let wanted = [
            ("PodReadyToStartContainers", plain(has_ip)),
            ("Initialized", initialized),
            ("Ready", pod_ready),
            ("ContainersReady", not_ready),
            ("PodScheduled", None),
        ];
        let mut conditions: Vec<PodCondition> = wanted
            .into_iter()
            .map(|(kind, why)| self.condition(now, kind, why))
            .collect();
        let ours = |kind: &str| conditions.iter().any(|one| one.type_ == kind);
        let others: Vec<PodCondition> = self
            .present_conditions()
            .filter(|one| !ours(&one.type_))
            .cloned()
            .collect();
        conditions.extend(others);
        conditions
    }

    fn present_conditions(&self) -> impl Iterator<Item = &PodCondition> {
        let status = self.pod.status.as_ref();
        status
            .and_then(|status| status.conditions.as_ref())
            .into_iter()
            .flatten()
    }

    /// The first readiness gate that is not open.
    fn closed_gate(&self) -> Option<(&'static str, String)> {
        let gates = self.pod.spec.as_ref()?.readiness_gates.as_ref()?;
        let closed = gates.iter().find(|gate| {
            let mut all = self.present_conditions();
            !all.any(|one| one.type_ == gate.condition_type && one.status == "True")
        })?;
        let text = format!(
            "corresponding condition of pod readiness gate \"{}\" does not exist.",
            closed.condition_type
        );
        Some(("ReadinessGatesNotReady", text))
    }

    /// A condition: true, or false for the reason given; the time is kept while it stays as it is.
    fn condition(
        &self,
        now: Instant,
        kind: &str,
        why_not: Option<(&'static str, String)>,
    ) -> PodCondition {
        let status = if why_not.is_none() { "True" } else { "False" };
        let before = self.present_conditions().find(|one| one.type_ == kind);
        let since = before
            .filter(|one| one.status == status)
            .and_then(|one| one.last_transition_time.clone())
            .unwrap_or_else(|| time(now));
        let (reason, message) = why_not.unwrap_or_default();
        PodCondition {
            last_transition_time: Some(since),
            message: (!message.is_empty()).then_some(message),
            reason: (!reason.is_empty()).then(|| reason.to_owned()),
            status: status.to_owned(),
            type_: kind.to_owned(),
            ..PodCondition::default()
        }
    }
}

fn container_id(id: &str) -> Option<String> {
    (!id.is_empty()).then(|| format!("{ID_SCHEME}{id}"))
}

fn terminated(ended: &Ended) -> ContainerStateTerminated {
    ContainerStateTerminated {
        container_id: container_id(&ended.id),
        exit_code: ended.code,
        finished_at: Some(time(ended.finished)),
        message: (!ended.message.is_empty()).then(|| ended.message.clone()),
        reason: Some(ended.reason.clone()),
        signal: (ended.signal != 0).then_some(ended.signal),
        started_at: Some(time(ended.started)),
    }
}

fn container_status(container: &Container) -> ContainerStatus {
    let mut state = ContainerState::default();
    let mut id = None;
    match &container.state {
        State::Waiting {
            reason, message, ..
        } => {
            state.waiting = Some(ContainerStateWaiting {
                message: (!message.is_empty()).then(|| message.clone()),
                reason: Some((*reason).to_owned()),
            });
        }
        State::Launching { reason } => {
            let reason = Some((*reason).to_owned());
            state.waiting = Some(ContainerStateWaiting {
                message: None,
                reason,
            });
        }
        State::Running(run) => {
            id = container_id(&run.id);
            let started_at = Some(time(run.since));
            state.running = Some(ContainerStateRunning { started_at });
        }
        State::Ended(ended) => {
            id = container_id(&ended.id);
            state.terminated = Some(terminated(ended));
        }
    }
    let last = container.last.as_ref().map(|ended| ContainerState {
        terminated: Some(terminated(ended)),
        ..ContainerState::default()
    });
    let done =
        container.role == Role::Init && container.ended().is_some_and(|ended| ended.code == 0);
    ContainerStatus {
        container_id: id.or_else(|| container_id(&container.last.as_ref()?.id)),
        image: container.spec.image.clone().unwrap_or_default(),
        image_id: container.image_id.clone(),
        last_state: Some(last.unwrap_or_default()),
        name: container.spec.name.clone(),
        ready: (container.is_ready() && matches!(container.role, Role::Main | Role::Sidecar))
            || done,
        restart_count: i32::try_from(container.restarts).unwrap_or(i32::MAX),
        started: (container.role != Role::Ephemeral).then(|| container.is_started()),
        state: Some(state),
        ..ContainerStatus::default()
    }
}

/// `Guaranteed`, `Burstable` or `BestEffort`, by the containers' requests and limits of CPU and
/// memory.
pub(super) fn qos_class(pod: &Pod) -> &'static str {
    let spec = pod.spec.as_ref();
    let containers = spec.into_iter().flat_map(|spec| {
        spec.init_containers
            .iter()
            .flatten()
            .chain(&spec.containers)
    });
    let (mut any, mut guaranteed) = (false, true);
    for container in containers {
        for resource in ["cpu", "memory"] {
            let of = |map: Option<&std::collections::BTreeMap<String, _>>| {
                map.and_then(|map| map.get(resource)).cloned()
            };
            let wanted = container.resources.as_ref();
            let limit: Option<k8s_openapi::apimachinery::pkg::api::resource::Quantity> =
                of(wanted.and_then(|wanted| wanted.limits.as_ref()));
            let request = of(wanted.and_then(|wanted| wanted.requests.as_ref()));
            any |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
