//! The queue-proxy: probes, its limit, its statistics, its end.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use serving::route::Revision;
use tokio::runtime::Runtime;
use trace::Tracer;

use super::support::{
    Answer, Client, Fixture, Loopback, any_port, application, echo, header, pod, revision,
};
use crate::queue::{QueueConfig, QueueListeners, QueueProxy};
use crate::{Face, OneCertificate, Pods};

struct Queue {
    proxy: QueueProxy,
    http: SocketAddr,
    stats: SocketAddr,
    metrics: SocketAddr,
    admin: SocketAddr,
    runtime: Runtime,
}

impl Queue {
    fn new(app: SocketAddr, adjust: impl FnOnce(&mut Revision, &mut Option<String>)) -> Self {
        Self::sharing(Pods::default(), app, adjust)
    }

    fn sharing(
        pods: Pods,
        app: SocketAddr,
        adjust: impl FnOnce(&mut Revision, &mut Option<String>),
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let [http, stats, metrics, admin] =
            [(); 4].map(|()| TcpListener::bind(any_port()).unwrap());
        let addresses = [&http, &stats, &metrics, &admin].map(|l| l.local_addr().unwrap());
        let (mut facts, mut readiness_probe) = (revision("hello-00001", vec![]), None);
        adjust(&mut facts, &mut readiness_probe);
        let _entered = runtime.enter();
        let proxy = QueueProxy::start(QueueConfig {
            pod: pod("p", app),
            revision: Arc::new(facts),
            readiness_probe,
            listeners: QueueListeners {
                http: Some(http),
                h2c: None,
                https: None,
                stats: Some(stats),
                metrics: Some(metrics),
                admin: Some(admin),
            },
            certificate: OneCertificate::default(),
            dialer: Arc::new(Loopback),
            pods,
            tracer: Tracer::default(),
            request_log: None,
            drain_quiet: Duration::from_millis(50),
            kubelet_decides: false,
        });
        drop(_entered);
        let [http, stats, metrics, admin] = addresses;
        Self {
            proxy: proxy.unwrap(),
            http,
            stats,
            metrics,
            admin,
            runtime,
        }
    }

    fn probe(&self, value: &str) -> Answer {
        let mut client = Client::connect(self.http);
        client.send(&format!(
            "GET / HTTP/1.1\r\nHost: x\r\nK-Network-Probe: {value}\r\nK-Network-Hash: h\r\n\r\n"
        ));
        client.read_message().unwrap()
    }

    fn page(&self, address: SocketAddr, path: &str) -> Vec<u8> {
        let mut client = Client::connect(address);
        client.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let head = client.read_head().unwrap();
        let mut body = vec![0; header(&head, "content-length").unwrap().parse().unwrap()];
        std::io::Read::read_exact(&mut client.stream, &mut body).unwrap();
        body
    }
}

#[test]
fn forwards_and_answers_probes() {
    let queue = Queue::new(echo("hello"), |_, _| {});
    queue.runtime.block_on(queue.proxy.ready());
    assert!(queue.proxy.is_ready());
    for (value, status, body) in [
        ("queue", 200, "queue"),
        ("probe", 200, ""),
        (
            "nonsense",
            400,
            "unexpected probe header value: \"nonsense\"\n",
        ),
    ] {
        let answer = queue.probe(value);
        assert_eq!((answer.status(), &*answer.body), (status, body), "{value}");
    }
    assert_eq!(queue.probe("probe").header("k-network-hash"), Some("h"));
    let answer = Client::connect(queue.http).get("hello", "/x");
    assert!(answer.body.contains("GET /x HTTP/1.1"), "{answer:?}");
    let metrics = String::from_utf8(queue.page(queue.metrics, "/metrics")).unwrap();
    for name in ["kn_serving_invocation", "http_server_request"] {
        let counted = format!("{name}_duration_seconds_count{{");
        assert!(metrics.contains(&counted), "{metrics}");
    }
}

