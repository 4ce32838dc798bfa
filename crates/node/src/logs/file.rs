//! The log file of one run: appends in the CRI format, rotates by size, wakes followers.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::jiff::Timestamp;
use tokio::sync::watch;

use super::line;

/// A file grows to this size before it is rotated.
const FILE_MAX_BYTES: u64 = 10 << 20;
/// Files kept of one run, the current one included.
const FILES_MAX: usize = 5;

/// Where a piece of output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// How far a log has come, for followers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) written: u64,
    pub(super) closed: bool,
}

/// One run's log. Closed when it is dropped or told to be.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    inner: Mutex<Inner>,
    progress: watch::Sender<Progress>,
}

#[derive(Debug)]
struct Inner {
    file: Option<File>,
    size: u64,
    /// The unfinished lines of standard output and standard error.
    rest: [Vec<u8>; 2],
    buffer: Vec<u8>,
    rotate_at: u64,
}

impl LogFile {
    /// A log at the path. The file is made with the first output.
    pub fn new(path: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            path,
            inner: Mutex::new(Inner {
                file: None,
                size: 0,
                rest: [Vec::new(), Vec::new()],
                buffer: Vec::new(),
                rotate_at: FILE_MAX_BYTES,
            }),
            progress: watch::Sender::new(Progress::default()),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// For waiting until the log is closed.
    pub(crate) fn closed(&self) -> Closed {
        Closed(self.progress())
    }

    /// Appends raw output: whole lines are written, an unfinished one waits for its end unless it
    /// is too long.
    pub fn append(&self, stream: Stream, output: &[u8]) -> io::Result<()> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Timestamp::now();
        let mut rest = std::mem::take(&mut inner.rest[stream as usize]);
        rest.extend_from_slice(output);
        let mut from = 0;
        while from < rest.len() {
            let window = &rest[from..rest.len().min(from + line::PART_MAX_BYTES)];
            match window.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    line::write(&mut inner.buffer, now, stream.name(), true, &window[..end]);
                    from += end + 1;
                }
                None if window.len() == line::PART_MAX_BYTES => {
                    line::write(&mut inner.buffer, now, stream.name(), false, window);
                    from += window.len();
                }
                None => break,
            }
        }
        rest.drain(..from);
        inner.rest[stream as usize] = rest;
        self.write_out(&mut inner)
    }

    fn write_out(&self, inner: &mut Inner) -> io::Result<()> {
        if inner.buffer.is_empty() {
            return Ok(());
        }
        if inner.size >= inner.rotate_at {
            self.rotate(inner)?;
        }
        let buffer = std::mem::take(&mut inner.buffer);
        if inner.file.is_none() {
            let file = open(&self.path)?;
            inner.size = file.metadata()?.len();
            inner.file = Some(file);
        }
        if let Some(file) = &mut inner.file {
            file.write_all(&buffer)?;
        }
        inner.size += buffer.len() as u64;
        inner.buffer = buffer;
        inner.buffer.clear();
        self.progress
            .send_modify(|progress| progress.written = inner.size);
        Ok(())
    }

    /// Moves the file away under the time, as the kubelet does, and removes the oldest.
    fn rotate(&self, inner: &mut Inner) -> io::Result<()> {
        inner.file = None;
        let time = Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string();
        let mut away = self.path.clone().into_os_string();
        away.push(format!(".{time}"));
        fs::rename(&self.path, away)?;
        let mut old = rotated(&self.path);
        while old.len() > FILES_MAX - 1 {
            fs::remove_file(old.remove(0))?;
        }
        Ok(())
    }

    /// Writes what is left of unfinished lines and tells followers that this is all.
    pub fn close(&self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let unfinished = {
                let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
                !inner.rest[stream as usize].is_empty()
            };
            if unfinished {
                let _ = self.append(stream, b"\n");
            }
        }
        self.progress.send_modify(|progress| progress.closed = true);
    }
}

/// Waits for the end of a log.
pub(crate) struct Closed(watch::Receiver<Progress>);

impl Closed {
    /// Comes back when the log is closed or gone.
    pub(crate) async fn wait(&mut self) {
        let _ = self.0.wait_for(|progress| progress.closed).await;
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    OpenOptions::new().append(true).create(true).open(path)
}

/// The files a log was moved to, oldest first.
fn rotated(path: &Path) -> Vec<PathBuf> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Vec::new();
    };
    let prefix = format!("{}.", name.to_string_lossy());
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// The log of a builtin container: takes lines.
#[derive(Clone, Debug)]
pub struct LogSink(pub(crate) Arc<LogFile>);

impl LogSink {
    /// Appends one line to the log. A log that cannot be written loses the line: the container
    /// goes on.
    pub fn line(&self, stream: Stream, text: &str) {
        let _ = self.0.append(stream, format!("{text}\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_whole_and_files_rotate() {
        let dir = tempfile::tempdir().expect("temp dir");
        let log = LogFile::new(dir.path().join("c/0.log"));
        log.append(Stream::Stdout, b"one\ntw").expect("append");
        log.append(Stream::Stderr, b"bad\n").expect("append");
        log.append(Stream::Stdout, b"o\nend").expect("append");
        log.close();
        let text = fs::read_to_string(log.path()).expect("read");
        let texts: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split_once(' ').map(|(_, rest)| rest))
            .collect();
        assert_eq!(
            texts,
            [
                "stdout F one",
                "stderr F bad",
                "stdout F two",
                "stdout F end"
            ]
        );
        log.inner.lock().expect("lock").rotate_at = 1;
        log.append(Stream::Stdout, b"next\n").expect("append");
        assert_eq!(rotated(log.path()).len(), 1);
        assert_eq!(
            fs::read_to_string(log.path())
                .expect("read")
                .lines()
                .count(),
            1
        );
    }
}
