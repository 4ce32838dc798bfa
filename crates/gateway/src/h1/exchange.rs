//! One request carried to a Pod and its answer back. Waits for a slot, connects, sends, passes the
//! response on as it comes; nothing is lost while it can still be sent elsewhere.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};

use super::conn::{Conn, Upstream};
use super::head::HEAD_SIZE_MAX;
use super::pump::{Pump, PumpError};
use super::response::{Asked, ResponseHead, pass_response};
use super::upstream::{connect, connect_address, take_idle};
use crate::front::{Forward, Via};
use crate::gate::QueueFull;
use crate::pod::PodState;
use crate::record::Record;
use crate::reply::Reply;
use crate::retry::Retry;
use crate::seat::Seat;
use crate::timer::Timer;
use crate::worker::Worker;

/// What is kept of a client that sends its next request ahead.
const AHEAD_MAX: usize = 16 * 1024;

/// How long the application may still send through a tunnel whose client has closed its side.
const TUNNEL_LINGER: Duration = Duration::from_secs(5);

/// A request whose head has been read.
pub(crate) struct Job {
    pub(crate) forward: Forward,
    pub(crate) asked: Asked,
    /// Sending it twice does no harm (RFC 9110 section 9.2.2).
    pub(crate) idempotent: bool,
    pub(crate) started: Instant,
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    /// 0 when the client left before there was an answer.
    pub(crate) status: u16,
    pub(crate) keep_alive: bool,
    /// Bytes of the response's body.
    pub(crate) body: u64,
}

/// Why a request was not carried to its end.
enum Failure {
    /// The client is told.
    Reply(Reply),
    /// The client has gone.
    Gone,
    /// Half of the response is out: the connection is cut.
    Cut(u16),
}

/// Why there is no response on a connection.
enum NoResponse {
    /// It was closed before anything came: another one may do.
    Stale,
    Failed(Failure),
}

impl From<QueueFull> for Failure {
    fn from(_: QueueFull) -> Self {
        Self::Reply(Reply::queue_full())
    }
}

