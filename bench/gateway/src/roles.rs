//! The processes under measurement: the application, the gateway, nginx.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use gateway::{Config, Dial, Face, Gateway, Listen};
use serving::autoscale::Stat;
use serving::route::{
    Change, Pod, Protocol, Revision, RevisionKey, Rule, Split, Target, VirtualHost, Visibility,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::Process;

/// The host the gateway routes.
pub(crate) const HOST: &str = "hello.default.example.com";
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 6\r\n\r\nHello\n";

/// An application that answers every head with the same few bytes.
pub(crate) fn app() -> Result<()> {
    runtime()?.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        announce(listener.local_addr()?)?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(count) = stream.read(&mut buffer).await {
                    // The load generator sends whole heads, one at a time.
                    if count == 0 || stream.write_all(ANSWER).await.is_err() {
                        break;
                    }
                }
            });
        }
    })
}

struct Loopback;

impl Dial for Loopback {
    fn socket(&self, pod: &Pod) -> io::Result<(socket2::Socket, SocketAddr)> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        Ok((socket, SocketAddr::new(pod.ip, pod.user_port)))
    }
}

/// A gateway on a free port, and its statistics.
pub(crate) fn start(workers: usize) -> Result<(Gateway, mpsc::Receiver<Stat>)> {
    let (sender, stats) = mpsc::channel(1000);
    let mut config = Config::new(Arc::new(Loopback), sender);
    config.workers = workers;
    config.listeners = vec![Listen::plain("127.0.0.1:0".parse()?, Face::External)];
    Ok((Gateway::start(config)?, stats))
}

/// The gateway with one host, one revision with a concurrency limit, one Pod.
pub(crate) fn gateway(upstream: SocketAddr, workers: usize) -> Result<()> {
    let (gateway, mut stats) = start(workers)?;
    let key = RevisionKey::new("default", "hello-00001");
    gateway.apply(Change::Revision(
        key.clone(),
        Some(Arc::new(revision(key.clone(), upstream))),
    ));
    gateway.apply(Change::Host(HOST.into(), Some(Arc::new(host(key)))));
    announce(gateway.local_addr().context("the listener's address")?)?;
    while stats.blocking_recv().is_some() {}
    Ok(())
}

pub(crate) fn host(key: RevisionKey) -> VirtualHost {
    let split = Split {
        percent: 100,
        append_headers: [
            (
                "knative-serving-namespace".into(),
                key.namespace.to_string(),
            ),
            ("knative-serving-revision".into(), key.name.to_string()),
        ]
        .into(),
        target: Target::Revision(key),
    };
    VirtualHost {
        visibility: Visibility::External,
        redirect_to_https: false,
        rules: vec![Rule {
            splits: vec![split],
            ..Rule::default()
        }],
    }
}

pub(crate) fn revision(key: RevisionKey, upstream: SocketAddr) -> Revision {
    Revision {
        key,
        service: "hello".into(),
        configuration: "hello".into(),
        container_concurrency: 100,
        timeout: Duration::from_secs(300),
        response_start_timeout: None,
        idle_timeout: None,
        protocol: Protocol::Http1,
        activator_in_path: true,
        pods: vec![Pod {
            name: "hello-00001-deployment-0".into(),
            uid: "0".into(),
            ip: upstream.ip(),
            user_port: upstream.port(),
            tls_name: None,
            ready: true,
        }],
    }
}

/// nginx with one worker and pooled connections to the application; `None` when it is not
/// installed.
pub(crate) fn nginx(upstream: SocketAddr) -> Result<Option<Process>> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let directory = std::env::temp_dir().join(format!("bench-gateway-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let file = directory.join("nginx.conf");
    let place = directory.display();
    std::fs::write(
        &file,
        format!(
            "worker_processes 1;\npid {place}/pid;\nerror_log {place}/error.log;\ndaemon off;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n access_log off;\n keepalive_requests 100000000;\n\
             upstream app {{ server {upstream}; keepalive 128; keepalive_requests 100000000; }}\n\
             server {{ listen {address};\n location / {{ proxy_pass http://app;\n\
             proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host;\n\
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }}\n}}\n"
        ),
    )?;
    let mut command = Command::new("nginx");
    command
        .arg("-c")
        .arg(&file)
        .arg("-p")
        .arg(&directory)
        .stderr(Stdio::null());
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context("start nginx"),
    };
    let process = Process {
        child,
        address,
        directory: Some(directory),
    };
    for _ in 0..200 {
        if std::net::TcpStream::connect(address).is_ok() {
            return Ok(Some(process));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    bail!("nginx does not listen on {address}")
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

fn announce(address: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{address}")?;
    out.flush()
}
