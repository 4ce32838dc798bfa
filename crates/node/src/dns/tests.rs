//! The server over real sockets: the zone on loopback, passing on in a namespace of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_proto::op::{Message, OpCode, Query};
use hickory_proto::rr::rdata::{A, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::*;
use crate::net::{HeadlessAddress, Protocol, Service, ServiceChange, ServicePort, Services};

fn service(name: &str, change: impl FnOnce(&mut Service)) -> ServiceChange {
    let mut service = Service {
        namespace: "team".to_owned(),
        name: name.to_owned(),
        ..Service::default()
    };
    change(&mut service);
    ServiceChange::Upsert(service)
}

fn services() -> Services {
    let services = Services::default();
    let port = |name: &str, port: u16, endpoints: &[&str]| ServicePort {
        name: name.to_owned(),
        port,
        protocol: Protocol::Tcp,
        endpoints: endpoints
            .iter()
            .map(|e| e.parse().expect("an address"))
            .collect(),
        ..ServicePort::default()
    };
    services.apply(service("web", |s| {
        s.cluster_ip = Some(Ipv4Addr::new(10, 43, 0, 7));
        s.ports = vec![port("http", 80, &["10.42.0.5:8080"])];
    }));
    services.apply(service("db", |s| {
        let host = |last, name: Option<&str>| HeadlessAddress {
            ip: Ipv4Addr::new(10, 42, 0, last),
            hostname: name.map(str::to_owned),
        };
        s.headless = vec![host(8, Some("db-0")), host(9, None)];
        s.ports = vec![port("sql", 5432, &["10.42.0.8:15432", "10.42.0.9:15432"])];
    }));
    services.apply(service("alias", |s| {
        s.external_name = Some("web.team.svc.cluster.local".to_owned());
    }));
    services.apply(service("far", |s| {
        s.external_name = Some("far.example".to_owned())
    }));
    services.apply(service("loop", |s| {
        s.external_name = Some("loop.team.svc.cluster.local".to_owned());
    }));
    services
}

async fn server(listen: SocketAddr, resolv_conf: &Path) -> DnsServer {
    let config = DnsConfig {
        listen,
        cluster_domain: "cluster.local".to_owned(),
        ranges: vec![
            "10.42.0.0/16".parse().expect("r"),
            "10.43.0.0/16".parse().expect("r"),
        ],
        resolv_conf: resolv_conf.to_owned(),
    };
    DnsServer::start(config, services())
        .await
        .expect("a server")
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(7, hickory_proto::op::MessageType::Query, OpCode::Query);
    let mut name = Name::from_ascii(name).expect("a name");
    name.set_fqdn(true);
    message.add_query(Query::query(name, kind));
    message
}

async fn ask(server: SocketAddr, name: &str, kind: RecordType) -> Message {
    let socket = UdpSocket::bind((server.ip(), 0)).await.expect("a socket");
    let bytes = query(name, kind).to_vec().expect("a query");
    socket.send_to(&bytes, server).await.expect("sent");
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).await.expect("an answer");
    Message::from_vec(&buffer[..length]).expect("a message")
}

/// Code, answers and (for negative ones) whether there is an SOA, in one line.
fn show(answer: &Message) -> String {
    let data = |record: &Record| format!("{}", record.data);
    let mut words = vec![format!("{:?}", answer.metadata.response_code)];
    words.extend(answer.answers.iter().map(data));
    words.extend(
        answer
            .additionals
            .iter()
            .map(|record| format!("+{}", data(record))),
    );
    if answer
        .authorities
        .iter()
        .any(|record| record.record_type() == RecordType::SOA)
    {
        words.push("SOA".to_owned());
    }
    words.join(" ")
}

/// Question, type, answer.
const CASES: &[(&str, RecordType, &str)] = &[
    (
        "web.team.svc.cluster.local",
        RecordType::A,
        "NoError 10.43.0.7",
    ),
    (
        "WEB.Team.svc.Cluster.local",
        RecordType::A,
        "NoError 10.43.0.7",
    ),
    (
        "web.team.svc.cluster.local",
        RecordType::AAAA,
        "NoError SOA",
    ),
    ("web.other.svc.cluster.local", RecordType::A, "NXDomain SOA"),
    (
        "example.com.team.svc.cluster.local",
        RecordType::A,
        "NXDomain SOA",
    ),
    ("team.svc.cluster.local", RecordType::A, "NoError SOA"),
    ("other.svc.cluster.local", RecordType::A, "NXDomain SOA"),
    (
        "db.team.svc.cluster.local",
        RecordType::A,
        "NoError 10.42.0.8 10.42.0.9",
    ),
    (
        "db-0.db.team.svc.cluster.local",
        RecordType::A,
        "NoError 10.42.0.8",
    ),
    (
        "10-42-0-9.db.team.svc.cluster.local",
        RecordType::A,
        "NoError 10.42.0.9",
    ),
    (
        "db-1.db.team.svc.cluster.local",
        RecordType::A,
        "NXDomain SOA",
    ),
    (
        "_http._tcp.web.team.svc.cluster.local",
        RecordType::SRV,
        "NoError 0 100 80 web.team.svc.cluster.local. +10.43.0.7",
    ),
    (
        "_sql._tcp.db.team.svc.cluster.local",
        RecordType::SRV,
        "NoError 0 50 15432 db-0.db.team.svc.cluster.local. \
             0 50 15432 10-42-0-9.db.team.svc.cluster.local. +10.42.0.8 +10.42.0.9",
    ),
    (
        "_http._udp.web.team.svc.cluster.local",
        RecordType::SRV,
        "NXDomain SOA",
    ),
    (
        "alias.team.svc.cluster.local",
        RecordType::A,
        "NoError web.team.svc.cluster.local. 10.43.0.7",
    ),
    (
        "loop.team.svc.cluster.local",
        RecordType::CNAME,
        "NoError loop.team.svc.cluster.local.",
    ),
    (
        "10-42-1-2.team.pod.cluster.local",
        RecordType::A,
        "NoError 10.42.1.2",
    ),
    (
        "nonsense.team.pod.cluster.local",
        RecordType::A,
        "NXDomain SOA",
    ),
    (
        "7.0.43.10.in-addr.arpa",
        RecordType::PTR,
        "NoError web.team.svc.cluster.local.",
    ),
    (
        "8.0.42.10.in-addr.arpa",
        RecordType::PTR,
        "NoError db-0.db.team.svc.cluster.local.",
    ),
    ("99.0.42.10.in-addr.arpa", RecordType::PTR, "NXDomain SOA"),
    (
        "dns-version.cluster.local",
        RecordType::TXT,
        "NoError 1.1.0",
    ),
    ("example.com", RecordType::A, "ServFail"),
];

