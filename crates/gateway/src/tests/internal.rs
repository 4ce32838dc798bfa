//! TLS between the gateway and a queue-proxy of the same process.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serving::route::{Change, Identity, Internal, Pod};
use trace::Tracer;

use super::support::{
    Client, Fixture, Loopback, PATIENCE, any_port, application, echo, pod, revision,
};
use crate::queue::{QueueConfig, QueueListeners, QueueProxy};
use crate::request_log::RequestLog;
use crate::{Dial, Face, OneCertificate, Pods};

/// Reaches TLS ports at this address, and counts how often.
struct Secure(SocketAddr, AtomicUsize);

impl Dial for Secure {
    fn socket(&self, _: &Pod) -> io::Result<(socket2::Socket, SocketAddr)> {
        panic!("the gateway must not reach the application by itself")
    }

    fn secure(&self, _: &Pod) -> io::Result<(socket2::Socket, SocketAddr)> {
        self.1.fetch_add(1, Ordering::Relaxed);
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        Ok((socket, self.0))
    }
}

/// A certificate for `name` and whom to trust for it.
fn identity(name: &str) -> (Identity, Arc<str>) {
    let mut root = CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_key = KeyPair::generate().unwrap();
    let trust = root.self_signed(&root_key).unwrap().pem();
    let issuer = Issuer::new(root, root_key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new([name.to_owned()]).unwrap();
    let identity = Identity {
        certificate: leaf.signed_by(&key, &issuer).unwrap().pem().into(),
        key: key.serialize_pem().into(),
    };
    (identity, trust.into())
}

struct Setup {
    fixture: Fixture,
    /// Connections to the TLS port so far.
    dialer: Arc<Secure>,
    lines: mpsc::Receiver<String>,
    https: SocketAddr,
    _proxy: QueueProxy,
    _runtime: tokio::runtime::Runtime,
}

/// A gateway that reaches the application through a queue-proxy with a certificate for `name`.
fn setup(app: SocketAddr, name: &str) -> Setup {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let listener = TcpListener::bind(any_port()).unwrap();
    let https = listener.local_addr().unwrap();
    let (shown, trust) = identity(name);
    let certificate = OneCertificate::default();
    certificate.set(Some(&shown));
    let pods = Pods::default();
    let by_tls = Pod {
        tls_name: Some("kn-user-default".into()),
        ..pod("p", app)
    };
    let mut facts = revision("hello-00001", vec![by_tls.clone()]);
    facts.container_concurrency = 1;
    let (sender, lines) = mpsc::channel();
    let sender = Mutex::new(sender);
    let sink = Arc::new(move |line: &str| {
        // Nobody waits for the lines of a test that is over.
        let _ = sender.lock().unwrap().send(line.to_owned());
    });
    let log = RequestLog::new("{{.Request.RequestURI}} TLS: {{.Request.TLS}}", sink).unwrap();
    let entered = runtime.enter();
    let proxy = QueueProxy::start(QueueConfig {
        pod: by_tls,
        revision: Arc::new(facts.clone()),
        readiness_probe: None,
        listeners: QueueListeners {
            https: Some(listener),
            ..QueueListeners::default()
        },
        certificate,
        dialer: Arc::new(Loopback),
        pods: pods.clone(),
        tracer: Tracer::default(),
        request_log: Some(log),
        drain_quiet: Duration::from_millis(50),
        kubelet_decides: false,
    })
    .unwrap();
    drop(entered);
    let dialer = Arc::new(Secure(https, AtomicUsize::new(0)));
    let fixture = Fixture::with(|config| {
        config.pods = pods;
        config.workers = 1;
        config.dialer = Arc::clone(&dialer) as Arc<dyn Dial>;
    });
    let internal = Internal {
        identity: shown,
        trust,
    };
    let told = Change::Internal(Some(Arc::new(internal)));
    fixture.gateway.apply(told);
    fixture.revision(facts);
    fixture.route("hello.example", "hello-00001");
    Setup {
        fixture,
        dialer,
        lines,
        https,
        _proxy: proxy,
        _runtime: runtime,
    }
}

#[test]
fn requests_pass_by_tls_on_one_connection_and_count_once() {
    let setup = setup(echo("hello"), "kn-user-default");
    let mut client = setup.fixture.client(Face::External);
    for path in ["/a", "/b", "/c"] {
        let answer = client.get("hello.example", path);
        assert_eq!(answer.status(), 200, "{answer:?}");
        assert!(answer.body.starts_with(&format!("hello\nGET {path} ")));
    }
    // Should it have been counted by both, a limit of one would have stopped the first.
    assert_eq!(setup.dialer.1.load(Ordering::Relaxed), 1);
    for path in ["/a", "/b", "/c"] {
        let line = setup.lines.recv_timeout(PATIENCE).unwrap();
        assert_eq!(
            line,
            format!("{path} TLS: {{772 true false kn-user-default}}")
        );
    }
}

#[test]
fn whoever_shows_another_name_gets_nothing() {
    let asked = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&asked);
    let app = application(move |mut client| {
        while client.read_message().is_some() {
            seen.fetch_add(1, Ordering::Relaxed);
        }
    });
    let setup = setup(app, "kn-user-other");
    let answer = setup.fixture.get(Face::External, "hello.example", "/");
    assert_eq!(answer.status(), 502, "{answer:?}");
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[test]
fn plain_text_is_not_answered_there() {
    let setup = setup(echo("hello"), "kn-user-default");
    let mut client = Client::connect(setup.https);
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut bytes = Vec::new();
    let _ = io::Read::read_to_end(&mut client.stream, &mut bytes);
    // An alert of TLS at most.
    assert!(!bytes.starts_with(b"HTTP"), "{bytes:?}");
}
