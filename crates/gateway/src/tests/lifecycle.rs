//! What happens while Pods come and go, and when the gateway itself ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::support::{Fixture, any_port, application, echo, pod, revision};
use crate::{Face, Listen, ListenOn};

#[test]
fn no_request_is_lost_while_pods_come_and_go() {
    let fixture = Fixture::new();
    let addresses = [echo("a"), echo("b"), echo("c")];
    let facts = |usable: usize, concurrency: u32| {
        let pods = ["a", "b", "c"].iter().zip(addresses).enumerate();
        let pods = pods
            .filter(|(at, _)| usable & (8 << at) == 0)
            .map(|(at, (name, address))| {
                let mut pod = pod(name, address);
                pod.ready = usable & (1 << at) != 0;
                pod
            })
            .collect();
        let mut facts = revision("hello-00001", pods);
        facts.container_concurrency = concurrency;
        facts
    };
    fixture.revision(facts(0, 0));
    fixture.route("hello.localhost", "hello-00001");
    let (stop, answered) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            let mut client = fixture.client(Face::External);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(client.get("hello.localhost", "/").status(), 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    // Every subset of Pods, listed or not, ready or not, with every policy; each state is left
    // once requests have got through in it, or at once when none can.
    for step in 0..192 {
        let usable = (step * 37) % 64;
        fixture.revision(facts(usable, [0, 1, 5][step % 3]));
        let before = answered.load(Ordering::Relaxed);
        let able = (0..3).any(|at| usable & (1 << at) != 0 && usable & (8 << at) == 0);
        while able && answered.load(Ordering::Relaxed) < before + 20 {
            thread::yield_now();
        }
    }
    fixture.revision(facts(7, 0));
    stop.store(true, Ordering::Relaxed);
    clients
        .into_iter()
        .for_each(|client| client.join().unwrap());
}

#[test]
fn draining_lets_requests_finish_and_closes() {
    let slow = application(|mut client| {
        while client.read_message().is_some() {
            thread::sleep(Duration::from_millis(100));
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let fixture = Fixture::new();
    fixture.revision(revision("hello-00001", vec![pod("p", slow)]));
    fixture.route("hello.localhost", "hello-00001");
    let mut idle = fixture.client(Face::External);
    assert_eq!(idle.get("hello.localhost", "/").status(), 200);
    let wait_for_active = |count: usize| {
        let line = format!(
            "kn_revision_request_active{{k8s_namespace_name=\"default\",kn_service_name=\"hello\",\
             kn_configuration_name=\"hello\",kn_revision_name=\"hello-00001\"}} {count}"
        );
        while !fixture.gateway.metrics().contains(&line) {
            thread::yield_now();
        }
    };
    wait_for_active(0);
    let mut busy = fixture.client(Face::External);
    busy.send("GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n");
    wait_for_active(1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let started = Instant::now();
    runtime.block_on(fixture.gateway.drain());
    assert!(started.elapsed() < Duration::from_secs(30));
    assert_eq!(busy.read_message().unwrap().status(), 200);
    assert!(busy.is_closed() && idle.is_closed());
}

/// A server and a client that trust one made-up certificate.
fn tls() -> (Arc<rustls::ServerConfig>, Arc<rustls::ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["hello.localhost".to_owned()]).unwrap();
    let certificate = CertificateDer::from(made.cert.der().to_vec());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

#[test]
fn https_is_terminated_and_said_upward() {
    let fixture = Fixture::new();
    let (server, client) = tls();
    let on = ListenOn::Address(any_port());
    let address = fixture.gateway.listen(Listen {
        on,
        face: Face::External,
        tls: Some(server),
    });
    fixture.revision(revision("hello-00001", vec![pod("p", echo("hello"))]));
    fixture.route("hello.localhost", "hello-00001");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let answer = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address.unwrap())
            .await
            .unwrap();
        let name = "hello.localhost".try_into().unwrap();
        let connector = tokio_rustls::TlsConnector::from(client);
        let mut stream = connector.connect(name, stream).await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        // The end without a close_notify is of no concern here.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    });
    assert!(answer.contains("x-forwarded-proto: https"), "{answer}");
}

#[test]
fn http_is_sent_to_https_when_asked() {
    let fixture = Fixture::new();
    let mut host = super::support::virtual_host(vec![super::support::split(100, "hello-00001")]);
    host.redirect_to_https = true;
    fixture.host("hello.localhost", host);
    let answer = fixture.get(Face::External, "hello.localhost:8080", "/path?x=1");
    assert_eq!(answer.status(), 301);
    assert_eq!(
        answer.header("location"),
        Some("https://hello.localhost/path?x=1")
    );
}
