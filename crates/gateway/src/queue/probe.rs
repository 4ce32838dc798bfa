//! The application's readiness probe, carried out from where the application is reached: the first
//! try at once, the next after a quarter of a millisecond, so that a cold start waits for the application and
//! never for a tick.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use serde::Deserialize;
use serving::route::Pod;
use tokio::net::unix::pipe;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::config::Dial;

/// The pause between tries is a sixty-fourth of the time they have taken so far, so that readiness is
/// noticed less than 2 % late, but never shorter than this …
const PAUSE_MIN: Duration = Duration::from_micros(250);
/// … nor longer than this, Knative's own interval.
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// Shorter pauses are kept to the microsecond.
const FINE_MAX: Duration = Duration::from_millis(5);
/// How long one try may take when the probe does not say.
const TRY_TIMEOUT: Duration = Duration::from_secs(1);

/// A probe that cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It is not a Probe, nor a list of them.
    #[error("not a Kubernetes Probe in JSON")]
    Json(#[from] serde_json::Error),
    /// It names a port by a name that is not a number.
    #[error("port {0:?} of the probe must be a number")]
    Port(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<ProbeSpec>),
    One(Box<ProbeSpec>),
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ProbeSpec {
    http_get: Option<HttpGet>,
    tcp_socket: Option<TcpSocketAction>,
    grpc: Option<Grpc>,
    timeout_seconds: Option<u64>,
    success_threshold: Option<u32>,
    period_seconds: Option<u64>,
    initial_delay_seconds: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Port {
    Number(u16),
    Name(String),
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct HttpGet {
    path: String,
    port: Option<Port>,
    http_headers: Vec<HttpHeader>,
    host: String,
}

#[derive(Deserialize)]
struct HttpHeader {
    name: String,
    value: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TcpSocketAction {
    port: Option<Port>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Grpc {
    port: Option<Port>,
    service: Option<String>,
}

enum Action {
    Tcp,
    Http { request: String },
    Grpc { service: String },
}

struct Check {
    action: Action,
    /// The Pod with the port that is probed.
    target: Pod,
    timeout: Duration,
    successes: u32,
    delay: Duration,
}

impl Check {
    fn new(spec: ProbeSpec, pod: &Pod) -> Result<Self, ProbeError> {
        let (action, port) = match spec {
            ProbeSpec {
                http_get: Some(get),
                ..
            } => (
                Action::Http {
                    request: http_request(&get),
                },
                get.port,
            ),
            ProbeSpec {
                grpc: Some(grpc), ..
            } => (
                Action::Grpc {
                    service: grpc.service.unwrap_or_default(),
                },
                grpc.port,
            ),
            // A command stays with the container; here its port is tried.
            ProbeSpec { tcp_socket, .. } => (Action::Tcp, tcp_socket.and_then(|tcp| tcp.port)),
        };
        let port = match port {
            None | Some(Port::Number(0)) => pod.user_port,
            Some(Port::Number(port)) => port,
            Some(Port::Name(name)) => name.parse().map_err(|_| ProbeError::Port(name))?,
        };
        // Without a period the probe is Knative's own, which tries often.
        let own = spec.period_seconds.unwrap_or(0) == 0;
        let seconds = spec.timeout_seconds.filter(|seconds| *seconds > 0 && !own);
        Ok(Self {
            action,
            target: Pod {
                user_port: port,
                ..pod.clone()
            },
            timeout: seconds.map_or(TRY_TIMEOUT, Duration::from_secs),
            successes: spec.success_threshold.unwrap_or(1).max(1),
            delay: Duration::from_secs(spec.initial_delay_seconds.unwrap_or(0)),
        })
    }

    async fn attempt(&self, dialer: &dyn Dial) -> bool {
        let attempt = async {
            let stream = connect(dialer, &self.target).await?;
            match &self.action {
                Action::Tcp => Ok(true),
                Action::Http { request } => http(stream, request).await,
                Action::Grpc { service } => grpc(stream, service).await,
            }
        };
        matches!(timeout(self.timeout, attempt).await, Ok(Ok(true)))
    }
}

fn http_request(get: &HttpGet) -> String {
    let slash = if get.path.starts_with('/') { "" } else { "/" };
    let given = |name: &str| {
        let header = get
            .http_headers
            .iter()
            .find(|h| h.name.eq_ignore_ascii_case(name));
        header.map(|header| header.value.as_str())
    };
    let host = given("host").unwrap_or(match get.host.as_str() {
        "" => "127.0.0.1",
        host => host,
    });
    let mut request = format!("GET {slash}{} HTTP/1.1\r\nHost: {host}\r\n", get.path);
    if given("user-agent").is_none() {
        request.push_str("User-Agent: kube-probe/1.34\r\n");
    }
    for HttpHeader { name, value } in &get.http_headers {
        let clean = |text: &str| !text.contains(['\r', '\n']);
        if !name.eq_ignore_ascii_case("host") && clean(name) && clean(value) {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    request.push_str("Connection: close\r\n\r\n");
    request
}

async fn connect(dialer: &dyn Dial, target: &Pod) -> io::Result<TcpStream> {
    let (socket, address) = dialer.socket(target)?;
    socket.set_nonblocking(true)?;
    TcpSocket::from_std_stream(socket.into())
        .connect(address)
        .await
}

/// Healthy is any status from 200 to 399.
async fn http(mut stream: TcpStream, request: &str) -> io::Result<bool> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    stream.write_all(request.as_bytes()).await?;
    let mut start = Vec::new();
    // The status line's beginning is enough: "HTTP/1.1 200".
    (&mut stream).take(12).read_to_end(&mut start).await?;
    let status = start
        .get(9..12)
        .and_then(|code| std::str::from_utf8(code).ok());
    let healthy = |code: u16| (200..400).contains(&code);
    Ok(status
        .and_then(|code| code.parse().ok())
        .is_some_and(healthy))
}

/// The health checking protocol of gRPC, `grpc.health.v1.Health/Check`.
async fn grpc(stream: TcpStream, service: &str) -> io::Result<bool> {
    let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let request = Request::post("http://127.0.0.1/grpc.health.v1.Health/Check")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/1.34")
        .body(Full::new(Bytes::from(health_request(service))))
        .map_err(io::Error::other)?;
    let answer = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(io::Error::other)?;
        response
            .into_body()
            .collect()
            .await
            .map_err(io::Error::other)
    }
    .await;
    connection.abort();
    // One message: a flag, its length, and field 1 = SERVING (1).
    Ok(answer?.to_bytes().get(5..7) == Some(&[0x08, 0x01]))
}

fn health_request(service: &str) -> Vec<u8> {
    let name = &service.as_bytes()[..service.len().min(0x7f)];
    let mut message = Vec::new();
    if !name.is_empty() {
        message.extend_from_slice(&[0x0a, name.len() as u8]);
        message.extend_from_slice(name);
    }
    let mut frame = vec![0, 0, 0, 0, message.len() as u8];
    frame.extend_from_slice(&message);
    frame
}

/// The probe of one Pod.
pub(super) struct Prober {
    checks: Vec<Check>,
    dialer: Arc<dyn Dial>,
    /// When the last check was over and what it said: those who asked meanwhile share it.
    last: tokio::sync::Mutex<Option<(Instant, bool)>>,
}

impl Prober {
    pub(super) fn new(
        json: Option<&str>,
        dialer: Arc<dyn Dial>,
        pod: &Pod,
    ) -> Result<Self, ProbeError> {
        let specs = match json.filter(|json| !json.trim().is_empty()) {
            None => vec![ProbeSpec::default()],
            Some(json) => match serde_json::from_str(json)? {
                OneOrMany::Many(specs) => specs,
                OneOrMany::One(spec) => vec![*spec],
            },
        };
        let checks = specs
            .into_iter()
            .map(|spec| Check::new(spec, pod))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            checks,
            dialer,
            last: tokio::sync::Mutex::default(),
        })
    }

    /// One try of every check, shared by all who ask at the same time.
    pub(super) async fn check(&self) -> bool {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        if let Some((at, ready)) = *last
            && at >= asked
        {
            return ready;
        }
        let mut ready = true;
        for check in &self.checks {
            ready = ready && check.attempt(&*self.dialer).await;
        }
        *last = Some((Instant::now(), ready));
        ready
    }

    /// Tries until every check has succeeded as often in a row as it wants.
    pub(super) async fn wait(&self) {
        for check in &self.checks {
            // Even a sleep of nothing lasts until the clock's next millisecond.
            if check.delay > Duration::ZERO {
                tokio::time::sleep(check.delay).await;
            }
            let started = Instant::now();
            let mut successes = 0;
            loop {
                successes = if check.attempt(&*self.dialer).await {
                    successes + 1
                } else {
                    0
                };
                if successes >= check.successes {
                    break;
                }
                sleep(pause(started.elapsed())).await;
            }
        }
    }
}

/// Sleeps to the microsecond, where the runtime's own sleep ends with the millisecond after.
async fn sleep(pause: Duration) {
    if pause >= FINE_MAX || fine_sleep(pause).await.is_err() {
        tokio::time::sleep(pause).await;
    }
}

async fn fine_sleep(pause: Duration) -> io::Result<()> {
    let timer = timerfd_create(
        TimerfdClockId::Monotonic,
        TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
    )?;
    let zero = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let end = Itimerspec {
        it_interval: zero,
        it_value: Timespec {
            tv_sec: 0,
            tv_nsec: pause.subsec_nanos().into(),
        },
    };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &end)?;
    // Any descriptor will do here; only readiness is asked of it.
    pipe::Receiver::from_owned_fd_unchecked(timer)?
        .readable()
        .await
}

fn pause(tried_for: Duration) -> Duration {
    (tried_for / 64).clamp(PAUSE_MIN, PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Pod {
        Pod {
            name: "p".into(),
            uid: "u".into(),
            ip: std::net::Ipv4Addr::LOCALHOST.into(),
            user_port: 8080,
            tls_name: None,
            ready: false,
        }
    }

    fn port_of(json: &str) -> Result<u16, ProbeError> {
        let parsed = serde_json::from_str(json)?;
        let OneOrMany::One(spec) = parsed else {
            panic!("a list")
        };
        Check::new(*spec, &pod()).map(|check| check.target.user_port)
    }

    #[test]
    fn reads_kubernetes_probes() {
        for (json, port) in [
            (
                r#"{"tcpSocket":{"port":8080,"host":"127.0.0.1"},"successThreshold":1}"#,
                8080,
            ),
            (
                r#"{"httpGet":{"path":"/health","port":8077,"scheme":"HTTP"},"periodSeconds":1}"#,
                8077,
            ),
            (r#"{"grpc":{"port":9000,"service":null}}"#, 9000),
            (r#"{"exec":{"command":["true"]}}"#, 8080),
            (r#"{"httpGet":{"port":0}}"#, 8080),
        ] {
            assert_eq!(port_of(json).unwrap_or_default(), port, "{json}");
        }
        assert!(matches!(
            port_of(r#"{"tcpSocket":{"port":"http"}}"#),
            Err(ProbeError::Port(_))
        ));
    }

    #[test]
    fn an_http_probe_is_a_request() {
        let get: HttpGet = serde_json::from_str(
            r#"{"path":"ready?x=1","httpHeaders":[{"name":"Host","value":"a"},{"name":"X","value":"1"}]}"#,
        )
        .unwrap();
        assert_eq!(
            http_request(&get),
            "GET /ready?x=1 HTTP/1.1\r\nHost: a\r\nUser-Agent: kube-probe/1.34\r\nX: 1\r\n\
             Connection: close\r\n\r\n"
        );
    }

    #[test]
    fn tries_come_quickly_at_first() {
        let after = |millis| pause(Duration::from_millis(millis)).as_micros();
        assert_eq!(
            [after(0), after(10), after(160), after(5000)],
            [250, 250, 2_500, 50_000]
        );
    }
}
