//! W3C trace context (<https://www.w3.org/TR/trace-context/>) in and out.

use std::fmt::Write as _;

/// The bytes of a `traceparent` of version 00.
pub const TRACEPARENT_LEN: usize = 55;
/// The flag that says that a trace is recorded.
const SAMPLED: u8 = 1;

/// Where a request stands in its trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parent {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The span.
    pub id: [u8; 8],
    /// Whether the trace is recorded.
    pub is_sampled: bool,
}

impl Parent {
    /// Reads a `traceparent`; `None` for one that must be ignored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.trim().as_bytes();
        let fields = bytes.get(..TRACEPARENT_LEN)?;
        // Later versions may say more, after another dash.
        let is_whole = match (&fields[..2], bytes.get(TRACEPARENT_LEN)) {
            (b"ff", _) => false,
            (_, None) => true,
            (version, Some(next)) => version != b"00" && *next == b'-',
        };
        let has_dashes = [2, 35, 52].iter().all(|&at| fields[at] == b'-');
        if !is_whole || !has_dashes {
            return None;
        }
        let _version: [u8; 1] = hex(&fields[..2])?;
        let [flags] = hex(&fields[53..])?;
        let (trace_id, id) = (hex(&fields[3..35])?, hex(&fields[36..52])?);
        let is_valid = trace_id != [0; 16] && id != [0; 8];
        is_valid.then_some(Self {
            trace_id,
            id,
            is_sampled: flags & SAMPLED != 0,
        })
    }
}

/// Lower-case hexadecimal digits, as the recommendation wants them.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// The `traceparent` of a child of `id`.
#[must_use]
pub fn traceparent(trace_id: [u8; 16], id: [u8; 8], is_sampled: bool) -> String {
    let mut text = String::with_capacity(TRACEPARENT_LEN);
    text.push_str("00-");
    push_hex(&mut text, &trace_id);
    text.push('-');
    push_hex(&mut text, &id);
    text.push_str(if is_sampled { "-01" } else { "-00" });
    text
}

/// Writes bytes as people write ids.
pub fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_strictly() {
        const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parent = Parent::parse(GOOD).expect("good");
        assert!(parent.is_sampled);
        assert_eq!(traceparent(parent.trace_id, parent.id, true), GOOD);
        for (text, is_read) in [
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
                true,
            ),
            (
                "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
                true,
            ),
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
                false,
            ),
            (
                "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                false,
            ),
            (
                "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                false,
            ),
            (
                "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                false,
            ),
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                false,
            ),
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
                false,
            ),
            ("00-ab", false),
            ("", false),
        ] {
            assert_eq!(Parent::parse(text).is_some(), is_read, "{text}");
        }
    }
}
