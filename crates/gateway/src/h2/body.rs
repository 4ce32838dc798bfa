//! The body of an answer: holds the request's slots until it has ended, and cuts it when a limit
//! passes.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::record::Record;
use crate::seat::Seat;
use crate::timer::Timer;
use crate::worker::InFlight;

use super::upstream::Stream;

type BoxError = Box<dyn Error + Send + Sync>;

/// An answer of our own, or the application's.
pub(crate) enum Answer {
    Own(Option<Bytes>),
    Relayed(Box<Relayed>),
}

/// The application's body on its way to the client.
pub(crate) struct Relayed {
    pub(crate) inner: Incoming,
    pub(crate) timer: Timer,
    pub(crate) total: Option<Instant>,
    pub(crate) idle: Option<Duration>,
    pub(crate) last_frame: Instant,
    pub(crate) record: Record,
    /// Given back with the body.
    pub(crate) _held: (Seat, InFlight, Stream),
}

impl Relayed {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.record
                    .add_bytes(frame.data_ref().map_or(0, Bytes::len) as u64);
                if self.idle.is_some() {
                    self.last_frame = Instant::now();
                }
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(end) => return Poll::Ready(end.map(|frame| frame.map_err(Into::into))),
            Poll::Pending => {}
        }
        let idle = self.idle.map(|idle| self.last_frame + idle);
        let deadline = [self.total, idle].into_iter().flatten().min();
        self.timer
            .poll(cx, deadline)
            .map(|()| Some(Err("request timeout".into())))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Relayed(relayed) => relayed.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_none(),
            Self::Relayed(relayed) => relayed.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Relayed(relayed) => relayed.inner.size_hint(),
        }
    }
}