/// One exchange on a client connection.
pub(crate) struct Exchange<'c, S> {
    pub(crate) down: &'c mut Conn<S>,
    pub(crate) timer: &'c mut Timer,
    pub(crate) worker: &'c Worker,
    pub(crate) job: &'c Job,
    pub(crate) record: &'c mut Record,
    /// The request's head for the next hop, and the beginning of the body.
    pub(crate) request: &'c [u8],
    /// The rest of the body.
    pub(crate) upload: Pump,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// Carries the request to its end.
    pub(crate) async fn run(mut self) -> End {
        match self.forward().await {
            Ok(end) => end,
            Err(Failure::Gone) => End {
                status: 0,
                keep_alive: false,
                body: 0,
            },
            Err(Failure::Cut(status)) => End {
                status,
                keep_alive: false,
                body: 0,
            },
            Err(Failure::Reply(reply)) => self.reply(&reply).await,
        }
    }

    /// Answers without the application. A body that was not taken in ends the connection.
    async fn reply(&mut self, reply: &Reply) -> End {
        let asked = self.job.asked;
        let keep_alive = asked.keep_alive && !reply.close && self.upload.is_done();
        self.down.discard_output();
        reply.write(&mut self.down.output, asked.is_head, keep_alive);
        let sent = poll_fn(|cx| self.down.poll_flush(cx)).await;
        let body = if asked.is_head {
            0
        } else {
            reply.body.len() as u64
        };
        End {
            status: reply.status,
            keep_alive: keep_alive && sent.is_ok(),
            body,
        }
    }

    async fn forward(&mut self) -> Result<End, Failure> {
        let mut seat = Seat::new(self.worker, &self.job.forward, self.job.started);
        self.patiently(|cx| seat.poll(cx)).await??;
        self.record.seat(seat.pod());
        let (up, head) = self.converse(&mut seat).await?;
        self.record.serve_by(seat.pod());
        self.relay(up, head, &seat).await
    }

    /// Waits for `poll`, but not longer than the client or the limits.
    async fn patiently<T>(
        &mut self,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Result<T, Failure> {
        let deadline = self.first_byte_deadline();
        poll_fn(|cx| {
            if let Poll::Ready(value) = poll(cx) {
                return Poll::Ready(Ok(value));
            }
            self.poll_interrupt(cx, deadline).map(Err)
        })
        .await
    }

    /// The client left, or a limit has passed before the response began.
    fn poll_interrupt(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<Failure> {
        if self.down.poll_gone(cx, AHEAD_MAX).is_ready() {
            return Poll::Ready(Failure::Gone);
        }
        self.timer.poll(cx, deadline).map(|()| self.timed_out())
    }

    fn timed_out(&self) -> Failure {
        Failure::Reply(Reply::text(504, self.job.forward.timeout_text))
    }

    fn first_byte_deadline(&self) -> Option<Instant> {
        self.job.forward.limits.first_byte(self.job.started)
    }

    /// Sends the request until there is the head of a response.
    async fn converse(&mut self, seat: &mut Seat) -> Result<(Upstream, ResponseHead), Failure> {
        loop {
            let (mut up, reused) = self.connect(seat).await?;
            up.output.extend_from_slice(self.request);
            match self.ask(&mut up).await {
                Ok(head) => return Ok((up, head)),
                Err(NoResponse::Failed(failure)) => return Err(failure),
                Err(NoResponse::Stale) => {
                    let whole = self.upload.moved == 0;
                    if !(reused && whole && (self.job.idempotent || up.is_unsent())) {
                        return Err(Failure::Reply(Reply::bad_gateway(
                            "the application closed the connection without an answer",
                        )));
                    }
                }
            }
        }
    }

    /// A connection, and whether it has served before. Refused ones are tried again, on another
    /// Pod when there is one: nothing has been sent yet.
    async fn connect(&mut self, seat: &mut Seat) -> Result<(Upstream, bool), Failure> {
        let mut retry = Retry::default();
        loop {
            let refused = match self.connect_once(seat).await? {
                Ok(connected) => return Ok(connected),
                Err(error) => error,
            };
            let Some(pause) = retry.pause(Instant::now()) else {
                return Err(Failure::Reply(Reply::bad_gateway(&refused.to_string())));
            };
            tracing::debug!(%refused, "connect to the application again");
            let mut sleep = Box::pin(tokio::time::sleep(pause));
            self.patiently(|cx| sleep.as_mut().poll(cx)).await?;
            seat.move_on(self.worker);
            self.patiently(|cx| seat.poll(cx)).await??;
        }
    }

    async fn connect_once(&mut self, seat: &Seat) -> Result<io::Result<(Upstream, bool)>, Failure> {
        let Some(pod) = seat.pod() else {
            let Via::Address(address) = &self.job.forward.via else {
                return Err(Failure::Reply(Reply::bad_gateway("no Pod")));
            };
            let mut connecting = Box::pin(connect_address(self.worker, address));
            let connected = self.patiently(|cx| connecting.as_mut().poll(cx)).await?;
            return Ok(connected.map(|stream| (Conn::new(stream), false)));
        };
        if let Some(up) = take_idle(self.worker, pod, !self.job.idempotent) {
            return Ok(Ok((up, true)));
        }
        let mut connecting = Box::pin(connect(self.worker, pod));
        let connected = self.patiently(|cx| connecting.as_mut().poll(cx)).await?;
        Ok(connected.map(|stream| (Conn::new(stream), false)))
    }

    /// Sends the request and waits for the head of its response, which is then in the client's
    /// output.
    async fn ask(&mut self, up: &mut Upstream) -> Result<ResponseHead, NoResponse> {
        let deadline = self.first_byte_deadline();
        let mut sink_failed = false;
        poll_fn(|cx| {
            if !sink_failed {
                match self.upload.poll(cx, self.down, up) {
                    Poll::Ready(Err(PumpError::Source(error))) => {
                        return Poll::Ready(Err(NoResponse::Failed(source_failure(&error))));
                    }
                    // It may have answered before it closed.
                    Poll::Ready(Err(PumpError::Sink(_))) => sink_failed = true,
                    Poll::Ready(Ok(())) | Poll::Pending => {}
                }
            }
            if let Poll::Ready(head) = self.poll_head(cx, up) {
                return Poll::Ready(head);
            }
            if self.upload.is_done() {
                return self
                    .poll_interrupt(cx, deadline)
                    .map(|failure| Err(NoResponse::Failed(failure)));
            }
            self.timer
                .poll(cx, deadline)
                .map(|()| Err(NoResponse::Failed(self.timed_out())))
        })
        .await
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        up: &mut Upstream,
    ) -> Poll<Result<ResponseHead, NoResponse>> {
        loop {
            if !up.input.is_empty() {
                match pass_response(up.input.filled(), self.job.asked, &mut self.down.output) {
                    Err(error) => {
                        let reply = Reply::bad_gateway(&error.to_string());
                        return Poll::Ready(Err(NoResponse::Failed(Failure::Reply(reply))));
                    }
                    Ok(Some((len, head))) => {
                        up.input.consume(len);
                        if !head.is_interim() {
                            return Poll::Ready(Ok(head));
                        }
                        if self.job.asked.http_1_0 {
                            self.down.discard_output();
                        }
                        if let Poll::Ready(Err(_)) = self.down.poll_flush(cx) {
                            return Poll::Ready(Err(NoResponse::Failed(Failure::Gone)));
                        }
                        continue;
                    }
                    Ok(None) => {}
                }
            }
            match std::task::ready!(up.poll_fill(cx, HEAD_SIZE_MAX)) {
                Ok(count) if count > 0 => {}
                _ if up.input.is_empty() => return Poll::Ready(Err(NoResponse::Stale)),
                _ => {
                    let reply = Reply::bad_gateway("the application's answer ended in its head");
                    return Poll::Ready(Err(NoResponse::Failed(Failure::Reply(reply))));
                }
            }
        }
    }

    /// Passes the response on, and what is left of the request.
    async fn relay(
        &mut self,
        mut up: Upstream,
        head: ResponseHead,
        seat: &Seat,
    ) -> Result<End, Failure> {
        let cut = Failure::Cut(head.status);
        let mut download = Pump::new(head.framing, head.dechunk);
        let head_len = self.down.output.len();
        if download.prime(&mut up, &mut self.down.output).is_err() {
            return Err(cut);
        }
        let primed = (self.down.output.len() - head_len) as u64;
        let mut _tunnel = None;
        if head.is_switch() {
            self.upload = Pump::new(head.framing, false);
            _tunnel = seat.pod().map(PodState::tunnel);
        }
        if self
            .pass_bodies(&mut up, &mut download, head.is_switch())
            .await
            .is_err()
        {
            return Err(cut);
        }
        let uploaded = self.upload.is_done();
        if let Some(pod) = seat.pod()
            && head.reusable
            && uploaded
            && up.input.is_empty()
        {
            up.input.shrink();
            pod.put_idle(self.worker.lane, up, self.job.started);
        }
        Ok(End {
            status: head.status,
            keep_alive: head.keep_alive && uploaded,
            body: primed + download.moved,
        })
    }

    /// Moves both bodies until the response is through. A client that closes its side of a tunnel
    /// still gets what is on its way.
    async fn pass_bodies(
        &mut self,
        up: &mut Upstream,
        download: &mut Pump,
        tunnel: bool,
    ) -> Result<(), ()> {
        let limits = self.job.forward.limits;
        let mut deadline = limits.total.map(|limit| self.job.started + limit);
        let mut last_write = (download.moved, Instant::now());
        let mut upload_over = false;
        poll_fn(|cx| {
            if !upload_over {
                match self.upload.poll(cx, self.down, up) {
                    Poll::Ready(Err(PumpError::Source(_))) => return Poll::Ready(Err(())),
                    Poll::Ready(_) => upload_over = true,
                    Poll::Pending => {}
                }
                if upload_over && tunnel {
                    let _ = up.poll_shutdown(cx);
                    let linger = Instant::now() + TUNNEL_LINGER;
                    deadline = Some(deadline.map_or(linger, |total| total.min(linger)));
                }
            }
            if let Poll::Ready(passed) = download.poll(cx, up, self.down) {
                return Poll::Ready(passed.map_err(|_| ()));
            }
            if !tunnel && upload_over && self.down.poll_gone(cx, AHEAD_MAX).is_ready() {
                return Poll::Ready(Err(()));
            }
            if limits.idle.is_some() && download.moved != last_write.0 {
                last_write = (download.moved, Instant::now());
            }
            let idle = limits.idle.map(|idle| last_write.1 + idle);
            let next = [deadline, idle].into_iter().flatten().min();
            self.timer.poll(cx, next).map(|()| Err(()))
        })
        .await
    }
}

/// The client's body ended early (it has gone), or was nonsense.
fn source_failure(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::InvalidData {
        return Failure::Reply(Reply::bad_request(&error.to_string()));
    }
    Failure::Gone
}