#[test]
fn readiness_waits_for_the_probe() {
    let healthy = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&healthy);
    let app = application(move |mut client| {
        let request = client.read_message().unwrap();
        assert!(
            request.head.starts_with("GET /ready HTTP/1.1"),
            "{request:?}"
        );
        let status = if flag.load(Ordering::SeqCst) {
            200
        } else {
            503
        };
        client.send(&format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"));
    });
    let queue = Queue::new(app, |_, probe| {
        *probe = Some(r#"{"httpGet":{"path":"/ready"}}"#.into())
    });
    assert_eq!(queue.probe("queue").status(), 503);
    assert!(!queue.proxy.is_ready());
    healthy.store(true, Ordering::SeqCst);
    queue.runtime.block_on(queue.proxy.ready());
    assert_eq!(queue.probe("queue").status(), 200);
    healthy.store(false, Ordering::SeqCst);
    assert!(!queue.runtime.block_on(queue.proxy.check()));
}

#[test]
fn the_breaker_queues_ten_for_each_slot_and_refuses_more() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let app = application(move |mut client| {
        while client.read_message().is_some() {
            wait.lock().unwrap().recv().unwrap();
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let queue = Queue::new(app, |facts, _| facts.container_concurrency = 1);
    let mut clients: Vec<_> = (0..12)
        .map(|_| {
            let mut client = Client::connect(queue.http);
            client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
            client
        })
        .collect();
    // Which of them is refused depends on the order of arrival; exactly one is.
    let (answers, answered) = mpsc::channel();
    for mut client in clients.drain(..) {
        let answers = answers.clone();
        thread::spawn(move || answers.send(client.read_message().unwrap()).unwrap());
    }
    let refused = answered.recv().unwrap();
    assert_eq!(
        (refused.status(), &*refused.body),
        (503, "pending request queue full\n")
    );
    (0..11).for_each(|_| go.send(()).unwrap());
    (0..11).for_each(|_| assert_eq!(answered.recv().unwrap().status(), 200));
}

#[test]
fn statistics_are_knatives_message() {
    let queue = Queue::new(echo("hello"), |_, _| {});
    let mut client = Client::connect(queue.http);
    for headers in [
        "",
        "K-Proxy-Request: activator\r\n",
        "User-Agent: kube-probe/1.32\r\n",
    ] {
        client.send(&format!("GET / HTTP/1.1\r\nHost: x\r\n{headers}\r\n"));
        assert_eq!(client.read_message().unwrap().status(), 200);
    }
    let stat = queue.page(queue.stats, "/metrics");
    assert_eq!(&stat[..3], b"\x0a\x01p");
    // Fields 4, 5 and 6 are the last three: the requests, the activator's, the uptime.
    let tail = &stat[stat.len() - 27..];
    assert_eq!((tail[0], tail[9], tail[18]), (0x21, 0x29, 0x31));
    let count = |at: usize| f64::from_le_bytes(tail[at..at + 8].try_into().unwrap());
    assert_eq!((count(1), count(10)), (2.0, 1.0));
}

#[test]
fn draining_refuses_probes_and_lets_requests_finish() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let app = application(move |mut client| {
        if client.read_message().is_some() {
            wait.lock().unwrap().recv().unwrap();
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let queue = Queue::new(app, |_, probe| *probe = Some("{}".into()));
    let mut client = Client::connect(queue.http);
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    // The hook's connection stays open until the drain is over.
    let mut hook = Client::connect(queue.admin);
    hook.send("GET /wait-for-drain HTTP/1.1\r\nHost: x\r\n\r\n");
    while queue.probe("queue").status() != 503 {}
    assert_eq!(queue.probe("queue").body, "shutting down\n");
    go.send(()).unwrap();
    assert_eq!(client.read_message().unwrap().status(), 200);
    assert_eq!(hook.read_message().unwrap().status(), 200);
    queue.runtime.block_on(queue.proxy.drain());
}

#[test]
fn the_gateway_uses_a_pod_as_soon_as_its_queue_proxy_has_reached_it() {
    let pods = Pods::default();
    let shared = pods.clone();
    let fixture = Fixture::with(|config| config.pods = shared);
    let app = echo("hello");
    let mut starting = pod("p", app);
    starting.ready = false;
    fixture.revision(revision("hello-00001", vec![starting]));
    fixture.route("hello.localhost", "hello-00001");
    let mut client = fixture.client(Face::External);
    client.send("GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n");
    let queue = Queue::sharing(pods, app, |_, _| {});
    assert_eq!(client.read_message().unwrap().status(), 200);
    // What came through the gateway counts at the Pod, too.
    queue.runtime.block_on(queue.proxy.drain());
    let mut late = fixture.client(Face::External);
    late.send("GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n");
    fixture.revision(revision("hello-00001", vec![pod("other", echo("other"))]));
    assert!(late.read_message().unwrap().body.starts_with("other"));
}

#[test]
fn the_gateway_and_the_queue_proxy_share_a_pods_limit() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let running = Arc::new(AtomicBool::new(false));
    let app = application(move |mut client| {
        while client.read_message().is_some() {
            assert!(!running.swap(true, Ordering::SeqCst), "two at once");
            wait.lock().unwrap().recv().unwrap();
            running.store(false, Ordering::SeqCst);
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let pods = Pods::default();
    let shared = pods.clone();
    let fixture = Fixture::with(|config| config.pods = shared);
    let mut facts = revision("hello-00001", vec![pod("p", app)]);
    facts.container_concurrency = 1;
    fixture.revision(facts);
    fixture.route("hello.localhost", "hello-00001");
    let probe = r#"{"tcpSocket":{"port":1}}"#;
    let queue = Queue::sharing(pods, app, |facts, readiness| {
        facts.container_concurrency = 1;
        *readiness = Some(probe.into());
    });
    let mut through_the_pod = Client::connect(queue.http);
    let mut through_the_gateway = fixture.client(Face::External);
    for client in [&mut through_the_pod, &mut through_the_gateway] {
        client.send("GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n");
    }
    let depth = || String::from_utf8(queue.page(queue.metrics, "/metrics")).unwrap();
    while !depth().contains("k8s_pod_name=\"p\"} 2") {
        thread::yield_now();
    }
    for _ in 0..2 {
        go.send(()).unwrap();
    }
    assert_eq!(through_the_pod.read_message().unwrap().status(), 200);
    assert_eq!(through_the_gateway.read_message().unwrap().status(), 200);
}