#[tokio::test]
async fn the_zone_answers_as_kubernetes_says() {
    let server = server((Ipv4Addr::LOCALHOST, 0).into(), Path::new("/dev/null")).await;
    for (name, kind, expected) in CASES {
        let answer = ask(server.address(), name, *kind).await;
        assert_eq!(answer.metadata.id, 7);
        assert_eq!(show(&answer), *expected, "{name} {kind}");
    }
    let answer = ask(
        server.address(),
        "loop.team.svc.cluster.local",
        RecordType::A,
    )
    .await;
    assert!(show(&answer).starts_with("ServFail"));
}

/// A resolver that knows `far.example` and, over UDP, too much about `long.example`.
async fn resolver(asked: Arc<AtomicUsize>) {
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 9), 53))
        .await
        .expect("port 53");
    let mut buffer = [0; 4096];
    loop {
        let (length, peer) = socket.recv_from(&mut buffer).await.expect("a query");
        asked.fetch_add(1, Ordering::Relaxed);
        let query = Message::from_vec(&buffer[..length]).expect("a message");
        let name = query.queries[0].name.clone();
        let mut answer = Message::response(query.metadata.id, OpCode::Query);
        answer.add_query(query.queries[0].clone());
        let data = match name.to_ascii().as_str() {
            "long.example." => RData::TXT(TXT::new(vec!["x".repeat(250); 4])),
            _ => RData::A(A(Ipv4Addr::new(192, 0, 2, 7))),
        };
        answer.add_answer(Record::from_rdata(name, 60, data));
        let bytes = answer.to_vec().expect("bytes");
        socket.send_to(&bytes, peer).await.expect("sent");
    }
}

#[test]
fn everything_else_is_passed_on_and_remembered() {
    crate::net::tests::isolated(|| async {
        let directory = tempfile::tempdir().expect("a directory");
        let resolv_conf = directory.path().join("resolv.conf");
        // Ourselves, somebody who is not there, and the one who knows.
        let text = "nameserver 127.0.0.1\nnameserver 127.0.0.8\nnameserver 127.0.0.9\n";
        std::fs::write(&resolv_conf, text).expect("write");
        let asked = Arc::new(AtomicUsize::new(0));
        let upstream = tokio::spawn(resolver(Arc::clone(&asked)));
        let server = server((Ipv4Addr::LOCALHOST, 53).into(), &resolv_conf).await;
        let address = server.address();
        for _ in 0..2 {
            let answer = ask(address, "far.example", RecordType::A).await;
            assert_eq!(show(&answer), "NoError 192.0.2.7");
            let answer = ask(address, "far.team.svc.cluster.local", RecordType::A).await;
            assert_eq!(show(&answer), "NoError far.example. 192.0.2.7");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        let answer = ask(address, "long.example", RecordType::TXT).await;
        assert!(answer.metadata.truncation && answer.answers.is_empty());
        let over_tcp = ask_over_tcp(address, "long.example", RecordType::TXT).await;
        assert_eq!(over_tcp.answers.len(), 1);
        upstream.abort();
    });
}

async fn ask_over_tcp(server: SocketAddr, name: &str, kind: RecordType) -> Message {
    let mut stream = TcpStream::connect(server).await.expect("connects");
    let bytes = query(name, kind).to_vec().expect("a query");
    stream
        .write_u16(u16::try_from(bytes.len()).expect("short"))
        .await
        .expect("sent");
    stream.write_all(&bytes).await.expect("sent");
    let mut answer = vec![0; usize::from(stream.read_u16().await.expect("a length"))];
    stream.read_exact(&mut answer).await.expect("an answer");
    Message::from_vec(&answer).expect("a message")
}

#[test]
fn the_nodes_file_is_read() {
    let conf = ResolvConf::parse("nameserver 192.0.2.1 # main\nsearch a b\noptions ndots:1\n");
    assert_eq!(conf.nameservers, [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))]);
    assert_eq!(conf.searches, ["a", "b"]);
}
