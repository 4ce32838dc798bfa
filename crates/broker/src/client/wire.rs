//! One connection to a receiver of events: a request is written from ready bytes, the answer is read
//! whole. Where bodies end and what heads say is `http1`'s.

use std::future::{Future as _, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, StatusCode};
use http1::framing::{Framing, Malformed};
use http1::response::{Judged, judge};
use httparse::Status;
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWrite as _, ReadBuf};

use super::Failure;
use super::connect::Stream;
use crate::answer::Answer;

/// The longest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// The most header fields of an answer.
const HEADERS_MAX: usize = 128;
/// Fields that say nothing beyond the connection.
const OF_THE_CONNECTION: [&str; 4] = [
    "content-length",
    "connection",
    "transfer-encoding",
    "keep-alive",
];
/// What a connection reads at once, and keeps while it is idle.
const READ_BYTES: usize = 4 << 10;
/// A body up to this size is copied behind the head, so that both leave together.
const JOINED_BYTES_MAX: usize = 16 << 10;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Ended {
    /// The connection was closed before a byte of an answer came: if it had been used before,
    /// the receiver is likely to have closed it while nobody looked.
    Unanswered(io::Error),
    /// It has failed.
    Failed(Failure),
}

/// See the module.
pub(super) struct Wire {
    stream: Stream,
    /// Bytes to be sent.
    out: Vec<u8>,
    /// Bytes read and not yet used.
    read: Vec<u8>,
}

/// A request on its way out.
struct Outgoing<'a> {
    /// The body, as far as it is not in `out`.
    body: &'a [u8],
    /// Bytes of `out`, then of `body`, that are sent.
    sent: usize,
    /// Nothing more is sent.
    is_over: bool,
    error: Option<io::Error>,
}

impl Wire {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            out: Vec::new(),
            read: Vec::new(),
        }
    }

    /// Whether the connection is open and silent, as one that waits for a request has to be.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(&mut self.stream)
            .poll_read(&mut context, &mut buffer)
            .is_pending()
    }

    /// Sends a request, whose head is `parts` one behind the other, and reads the answer with a body
    /// of up to `bytes_max`. Says besides whether the connection takes another request.
    pub(super) async fn exchange(
        &mut self,
        parts: &[&[u8]],
        body: &[u8],
        bytes_max: usize,
    ) -> Result<(Answer, bool), Ended> {
        self.read.clear();
        self.out.clear();
        parts
            .iter()
            .for_each(|part| self.out.extend_from_slice(part));
        let joined = body.len() <= JOINED_BYTES_MAX;
        if joined {
            self.out.extend_from_slice(body);
        }
        let mut outgoing = Outgoing {
            body: if joined { &[] } else { body },
            sent: 0,
            is_over: false,
            error: None,
        };
        let (answer, judged) = self.head(&mut outgoing).await?;
        let (body, rest) = self.body(judged.framing, bytes_max).await?;
        let reusable = judged.reusable && rest == 0 && outgoing.is_over && outgoing.error.is_none();
        self.shrink();
        Ok((Answer { body, ..answer }, reusable))
    }

    /// Sends, and meanwhile waits for the answer's head, which may come early.
    async fn head(&mut self, outgoing: &mut Outgoing<'_>) -> Result<(Answer, Judged), Ended> {
        loop {
            if let Some((len, answer, judged)) = parse(&self.read).map_err(Ended::Failed)? {
                self.read.drain(..len);
                if judged.is_interim() {
                    continue;
                }
                return Ok((answer, judged));
            }
            let more = poll_fn(|cx| {
                self.poll_send(cx, outgoing);
                self.poll_more(cx)
            });
            let why = match more.await {
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Ok(_) => continue,
                Err(error) => error,
            };
            let error = outgoing.error.take().unwrap_or(why);
            return Err(if self.read.is_empty() {
                Ended::Unanswered(error)
            } else {
                Ended::Failed(Failure::Broken(error.to_string()))
            });
        }
    }

    /// Writes what can be written. An error is kept: the receiver may have answered before it closed.
    fn poll_send(&mut self, cx: &mut Context<'_>, outgoing: &mut Outgoing<'_>) {
        while !outgoing.is_over {
            let next = match outgoing.sent.checked_sub(self.out.len()) {
                None => &self.out[outgoing.sent..],
                Some(sent) => &outgoing.body[sent..],
            };
            let polled = if next.is_empty() {
                ready(Pin::new(&mut self.stream).poll_flush(cx)).map(|flushed| {
                    outgoing.is_over = true;
                    flushed.map(|()| 0)
                })
            } else {
                ready(Pin::new(&mut self.stream).poll_write(cx, next)).map(|written| {
                    written.and_then(|n| {
                        if n == 0 {
                            Err(io::ErrorKind::WriteZero.into())
                        } else {
                            Ok(n)
                        }
                    })
                })
            };
            match polled {
                None => return,
                Some(Ok(n)) => outgoing.sent += n,
                Some(Err(error)) => {
                    outgoing.is_over = true;
                    outgoing.error = Some(error);
                }
            }
        }
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.read.reserve(READ_BYTES);
        // Holds nothing between polls.
        pin!(self.stream.read_buf(&mut self.read)).poll(cx)
    }

    /// The body, and how many bytes came behind it.
    async fn body(
        &mut self,
        mut framing: Framing,
        bytes_max: usize,
    ) -> Result<(Bytes, usize), Ended> {
        let too_large = || Ended::Failed(Failure::TooLarge(bytes_max));
        if matches!(framing, Framing::Length(length) if length > bytes_max as u64) {
            return Err(too_large());
        }
        let mut body = BytesMut::new();
        loop {
            let taken =
                take(&mut framing, &self.read, &mut body).map_err(|error| broken(&error))?;
            if body.len() > bytes_max {
                return Err(too_large());
            }
            if framing.is_done() {
                return Ok((body.freeze(), self.read.len() - taken));
            }
            self.read.clear();
            match poll_fn(|cx| self.poll_more(cx)).await {
                Ok(0) if framing == Framing::UntilClose => return Ok((body.freeze(), 0)),
                Ok(0) => return Err(broken(&io::Error::from(io::ErrorKind::UnexpectedEof))),
                Ok(_) => {}
                Err(error) => return Err(broken(&error)),
            }
        }
    }

    /// An idle connection keeps little.
    fn shrink(&mut self) {
        for buffer in [&mut self.read, &mut self.out] {
            buffer.clear();
            buffer.shrink_to(READ_BYTES);
        }
    }
}

