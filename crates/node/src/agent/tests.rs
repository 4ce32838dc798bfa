//! Lives of Pods in virtual time: each test is a script of what happens and what is said.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::{Container as Spec, Pod};
use serde_json::{Value, json};
use stdx::{Instant, Machine};

use super::step::{Index, Input, LaunchFailure, Output, ProbeKind};
use super::{PodMachine, status};
use crate::launcher::Exit;

/// A Pod whose world answers at once: grounds are prepared, launches succeed.
struct Script {
    machine: PodMachine,
    now: Instant,
    log: String,
    /// What Events would say.
    records: String,
    launches_fail: Option<LaunchFailure>,
}

fn pod(spec: Value) -> Arc<Pod> {
    let meta = json!({"name": "web", "namespace": "default", "uid": "u1"});
    Arc::new(serde_json::from_value(json!({"metadata": meta, "spec": spec})).expect("a Pod"))
}

impl Script {
    fn new(spec: Value) -> Self {
        let builtin = |spec: &Spec| spec.image.as_deref() == Some("builtin");
        let now = Instant::ZERO;
        let machine = PodMachine::new(now, pod(spec), builtin);
        let mut script = Self {
            machine,
            now,
            log: String::new(),
            records: String::new(),
            launches_fail: None,
        };
        script.settle();
        script
    }

    fn feed(&mut self, input: Input) -> &mut Self {
        self.machine.handle(self.now, input);
        self.settle();
        self
    }

    fn settle(&mut self) {
        self.machine.handle_timeout(self.now);
        while let Some(output) = self.machine.poll_output() {
            if !matches!(output, Output::Status | Output::Record { .. }) {
                writeln!(
                    self.log,
                    "{} {output:?}",
                    self.now.since_origin().as_millis()
                )
                .expect("strings take everything");
            }
            if let Output::Record {
                field,
                warning,
                reason,
                message,
            } = &output
            {
                let kind = if *warning { "Warning" } else { "Normal" };
                writeln!(self.records, "{kind} {reason} {field}: {message}")
                    .expect("strings take everything");
            }
            let answer = match output {
                Output::Prepare => Input::Prepared {
                    ip: [10, 0, 0, 2].into(),
                },
                Output::Launch { index, attempt } => match self.launches_fail.clone() {
                    Some(failure) => Input::LaunchFailed { index, failure },
                    None => Input::Started {
                        index,
                        id: format!("c{index}-{attempt}"),
                        image_id: "sha256:1".into(),
                    },
                },
                _ => continue,
            };
            self.machine.handle(self.now, answer);
        }
    }

    fn exit(&mut self, index: Index, code: i32) -> &mut Self {
        let exit = Exit {
            code,
            signal: 0,
            oom: false,
        };
        self.feed(Input::Exited {
            index,
            exit,
            message: String::new(),
        })
    }

    fn probed(&mut self, index: Index, kind: ProbeKind, error: Option<&str>) -> &mut Self {
        let attempt = self.machine.containers()[index].attempt;
        self.feed(Input::Probed {
            index,
            kind,
            attempt,
            error: error.map(str::to_owned),
        })
    }

    fn wait(&mut self, millis: u64) -> &mut Self {
        let end = self.now + Duration::from_millis(millis);
        while let Some(at) = self.machine.poll_timeout().filter(|at| *at <= end) {
            assert!(
                at >= self.now || !self.log.is_empty(),
                "a timer in the past"
            );
            self.now = at.max(self.now);
            self.settle();
        }
        self.now = end;
        self
    }

    fn delete(&mut self) -> &mut Self {
        let mut pod = Pod::clone(self.machine.pod());
        pod.metadata.deletion_timestamp = Some(status::time(self.now));
        self.feed(Input::Pod(Arc::new(pod)))
    }

    fn owned_by(&mut self, kind: &str) -> &mut Self {
        let owner = json!({"apiVersion": "apps/v1", "kind": kind, "name": "o", "uid": "u",
            "controller": true});
        let mut pod = Pod::clone(self.machine.pod());
        let owner = serde_json::from_value(owner).expect("an owner");
        pod.metadata.owner_references = Some(vec![owner]);
        self.feed(Input::Pod(Arc::new(pod)))
    }

