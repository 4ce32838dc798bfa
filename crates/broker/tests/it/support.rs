//! A broker on a temporary directory, consumers that say what they got, and a way to post.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use api::delivery::{
    Access, Change, Endpoint, Handler, Ingress, Key, Policy, Source, Start, Subscriber,
};
use api::world::{
    BROKER, EVENT_TRANSFORM, GITHUB_SOURCE, IN_MEMORY_CHANNEL, INTEGRATION_SINK,
    INTEGRATION_SOURCE, REQUEST_REPLY, TRIGGER,
};
use broker::{Broker, Config, DeadLetter, EventTypes, Kept, Observed};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use trace::Tracer;

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A broker that can be stopped and started on the same data.
pub(crate) struct Fixture {
    dir: TempDir,
    running: Option<(Broker, Kept)>,
    pub(crate) address: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    adjust: Adjust,
    /// Traces nothing before it is started.
    pub(crate) tracer: Tracer,
}

/// What a broker is made of besides.
type Adjust = Box<dyn Fn(&mut Config) + Send + Sync>;

/// Where kinds of events are told.
pub(crate) type Tell = mpsc::UnboundedSender<Observed>;

struct Told(Tell);

impl EventTypes for Told {
    fn observed(&self, observed: Observed) -> BoxFuture<'static, Result<(), String>> {
        // The test may have heard enough.
        let _ = self.0.send(observed);
        Box::pin(std::future::ready(Ok(())))
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Fixture {
    pub(crate) fn start() -> Self {
        Self::adjusted(|_| {})
    }

    /// A broker that tells kinds of events.
    pub(crate) fn telling(tell: Tell) -> Self {
        Self::adjusted(move |config| config.event_types = Arc::new(Told(tell.clone())))
    }

    /// A broker that is made of something else.
    pub(crate) fn adjusted(adjust: impl Fn(&mut Config) + Send + Sync + 'static) -> Self {
        let mut fixture = Self {
            dir: tempfile::tempdir().expect("a directory"),
            running: None,
            address: ([127, 0, 0, 1], 0).into(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            adjust: Box::new(adjust),
            tracer: Tracer::default(),
        };
        fixture.go();
        fixture
    }

    /// Where its logs are.
    pub(crate) fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    pub(crate) fn broker(&self) -> &Broker {
        &self.running.as_ref().expect("it runs").0
    }

    pub(crate) fn stop(&mut self) {
        if let Some((broker, kept)) = self.running.take() {
            broker.stop();
            kept.close();
        }
    }

    pub(crate) fn go(&mut self) {
        let kept = self.open();
        let mut config = Config::new(Arc::new(kept.clone()));
        config.tracer = self.tracer.clone();
        (self.adjust)(&mut config);
        let broker = Broker::start(config).expect("it starts");
        self.address = broker
            .listen(([127, 0, 0, 1], 0).into())
            .expect("it listens");
        self.running = Some((broker, kept));
    }

    /// A log that was closed still syncs its positions for a moment before the directory is free.
    fn open(&self) -> Kept {
        let end = Instant::now() + PATIENCE;
        loop {
            match Kept::open(self.dir.path()) {
                Ok(kept) => return kept,
                Err(error) if Instant::now() > end => panic!("the logs open: {error}"),
                Err(_) => std::thread::yield_now(),
            }
        }
    }

    /// The Broker's key.
    pub(crate) fn key() -> Key {
        Key::new(BROKER, "ns", "default")
    }

    /// The Broker's dead letters, once there are `count`.
    pub(crate) async fn dead_letters(&self, count: usize) -> Vec<DeadLetter> {
        let end = Instant::now() + PATIENCE;
        loop {
            let letters = self
                .broker()
                .dead_letters(&Self::key())
                .expect("they are read");
            if letters.len() == count {
                return letters;
            }
            assert!(Instant::now() < end, "{} dead letters", letters.len());
            tokio::task::yield_now().await;
        }
    }

    /// An IntegrationSource `ns/timer` that sends to `sink` with the extension `color`.
    pub(crate) fn set_timer(&self, spec: Value, sink: &str) {
        let source = Source {
            uid: "timer-uid".into(),
            object: Arc::new(serde_json::json!({"spec": spec})),
            sink: endpoint(sink),
            extensions: BTreeMap::from([("color".to_owned(), "red".to_owned())]),
            facts: BTreeMap::new(),
        };
        let key = Key::new(INTEGRATION_SOURCE, "ns", "timer");
        self.broker()
            .apply(Change::Source(key, Some(Arc::new(source))));
    }

    /// A RequestReply `ns/rr` before the Broker.
    pub(crate) fn set_request_reply(&self) {
        let handler = Handler {
            uid: "rr-uid".into(),
            hosts: Vec::new(),
            access: Access::default(),
            object: Arc::new(serde_json::json!({"spec": {"timeout": "PT20S"}})),
            sink: Some(endpoint(
                "http://broker-ingress.knative-eventing.svc/ns/default",
            )),
            service_account: None,
        };
        let key = Key::new(REQUEST_REPLY, "ns", "rr");
        self.broker()
            .apply(Change::Handler(key, Some(Arc::new(handler))));
    }

    /// A GitHubSource `ns/gh` with the secret token `s3cret`.
    pub(crate) fn set_github(&self, host: &str, sink: &str) {
        let source = Source {
            uid: "gh-uid".into(),
            object: Arc::new(
                serde_json::json!({"spec": {"ownerAndRepository": "a/b", "eventTypes": ["push"]}}),
            ),
            sink: endpoint(sink),
            extensions: BTreeMap::new(),
            facts: BTreeMap::from([
                ("hosts".to_owned(), serde_json::json!([host])),
                ("secretToken".to_owned(), "s3cret".into()),
            ]),
        };
        let key = Key::new(GITHUB_SOURCE, "ns", "gh");
        self.broker()
            .apply(Change::Source(key, Some(Arc::new(source))));
    }

    /// An IntegrationSink `ns/sink` that logs.
    pub(crate) fn set_log_sink(&self, host: &str) {
        let handler = Handler {
            uid: "sink-uid".into(),
            hosts: vec![host.to_owned()],
            access: Access::default(),
            object: Arc::new(serde_json::json!({"spec": {"log": {}}})),
            sink: None,
            service_account: None,
        };
        let key = Key::new(INTEGRATION_SINK, "ns", "sink");
        self.broker()
            .apply(Change::Handler(key, Some(Arc::new(handler))));
    }

    /// An EventTransform `ns/transform` at `transform.ns.svc.cluster.local`.
    pub(crate) fn set_transform(&self, spec: Value, sink: Option<&str>) {
        let handler = Handler {
            uid: "transform-uid".into(),
            hosts: vec!["transform.ns.svc.cluster.local".to_owned()],
            access: Access::default(),
            object: Arc::new(serde_json::json!({"spec": spec})),
            sink: sink.map(endpoint),
            service_account: None,
        };
        let key = Key::new(EVENT_TRANSFORM, "ns", "transform");
        self.broker()
            .apply(Change::Handler(key, Some(Arc::new(handler))));
    }

    /// A Broker `ns/default` with these Triggers.
    pub(crate) fn set_broker(&self, triggers: Vec<Subscriber>) {
        self.set(ingress("broker-uid", &[], triggers));
    }

    /// The same, which keeps only so many bytes.
    pub(crate) fn set_broker_with_limit(&self, triggers: Vec<Subscriber>, bytes_max: u64) {
        let mut ingress = ingress("broker-uid", &[], triggers);
        ingress.bytes_max = Some(bytes_max);
        self.set(ingress);
    }

    /// The Broker as `ingress` has it.
    pub(crate) fn set(&self, ingress: Ingress) {
        let change = Change::Ingress(Self::key(), Some(Arc::new(ingress)));
        self.broker().apply(change);
    }

    /// A channel `ns/c` with these Subscriptions.
    pub(crate) fn set_channel(&self, subscriptions: Vec<Subscriber>) {
        let hosts = ["c-kn-channel.ns.svc.cluster.local".to_owned()];
        self.broker().apply(Change::Ingress(
            Key::new(IN_MEMORY_CHANNEL, "ns", "c"),
            Some(Arc::new(ingress("channel-uid", &hosts, subscriptions))),
        ));
    }

    pub(crate) async fn request(
        &self,
        request: http::request::Builder,
        body: impl Into<Bytes>,
    ) -> Answer {
        let request = request.body(Full::new(body.into())).expect("a request");
        let response = self.client.request(request).await.expect("an answer");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            text: String::from_utf8_lossy(&body).into_owned(),
        }
    }

    /// A POST to `path` with headers.
    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let uri = format!("http://{}{path}", self.address);
        let mut request = Request::builder().method(Method::POST).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.request(request, body.to_owned()).await
    }

