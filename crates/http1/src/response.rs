//! What the head of a response says about its body and its connection (RFC 9112 sections 6.3 and 9).

use crate::framing::Framing;

/// A head that cannot be understood, or could be in two ways.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// Why.
    #[error("{0}")]
    Bad(&'static str),
    /// A transfer coding other than `chunked`.
    #[error("unsupported transfer coding")]
    Unsupported,
}

/// What a reader must know of a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Judged {
    /// The status code.
    pub status: u16,
    /// How its body ends.
    pub framing: Framing,
    /// The connection takes another request after it.
    pub reusable: bool,
}

impl Judged {
    /// 100, 102, 103: another head follows.
    #[must_use]
    pub const fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }
}

/// Judges a parsed head; `is_head` says that the request was a HEAD.
///
/// # Errors
/// [`Refused`].
pub fn judge(response: &httparse::Response<'_, '_>, is_head: bool) -> Result<Judged, Refused> {
    let status = response.code.unwrap_or_default();
    let (mut length, mut coded, mut keep) = (None, false, response.version != Some(0));
    for header in response.headers.iter() {
        // By length first: most fields are none of these.
        match header.name.len() {
            14 if header.name.eq_ignore_ascii_case("content-length") => {
                let value = parse_length(header.value)?;
                if length.is_some_and(|before| before != value) {
                    return Err(Refused::Bad("conflicting Content-Length headers"));
                }
                length = Some(value);
            }
            17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                if !header.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Refused::Unsupported);
                }
                coded = true;
            }
            10 if header.name.eq_ignore_ascii_case("connection") => {
                for token in header.value.split(|&byte| byte == b',') {
                    match token.trim_ascii() {
                        t if t.eq_ignore_ascii_case(b"close") => keep = false,
                        t if t.eq_ignore_ascii_case(b"keep-alive") => keep = true,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let bodiless = is_head || matches!(status, 100..=199 | 204 | 304);
    let framing = match length {
        _ if status == 101 => Framing::UntilClose,
        _ if bodiless => Framing::NONE,
        _ if coded => Framing::chunked(),
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    };
    let delimited = framing != Framing::UntilClose;
    Ok(Judged {
        status,
        framing,
        reusable: keep && delimited && !(coded && length.is_some()),
    })
}

/// The value of a `Content-Length`.
///
/// # Errors
/// [`Refused::Bad`].
pub fn parse_length(value: &[u8]) -> Result<u64, Refused> {
    let bad = Refused::Bad("malformed Content-Length header");
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(bad);
    }
    let digits = std::str::from_utf8(value).map_err(|_| bad)?;
    digits.parse().map_err(|_| bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(head: &str) -> Result<Judged, Refused> {
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(head.as_bytes()).expect("a head");
        assert!(parsed.is_complete());
        judge(&response, false)
    }

    #[test]
    fn body_and_connection_are_as_the_head_says() {
        let cases = [
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 3",
                Framing::Length(3),
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked",
                Framing::chunked(),
                true,
            ),
            ("HTTP/1.1 200 OK", Framing::UntilClose, false),
            ("HTTP/1.1 204 No", Framing::NONE, true),
            ("HTTP/1.1 304 No\r\ncontent-length: 9", Framing::NONE, true),
            (
                "HTTP/1.1 101 Switch\r\ncontent-length: 0",
                Framing::UntilClose,
                false,
            ),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: a, Close",
                Framing::Length(3),
                false,
            ),
            (
                "HTTP/1.0 200 OK\r\ncontent-length: 3",
                Framing::Length(3),
                false,
            ),
            (
                "HTTP/1.0 200 OK\r\ncontent-length: 3\r\nconnection: keep-alive",
                Framing::Length(3),
                true,
            ),
            // Two readers could take either: nothing more is read from this connection.
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked",
                Framing::chunked(),
                false,
            ),
        ];
        for (head, framing, reusable) in cases {
            let judged = of(&format!("{head}\r\n\r\n")).expect(head);
            assert_eq!(
                (judged.framing, judged.reusable),
                (framing, reusable),
                "{head}"
            );
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for fields in [
            "content-length: 1\r\ncontent-length: 2",
            "content-length: +1",
            "content-length: ",
            "transfer-encoding: gzip",
            "transfer-encoding: gzip, chunked",
        ] {
            assert!(
                of(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n")).is_err(),
                "{fields}"
            );
        }
    }
}