fn ready<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

fn broken(error: &dyn std::error::Error) -> Ended {
    Ended::Failed(Failure::Broken(error.to_string()))
}

/// Moves what belongs to the body from `bytes` to its end; answers how much of `bytes` that was.
fn take(framing: &mut Framing, bytes: &[u8], body: &mut BytesMut) -> Result<usize, Malformed> {
    let Framing::Chunked(chunks) = framing else {
        let count = framing.accept(bytes)?;
        body.extend_from_slice(&bytes[..count]);
        return Ok(count);
    };
    let mut at = 0;
    while at < bytes.len() && !chunks.is_done() {
        let (count, data) = chunks.step(&bytes[at..])?;
        body.extend_from_slice(&bytes[at..][data]);
        at += count;
    }
    Ok(at)
}

/// The head at the beginning of `bytes`, once it is whole: its length, the answer without its body,
/// and what it says of that.
fn parse(bytes: &[u8]) -> Result<Option<(usize, Answer, Judged)>, Failure> {
    let unreadable = |why: String| Failure::Broken(format!("its head cannot be read: {why}"));
    let mut fields = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let len = match config.parse_response_with_uninit_headers(&mut response, bytes, &mut fields) {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) if bytes.len() >= HEAD_BYTES_MAX => {
            return Err(unreadable(format!(
                "it is longer than {HEAD_BYTES_MAX} bytes"
            )));
        }
        Ok(Status::Partial) => return Ok(None),
        Err(error) => return Err(unreadable(error.to_string())),
    };
    let judged = judge(&response, false).map_err(|refused| unreadable(refused.to_string()))?;
    let status =
        StatusCode::from_u16(judged.status).map_err(|error| unreadable(error.to_string()))?;
    let mut answer = Answer::empty(status);
    for field in response.headers.iter() {
        if OF_THE_CONNECTION
            .iter()
            .any(|name| name.eq_ignore_ascii_case(field.name))
        {
            continue;
        }
        let name = HeaderName::from_bytes(field.name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(field.value)) {
            answer.headers.append(name, value);
        }
    }
    Ok(Some((len, answer, judged)))
}
