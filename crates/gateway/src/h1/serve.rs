//! The loop over one client connection: read a head, decide, carry the exchange, again.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use serving::route::Protocol;
use stdx::Rng;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::conn::Conn;
use super::exchange::{End, Exchange, Job};
use super::head::{HEAD_SIZE_MAX, HeadError, RequestHead, with_request};
use super::pump::Pump;
use super::response::Asked;
use super::upward::{Upward, write_request};
use crate::front::{Decision, Forward, HostCache, Query};
use crate::h2::{Version, take_over};
use crate::queue::Queue;
use crate::record::Record;
use crate::reply::Reply;
use crate::timer::Timer;
use crate::worker::{Connection, InFlight, Origin, Worker};
use http1::framing::Framing;

/// How a client begins that speaks HTTP/2 with prior knowledge (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// After an answer to a request whose body was not read, so much more is read and thrown away,
/// lest the close destroys the answer on its way.
const LINGER_SIZE_MAX: usize = 256 * 1024;
/// And for so long at most.
const LINGER_TIME_MAX: Duration = Duration::from_secs(1);

/// What was read from a connection before its next request.
enum Next {
    Request(Box<Request>),
    /// The prober of a queue-proxy answers.
    Probe(Arc<Queue>, Asked),
    /// hyper goes on with the connection; with the random number the request was decided with.
    TakeOver(Version, Option<u64>),
    Reply(Reply, Asked),
    Closed,
}

/// A request to be carried.
struct Request {
    job: Job,
    framing: Framing,
    record: Record,
}

struct Serving<S> {
    down: Conn<S>,
    timer: Timer,
    worker: Arc<Worker>,
    origin: Arc<Origin>,
    peer: String,
    cache: HostCache,
    rng: Rng,
    request: Vec<u8>,
}

