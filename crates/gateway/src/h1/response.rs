//! Heads of responses: read from the application, judged, written for the client.

use std::mem::MaybeUninit;

use httparse::Status;

use super::head::{HEAD_SIZE_MAX, HEADERS_MAX, HeadError, Kind, field, kind_of};
use http1::framing::Framing;

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
    let judged = http1::response::judge(response, asked.is_head)?;
    if judged.status == 101 && !asked.upgrade {
        return Err(HeadError::Bad("switched protocols without being asked"));
    }
    let delimited = judged.framing != Framing::UntilClose;
    let dechunk = asked.http_1_0 && matches!(judged.framing, Framing::Chunked(_));
    Ok(ResponseHead {
        status: judged.status,
        framing: judged.framing,
        dechunk,
        keep_alive: asked.keep_alive && delimited && !dechunk,
        reusable: judged.reusable,
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
