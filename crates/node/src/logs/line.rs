//! The CRI log format: `TIME STREAM TAG TEXT`, tag `F` for a full line and `P` for a part of one.
//! (Kubernetes design proposal "CRI: Redirect Container Logs".)

use k8s_openapi::jiff::Timestamp;

/// Longer lines are written in parts of this size.
pub(super) const PART_MAX_BYTES: usize = 16 << 10;

/// Appends the line of one piece of output.
pub(super) fn write(to: &mut Vec<u8>, now: Timestamp, stream: &str, full: bool, text: &[u8]) {
    let tag = if full { 'F' } else { 'P' };
    to.extend_from_slice(format!("{now:.9} {stream} {tag} ").as_bytes());
    to.extend_from_slice(text);
    to.push(b'\n');
}

/// A line taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) time: &'a str,
    pub(super) full: bool,
    pub(super) text: &'a [u8],
}

impl<'a> Line<'a> {
    /// Reads a line without its end; none if it is not in the format.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let time = std::str::from_utf8(parts.next()?).ok()?;
        let _stream = parts.next()?;
        let full = parts.next()? == b"F";
        Some(Self {
            time,
            full,
            text: parts.next()?,
        })
    }

    /// When it was written.
    pub(super) fn timestamp(&self) -> Option<Timestamp> {
        self.time.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut file = Vec::new();
        let now = Timestamp::from_second(1_500_000_000).expect("a time");
        write(&mut file, now, "stderr", false, b"a b  c");
        let line = Line::parse(file.strip_suffix(b"\n").expect("an end")).expect("a line");
        assert_eq!(line.time, "2017-07-14T02:40:00.000000000Z");
        assert_eq!((line.full, line.text), (false, &b"a b  c"[..]));
        assert_eq!(line.timestamp(), Some(now));
    }
}