/// Serves one client connection to its end.
pub(crate) async fn serve<S>(io: S, connection: Connection, origin: Origin)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let serving = Serving {
        down: Conn::new(io),
        timer: Timer::default(),
        worker: Arc::clone(&connection.0),
        peer: origin.peer.ip().to_canonical().to_string(),
        origin: Arc::new(origin),
        cache: HostCache::default(),
        rng: Rng::new(rand::random()),
        request: Vec::new(),
    };
    serving.run().await;
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Serving<S> {
    async fn run(mut self) {
        loop {
            let end = match self.next().await {
                Next::Closed => return,
                Next::Reply(reply, asked) => self.reply(&reply, asked).await,
                Next::Probe(queue, asked) => {
                    let reply = queue.answer_probe().await;
                    self.reply(&reply, asked).await
                }
                Next::Request(request) => {
                    let _request = InFlight::new(&self.worker);
                    self.exchange(*request).await
                }
                Next::TakeOver(version, draw) => {
                    let read_ahead = self.down.input.filled().to_vec();
                    let parties = (self.worker, self.origin);
                    // Boxed, lest every connection carries room for it.
                    return Box::pin(take_over(self.down.io, read_ahead, version, parties, draw))
                        .await;
                }
            };
            if !end.keep_alive {
                self.linger().await;
                return;
            }
            self.down.input.shrink();
        }
    }

    async fn exchange(&mut self, request: Request) -> End {
        let Request {
            job,
            framing,
            mut record,
        } = request;
        let mut upload = Pump::new(framing, false);
        if upload.prime(&mut self.down, &mut self.request).is_err() {
            return self
                .reply(&Reply::bad_request("malformed chunked body"), job.asked)
                .await;
        }
        let exchange = Exchange {
            down: &mut self.down,
            timer: &mut self.timer,
            worker: &self.worker,
            job: &job,
            record: &mut record,
            request: &self.request,
            upload,
        };
        let end = exchange.run().await;
        record.finish(end.status, end.body);
        end
    }

    async fn reply(&mut self, reply: &Reply, asked: Asked) -> End {
        let keep_alive = asked.keep_alive && !reply.close;
        reply.write(&mut self.down.output, asked.is_head, keep_alive);
        let sent = poll_fn(|cx| self.down.poll_flush(cx)).await;
        End {
            status: reply.status,
            keep_alive: keep_alive && sent.is_ok(),
            body: reply.body.len() as u64,
        }
    }

    /// Reads until there is a whole head.
    async fn next(&mut self) -> Next {
        let mut deadline = None;
        loop {
            match self.take() {
                Ok(Some(next)) => return next,
                Ok(None) => {}
                Err(error) => return refuse(error),
            }
            let idle = self.down.input.is_empty();
            let limit = if idle {
                self.worker.idle_timeout
            } else {
                self.worker.head_timeout
            };
            let at = *deadline.get_or_insert_with(|| Instant::now() + limit);
            let (down, timer) = (&mut self.down, &mut self.timer);
            let read = poll_fn(|cx| match down.poll_fill(cx, HEAD_SIZE_MAX) {
                Poll::Ready(read) => Poll::Ready(read.unwrap_or(0)),
                Poll::Pending => timer.poll(cx, Some(at)).map(|()| 0),
            })
            .await;
            if read == 0 {
                return Next::Closed;
            }
            if idle {
                deadline = None;
            }
        }
    }

    /// Takes a head from the input: decides, and writes the head for the next hop.
    fn take(&mut self) -> Result<Option<Next>, HeadError> {
        let filled = self.down.input.filled();
        if filled.is_empty() || PREFACE.starts_with(filled) {
            return Ok(None);
        }
        if filled.starts_with(PREFACE) {
            return Ok(Some(Next::TakeOver(Version::Http2, None)));
        }
        let Self {
            down,
            origin,
            cache,
            rng,
            request,
            peer,
            worker,
            ..
        } = self;
        let taken = with_request(down.input.filled(), |head| {
            let asked = Asked {
                is_head: head.method == "HEAD",
                http_1_0: head.http_1_0,
                keep_alive: head.keep_alive && !worker.is_draining(),
                upgrade: head.upgrade,
            };
            let draw = rng.next_u64();
            let decision = origin.front.decide(&query(head), origin.https, draw, cache);
            let next = match decision {
                Decision::Reply(reply) if head.framing.is_done() => Next::Reply(reply, asked),
                Decision::Reply(reply) => Next::Reply(reply.closing(), asked),
                Decision::Probe(queue) => Next::Probe(queue, asked),
                // An upgrade has no meaning in HTTP/2: the application gets it as it came.
                Decision::Forward(forward)
                    if forward.protocol == Protocol::H2c && !head.upgrade =>
                {
                    return (0, Next::TakeOver(Version::Http1, Some(draw)));
                }
                Decision::Forward(forward) => {
                    let started = Instant::now();
                    let mut record = Record::of_head(worker, head, origin, started);
                    record.attach(&forward.via);
                    let line = [head.method, head.target, head.host];
                    let version = if head.http_1_0 { "1.0" } else { "1.1" };
                    let traceparent = record.trace(origin, &forward, head, (line, version));
                    let up = Upward {
                        traceparent: traceparent.as_deref(),
                        ..upward(&forward, peer, origin.https, worker.mark_proxied)
                    };
                    request.clear();
                    write_request(head, &up, request);
                    let job = Job {
                        forward,
                        asked,
                        idempotent: is_idempotent(head),
                        started,
                    };
                    Next::Request(Box::new(Request {
                        job,
                        framing: head.framing,
                        record,
                    }))
                }
            };
            (head.len, next)
        })?;
        Ok(taken.map(|(len, next)| {
            down.input.consume(len);
            next
        }))
    }

    /// Closes the connection so that the client can still read what was sent.
    async fn linger(&mut self) {
        let deadline = Instant::now() + LINGER_TIME_MAX;
        let _ = self.down.io.shutdown().await;
        let mut thrown = 0;
        while thrown < LINGER_SIZE_MAX {
            let rest = self.down.input.len();
            self.down.input.consume(rest);
            let (down, timer) = (&mut self.down, &mut self.timer);
            let read = poll_fn(|cx| match down.poll_fill(cx, HEAD_SIZE_MAX) {
                Poll::Ready(read) => Poll::Ready(read.unwrap_or(0)),
                Poll::Pending => timer.poll(cx, Some(deadline)).map(|()| 0),
            });
            match read.await {
                0 => return,
                read => thrown += read,
            }
        }
    }
}

fn query<'a>(head: &'a RequestHead<'_, 'a>) -> Query<'a> {
    Query {
        host: head.host,
        target: head.target,
        network_probe: head.network_probe(),
        user_agent: head.user_agent(),
        proxied: head.is_proxied(),
        headers: head,
    }
}

fn upward<'a>(forward: &'a Forward, client: &'a str, https: bool, mark: bool) -> Upward<'a> {
    Upward {
        client,
        scheme: if https { "https" } else { "http" },
        host: forward.rewrite_host(),
        set: forward.set_headers(),
        proxied: mark && forward.proxied,
        traceparent: None,
    }
}

/// Sending it twice does no harm, and there is no body that would have to be sent twice.
fn is_idempotent(head: &RequestHead<'_, '_>) -> bool {
    matches!(head.method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
        || head.header("idempotency-key").is_some()
        || head.header("x-idempotency-key").is_some()
}

fn refuse(error: HeadError) -> Next {
    let reply = match error {
        HeadError::Bad(reason) => Reply::bad_request(reason),
        HeadError::TooLarge => Reply::text(431, "431 Request Header Fields Too Large\n").closing(),
        HeadError::Unsupported => Reply::text(501, "Unsupported transfer encoding\n").closing(),
        HeadError::Version => Reply::text(505, "505 HTTP Version Not Supported\n").closing(),
    };
    let asked = Asked {
        is_head: false,
        http_1_0: false,
        keep_alive: false,
        upgrade: false,
    };
    Next::Reply(reply, asked)
}
