//! Reading at any place, without the disk where memory has it, without copying.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::cache::Chunk;
use crate::error::Error;
use crate::index::Index;
use crate::log::{Inner, Log};
use crate::record::{self, Found, Record};
use crate::segment;

/// A place in a log that moves forward. It holds some 64 KiB while it is between records of one
/// chunk and nothing at the end of the log.
pub struct Reader {
    log: Log,
    next: u64,
    chunk: Option<Rest>,
    /// Keeps the index of the segment it is in from being read again and again.
    _index: Option<Arc<Index>>,
}

/// What is left of a chunk.
struct Rest {
    bytes: Bytes,
    at: usize,
}

/// What [`Reader::try_next`] has without waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next record.
    Record(Record),
    /// Nothing yet: [`Log::grown`] tells when.
    End,
    /// The disk must be read: call [`Reader::load`] where waiting is allowed.
    Disk,
}

impl Reader {
    pub(crate) const fn new(log: Log, offset: u64) -> Self {
        Self {
            log,
            next: offset,
            chunk: None,
            _index: None,
        }
    }

    /// The log it reads.
    #[must_use]
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// The offset of the next record.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.next
    }

    /// Goes to another place.
    pub fn seek(&mut self, offset: u64) {
        self.next = offset;
        self.chunk = None;
    }

    /// The next record if it is in memory; goes on behind it. Never waits for the disk, save to
    /// open the log.
    ///
    /// # Errors
    /// [`Error::Deleted`] and those of [`Log::open`].
    pub fn try_next(&mut self) -> Result<Next, Error> {
        if let Some(record) = self.take() {
            return Ok(Next::Record(record));
        }
        let id = {
            let open = self.log.0.lock_open()?;
            if self.next >= open.active.end {
                self._index = None;
                return Ok(Next::End);
            }
            open.id
        };
        match self.log.0.shared.cache.get(id, self.next) {
            None => Ok(Next::Disk),
            Some(chunk) => {
                self.enter(chunk);
                Ok(self.take().map_or(Next::Disk, Next::Record))
            }
        }
    }

    /// Brings the next record into memory. Waits for the disk.
    ///
    /// # Errors
    /// [`Error::Dropped`] when retention has dropped the record: [`Reader::seek`] to the first.
    /// [`Error::Corrupt`] when it is damaged, [`Error::Io`], and those of [`Log::open`].
    pub fn load(&mut self) -> Result<(), Error> {
        let Some((chunk, index)) = self.log.0.load(self.next)? else {
            return Ok(());
        };
        self.enter(chunk);
        self._index = index;
        Ok(())
    }

    /// The next record, from memory or from the disk, which it waits for; nothing at the end.
    ///
    /// # Errors
    /// Those of [`Reader::try_next`] and [`Reader::load`].
    pub fn read(&mut self) -> Result<Option<Record>, Error> {
        loop {
            match self.try_next()? {
                Next::Record(record) => return Ok(Some(record)),
                Next::End => return Ok(None),
                Next::Disk => self.load()?,
            }
        }
    }

    fn take(&mut self) -> Option<Record> {
        let rest = self.chunk.as_mut()?;
        let Some(head) = record::head(&rest.bytes[rest.at..]) else {
            self.chunk = None;
            return None;
        };
        let from = rest.at + record::HEAD_BYTES;
        let to = rest.at + head.record_bytes();
        let payload = rest.bytes.slice(from..to);
        rest.at = to;
        if to == rest.bytes.len() {
            self.chunk = None;
        }
        self.next = head.offset + 1;
        Some(Record {
            offset: head.offset,
            arrival_ms: head.arrival_ms,
            payload,
        })
    }

    /// Goes to the next record's place in `chunk`, which holds it.
    fn enter(&mut self, chunk: Chunk) {
        let mut at = 0;
        for _ in chunk.first..self.next {
            at += record::head(&chunk.bytes[at..]).map_or(0, |head| head.record_bytes());
        }
        self.chunk = Some(Rest {
            bytes: chunk.bytes,
            at,
        });
    }
}

