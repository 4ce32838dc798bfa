//! Reading a log: tail, since, limit, timestamps, follow.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use k8s_openapi::jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use super::LogFile;
use super::file::Progress;
use super::line::Line;

/// Pieces that may wait for a slow reader.
const PIECES_MAX: usize = 16;
/// Most of a file that is read at once.
const CHUNK_BYTES: u64 = 256 << 10;

/// What of a log is wanted (`PodLogOptions`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on until the container ends.
    pub follow: bool,
    /// The run before the present one.
    pub previous: bool,
    /// Each line with its time in front.
    pub timestamps: bool,
    /// Only the last so many lines.
    pub tail_lines: Option<u64>,
    /// Only lines from this time on.
    pub since: Option<Timestamp>,
    /// No more than so many bytes.
    pub limit_bytes: Option<u64>,
}

/// A log being read, piece by piece, until `recv` gives `None`.
pub type LogStream = mpsc::Receiver<io::Result<Bytes>>;

/// Starts reading. `live` is the log of a container that still runs. Must be called inside a
/// tokio runtime.
pub(crate) fn open(path: PathBuf, live: Option<&Arc<LogFile>>, options: LogOptions) -> LogStream {
    let (to, stream) = mpsc::channel(PIECES_MAX);
    let progress = live.filter(|_| options.follow).map(|log| log.progress());
    tokio::spawn(async move {
        if let Err(error) = follow(&path, progress, options, &to).await {
            let _ = to.send(Err(error)).await;
        }
    });
    stream
}

async fn follow(
    path: &Path,
    mut progress: Option<watch::Receiver<Progress>>,
    options: LogOptions,
    to: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let mut render = Render {
        left: options.limit_bytes,
        options,
        rest: Vec::new(),
    };
    let mut file: Option<File> = None;
    let mut first = true;
    loop {
        let closed = match &mut progress {
            Some(progress) => progress.borrow_and_update().closed,
            None => true,
        };
        if file.is_none() {
            file = File::open(path).ok();
        }
        if let Some(open) = &mut file {
            if std::mem::take(&mut first) {
                skip_to_tail(open, render.options.tail_lines)?;
            }
            if !drain(open, &mut render, to).await? {
                return Ok(());
            }
            // After a rotation the path leads to a new file.
            if fs::metadata(path)
                .is_ok_and(|new| open.metadata().is_ok_and(|old| new.ino() != old.ino()))
            {
                file = None;
                continue;
            }
        }
        let Some(progress) = progress.as_mut().filter(|_| !closed) else {
            return Ok(());
        };
        tokio::select! {
            changed = progress.changed() => if changed.is_err() { return Ok(()) },
            () = to.closed() => return Ok(()),
        }
    }
}

/// Sends what the file holds; false when the reader has had enough.
async fn drain(
    file: &mut File,
    render: &mut Render,
    to: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<bool> {
    loop {
        let mut chunk = Vec::new();
        Read::by_ref(file)
            .take(CHUNK_BYTES)
            .read_to_end(&mut chunk)?;
        if chunk.is_empty() {
            return Ok(true);
        }
        let text = render.lines(&chunk);
        if !text.is_empty() && to.send(Ok(text.into())).await.is_err() {
            return Ok(false);
        }
        if render.left == Some(0) {
            return Ok(false);
        }
    }
}

/// Moves to the start of the last `lines` lines.
fn skip_to_tail(file: &mut File, lines: Option<u64>) -> io::Result<()> {
    use std::io::Seek;
    let Some(lines) = lines else { return Ok(()) };
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let body = text.strip_suffix(b"\n").unwrap_or(&text);
    // Lines in parts count once: only full ends are counted.
    let mut at = text.len();
    let mut counted = 0;
    if lines > 0 {
        let mut end = body.len();
        loop {
            let begin = body[..end]
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |i| i + 1);
            let full = Line::parse(&body[begin..end]).is_none_or(|line| line.full);
            counted += u64::from(full);
            if counted > lines {
                break;
            }
            at = begin;
            if begin == 0 {
                break;
            }
            end = begin - 1;
        }
    }
    file.seek(io::SeekFrom::Start(at as u64))?;
    Ok(())
}

