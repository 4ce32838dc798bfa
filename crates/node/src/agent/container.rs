//! One container of a Pod as its machine sees it: state, history, backoff, probes.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container as Spec, Probe};
use serde::{Deserialize, Serialize};
use stdx::{Backoff, Instant};

use super::probes::Schedule;
use super::step::ProbeKind;

/// Pauses between restarts, as the kubelet's.
pub(super) const CRASH_BACKOFF: Backoff = Backoff {
    base: Duration::from_secs(10),
    max: Duration::from_secs(300),
};
/// Pauses between attempts to get an image.
pub(super) const PULL_BACKOFF: Backoff = Backoff {
    base: Duration::from_secs(10),
    max: Duration::from_secs(300),
};
/// A run of this length forgets the crashes before it.
const CRASH_FORGET: Duration = Duration::from_secs(600);

/// What a container is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container with restart policy `Always`: starts in order, runs all along.
    Sidecar,
    /// One of `spec.containers`.
    Main,
    /// One of `spec.ephemeralContainers`: looks into a Pod that is there, and runs once.
    Ephemeral,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// What the launcher called it; empty when nothing ran.
    pub id: String,
    /// Exit code.
    pub code: i32,
    /// Signal that ended it, or 0.
    pub signal: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, …
    pub reason: String,
    /// Termination message.
    pub message: String,
    /// Start of the run.
    #[serde(with = "super::millis")]
    pub started: Instant,
    /// End of the run.
    #[serde(with = "super::millis")]
    pub finished: Instant,
}

/// How far a stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The hook runs.
    Hook,
    /// The stop signal is sent.
    Asked,
    /// A builtin has done what was at hand, and stays for the containers it stands before.
    Drained,
    /// Killed.
    Killed,
}

/// Where a container is in its life.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// Not running, for a reason that is shown; `retry` says when to try (again).
    Waiting {
        reason: &'static str,
        message: String,
        retry: Option<Instant>,
    },
    /// On its way: the image is fetched, the launcher works.
    Launching { reason: &'static str },
    /// Runs.
    Running(Running),
    /// Has ended.
    Ended(Ended),
}

/// A run.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    /// What the launcher calls it.
    pub id: String,
    /// Since when.
    pub since: Instant,
    /// The hook after the start still runs.
    pub post_start: bool,
    /// The stop, if one has begun, and when patience ends.
    pub stop: Option<(Stop, Instant)>,
    /// Its probes.
    pub probes: Vec<(ProbeKind, Schedule)>,
    /// What a builtin says of itself.
    pub builtin_ready: bool,
}

/// One container.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    /// What it is for.
    pub role: Role,
    /// Whether it is a task of the daemon.
    pub builtin: bool,
    /// Its part of the Pod.
    pub spec: Spec,
    /// Where it is.
    pub state: State,
    /// The run before.
    pub last: Option<Ended>,
    /// Runs so far that had to be repeated.
    pub restarts: u32,
    /// The number of the next run.
    pub attempt: u32,
    /// Crashes that count for the backoff.
    pub crashes: u32,
    /// Failures to get the image that count for the backoff.
    pub pull_failures: u32,
    /// The image it runs or ran.
    pub image_id: String,
}

impl Container {
    /// A container that has not run yet.
    pub(crate) fn new(role: Role, builtin: bool, spec: Spec) -> Self {
        let reason = match role {
            Role::Main | Role::Ephemeral => "ContainerCreating",
            Role::Init | Role::Sidecar => "PodInitializing",
        };
        Self {
            role,
            builtin,
            spec,
            state: State::Waiting {
                reason,
                message: String::new(),
                retry: None,
            },
            last: None,
            restarts: 0,
            attempt: 0,
            crashes: 0,
            pull_failures: 0,
            image_id: String::new(),
        }
    }

    /// The run, while there is one.
    pub(crate) const fn running(&self) -> Option<&Running> {
        match &self.state {
            State::Running(running) => Some(running),
            _ => None,
        }
    }

    /// The run, while there is one.
    pub(crate) const fn running_mut(&mut self) -> Option<&mut Running> {
        match &mut self.state {
            State::Running(running) => Some(running),
            _ => None,
        }
    }

