//! Stories of Eventing's objects on a World without I/O: all planners run until nothing changes.
//! Each story applies objects as they are after admission and compares conditions by name and the
//! delivery graph line by line.

mod broker;
mod cluster;
mod flows;
mod history;
mod messaging;
mod moved;
mod old_sources;
mod policies;
mod sinks;
mod sources;
mod sugar;
#[allow(clippy::too_many_lines, reason = "tables are data, not code")]
mod trigger;