type Loaded = (Chunk, Option<Arc<Index>>);

/// What came of an attempt to load a chunk.
enum Tried {
    Loaded(Chunk, Option<Arc<Index>>),
    /// Not appended yet.
    End,
    /// Its segment was dropped in between.
    Gone,
}

/// Where some records are on the disk.
struct Span {
    path: PathBuf,
    from: u64,
    to: u64,
    index: Option<Arc<Index>>,
}

impl Inner {
    /// The chunk with record `offset`, from the disk; nothing at the end.
    fn load(&self, offset: u64) -> Result<Option<Loaded>, Error> {
        loop {
            match self.try_load(offset)? {
                Tried::Loaded(chunk, index) => return Ok(Some((chunk, index))),
                Tried::End => return Ok(None),
                Tried::Gone => {}
            }
        }
    }

    fn try_load(&self, offset: u64) -> Result<Tried, Error> {
        let open = self.lock_open()?;
        if offset >= open.active.end {
            return Ok(Tried::End);
        }
        if offset < open.first() {
            return Err(Error::Dropped {
                name: self.name.clone(),
                offset,
                first: open.first(),
            });
        }
        let id = open.id;
        let found = open.sealed.partition_point(|s| s.foot.end <= offset);
        let sealed = open.sealed.get(found).cloned();
        let (base, path) = match &sealed {
            Some(segment) => (segment.foot.base, segment.path.clone()),
            None => (open.active.base, open.active.path.clone()),
        };
        let in_active = open.active.index.span(offset, open.active.data_end);
        drop(open);
        let file = match self.shared.files.get((id, base), &path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.gone(&path),
            Err(error) => return Err(Error::io("open", &path, error)),
        };
        let (span, index) = match sealed {
            None => (in_active, None),
            Some(segment) => {
                let index = segment.index(&*file)?;
                (index.span(offset, segment.foot.data_end), Some(index))
            }
        };
        let (from, to) = span.unwrap_or((segment::HEAD_BYTES as u64, segment::HEAD_BYTES as u64));
        let mut bytes = vec![0; (to - from) as usize];
        let read = file.read_at(&mut bytes, from);
        let read = read.map_err(|e| Error::io("read", &path, e))?;
        bytes.truncate(read);
        let span = Span {
            path,
            from,
            to,
            index,
        };
        let chunk = span.check(Bytes::from(bytes), offset)?;
        self.shared.cache.put(id, chunk.clone());
        Ok(Tried::Loaded(chunk, span.index))
    }

    /// A file that is not there: dropped since we looked, or lost.
    fn gone(&self, path: &Path) -> Result<Tried, Error> {
        let open = self.lock_open()?;
        let is_listed = open.active.path == path || open.sealed.iter().any(|s| s.path == path);
        if is_listed {
            return Err(Error::io("open", path, io::ErrorKind::NotFound.into()));
        }
        Ok(Tried::Gone)
    }
}

impl Span {
    /// The bytes as a chunk if every record is whole and `offset` is among them.
    fn check(&self, bytes: Bytes, offset: u64) -> Result<Chunk, Error> {
        let corrupt = |at: usize| Error::Corrupt {
            path: self.path.clone(),
            position: self.from + at as u64,
            why: "the record is damaged",
        };
        let mut at = 0;
        let mut ends: Option<(u64, u64)> = None;
        while at < bytes.len() {
            let Found::Record(head) = record::find(&bytes[at..]) else {
                return Err(corrupt(at));
            };
            if ends.is_some_and(|(_, end)| end != head.offset) {
                return Err(corrupt(at));
            }
            ends = Some((
                ends.map_or(head.offset, |(first, _)| first),
                head.offset + 1,
            ));
            at += head.record_bytes();
        }
        match ends {
            Some((first, end)) if (first..end).contains(&offset) => Ok(Chunk { first, end, bytes }),
            _ => Err(corrupt((self.to - self.from) as usize)),
        }
    }
}
