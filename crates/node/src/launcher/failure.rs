//! The one error of the way from fork to exec: the step that failed and why.

use std::fmt::Display;

/// A failed step, as it is told to the agent and shown in the container's status.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {reason}")]
pub(super) struct Failure {
    step: String,
    reason: String,
}

impl Failure {
    /// A step that failed for a reason that is not an error value.
    pub(super) fn new(step: impl Into<String>, reason: impl Display) -> Self {
        Self {
            step: step.into(),
            reason: reason.to_string(),
        }
    }
}

/// Names the step a result belongs to.
pub(super) trait Step<T> {
    /// Turns the error into a [`Failure`] of the step called `name`.
    fn step(self, name: &str) -> Result<T, Failure>;
    /// The same for a step with an object, such as a path.
    fn step_on(self, name: &str, object: impl Display) -> Result<T, Failure>;
}

impl<T, E: Display> Step<T> for Result<T, E> {
    fn step(self, name: &str) -> Result<T, Failure> {
        self.map_err(|reason| Failure::new(name, reason))
    }

    fn step_on(self, name: &str, object: impl Display) -> Result<T, Failure> {
        self.map_err(|reason| Failure::new(format!("{name} {object}"), reason))
    }
}
