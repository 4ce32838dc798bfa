//! Heads of requests: read with httparse, judged strictly. What two readers could understand
//! differently is refused here; `upward` and `response` write heads anew from the parsed parts.

use std::mem::MaybeUninit;

use httparse::{Header, Status};

use crate::front::Headers;
use http1::framing::Framing;
use http1::response::{Refused, parse_length};

/// The longest head; longer ones are answered 431.
pub(crate) const HEAD_SIZE_MAX: usize = 64 * 1024;
/// The most header fields.
pub(super) const HEADERS_MAX: usize = 128;

/// A head that is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum HeadError {
    #[error("{0}")]
    Bad(&'static str),
    #[error("request header fields too large")]
    TooLarge,
    #[error("unsupported transfer coding")]
    Unsupported,
    #[error("HTTP version not supported")]
    Version,
}

impl From<Refused> for HeadError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Bad(reason) => Self::Bad(reason),
            Refused::Unsupported => Self::Unsupported,
        }
    }
}

/// What a header field is to a proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Passed on.
    Other,
    /// For this hop alone.
    Hop,
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    Upgrade,
    Te,
    ForwardedFor,
    ForwardedHost,
    ForwardedProto,
    Forwarded,
    Namespace,
    Revision,
    NetworkProbe,
    NetworkHash,
    ProxyRequest,
    UserAgent,
    Traceparent,
}

pub(super) fn kind_of(name: &str) -> Kind {
    // By length first: most fields are none of these.
    let candidates: &[(&str, Kind)] = match name.len() {
        2 => &[("te", Kind::Te)],
        4 => &[("host", Kind::Host)],
        7 => &[("upgrade", Kind::Upgrade)],
        9 => &[("forwarded", Kind::Forwarded)],
        10 => &[
            ("connection", Kind::Connection),
            ("user-agent", Kind::UserAgent),
            ("keep-alive", Kind::Hop),
        ],
        11 => &[("traceparent", Kind::Traceparent)],
        14 => &[
            ("content-length", Kind::ContentLength),
            ("k-network-hash", Kind::NetworkHash),
        ],
        15 => &[
            ("x-forwarded-for", Kind::ForwardedFor),
            ("k-network-probe", Kind::NetworkProbe),
            ("k-proxy-request", Kind::ProxyRequest),
        ],
        16 => &[
            ("x-forwarded-host", Kind::ForwardedHost),
            ("proxy-connection", Kind::Hop),
        ],
        17 => &[
            ("transfer-encoding", Kind::TransferEncoding),
            ("x-forwarded-proto", Kind::ForwardedProto),
        ],
        18 => &[("proxy-authenticate", Kind::Hop)],
        19 => &[("proxy-authorization", Kind::Hop)],
        24 => &[("knative-serving-revision", Kind::Revision)],
        25 => &[("knative-serving-namespace", Kind::Namespace)],
        _ => &[],
    };
    candidates
        .iter()
        .find(|(candidate, _)| name.eq_ignore_ascii_case(candidate))
        .map_or(Kind::Other, |(_, kind)| *kind)
}

/// A request's head, borrowed from the buffer it was read into.
pub(crate) struct RequestHead<'h, 'b> {
    pub(crate) method: &'b str,
    /// In origin form (`/path?query`) or `*`.
    pub(crate) target: &'b str,
    /// From the target if that was absolute, else from the Host header; empty if there was none.
    pub(crate) host: &'b str,
    pub(crate) http_1_0: bool,
    pub(crate) framing: Framing,
    /// The client wants to go on using the connection.
    pub(crate) keep_alive: bool,
    /// The client asks to switch to another protocol.
    pub(crate) upgrade: bool,
    /// Bytes of the head.
    pub(crate) len: usize,
    pub(super) headers: &'h [Header<'b>],
    pub(super) kinds: [Kind; HEADERS_MAX],
}

/// Parses a request's head from the beginning of `bytes` and gives it to `handle`; `None` when it
/// is not complete yet.
pub(crate) fn with_request<R>(
    bytes: &[u8],
    handle: impl FnOnce(&RequestHead<'_, '_>) -> R,
) -> Result<Option<R>, HeadError> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let len = match request.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) if bytes.len() >= HEAD_SIZE_MAX => return Err(HeadError::TooLarge),
        Ok(Status::Partial) => return Ok(None),
        Err(error) => return Err(parse_error(error)),
    };
    let headers: &[Header<'_>] = request.headers;
    let mut head = RequestHead {
        method: request.method.unwrap_or_default(),
        target: request.path.unwrap_or_default(),
        host: "",
        http_1_0: request.version == Some(0),
        framing: Framing::NONE,
        keep_alive: request.version != Some(0),
        upgrade: false,
        len,
        headers,
        kinds: [Kind::Other; HEADERS_MAX],
    };
    head.judge()?;
    Ok(Some(handle(&head)))
}

const fn parse_error(error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::TooManyHeaders => HeadError::TooLarge,
        httparse::Error::Version => HeadError::Version,
        httparse::Error::Token => HeadError::Bad("malformed request line"),
        _ => HeadError::Bad("malformed header field"),
    }
}

