//! What a Pod's machine says for Events, in the kubelet's words.

use std::time::Duration;

use super::container::Role;
use super::machine::PodMachine;
use super::step::{Index, Output};

impl PodMachine {
    /// Something worth an Event about the Pod as a whole.
    pub(super) fn record(&mut self, warning: bool, reason: &'static str, message: String) {
        self.say(Output::Record {
            field: String::new(),
            warning,
            reason,
            message,
        });
    }

    /// Something worth an Event about one of its containers.
    pub(super) fn record_of(
        &mut self,
        index: Index,
        warning: bool,
        reason: &'static str,
        message: String,
    ) {
        let field = match self.containers.get(index) {
            Some(one) => {
                let list = match one.role {
                    Role::Main => "containers",
                    Role::Init | Role::Sidecar => "initContainers",
                    Role::Ephemeral => "ephemeralContainers",
                };
                format!("spec.{list}{{{}}}", one.spec.name)
            }
            None => String::new(),
        };
        self.say(Output::Record {
            field,
            warning,
            reason,
            message,
        });
    }

    pub(super) fn pulling(&mut self, index: Index) {
        let Some(container) = self.containers.get_mut(index) else {
            return;
        };
        let image = container.spec.image.clone().unwrap_or_default();
        self.record_of(
            index,
            false,
            "Pulling",
            format!("Pulling image \"{image}\""),
        );
    }

    pub(super) fn pulled(&mut self, index: Index, took: Option<Duration>, size: u64) {
        let Some(container) = self.containers.get(index) else {
            return;
        };
        let image = container.spec.image.clone().unwrap_or_default();
        let text = match took.map(seconds) {
            Some(took) => format!(
                "Successfully pulled image \"{image}\" in {took} ({took} including waiting). \
                 Image size: {size} bytes."
            ),
            None => format!("Container image \"{image}\" already present on machine"),
        };
        self.record_of(index, false, "Pulled", text);
    }
}

/// A duration as Go prints it, rounded to milliseconds: `85ms`, `1.204s`.
fn seconds(duration: Duration) -> String {
    match duration.as_millis() {
        millis @ 0..1000 => format!("{millis}ms"),
        millis => format!("{}s", millis as f64 / 1000.0),
    }
}

/// Seconds as Go prints a duration: `10s`, `2m40s`, `5m0s`.
pub(super) fn go_duration(seconds: f64) -> String {
    let seconds = seconds as u64;
    match seconds / 60 {
        0 => format!("{seconds}s"),
        minutes => format!("{minutes}m{}s", seconds % 60),
    }
}
