//! Heads of requests and responses: read with httparse, judged strictly, written anew. What is
//! passed on is built from the parsed parts, never copied as it came, so that the next reader
//! cannot understand something else.

use std::mem::MaybeUninit;

use httparse::{Header, Status};

use super::framing::Framing;
use crate::forwarded::{self, Earlier};
use crate::front::Headers;

/// The longest head; longer ones are answered 431.
pub(crate) const HEAD_SIZE_MAX: usize = 64 * 1024;
/// The most header fields.
const HEADERS_MAX: usize = 128;

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

/// What a header field is to a proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
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
}

fn kind_of(name: &str) -> Kind {
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
    headers: &'h [Header<'b>],
    kinds: [Kind; HEADERS_MAX],
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

    fn first(&self, wanted: Kind) -> Option<&'b [u8]> {
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

/// What the next hop is to be told beyond what the client said.
pub(crate) struct Upward<'a> {
    /// The client's address, appended to X-Forwarded-For.
    pub(crate) client: &'a str,
    /// `http` or `https`, unless an earlier proxy has said.
    pub(crate) scheme: &'a str,
    /// Replaces the Host header.
    pub(crate) host: Option<&'a str>,
    /// Fields to be set, lower-case names; the later ones win.
    pub(crate) set: [Option<&'a std::collections::BTreeMap<String, String>>; 2],
    /// Mark the request as an activator's.
    pub(crate) proxied: bool,
}

impl Upward<'_> {
    fn sets(&self, name: &str) -> bool {
        self.set
            .iter()
            .flatten()
            .any(|set| !set.is_empty() && set.keys().any(|other| other.eq_ignore_ascii_case(name)))
    }
}

/// Writes the head for the next hop.
pub(crate) fn write_request(head: &RequestHead<'_, '_>, up: &Upward<'_>, out: &mut Vec<u8>) {
    for part in [
        head.method,
        " ",
        head.target,
        " HTTP/1.1\r\nhost: ",
        up.host.unwrap_or(head.host),
    ] {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    for (header, kind) in head.headers.iter().zip(&head.kinds) {
        match kind {
            Kind::Other | Kind::UserAgent if !up.sets(header.name) => {
                field(out, header.name, header.value);
            }
            Kind::Forwarded | Kind::NetworkHash | Kind::NetworkProbe => {
                field(out, header.name, header.value);
            }
            Kind::Te if header.value.eq_ignore_ascii_case(b"trailers") => {
                field(out, "te", b"trailers");
            }
            Kind::Upgrade if head.upgrade => field(out, "upgrade", header.value),
            _ => {}
        }
    }
    match head.framing {
        Framing::Chunked(_) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        _ => {
            if let Some(length) = head.first(Kind::ContentLength) {
                field(out, "content-length", length);
            }
        }
    }
    if head.upgrade {
        out.extend_from_slice(b"connection: upgrade\r\n");
    }
    write_forwarding(head, up, out);
    for (at, set) in up.set.iter().enumerate() {
        for (name, value) in set.iter().copied().flatten() {
            let overridden =
                at == 0 && up.set[1].is_some_and(|later| later.contains_key(name.as_str()));
            if !overridden && !matches!(kind_of(name), Kind::Namespace | Kind::Revision) {
                field(out, name, value.as_bytes());
            }
        }
    }
    if up.proxied {
        out.extend_from_slice(b"k-proxy-request: activator\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// X-Forwarded-For, -Proto and -Host, and RFC 7239's Forwarded made of them unless it is there.
fn write_forwarding(head: &RequestHead<'_, '_>, up: &Upward<'_>, out: &mut Vec<u8>) {
    let earlier = |kind| head.first(kind).unwrap_or_default();
    let proto = match earlier(Kind::ForwardedProto) {
        [] => up.scheme.as_bytes(),
        proto => proto,
    };
    let host = match earlier(Kind::ForwardedHost) {
        [] => head.host.as_bytes(),
        host => host,
    };
    let mut lists = head
        .headers
        .iter()
        .zip(&head.kinds)
        .filter(|(header, kind)| **kind == Kind::ForwardedFor && !header.value.is_empty())
        .map(|(header, _)| header.value);
    let (list, more) = (lists.next().unwrap_or_default(), lists.next());
    // Several fields are one list (RFC 9110 section 5.3).
    let joined = more.map(|more| {
        let all: Vec<&[u8]> = [list, more].into_iter().chain(lists).collect();
        all.join(&b", "[..])
    });
    let addresses = joined.as_deref().unwrap_or(list);
    let facts = Earlier {
        addresses,
        client: up.client,
        proto,
        host,
    };
    out.extend_from_slice(b"x-forwarded-for: ");
    facts.write_addresses(out);
    out.extend_from_slice(b"\r\nx-forwarded-proto: ");
    out.extend_from_slice(proto);
    out.extend_from_slice(b"\r\nx-forwarded-host: ");
    out.extend_from_slice(host);
    if head.first(Kind::Forwarded).is_none() {
        out.extend_from_slice(b"\r\nforwarded: ");
        forwarded::write(&facts, out);
    }
    out.extend_from_slice(b"\r\n");
}

fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok()
}

fn parse_length(value: &[u8]) -> Result<u64, HeadError> {
    let bad = HeadError::Bad("malformed Content-Length header");
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(bad);
    }
    text(value)
        .and_then(|digits| digits.parse().ok())
        .ok_or(bad)
}

/// What must be known of a request to read and write its response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) is_head: bool,
    pub(crate) http_1_0: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
}

/// A response whose head has been passed on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    pub(crate) framing: Framing,
    /// The client cannot read chunks: they are unpacked.
    pub(crate) dechunk: bool,
    /// The client's connection is used further.
    pub(crate) keep_alive: bool,
    /// The connection to the application can be used again.
    pub(crate) reusable: bool,
}