impl<'b> RequestHead<'_, 'b> {
    /// Classifies the fields and refuses what two readers could understand differently.
    fn judge(&mut self) -> Result<(), HeadError> {
        let headers = self.headers;
        let (mut hosts, mut length, mut coded, mut asks_upgrade) = (0, None, false, false);
        for (header, kind) in headers.iter().zip(&mut self.kinds) {
            *kind = kind_of(header.name);
            match kind {
                Kind::Host => {
                    hosts += 1;
                    self.host =
                        text(header.value).ok_or(HeadError::Bad("malformed Host header"))?;
                }
                Kind::ContentLength => {
                    let value = parse_length(header.value)?;
                    if length.is_some_and(|before| before != value) {
                        return Err(HeadError::Bad("conflicting Content-Length headers"));
                    }
                    length = Some(value);
                }
                Kind::TransferEncoding if coded => {
                    return Err(HeadError::Bad("repeated Transfer-Encoding header"));
                }
                Kind::TransferEncoding if header.value.eq_ignore_ascii_case(b"chunked") => {
                    coded = true;
                }
                Kind::TransferEncoding => return Err(HeadError::Unsupported),
                Kind::Upgrade => asks_upgrade = !header.value.eq_ignore_ascii_case(b"h2c"),
                _ => {}
            }
        }
        self.frame(length, coded)?;
        self.connection(asks_upgrade);
        self.target_and_host(hosts)
    }

    fn frame(&mut self, length: Option<u64>, coded: bool) -> Result<(), HeadError> {
        if coded && (length.is_some() || self.http_1_0) {
            return Err(HeadError::Bad(
                "Transfer-Encoding beside Content-Length or HTTP/1.0",
            ));
        }
        self.framing = match length {
            Some(length) => Framing::Length(length),
            None if coded => Framing::chunked(),
            None => Framing::NONE,
        };
        Ok(())
    }

    /// Reads the Connection header; the fields it names are for this hop alone.
    fn connection(&mut self, asks_upgrade: bool) {
        let headers = self.headers;
        for (at, header) in headers.iter().enumerate() {
            if self.kinds[at] != Kind::Connection {
                continue;
            }
            for token in header.value.split(|&byte| byte == b',') {
                let token = token.trim_ascii();
                if token.eq_ignore_ascii_case(b"close") {
                    self.keep_alive = false;
                } else if token.eq_ignore_ascii_case(b"keep-alive") {
                    self.keep_alive |= self.http_1_0;
                } else if token.eq_ignore_ascii_case(b"upgrade") {
                    self.upgrade = asks_upgrade && !self.http_1_0;
                } else {
                    self.mark_hop(token);
                }
            }
        }
    }

    fn mark_hop(&mut self, name: &[u8]) {
        for (header, kind) in self.headers.iter().zip(&mut self.kinds) {
            if *kind == Kind::Other && header.name.as_bytes().eq_ignore_ascii_case(name) {
                *kind = Kind::Hop;
            }
        }
    }

    fn target_and_host(&mut self, hosts: usize) -> Result<(), HeadError> {
        if hosts > 1 || (hosts == 0 && !self.http_1_0) {
            return Err(HeadError::Bad("missing or repeated Host header"));
        }
        let scheme_end = if self.target.starts_with('/') {
            None
        } else {
            self.target.find("://")
        };
        if let Some(scheme_end) = scheme_end {
            let rest = &self.target[scheme_end + 3..];
            let path_at = rest.find(['/', '?']).unwrap_or(rest.len());
            (self.host, self.target) = (&rest[..path_at], &rest[path_at..]);
            if self.target.is_empty() {
                self.target = "/";
            }
        }
        if !self.target.starts_with('/') && self.target != "*" {
            return Err(HeadError::Bad("malformed request target"));
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]%".contains(&byte);
        if !self.host.bytes().all(allowed) {
            return Err(HeadError::Bad("malformed Host header"));
        }
        Ok(())
    }

    pub(super) fn first(&self, wanted: Kind) -> Option<&'b [u8]> {
        let at = self.kinds[..self.headers.len()]
            .iter()
            .position(|&kind| kind == wanted)?;
        Some(self.headers[at].value)
    }

    /// The value of a field by its lower-case name, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&'b str> {
        let header = self
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))?;
        text(header.value)
    }

    /// `K-Network-Probe`.
    pub(crate) fn network_probe(&self) -> Option<&'b str> {
        self.first(Kind::NetworkProbe).and_then(text)
    }

    /// `User-Agent`, empty without one.
    pub(crate) fn user_agent(&self) -> &'b str {
        self.first(Kind::UserAgent)
            .and_then(text)
            .unwrap_or_default()
    }

    /// Whether an activator sent the request on.
    pub(crate) fn is_proxied(&self) -> bool {
        self.first(Kind::ProxyRequest) == Some(b"activator")
    }
}

impl<'b> Headers<'b> for RequestHead<'_, 'b> {
    fn get(&self, name: &str) -> Option<&'b str> {
        self.header(name)
    }
}

pub(super) fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok()
}
