//! HTTP/1.1 as values: where a body ends ([`framing`]) and what the head of a response says
//! ([`response`]). Used by the gateway, which passes messages on, and by the broker's client, which
//! reads them; both move the bytes themselves.

pub mod framing;
pub mod response;

/// A character of a token (RFC 9110 section 5.6.2).
#[must_use]
pub const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}