    /// A plain event to the Broker; it must be accepted.
    pub(crate) async fn send(&self, id: &str, kind: &str) {
        assert_eq!(self.post_event(id, kind).await, 202);
    }

    /// Posts an event to the Broker; gives the status.
    pub(crate) async fn post_event(&self, id: &str, kind: &str) -> u16 {
        let headers = event(id, kind);
        let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        self.post("/ns/default", &headers, "{}").await.status
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Headers of a binary event.
pub(crate) fn event(id: &str, kind: &str) -> Vec<(&'static str, String)> {
    vec![
        ("ce-specversion", "1.0".to_owned()),
        ("ce-id", id.to_owned()),
        ("ce-source", "/test".to_owned()),
        ("ce-type", kind.to_owned()),
        ("content-type", "application/json".to_owned()),
    ]
}

pub(crate) fn ingress(uid: &str, hosts: &[String], subscribers: Vec<Subscriber>) -> Ingress {
    Ingress {
        uid: uid.into(),
        hosts: hosts.to_vec(),
        access: Access::default(),
        subscribers: subscribers.into_iter().map(Arc::new).collect(),
        retention: None,
        bytes_max: None,
        makes_event_types: false,
    }
}

/// A Trigger without filters, whose answers enter the Broker again.
pub(crate) fn trigger(name: &str, url: &str) -> Subscriber {
    Subscriber {
        uid: format!("uid-{name}").into(),
        key: Key::new(TRIGGER, "ns", name),
        filters: Vec::new(),
        target: Some(endpoint(url)),
        reply: None,
        replies_to_ingress: true,
        policy: Policy::default(),
        ordered: false,
        parallelism: 0,
        start: Start::Now,
        replay: String::new(),
        service_account: None,
    }
}

pub(crate) fn with_type(mut subscriber: Subscriber, kind: &str) -> Subscriber {
    subscriber.filters = vec![serde_json::json!({"attributes": {"type": kind}})];
    subscriber
}

pub(crate) fn endpoint(url: &str) -> Endpoint {
    Endpoint {
        url: url.to_owned(),
        ca_certs: None,
        audience: None,
    }
}

/// A request a consumer got.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

/// What a consumer answers to its n-th request.
pub(crate) type Reply = (u16, Vec<(&'static str, String)>, &'static str);

/// A consumer of events.
pub(crate) struct Consumer {
    pub(crate) url: String,
    got: mpsc::UnboundedReceiver<Got>,
}

impl Consumer {
    /// One that takes everything.
    pub(crate) async fn start() -> Self {
        Self::answering(|_, _| (200, Vec::new(), "")).await
    }

    /// One that answers request number `n` (from 0).
    pub(crate) async fn answering(
        answer: impl Fn(usize, &HeaderMap) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let (tell, got) = mpsc::unbounded_channel();
        let answer = Arc::new(answer);
        let count = Arc::new(AtomicUsize::new(0));
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                let (tell, answer, count) = (tell.clone(), Arc::clone(&answer), Arc::clone(&count));
                let service = service_fn(move |request| {
                    let (tell, answer) = (tell.clone(), Arc::clone(&answer));
                    let number = count.fetch_add(1, Ordering::SeqCst);
                    async move { Ok::<_, Infallible>(consume(request, &tell, number, &*answer).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        Self { url, got }
    }

    /// The next request.
    pub(crate) async fn next(&mut self) -> Got {
        let next = tokio::time::timeout(PATIENCE, self.got.recv()).await;
        next.expect("an event in time").expect("the consumer runs")
    }

    /// The IDs of the next `count` events.
    pub(crate) async fn ids(&mut self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(self.next().await.header("ce-id").to_owned());
        }
        ids
    }

    /// Whether nothing has come that nobody asked for.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.got.try_recv().is_err()
    }
}

async fn consume(
    request: Request<Incoming>,
    tell: &mpsc::UnboundedSender<Got>,
    number: usize,
    answer: &(impl Fn(usize, &HeaderMap) -> Reply + ?Sized),
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let (status, headers, text) = answer(number, &head.headers);
    let lines = head.headers.iter();
    let _ = tell.send(Got {
        headers: lines
            .map(|(name, value)| {
                (
                    name.to_string(),
                    String::from_utf8_lossy(value.as_bytes()).into(),
                )
            })
            .collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
    });
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    for (name, value) in headers {
        response
            .headers_mut()
            .insert(name, value.parse().expect("a value"));
    }
    response
}
