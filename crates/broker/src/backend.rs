//! What the broker needs of a log that keeps events: the seam behind which `crates/log` stands in
//! the embedded shape, and other systems may. Implemented in `kept`, used by `topic`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

/// Why an event was not kept.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// There is no room: events come faster than they are consumed.
    #[error("{0}")]
    Full(String),
    /// The log cannot be written.
    #[error("{0}")]
    Failed(String),
}

/// A log cannot be read or its positions not be kept.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct BackendError(pub String);

/// How far a consumer has come: it needs nothing before `next` but `pending`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Position {
    /// The first event it has not been offered.
    pub next: u64,
    /// Events before `next` that are not done with, ascending.
    pub pending: Vec<u64>,
}

impl Position {
    /// The first event it still needs.
    pub fn low(&self) -> u64 {
        self.pending.first().copied().unwrap_or(self.next)
    }
}

/// A stretch of a log.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Offsets and records, ascending.
    pub records: Vec<(u64, Bytes)>,
    /// Where to read on.
    pub next: u64,
}

/// One ingress' events, and its consumers' positions.
pub trait Journal: Send + Sync + 'static {
    /// Keeps records, all or none; answers the offset of the first when they would survive a power
    /// loss. Records get their offsets in the order of the calls.
    fn append(&self, records: Vec<Bytes>) -> BoxFuture<'static, Result<u64, AppendError>>;

    /// The first offset that is not written for good yet.
    fn end(&self) -> u64;

    /// Done when the end is beyond `offset`; answers the end.
    fn grown(&self, offset: u64) -> BoxFuture<'static, Result<u64, BackendError>>;

    /// The first offset that is still there.
    fn start(&self) -> u64;

    /// Records from `from` on, or from the first that is still there: at least one if there is
    /// any, otherwise up to about `bytes_max` bytes.
    fn read(&self, from: u64, bytes_max: usize) -> Result<Batch, BackendError>;

    /// The first record that was appended at `arrival_ms` (since 1970) or later.
    fn at_time(&self, arrival_ms: u64) -> Result<u64, BackendError>;

    /// Bytes it takes.
    fn bytes(&self) -> u64;

    /// Why it takes nothing any more, if it does not: an earlier failure of the disk, as a rule.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Reads what is on the disk anew and goes on from there, after a failure. Waits for the disk.
    ///
    /// # Errors
    /// The failure lasts.
    fn mend(&self) -> Result<(), BackendError> {
        Ok(())
    }

    /// The consumers that ever said where they stand and whose names begin with `prefix`.
    fn positions(&self, prefix: &str) -> Result<Vec<(String, Position)>, BackendError>;

    /// Keeps where `consumer` stands: survives a crash of this process at once, and of the machine
    /// soon after.
    fn set_position(&self, consumer: &str, position: &Position) -> Result<(), BackendError>;

    /// `consumer` is gone for good.
    fn forget(&self, consumer: &str) -> Result<(), BackendError>;

    /// Removes what all consumers have passed and is older than `keep`. May wait for the disk.
    fn cut(&self, keep: Duration) -> Result<(), BackendError>;
}

/// All logs.
pub trait Backend: Send + Sync + 'static {
    /// The log called `name`, made if it is not there.
    fn open(&self, name: &str) -> Result<Arc<dyn Journal>, BackendError>;

    /// The names of all logs.
    fn names(&self) -> Result<Vec<String>, BackendError>;

    /// Removes a log and all it holds.
    fn remove(&self, name: &str) -> Result<(), BackendError>;
}
