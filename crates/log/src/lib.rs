//! An append-only log for events: what was acknowledged is on the disk.
//!
//! [`Logs`] is a directory of logs, opened once by a process. [`Logs::log`] gives a [`Log`], which
//! costs nothing before its first use. A producer calls [`Log::append`] and awaits the [`Append`]:
//! all that arrive while the disk is busy share the next `fdatasync`. A consumer reads with a
//! [`Reader`], waits at the end with [`Log::grown`], and says with [`Log::set_position`] what it
//! has done with. [`Log::retain`] drops whole segments that nobody needs any more.
//!
//! The files are described in `docs/log.md`. No runtime is needed: futures here are woken by the
//! crate's own few threads. Calls that may wait for the disk say so.

mod append;
mod cache;
mod commit;
pub mod disk;
mod error;
mod files;
mod index;
mod log;
mod logs;
mod pool;
mod position;
mod positions;
mod reader;
mod record;
mod recover;
mod retain;
mod segment;
mod writer;

pub use append::Append;
pub use error::Error;
pub use log::{Grown, Log, Stats};
pub use logs::{Logs, Options};
pub use position::{DONE_RANGES_MAX, Position};
pub use reader::{Next, Reader};
pub use record::{PAYLOAD_BYTES_MAX, Record};
pub use retain::Retention;
