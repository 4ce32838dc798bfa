//! Stories of Eventing's objects on a World without I/O: all planners run until nothing changes.
//! Each story applies objects as they are after admission and compares conditions by name and the
//! delivery graph line by line.

mod broker;
mod cluster;
#[allow(clippy::too_many_lines, reason = "tables are data, not code")]
mod trigger;