impl ResponseHead {
    /// 100, 102, 103: another head follows.
    pub(crate) const fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// The connection becomes a tunnel.
    pub(crate) const fn is_switch(&self) -> bool {
        self.status == 101
    }
}

/// Parses a response's head from the beginning of `bytes` and writes it for the client: how many
/// bytes it took and what it says; `None` when it is not complete yet.
pub(crate) fn pass_response(
    bytes: &[u8],
    asked: Asked,
    out: &mut Vec<u8>,
) -> Result<Option<(usize, ResponseHead)>, HeadError> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let parsed = config.parse_response_with_uninit_headers(&mut response, bytes, &mut headers);
    let len = match parsed {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) if bytes.len() >= HEAD_SIZE_MAX => return Err(HeadError::TooLarge),
        Ok(Status::Partial) => return Ok(None),
        Err(_) => return Err(HeadError::Bad("malformed HTTP response")),
    };
    let head = judge_response(&response, asked)?;
    write_response(&response, &head, asked, out);
    Ok(Some((len, head)))
}

fn judge_response(
    response: &httparse::Response<'_, '_>,
    asked: Asked,
) -> Result<ResponseHead, HeadError> {
    let status = response.code.unwrap_or_default();
    let (mut length, mut coded, mut keep) = (None, false, response.version != Some(0));
    for header in response.headers.iter() {
        match kind_of(header.name) {
            Kind::ContentLength => {
                let value = parse_length(header.value)?;
                if length.is_some_and(|before| before != value) {
                    return Err(HeadError::Bad("conflicting Content-Length headers"));
                }
                length = Some(value);
            }
            Kind::TransferEncoding if !header.value.eq_ignore_ascii_case(b"chunked") => {
                return Err(HeadError::Unsupported);
            }
            Kind::TransferEncoding => coded = true,
            Kind::Connection => {
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
    let bodiless = asked.is_head || matches!(status, 100..=199 | 204 | 304);
    let framing = match length {
        _ if status == 101 => Framing::UntilClose,
        _ if bodiless => Framing::NONE,
        _ if coded => Framing::chunked(),
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    };
    if status == 101 && !asked.upgrade {
        return Err(HeadError::Bad("switched protocols without being asked"));
    }
    let delimited = framing != Framing::UntilClose;
    let dechunk = asked.http_1_0 && matches!(framing, Framing::Chunked(_));
    Ok(ResponseHead {
        status,
        framing,
        dechunk,
        keep_alive: asked.keep_alive && delimited && !dechunk,
        reusable: keep && delimited && !(coded && length.is_some()),
    })
}

fn write_response(
    response: &httparse::Response<'_, '_>,
    head: &ResponseHead,
    asked: Asked,
    out: &mut Vec<u8>,
) {
    let digit = |place: u16| b'0' + (head.status / place % 10) as u8;
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(&[digit(100), digit(10), digit(1), b' ']);
    out.extend_from_slice(response.reason.unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    let chunked = matches!(head.framing, Framing::Chunked(_));
    let mut lengths = 0;
    for header in response.headers.iter() {
        match kind_of(header.name) {
            Kind::Hop | Kind::Connection => {}
            Kind::ContentLength if chunked || head.is_switch() || lengths > 0 => {}
            Kind::ContentLength => {
                lengths += 1;
                field(out, header.name, header.value);
            }
            Kind::TransferEncoding if !chunked || head.dechunk => {}
            Kind::Upgrade if !head.is_switch() => {}
            _ => field(out, header.name, header.value),
        }
    }
    if head.is_switch() {
        out.extend_from_slice(b"connection: upgrade\r\n");
    } else if head.is_interim() {
    } else if !head.keep_alive {
        out.extend_from_slice(b"connection: close\r\n");
    } else if asked.http_1_0 {
        out.extend_from_slice(b"connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
}