    /// The end, after it.
    pub(crate) const fn ended(&self) -> Option<&Ended> {
        match &self.state {
            State::Ended(ended) => Some(ended),
            _ => None,
        }
    }

    /// Whether nothing of it runs or is about to.
    pub(crate) const fn is_idle(&self) -> bool {
        matches!(self.state, State::Waiting { .. } | State::Ended(_))
    }

    /// Whether it runs and its startup probe and start hook are through.
    pub(crate) fn is_started(&self) -> bool {
        self.running()
            .is_some_and(|run| !run.post_start && run.has_passed(ProbeKind::Startup))
    }

    /// Whether it is ready to serve.
    pub(crate) fn is_ready(&self) -> bool {
        let Some(run) = self.running() else {
            return false;
        };
        if self.builtin {
            return run.builtin_ready && run.stop.is_none();
        }
        self.is_started() && run.has_passed(ProbeKind::Readiness)
    }

    /// The probe of that kind.
    pub(crate) const fn probe(&self, kind: ProbeKind) -> Option<&Probe> {
        match kind {
            ProbeKind::Startup => self.spec.startup_probe.as_ref(),
            ProbeKind::Liveness => self.spec.liveness_probe.as_ref(),
            ProbeKind::Readiness => self.spec.readiness_probe.as_ref(),
        }
    }

    /// Begins a run.
    pub(crate) fn run(&mut self, now: Instant, id: String) {
        let mut probes = Vec::new();
        if !self.builtin {
            self.add_probe(ProbeKind::Startup, now, &mut probes);
        }
        if probes.is_empty() && !self.builtin {
            self.add_probe(ProbeKind::Liveness, now, &mut probes);
            self.add_probe(ProbeKind::Readiness, now, &mut probes);
        }
        let hooks = self.spec.lifecycle.as_ref();
        let post_start = hooks.is_some_and(|hooks| hooks.post_start.is_some());
        self.state = State::Running(Running {
            id,
            since: now,
            post_start: post_start && !self.builtin,
            stop: None,
            probes,
            builtin_ready: false,
        });
    }

    /// Goes on with a run of an earlier daemon. What was through then is through.
    pub(crate) fn resume(&mut self, since: Instant, id: String, started: bool) {
        self.run(since, id);
        let Some(run) = self.running_mut() else {
            return;
        };
        if started {
            run.post_start = false;
            run.probes.clear();
            self.pass_startup(since);
        }
    }

    /// Begins the probes the startup probe held back.
    pub(crate) fn pass_startup(&mut self, now: Instant) {
        let mut probes = Vec::new();
        self.add_probe(ProbeKind::Liveness, now, &mut probes);
        self.add_probe(ProbeKind::Readiness, now, &mut probes);
        if let Some(run) = self.running_mut() {
            // The startup probe has done its work and stays only as a fact.
            run.probes.extend(probes);
        }
    }

    fn add_probe(&self, kind: ProbeKind, now: Instant, to: &mut Vec<(ProbeKind, Schedule)>) {
        if let Some(probe) = self.probe(kind) {
            to.push((kind, Schedule::new(kind, probe, now)));
        }
    }

    /// Ends the run, or the attempt at one.
    pub(crate) fn end(&mut self, ended: Ended) {
        if ended.finished - ended.started >= CRASH_FORGET {
            self.crashes = 0;
        }
        self.state = State::Ended(ended);
    }

    /// When the container may run again after this end: at once the first time, then later and
    /// later.
    pub(crate) fn restart_at(&self, ended: &Ended) -> Instant {
        match self.crashes {
            0 => ended.finished,
            crashes => ended.finished + CRASH_BACKOFF.delay(crashes - 1),
        }
    }
}

impl Running {
    /// Whether the probe of that kind is there and well, or not there at all. While a startup
    /// probe holds the others back they have not passed.
    fn has_passed(&self, kind: ProbeKind) -> bool {
        let find = |kind| self.probes.iter().find(|(have, _)| *have == kind);
        match (find(kind), find(ProbeKind::Startup)) {
            (Some((_, schedule)), _) => schedule.is_well(),
            (None, Some((_, startup))) => startup.is_well(),
            (None, None) => true,
        }
    }
}
