//! A queue-proxy goes on being asked whether its application is ready, as often as its container's
//! readiness probe says: an application that begins to fail gets no more requests, and gets them
//! again when it has recovered. Called by `builtins` for each queue-proxy it starts.

use std::sync::Arc;
use std::time::Duration;

use gateway::queue::QueueProxy;
use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use tokio::sync::watch;

/// The parts of a probe that say when, with Kubernetes' defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    period: Duration,
    failures: u32,
    successes: u32,
}

impl Schedule {
    /// Of the container's readiness probe.
    pub(crate) fn of(container: &Container) -> Self {
        let probe = container.readiness_probe.as_ref();
        let number = |field: fn(&Probe) -> Option<i32>, default: u32| {
            let said = probe.and_then(field);
            said.and_then(|n| u32::try_from(n).ok())
                .filter(|n| *n > 0)
                .unwrap_or(default)
        };
        Self {
            period: Duration::from_secs(number(|probe| probe.period_seconds, 10).into()),
            failures: number(|probe| probe.failure_threshold, 3),
            successes: number(|probe| probe.success_threshold, 1),
        }
    }
}

/// Whether a command inside one of the Pod's containers has a say in whether it is ready: then the
/// queue-proxy's own look at the port is not enough to send requests.
pub(crate) fn a_command_decides(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut probes = containers.flat_map(|container| {
        [&container.readiness_probe, &container.startup_probe]
            .into_iter()
            .flatten()
    });
    probes.any(|probe| probe.exec.is_some())
}

/// When an application that has not answered yet is first said to be unready: most need less.
const FIRST_WORD: Duration = Duration::from_secs(2);

/// Waits for the application's first answer, then asks on and on; `ready` says what came of it,
/// and says again what has not come.
pub(crate) async fn watch(proxy: Arc<QueueProxy>, schedule: Schedule, ready: watch::Sender<bool>) {
    let mut pause = FIRST_WORD;
    while tokio::time::timeout(pause, proxy.ready()).await.is_err() {
        ready.send_replace(false);
        pause = schedule.period;
    }
    ready.send_replace(true);
    let mut streak = 0;
    loop {
        tokio::time::sleep(schedule.period).await;
        let now = proxy.check().await;
        if now == *ready.borrow() {
            streak = 0;
            continue;
        }
        streak += 1;
        let enough = if now {
            schedule.successes
        } else {
            schedule.failures
        };
        if streak >= enough {
            ready.send_replace(now);
            streak = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_the_probes() {
        let container = |json: &str| serde_json::from_str::<Container>(json).unwrap();
        let default = Schedule {
            period: Duration::from_secs(10),
            failures: 3,
            successes: 1,
        };
        assert_eq!(Schedule::of(&container(r#"{"name":"q"}"#)), default);
        let said = r#"{"name":"q","readinessProbe":{"periodSeconds":1,"failureThreshold":5,
            "successThreshold":2}}"#;
        let expected = Schedule {
            period: Duration::from_secs(1),
            failures: 5,
            successes: 2,
        };
        assert_eq!(Schedule::of(&container(said)), expected);
    }

    #[test]
    fn a_command_is_found_in_any_container() {
        let pod = |probe: &str| -> Pod {
            let json = format!(
                r#"{{"spec":{{"containers":[{{"name":"a"}},{{"name":"b","readinessProbe":{probe}}}]}}}}"#
            );
            serde_json::from_str(&json).unwrap()
        };
        assert!(a_command_decides(&pod(r#"{"exec":{"command":["x"]}}"#)));
        assert!(!a_command_decides(&pod(r#"{"tcpSocket":{"port":80}}"#)));
    }
}