/// From lines of the file to what the reader asked for.
struct Render {
    options: LogOptions,
    left: Option<u64>,
    rest: Vec<u8>,
}

impl Render {
    fn lines(&mut self, chunk: &[u8]) -> Vec<u8> {
        let mut text = std::mem::take(&mut self.rest);
        text.extend_from_slice(chunk);
        let mut out = Vec::new();
        let mut from = 0;
        while let Some(end) = text[from..].iter().position(|byte| *byte == b'\n') {
            self.line(&text[from..from + end], &mut out);
            from += end + 1;
        }
        self.rest = text.split_off(from);
        if let Some(left) = &mut self.left {
            out.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= out.len() as u64;
        }
        out
    }

    fn line(&self, line: &[u8], out: &mut Vec<u8>) {
        let Some(line) = Line::parse(line) else {
            return;
        };
        let early = |since| line.timestamp().is_some_and(|time| time < since);
        if self.options.since.is_some_and(early) {
            return;
        }
        if self.options.timestamps {
            out.extend_from_slice(line.time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(line.text);
        if line.full {
            out.push(b'\n');
        }
    }
}

/// The last lines of a log as one text, for termination messages: at most so many lines and
/// bytes.
pub(crate) fn tail_text(path: &Path, lines: u64, bytes: usize) -> String {
    let Ok(mut file) = File::open(path) else {
        return String::new();
    };
    let mut raw = Vec::new();
    if skip_to_tail(&mut file, Some(lines)).is_err() || file.read_to_end(&mut raw).is_err() {
        return String::new();
    }
    let options = LogOptions::default();
    let text = Render {
        options,
        left: None,
        rest: Vec::new(),
    }
    .lines(&raw);
    let from = text.len().saturating_sub(bytes);
    String::from_utf8_lossy(&text[from..]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::Stream;

    async fn check(options: LogOptions, want: &str) {
        let dir = tempfile::tempdir().expect("temp dir");
        let log = LogFile::new(dir.path().join("0.log"));
        log.append(Stream::Stdout, b"one\ntwo\nthree\n")
            .expect("append");
        let live = options.follow.then(|| Arc::clone(&log));
        let mut stream = open(log.path().to_owned(), live.as_ref(), options);
        let mut got = Vec::new();
        let mut first = true;
        while let Some(piece) = stream.recv().await {
            got.extend_from_slice(&piece.expect("a piece"));
            if live.is_some() && std::mem::take(&mut first) {
                log.append(Stream::Stderr, b"four\n").expect("append");
                log.close();
            }
        }
        assert_eq!(String::from_utf8_lossy(&got), want);
    }

    #[tokio::test]
    async fn parts_of_a_log() {
        let all = LogOptions::default();
        check(all.clone(), "one\ntwo\nthree\n").await;
        check(
            LogOptions {
                tail_lines: Some(2),
                ..all.clone()
            },
            "two\nthree\n",
        )
        .await;
        check(
            LogOptions {
                tail_lines: Some(0),
                ..all.clone()
            },
            "",
        )
        .await;
        check(
            LogOptions {
                tail_lines: Some(9),
                ..all.clone()
            },
            "one\ntwo\nthree\n",
        )
        .await;
        check(
            LogOptions {
                limit_bytes: Some(5),
                ..all.clone()
            },
            "one\nt",
        )
        .await;
        let later = Timestamp::from_second(33_000_000_000).expect("a time");
        check(
            LogOptions {
                since: Some(later),
                ..all.clone()
            },
            "",
        )
        .await;
        let follow = LogOptions {
            follow: true,
            tail_lines: Some(1),
            ..all
        };
        check(follow, "three\nfour\n").await;
    }
}
