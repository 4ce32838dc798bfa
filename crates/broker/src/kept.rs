//! The embedded backend: every ingress is a log of `crates/log` in one directory.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use jiff::Timestamp;
use log::disk::FileDisk;
use log::{Error, Log, Logs, Options, Reader, Retention};

use crate::backend::{AppendError, Backend, BackendError, Batch, Journal, Position};

/// A log that is smaller is not worth cutting.
const CUT_BYTES_MIN: u64 = 1 << 20;
/// Places in one log where somebody stopped reading and is likely to go on.
const READERS_MAX: usize = 8;

impl From<Error> for BackendError {
    fn from(error: Error) -> Self {
        // The cause is what people can act on.
        let cause = std::error::Error::source(&error);
        let cause = cause.map(|cause| format!(": {cause}"));
        Self(format!("{error}{}", cause.unwrap_or_default()))
    }
}

impl From<Error> for AppendError {
    fn from(error: Error) -> Self {
        match error {
            Error::Full { .. } | Error::Busy { .. } => Self::Full(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// See the module.
#[derive(Clone)]
pub struct Kept(Logs);

impl Kept {
    /// Opens the directory, which is made if it is not there. Waits for the disk.
    pub fn open(directory: &Path) -> Result<Self, BackendError> {
        let logs = Logs::open(Arc::new(FileDisk), directory, Options::default())?;
        Ok(Self(logs))
    }

    /// Writes down everything that waits. For an orderly end.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Backend for Kept {
    fn open(&self, name: &str) -> Result<Arc<dyn Journal>, BackendError> {
        let log = self.0.log(name)?;
        log.open()?;
        Ok(Arc::new(One {
            log,
            readers: Mutex::default(),
        }))
    }

    fn names(&self) -> Result<Vec<String>, BackendError> {
        Ok(self.0.names()?)
    }

    fn remove(&self, name: &str) -> Result<(), BackendError> {
        Ok(self.0.delete(name)?)
    }
}

struct One {
    log: Log,
    /// A reader keeps the index of the segment it is in: who is far behind reads on from where it
    /// stopped without reading that anew. The last used one is the last.
    readers: Mutex<Vec<Reader>>,
}

impl One {
    /// A reader at `from`, which has just been there if somebody has.
    fn reader(&self, from: u64) -> Reader {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let found = readers.iter().position(|reader| reader.offset() == from);
        found.map_or_else(|| self.log.reader(from), |at| readers.remove(at))
    }

    /// Somebody may go on there.
    fn keep(&self, reader: Reader) {
        // At the end there is nothing to remember.
        if reader.offset() >= self.end() {
            return;
        }
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() >= READERS_MAX {
            readers.remove(0);
        }
        readers.push(reader);
    }
}

impl Journal for One {
    fn append(&self, records: Vec<Bytes>) -> BoxFuture<'static, Result<u64, AppendError>> {
        match self.log.append(now_ms(), &records) {
            Ok(append) => append.map(|result| Ok(result?)).boxed(),
            Err(error) => ready(Err(error.into())).boxed(),
        }
    }

    fn end(&self) -> u64 {
        self.log.stats().map_or(0, |stats| stats.end)
    }

    fn grown(&self, offset: u64) -> BoxFuture<'static, Result<u64, BackendError>> {
        self.log.grown(offset).map(|result| Ok(result?)).boxed()
    }

    fn start(&self) -> u64 {
        self.log.stats().map_or(0, |stats| stats.first)
    }

    fn read(&self, from: u64, bytes_max: usize) -> Result<Batch, BackendError> {
        let mut reader = self.reader(from);
        let mut batch = Batch {
            records: Vec::new(),
            next: from,
        };
        let mut bytes = 0;
        loop {
            match reader.read() {
                Ok(Some(record)) => {
                    bytes += record.payload.len();
                    batch.next = record.offset + 1;
                    batch.records.push((record.offset, record.payload));
                }
                Ok(None) => break,
                Err(Error::Dropped { first, .. }) if batch.records.is_empty() => reader.seek(first),
                Err(error) => return Err(error.into()),
            }
            if bytes >= bytes_max {
                break;
            }
        }
        self.keep(reader);
        Ok(batch)
    }

    fn at_time(&self, arrival_ms: u64) -> Result<u64, BackendError> {
        Ok(self.log.offset_at(arrival_ms)?)
    }

    fn bytes(&self) -> u64 {
        self.log.stats().map_or(0, |stats| stats.bytes)
    }

    fn trouble(&self) -> Option<String> {
        match self.log.stats() {
            Ok(stats) => stats.failed,
            Err(error) => Some(error.to_string()),
        }
    }

    fn mend(&self) -> Result<(), BackendError> {
        Ok(self.log.reopen()?)
    }

    fn positions(&self, prefix: &str) -> Result<Vec<(String, Position)>, BackendError> {
        let all = self.log.positions_of(prefix)?.into_iter();
        Ok(all
            .map(|(name, position)| (name, undone(&position)))
            .collect())
    }

    fn set_position(&self, consumer: &str, position: &Position) -> Result<(), BackendError> {
        Ok(self.log.set_position(consumer, done(position))?)
    }

    fn forget(&self, consumer: &str) -> Result<(), BackendError> {
        Ok(self.log.remove_position(consumer)?)
    }

    fn cut(&self, keep: Duration) -> Result<(), BackendError> {
        if self.log.stats()?.bytes < CUT_BYTES_MIN {
            return Ok(());
        }
        let retention = Retention {
            passed_ms: keep.as_millis().try_into().unwrap_or(u64::MAX),
            ..Retention::default()
        };
        self.log.retain(now_ms(), &retention)?;
        Ok(())
    }
}

fn now_ms() -> u64 {
    Timestamp::now().as_millisecond().try_into().unwrap_or(0)
}

/// The log writes down what is done, the broker thinks in what is not.
fn done(position: &Position) -> log::Position {
    let Some((first, rest)) = position.pending.split_first() else {
        return log::Position::at(position.next);
    };
    let mut ranges = Vec::new();
    let mut from = first + 1;
    for offset in rest.iter().chain([&position.next]) {
        if from < *offset {
            ranges.push((from, *offset));
        }
        from = offset + 1;
    }
    log::Position {
        next: *first,
        done: ranges,
    }
}

fn undone(position: &log::Position) -> Position {
    let mut pending = Vec::new();
    let mut from = position.next;
    for (begin, end) in &position.done {
        pending.extend(from..*begin);
        from = *end;
    }
    Position {
        next: from,
        pending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_says_what_is_not() {
        for (next, pending) in [
            (0, vec![]),
            (7, vec![]),
            (7, vec![2]),
            (9, vec![2, 3, 5]),
            (9, vec![0, 4, 7]),
        ] {
            let position = Position { next, pending };
            assert_eq!(undone(&done(&position)), position);
        }
    }

    #[test]
    fn an_open_end_is_read_again() {
        let position = Position {
            next: 9,
            pending: vec![2, 8],
        };
        // Nothing is done behind the last open one: it is found again by reading on.
        let read = undone(&done(&position));
        assert_eq!((read.pending, read.next), (vec![2], 8));
    }
}