    fn show(&mut self) -> &mut Self {
        let status = self.machine.status(self.now, "192.0.2.1");
        let states = status
            .init_container_statuses
            .iter()
            .chain(&status.container_statuses);
        let states = states.flatten().map(|one| {
            let state = one.state.clone().unwrap_or_default();
            let text = match (state.waiting, state.terminated) {
                (Some(waiting), _) => waiting.reason.unwrap_or_default(),
                (_, Some(end)) => format!("{} {}", end.reason.unwrap_or_default(), end.exit_code),
                _ => "Running".into(),
            };
            format!(
                "{}={text}/ready={}/restarts={}",
                one.name, one.ready, one.restart_count
            )
        });
        let states = states.collect::<Vec<_>>().join(" ");
        let phase = status.phase.unwrap_or_default();
        writeln!(self.log, "= {phase}: {states}").expect("strings take everything");
        self
    }

    fn check(&self, want: Expect) {
        want.assert_eq(&self.log);
    }
}

#[test]
fn a_plain_pod_starts_and_stops_gracefully() {
    Script::new(json!({"containers": [{"name": "a", "image": "i"}]}))
        .show()
        .delete()
        .exit(0, 0)
        .show()
        .check(expect![[r#"
            0 Prepare
            0 Launch { index: 0, attempt: 0 }
            = Running: a=Running/ready=true/restarts=0
            0 Terminate { index: 0, grace_s: 30 }
            0 Gone
            = Succeeded: a=Completed 0/ready=false/restarts=0
        "#]]);
}

#[test]
fn nothing_is_launched_before_there_is_ground() {
    let spec = json!({"containers": [{"name": "a", "image": "i"}]});
    let mut machine = PodMachine::new(Instant::ZERO, pod(spec), |_| false);
    machine.handle_timeout(Instant::ZERO);
    let said: Vec<Output> = std::iter::from_fn(|| machine.poll_output()).collect();
    assert_eq!(said, [Output::Status, Output::Prepare]);
}

#[test]
fn crashes_back_off_from_ten_seconds() {
    let mut script = Script::new(json!({"containers": [{"name": "a", "image": "i"}]}));
    script
        .exit(0, 1)
        .exit(0, 1)
        .show()
        .wait(10_000)
        .exit(0, 1)
        .wait(20_000)
        .show();
    script.check(expect![[r#"
        0 Prepare
        0 Launch { index: 0, attempt: 0 }
        0 Launch { index: 0, attempt: 1 }
        = Running: a=CrashLoopBackOff/ready=false/restarts=1
        10000 Launch { index: 0, attempt: 2 }
        30000 Launch { index: 0, attempt: 3 }
        = Running: a=Running/ready=true/restarts=3
    "#]]);
}

#[test]
fn init_containers_run_in_order_and_sidecars_stay() {
    let sidecar = json!({"name": "s", "image": "i", "restartPolicy": "Always"});
    Script::new(json!({
        "restartPolicy": "Never",
        "initContainers": [{"name": "i1", "image": "i"}, sidecar],
        "containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "builtin"}],
    }))
    .show()
    .exit(0, 0)
    .feed(Input::BuiltinReady {
        index: 3,
        ready: true,
    })
    .show()
    .exit(2, 0)
    .exit(3, 0)
    .exit(1, 0)
    .show()
    .check(expect![[r#"
        0 Prepare
        0 Launch { index: 0, attempt: 0 }
        = Pending: i1=Running/ready=false/restarts=0 s=PodInitializing/ready=false/restarts=0 a=PodInitializing/ready=false/restarts=0 b=PodInitializing/ready=false/restarts=0
        0 Launch { index: 1, attempt: 0 }
        0 Launch { index: 2, attempt: 0 }
        0 Launch { index: 3, attempt: 0 }
        = Running: i1=Completed 0/ready=true/restarts=0 s=Running/ready=true/restarts=0 a=Running/ready=true/restarts=0 b=Running/ready=true/restarts=0
        0 Terminate { index: 1, grace_s: 30 }
        0 Release
        = Succeeded: i1=Completed 0/ready=true/restarts=0 s=Completed 0/ready=false/restarts=0 a=Completed 0/ready=false/restarts=0 b=Completed 0/ready=false/restarts=0
    "#]]);
}

#[test]
fn a_failed_init_container_fails_a_pod_that_never_restarts() {
    Script::new(json!({
        "restartPolicy": "Never",
        "initContainers": [{"name": "i1", "image": "i"}],
        "containers": [{"name": "a", "image": "i"}],
    }))
    .exit(0, 3)
    .show()
    .check(expect![[r#"
        0 Prepare
        0 Launch { index: 0, attempt: 0 }
        0 Release
        = Failed: i1=Error 3/ready=false/restarts=0 a=PodInitializing/ready=false/restarts=0
    "#]]);
}

#[test]
fn readiness_is_asked_eagerly_and_liveness_restarts() {
    let probe = json!({"tcpSocket": {"port": 1}, "periodSeconds": 1, "failureThreshold": 2});
    let mut script = Script::new(json!({"terminationGracePeriodSeconds": 1, "containers": [{
        "name": "a", "image": "i", "readinessProbe": probe, "livenessProbe": probe,
    }]}));
    script.probed(0, ProbeKind::Liveness, None);
    script
        .probed(0, ProbeKind::Readiness, Some("no"))
        .show()
        .wait(1);
    script
        .probed(0, ProbeKind::Readiness, None)
        .show()
        .wait(1000);
    script.probed(0, ProbeKind::Liveness, Some("no")).wait(1000);
    script
        .probed(0, ProbeKind::Liveness, Some("no"))
        .wait(1000)
        .exit(0, 137)
        .show();
    script.check(expect![[r#"
        0 Prepare
        0 Launch { index: 0, attempt: 0 }
        0 Probe { index: 0, kind: Liveness, attempt: 0 }
        0 Probe { index: 0, kind: Readiness, attempt: 0 }
        = Running: a=Running/ready=false/restarts=0
        1 Probe { index: 0, kind: Readiness, attempt: 0 }
        = Running: a=Running/ready=true/restarts=0
        1000 Probe { index: 0, kind: Liveness, attempt: 0 }
        1001 Probe { index: 0, kind: Readiness, attempt: 0 }
        2001 Probe { index: 0, kind: Liveness, attempt: 0 }
        2001 Terminate { index: 0, grace_s: 1 }
        3001 Kill { index: 0 }
        3001 Launch { index: 0, attempt: 1 }
        3001 Probe { index: 0, kind: Liveness, attempt: 1 }
        3001 Probe { index: 0, kind: Readiness, attempt: 1 }
        = Running: a=Running/ready=false/restarts=1
    "#]]);
}

#[test]
fn the_startup_probe_holds_the_others_back() {
    let probe = json!({"tcpSocket": {"port": 1}});
    let mut script = Script::new(json!({"containers": [{
        "name": "a", "image": "i", "readinessProbe": probe, "startupProbe": probe,
    }]}));
    script.show().probed(0, ProbeKind::Startup, None).show();
    script.probed(0, ProbeKind::Readiness, None).show();
    script.check(expect![[r#"
        0 Prepare
        0 Launch { index: 0, attempt: 0 }
        0 Probe { index: 0, kind: Startup, attempt: 0 }
        = Running: a=Running/ready=false/restarts=0
        0 Probe { index: 0, kind: Readiness, attempt: 0 }
        = Running: a=Running/ready=false/restarts=0
        = Running: a=Running/ready=true/restarts=0
    "#]]);
}

#[test]
fn a_missing_image_is_shown_and_tried_again() {
    let mut script = Script::new(json!({"containers": []}));
    script.machine = PodMachine::new(
        script.now,
        pod(json!({"containers": [{"name": "a", "image": "i"}]})),
        |_| false,
    );
    let message = "not found".to_owned();
    script.launches_fail = Some(LaunchFailure::Image {
        reason: "ErrImagePull",
        message,
    });
    script.settle();
    script.show().wait(1000).show().wait(10_000);
    script.launches_fail = None;
    script.wait(30_000).show();
    script.check(expect![[r#"
        0 Prepare
        0 Prepare
        0 Launch { index: 0, attempt: 0 }
        = Pending: a=ErrImagePull/ready=false/restarts=0
        = Pending: a=ImagePullBackOff/ready=false/restarts=0
        11000 Launch { index: 0, attempt: 0 }
        32000 Launch { index: 0, attempt: 0 }
        = Running: a=Running/ready=true/restarts=0
    "#]]);
}

#[test]
fn hooks_run_before_the_signal_and_patience_ends() {
    let hook = json!({"preStop": {"sleep": {"seconds": 100}}});
    let mut script = Script::new(json!({
        "terminationGracePeriodSeconds": 5,
        "containers": [{"name": "a", "image": "i", "lifecycle": hook}],
    }));
    script
        .delete()
        .wait(1000)
        .feed(Input::PreStopped { index: 0 })
        .wait(10_000)
        .exit(0, 137);
    script.check(expect![[r#"
        0 Prepare
        0 Launch { index: 0, attempt: 0 }
        0 PreStop { index: 0, grace_s: 5 }
        1000 Terminate { index: 0, grace_s: 4 }
        5000 Kill { index: 0 }
        11000 Gone
    "#]]);
}

/// A builtin drains while the process before it runs its hook, and stays until the process has
/// ended: through it the hook is answered and the last requests go.
#[test]
fn builtins_end_after_the_processes() {
    let hook = json!({"preStop": {"httpGet": {"port": 8022, "path": "/wait-for-drain"}}});
    let mut script = Script::new(json!({
        "terminationGracePeriodSeconds": 30,
        "containers": [
            {"name": "a", "image": "i", "lifecycle": hook},
            {"name": "queue", "image": "builtin"},
        ],
    }));
    script
        .delete()
        .wait(500)
        .feed(Input::Drained { index: 1 })
        .feed(Input::PreStopped { index: 0 })
        .wait(2000)
        .exit(0, 0)
        .exit(1, 0);
    script.check(expect![[r#"
        0 Prepare
        0 Launch { index: 0, attempt: 0 }
        0 Launch { index: 1, attempt: 0 }
        0 Terminate { index: 1, grace_s: 30 }
        0 PreStop { index: 0, grace_s: 30 }
        500 Terminate { index: 0, grace_s: 30 }
        2500 Close { index: 1 }
        2500 Gone
    "#]]);
}

/// kubectl must see that the Pod it has deleted is gone before another has its name.
#[test]
fn a_name_that_comes_back_is_kept_for_a_while() {
    for (kind, millis, end) in [
        ("StatefulSet", 300, "1000 Gone\n"),
        ("StatefulSet", 1300, "1300 Gone\n"),
        ("ReplicaSet", 300, "300 Gone\n"),
    ] {
        let mut script = Script::new(json!({"containers": [{"name": "a", "image": "i"}]}));
        script.owned_by(kind).delete().wait(millis).exit(0, 0);
        script.wait(5000);
        assert!(script.log.ends_with(end), "{kind}: {}", script.log);
    }
}

#[test]
fn a_deadline_ends_the_pod() {
    let mut script = Script::new(json!({
        "activeDeadlineSeconds": 3,
        "containers": [{"name": "a", "image": "i"}],
    }));
    script.wait(3000).exit(0, 143).show();
    script.check(expect![[r#"
        0 Prepare
        0 Launch { index: 0, attempt: 0 }
        3000 Terminate { index: 0, grace_s: 30 }
        3000 Release
        = Failed: a=Error 143/ready=false/restarts=0
    "#]]);
}

#[test]
fn a_deadline_may_be_set_later_and_means_nothing_to_what_has_ended() {
    let spec = json!({
        "initContainers": [{"name": "step", "image": "i"}],
        "containers": [{"name": "a", "image": "i"}],
        "restartPolicy": "Never",
    });
    let deadline = |script: &Script| {
        let mut pod = (*script.machine.pod).clone();
        if let Some(spec) = &mut pod.spec {
            spec.active_deadline_seconds = Some(1);
        }
        Input::Pod(Arc::new(pod))
    };
    let mut script = Script::new(spec.clone());
    script.wait(5000);
    let pod = deadline(&script);
    script.feed(pod).exit(0, 143).show();
    let status = script.machine.status(script.now, "192.0.2.1");
    assert_eq!(status.reason.as_deref(), Some("DeadlineExceeded"));

    let mut script = Script::new(spec);
    script.wait(5000).exit(0, 0).exit(1, 0);
    let pod = deadline(&script);
    script.feed(pod).wait(60_000);
    let status = script.machine.status(script.now, "192.0.2.1");
    assert_eq!(status.phase.as_deref(), Some("Succeeded"));
}

#[test]
fn a_pod_that_takes_too_much_is_killed_at_once() {
    let mut script = Script::new(json!({
        "initContainers": [
            {"name": "step", "image": "i"},
            {"name": "never", "image": "i"},
        ],
        "containers": [{"name": "a", "image": "i"}],
        "restartPolicy": "Never",
    }));
    let evict = || Input::Evict {
        message: "too much".to_owned(),
    };
    script.wait(1000).feed(evict()).exit(0, 137).show();
    let status = script.machine.status(script.now, "192.0.2.1");
    assert_eq!(status.reason.as_deref(), Some("Evicted"));
    assert_eq!(status.message.as_deref(), Some("too much"));
    // It has ended: nothing more happens to it.
    script.feed(evict()).wait(60_000);
    assert_eq!(script.records.matches("Warning Evicted").count(), 1);
    script.check(expect![[r#"
        0 Prepare
        0 Launch { index: 0, attempt: 0 }
        1000 Terminate { index: 0, grace_s: 0 }
        1000 Kill { index: 0 }
        1000 Release
        = Failed: step=Error 137/ready=false/restarts=0 never=PodInitializing/ready=false/restarts=0 a=PodInitializing/ready=false/restarts=0
    "#]]);
}

#[test]
fn an_ephemeral_container_comes_later_runs_once_and_counts_for_nothing() {
    let containers = json!([{"name": "a", "image": "a"}]);
    let mut script = Script::new(json!({"containers": containers}));
    let look = json!([{"name": "look", "image": "l", "targetContainerName": "a"}]);
    let with = pod(json!({"containers": containers, "ephemeralContainers": look}));
    script.feed(Input::Pod(Arc::clone(&with)));
    script.feed(Input::Pod(with)).exit(1, 1).wait(600_000);
    let status = script.machine.status(script.now, "192.0.2.1");
    assert_eq!(status.phase.as_deref(), Some("Running"));
    let ended = &status.ephemeral_container_statuses.expect("shown")[0];
    assert_eq!((&*ended.name, ended.restart_count), ("look", 0));
    assert!(
        script
            .records
            .contains("Started spec.ephemeralContainers{look}")
    );
    script.show().check(expect![[r#"
        0 Prepare
        0 Launch { index: 0, attempt: 0 }
        0 Launch { index: 1, attempt: 0 }
        = Running: a=Running/ready=true/restarts=0
    "#]]);
}

#[test]
fn events_are_the_kubelets() {
    let probe = json!({"exec": {"command": ["x"]}, "failureThreshold": 1, "periodSeconds": 1});
    let mut script = Script::new(json!({
        "initContainers": [{"name": "first", "image": "i"}],
        "containers": [
            {"name": "main", "image": "m", "livenessProbe": probe},
            {"name": "queue-proxy", "image": "builtin"},
        ],
    }));
    let size = 7;
    script.feed(Input::Pulled {
        index: 0,
        took: None,
        size,
    });
    script.exit(0, 0);
    script.feed(Input::Pulling { index: 1 });
    script.feed(Input::Pulled {
        index: 1,
        took: Some(Duration::from_millis(1500)),
        size,
    });
    script.probed(1, ProbeKind::Liveness, Some("HTTP 500"));
    script.feed(Input::BuiltinReady {
        index: 2,
        ready: false,
    });
    script.exit(1, 1).exit(1, 1);
    script.delete();
    expect![[r#"
        Normal Created spec.initContainers{first}: Created container: first
        Normal Started spec.initContainers{first}: Started container first
        Normal Pulled spec.initContainers{first}: Container image "i" already present on machine
        Normal Created spec.containers{main}: Created container: main
        Normal Started spec.containers{main}: Started container main
        Normal Created spec.containers{queue-proxy}: Created container: queue-proxy
        Normal Started spec.containers{queue-proxy}: Started container queue-proxy
        Normal Pulling spec.containers{main}: Pulling image "m"
        Normal Pulled spec.containers{main}: Successfully pulled image "m" in 1.5s (1.5s including waiting). Image size: 7 bytes.
        Warning Unhealthy spec.containers{main}: Liveness probe failed: HTTP 500
        Normal Killing spec.containers{main}: Container main failed liveness probe, will be restarted
        Warning Unhealthy spec.containers{queue-proxy}: Readiness probe failed: HTTP probe failed with statuscode: 503
        Normal Created spec.containers{main}: Created container: main
        Normal Started spec.containers{main}: Started container main
        Warning BackOff spec.containers{main}: Back-off restarting failed container main in pod web_default(u1)
        Normal Killing spec.containers{queue-proxy}: Stopping container queue-proxy
    "#]]
    .assert_eq(&script.records);
}

#[test]
fn events_of_what_cannot_be_had() {
    let mut script = Script::new(json!({"containers": [{"name": "main", "image": "m"}]}));
    script.exit(0, 1);
    script.launches_fail = Some(LaunchFailure::Image {
        reason: "ErrImagePull",
        message: "Failed to pull image \"m\": no".to_owned(),
    });
    script.records.clear();
    script.wait(1000);
    script.exit(0, 1);
    script.wait(12_000);
    script.feed(Input::PrepareFailed {
        event: "FailedMount",
        reason: "ContainerCreating",
        message: "MountVolume.SetUp failed".to_owned(),
    });
    expect![[r#"
        Warning BackOff spec.containers{main}: Back-off restarting failed container main in pod web_default(u1)
        Warning Failed spec.containers{main}: Failed to pull image "m": no
        Warning Failed spec.containers{main}: Error: ErrImagePull
        Normal BackOff spec.containers{main}: Back-off pulling image "m"
        Warning Failed spec.containers{main}: Error: ImagePullBackOff
        Warning FailedMount : MountVolume.SetUp failed
    "#]]
    .assert_eq(&script.records);
}

#[test]
fn a_finished_pod_keeps_its_address() {
    let mut script = Script::new(json!({
        "restartPolicy": "Never", "containers": [{"name": "main", "image": "m"}],
    }));
    script.exit(0, 0);
    let ip = script.machine.ip();
    assert!(ip.is_some());
    let ended = script.machine.containers()[0].ended().cloned();
    let saved = super::Saved {
        pod: Arc::clone(script.machine.pod()),
        started: script.machine.started(),
        network: None,
        ip,
        evicted: None,
        containers: vec![super::state::SavedContainer {
            ended,
            ..Default::default()
        }],
        processes: Default::default(),
    };
    let fresh = PodMachine::new(Instant::ZERO, Arc::clone(&saved.pod), |_| false);
    let mut next = fresh.restore(&saved, &[false]);
    next.handle_timeout(Instant::ZERO);
    let status = next.status(Instant::ZERO, "192.0.2.1");
    assert_eq!(status.pod_ip, ip.map(|ip| ip.to_string()));
}
