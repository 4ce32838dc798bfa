//! The one shape of a pure state machine; shells and the simulator drive any of them alike.

use crate::Instant;

/// A pure state machine: inputs and the clock go in, outputs and a deadline come out.
///
/// A driver calls [`Machine::handle`] for every input and [`Machine::handle_timeout`] once the
/// instant of [`Machine::poll_timeout`] has come, and after each call drains
/// [`Machine::poll_output`] until it answers `None`.
pub trait Machine {
    /// What happens to the machine.
    type Input;
    /// What the machine wants done.
    type Output;

    /// Takes one input at the time `now`. Time never runs backwards between calls.
    fn handle(&mut self, now: Instant, input: Self::Input);

    /// Tells the machine that `now` has come; harmless when nothing is due.
    fn handle_timeout(&mut self, now: Instant);

    /// The next instant at which the machine wants [`Machine::handle_timeout`], if any.
    fn poll_timeout(&self) -> Option<Instant>;

    /// The next thing to do, in order; `None` when the machine is quiet.
    fn poll_output(&mut self) -> Option<Self::Output>;
}
