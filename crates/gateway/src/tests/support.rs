//! A gateway, an application and a client for tests, all blocking and all on free ports.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serving::autoscale::Stat;
use serving::route::{
    Change, Pod, Protocol, Revision, RevisionKey, Rule, Split, Target, VirtualHost, Visibility,
};
use tokio::sync::mpsc;

use crate::{Config, Dial, Face, Gateway, Listen};

/// No wait in a test is longer.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Reaches every Pod on the loopback.
pub(super) struct Loopback;

impl Dial for Loopback {
    fn socket(&self, pod: &Pod) -> io::Result<(socket2::Socket, SocketAddr)> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        Ok((socket, SocketAddr::new(pod.ip, pod.user_port)))
    }
}

pub(super) fn any_port() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)
}

/// A running gateway with all three faces, and its statistics.
pub(super) struct Fixture {
    pub(super) gateway: Gateway,
    pub(super) stats: mpsc::Receiver<Stat>,
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(adjust: impl FnOnce(&mut Config)) -> Self {
        let (sender, stats) = mpsc::channel(1000);
        let mut config = Config::new(Arc::new(Loopback), sender);
        config.workers = 2;
        config.listeners = [Face::External, Face::Local, Face::Activator]
            .map(|face| Listen::plain(any_port(), face))
            .into();
        adjust(&mut config);
        Self {
            gateway: Gateway::start(config).unwrap(),
            stats,
        }
    }

    /// Routes `host` to revision `name`.
    pub(super) fn route(&self, host: &str, name: &str) {
        self.host(host, virtual_host(vec![split(100, name)]));
    }

    pub(super) fn host(&self, host: &str, rules: VirtualHost) {
        self.gateway
            .apply(Change::Host(host.to_owned(), Some(Arc::new(rules))));
    }

    pub(super) fn revision(&self, revision: Revision) {
        self.gateway.apply(Change::Revision(
            revision.key.clone(),
            Some(Arc::new(revision)),
        ));
    }

    pub(super) fn client(&self, face: Face) -> Client {
        Client::connect(self.gateway.address(face, false).unwrap())
    }

    /// One GET on a connection of its own.
    pub(super) fn get(&self, face: Face, host: &str, path: &str) -> Answer {
        self.client(face).get(host, path)
    }
}

pub(super) fn virtual_host(splits: Vec<Split>) -> VirtualHost {
    VirtualHost {
        visibility: Visibility::External,
        redirect_to_https: false,
        rules: vec![Rule {
            splits,
            ..Rule::default()
        }],
    }
}

pub(super) fn split(percent: u8, name: &str) -> Split {
    Split {
        percent,
        target: Target::Revision(RevisionKey::new("default", name)),
        append_headers: BTreeMap::new(),
    }
}

/// A revision with these Pods.
pub(super) fn revision(name: &str, pods: Vec<Pod>) -> Revision {
    Revision {
        key: RevisionKey::new("default", name),
        service: "hello".into(),
        configuration: "hello".into(),
        container_concurrency: 0,
        timeout: Duration::from_secs(300),
        response_start_timeout: None,
        idle_timeout: None,
        protocol: Protocol::Http1,
        activator_in_path: true,
        pods,
    }
}

/// A Pod whose application listens on `address`.
pub(super) fn pod(name: &str, address: SocketAddr) -> Pod {
    Pod {
        name: name.into(),
        uid: format!("uid-{name}").into(),
        ip: address.ip(),
        user_port: address.port(),
        tls_name: None,
        ready: true,
    }
}

/// Starts an application: `serve` has each connection to itself. It ends with the process.
pub(super) fn application(serve: impl Fn(Client) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind(any_port()).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(Client::new(stream.unwrap())));
        }
    });
    address
}

/// An application that answers every request with its name and what it was asked.
pub(super) fn echo(name: &'static str) -> SocketAddr {
    application(move |mut client| {
        while let Some(request) = client.read_message() {
            let text = format!("{name}\n{}\n{}", request.head, request.body);
            client.send(&format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}",
                text.len()
            ));
        }
    })
}

/// A head and a body, from either side.
#[derive(Debug)]
pub(super) struct Answer {
    /// Status or request line and fields, with `\n` between lines.
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

/// The value of the first field with this name in a head or an echoed head.
pub(super) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (field, value) = line.split_once(": ")?;
        field.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// One side of an HTTP/1.1 connection.
pub(super) struct Client {
    pub(super) stream: BufReader<TcpStream>,
}

impl Client {
    pub(super) fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).unwrap())
    }

    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// Sends bytes; an error shows when the answer is read.
    pub(super) fn send(&mut self, text: &str) {
        let _ = self.stream.get_mut().write_all(text.as_bytes());
    }

    pub(super) fn get(&mut self, host: &str, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        self.read_message().expect("an answer")
    }

    pub(super) fn read_line(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.stream.read_line(&mut line).unwrap_or(0) > 0).then(|| line.trim_end().to_owned())
    }

    pub(super) fn read_head(&mut self) -> Option<String> {
        let mut head = self.read_line()?;
        loop {
            match self.read_line()?.as_str() {
                "" => return Some(head),
                line => {
                    head.push('\n');
                    head.push_str(line);
                }
            }
        }
    }

    /// Reads a head and its body; chunks and trailers are kept as they came. `None` at the end of
    /// the stream.
    pub(super) fn read_message(&mut self) -> Option<Answer> {
        let head = self.read_head()?;
        let mut body = Vec::new();
        if let Some(length) = header(&head, "content-length") {
            body.resize(length.parse().unwrap(), 0);
            self.stream.read_exact(&mut body).ok()?;
        } else if header(&head, "transfer-encoding") == Some("chunked") {
            self.read_chunks(&mut body)?;
        } else if head.starts_with("HTTP/") && header(&head, "connection") == Some("close") {
            self.stream.read_to_end(&mut body).ok()?;
        }
        Some(Answer {
            head,
            body: String::from_utf8(body).unwrap(),
        })
    }

    fn read_chunks(&mut self, body: &mut Vec<u8>) -> Option<()> {
        loop {
            let line = self.read_line()?;
            let size = usize::from_str_radix(&line, 16).unwrap();
            body.extend_from_slice(line.as_bytes());
            body.extend_from_slice(b"|");
            if size == 0 {
                break;
            }
            let start = body.len();
            body.resize(start + size, 0);
            self.stream.read_exact(&mut body[start..]).ok()?;
            body.extend_from_slice(b"|");
            self.read_line()?;
        }
        while let Some(line) = self.read_line().filter(|line| !line.is_empty()) {
            body.extend_from_slice(line.as_bytes());
            body.extend_from_slice(b"|");
        }
        Some(())
    }

    /// Whether the other side has closed.
    pub(super) fn is_closed(&mut self) -> bool {
        matches!(self.stream.fill_buf(), Ok([]) | Err(_))
    }
}
