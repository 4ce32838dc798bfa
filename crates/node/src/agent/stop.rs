//! How a container is stopped: hook, stop signal, and the end of patience. Part of the Pod's
//! machine.

use stdx::Instant;

use super::container::{Container, Running, State, Stop};
use super::machine::PodMachine;
use super::step::{Index, Output, ProbeKind};

/// After the grace period has run out in the hook, the signal still gets this much, seconds (as
/// the kubelet's).
const GRACE_AFTER_HOOK_S: u64 = 2;
/// Why a container is stopped that has done nothing wrong.
pub(super) const STOPPING: &str = "Stopping container ";

impl PodMachine {
    /// Begins to stop a running container, or moves the end of patience forward. A container that
    /// is being launched is stopped when it runs. `why` is the Event's sentence; [`STOPPING`]
    /// wants the container's name behind it.
    pub(super) fn begin_stop(&mut self, now: Instant, index: Index, deadline: Instant, why: &str) {
        let Some(container) = self.containers.get_mut(index) else {
            return;
        };
        let builtin = container.builtin;
        let hooks = container.spec.lifecycle.as_ref();
        let hook = hooks.is_some_and(|hooks| hooks.pre_stop.is_some()) && !builtin;
        let name = container.spec.name.clone();
        let State::Running(run) = &mut container.state else {
            return;
        };
        if let Some((_, until)) = &mut run.stop {
            *until = (*until).min(deadline);
            return;
        }
        let grace_s = (deadline - now).as_secs_f64().ceil() as u64;
        run.stop = Some((if hook { Stop::Hook } else { Stop::Asked }, deadline));
        let text = match why {
            STOPPING => format!("{STOPPING}{name}"),
            why => why.to_owned(),
        };
        self.record_of(index, false, "Killing", text);
        self.say(match hook {
            true => Output::PreStop { index, grace_s },
            false => Output::Terminate { index, grace_s },
        });
    }

    /// The hook is through: now the signal.
    pub(super) fn pre_stopped(&mut self, now: Instant, index: Index) {
        let run = self
            .containers
            .get_mut(index)
            .and_then(|one| one.running_mut());
        let Some(Running {
            stop: Some((stop @ Stop::Hook, deadline)),
            ..
        }) = run
        else {
            return;
        };
        *stop = Stop::Asked;
        let grace = std::time::Duration::from_secs(GRACE_AFTER_HOOK_S);
        *deadline = (*deadline).max(now + grace);
        let grace_s = (*deadline - now).as_secs_f64().ceil() as u64;
        self.say(Output::Terminate { index, grace_s });
    }

    /// A builtin has drained.
    pub(super) fn drained(&mut self, index: Index) {
        let container = self.containers.get_mut(index);
        if let Some(Running {
            stop: Some((stop @ Stop::Asked, _)),
            ..
        }) = container.and_then(Container::running_mut)
        {
            *stop = Stop::Drained;
        }
    }

    /// Ends builtins that have drained once no process runs any more: until then the process may
    /// still be asked something through them, by its own hook before the stop for one.
    fn close_drained(&mut self) {
        let mut others = self.containers.iter().filter(|one| !one.builtin);
        if others.any(|one| !one.is_idle()) {
            return;
        }
        for index in 0..self.containers.len() {
            if let Some(Running {
                stop: Some((stop @ Stop::Drained, _)),
                ..
            }) = self.containers[index].running_mut()
            {
                *stop = Stop::Killed;
                self.say(Output::Close { index });
            }
        }
    }

    /// Ends what may end, and kills what has not stopped in time.
    pub(super) fn advance_stops(&mut self, now: Instant) {
        self.close_drained();
        for index in 0..self.containers.len() {
            let run = self.containers[index].running_mut();
            let Some(Running {
                stop: Some((stop, deadline)),
                ..
            }) = run
            else {
                continue;
            };
            if *stop != Stop::Killed && *deadline <= now {
                *stop = Stop::Killed;
                self.say(Output::Kill { index });
            }
        }
    }
}

impl Running {
    /// When something is due for this run: the end of patience or a probe.
    pub(super) fn timeout(&self, ending: bool) -> Option<Instant> {
        match self.stop {
            Some((Stop::Killed, _)) => None,
            Some((_, deadline)) => Some(deadline),
            None if ending => None,
            None => self
                .probes
                .iter()
                .filter(|(kind, schedule)| *kind != ProbeKind::Startup || !schedule.is_well())
                .filter_map(|(_, schedule)| schedule.next())
                .min(),
        }
    }
}
