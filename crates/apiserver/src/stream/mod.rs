//! exec, attach and port-forward: connections that are upgraded and then carry several streams.
//!
//! Called by `crate::rest`. Two transports (WebSocket with channel bytes, SPDY/3.1 as such or
//! tunnelled through a WebSocket) meet two uses (a process, ports) in `session` and `forward`;
//! the node behind them is a [`crate::PodBackend`].

mod forward;
mod session;
mod spdy;
mod websocket;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::{
    CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    UPGRADE,
};
use http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::core::Core;
use crate::hooks::{Duplex, ExecOptions, PodBackend};
use crate::request::{Query, Target};
use crate::rest::{self, Body, Reply};
use crate::status::{Result, Status};

const PROTOCOL_HEADER: HeaderName = HeaderName::from_static("x-stream-protocol-version");
/// What is spoken over SPDY, the best first.
const SPDY_EXEC: &[&str] = &[
    "v4.channel.k8s.io",
    "v3.channel.k8s.io",
    "v2.channel.k8s.io",
    "channel.k8s.io",
];
const SPDY_FORWARD: &[&str] = &["portforward.k8s.io"];
/// What is spoken over WebSocket, the best first.
const WS_EXEC: &[&str] = &[
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
];
const WS_TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const WS_FORWARD: &[&str] = &[
    WS_TUNNEL,
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "portforward.k8s.io",
];

/// How the two sides will talk.
enum Transport {
    WebSocket { protocol: String, accept: String },
    Spdy { protocol: String },
}

/// What the streams lead to.
enum Use {
    Process {
        process: crate::hooks::Process,
        options: ExecOptions,
    },
    Ports {
        backend: Arc<dyn PodBackend>,
        pod: (String, String),
        ports: Vec<u16>,
    },
}

/// Answers a request for a stream: the refusal, or `101` and a task that serves the connection.
pub(crate) async fn connect(
    core: &Core,
    target: &Target,
    query: &Query,
    parts: &mut Parts,
) -> Result<Reply> {
    let transport = Transport::negotiate(&parts.headers, &target.subresource)?;
    let (backend, pod) = rest::pod_backend(core, target)?;
    let what = open(backend, &pod, target, query).await?;
    let upgrade = parts.extensions.remove::<OnUpgrade>().ok_or_else(|| {
        Status::bad_request("this connection cannot be upgraded; use HTTP/1.1 over the listener")
    })?;
    let reply = transport.reply();
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => serve(transport, TokioIo::new(upgraded), what).await,
            Err(error) => tracing::debug!(%error, "the connection was not upgraded"),
        }
    });
    Ok(reply)
}

async fn open(
    backend: Arc<dyn PodBackend>,
    pod: &serde_json::Value,
    target: &Target,
    query: &Query,
) -> Result<Use> {
    let name = (&*target.namespace, &*target.name);
    if target.subresource == "portforward" {
        let ports = query.all("ports").flat_map(|ports| ports.split(','));
        let ports = ports.filter_map(|port| port.parse().ok()).collect();
        let pod = (target.namespace.clone(), target.name.clone());
        return Ok(Use::Ports {
            backend,
            pod,
            ports,
        });
    }
    let tty = query.flag("tty");
    let options = ExecOptions {
        container: rest::pod_container(pod, query)?,
        command: query.all("command").map(str::to_owned).collect(),
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr") && !tty,
        tty,
    };
    if target.subresource == "exec" && options.command.is_empty() {
        return Err(Status::bad_request(
            "you must specify at least 1 command for the container",
        ));
    }
    let opened = match &*target.subresource {
        "exec" => backend.exec(name, options.clone()).await,
        _ => backend.attach(name, options.clone()).await,
    };
    let process = opened.map_err(rest::pod_failed)?;
    Ok(Use::Process { process, options })
}

async fn serve(transport: Transport, io: impl Duplex + 'static, what: Use) {
    match (transport, what) {
        (Transport::WebSocket { protocol, .. }, Use::Process { process, .. }) => {
            let (input, output) = websocket::channels(io, &protocol).await;
            session::run(process, input, output).await;
        }
        (Transport::Spdy { .. }, Use::Process { process, options }) => {
            if let Some((input, output)) = spdy::process_streams(io, &options).await {
                session::run(process, input, output).await;
            }
        }
        (Transport::WebSocket { protocol, .. }, Use::Ports { backend, pod, .. })
            if protocol == WS_TUNNEL =>
        {
            forward::over_spdy(websocket::tunnel(io).await, backend, pod).await;
        }
        (
            Transport::WebSocket { protocol, .. },
            Use::Ports {
                backend,
                pod,
                ports,
            },
        ) => {
            forward::over_websocket(io, &protocol, backend, pod, &ports).await;
        }
        (Transport::Spdy { .. }, Use::Ports { backend, pod, .. }) => {
            forward::over_spdy(io, backend, pod).await;
        }
    }
}

impl Transport {
    fn negotiate(headers: &HeaderMap, subresource: &str) -> Result<Self> {
        let forward = subresource == "portforward";
        let upgrade = headers
            .get(UPGRADE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if upgrade.eq_ignore_ascii_case("websocket") {
            let known = if forward { WS_FORWARD } else { WS_EXEC };
            let protocol = choose(headers, &SEC_WEBSOCKET_PROTOCOL, known)?;
            let key = headers
                .get(SEC_WEBSOCKET_KEY)
                .map(|key| key.as_bytes())
                .unwrap_or_default();
            if STANDARD.decode(key).is_ok_and(|key| key.len() == 16) {
                let accept = derive_accept_key(key);
                return Ok(Self::WebSocket { protocol, accept });
            }
            return Err(Status::bad_request(
                "Sec-WebSocket-Key is missing or malformed",
            ));
        }
        if upgrade.eq_ignore_ascii_case("SPDY/3.1") {
            let known = if forward { SPDY_FORWARD } else { SPDY_EXEC };
            let protocol = choose(headers, &PROTOCOL_HEADER, known)?;
            return Ok(Self::Spdy { protocol });
        }
        Err(Status::bad_request("Upgrade request required"))
    }

    fn reply(&self) -> Reply {
        let reply = Reply::new(101, "", Body::empty()).with_header(CONNECTION, "Upgrade");
        match self {
            Self::WebSocket { protocol, accept } => {
                let reply = reply
                    .with_header(UPGRADE, "websocket")
                    .with_header(SEC_WEBSOCKET_ACCEPT, accept.as_str());
                match &**protocol {
                    "" => reply,
                    protocol => reply.with_header(SEC_WEBSOCKET_PROTOCOL, protocol),
                }
            }
            Self::Spdy { protocol } => reply
                .with_header(UPGRADE, "SPDY/3.1")
                .with_header(PROTOCOL_HEADER, protocol.as_str()),
        }
    }
}

/// The first of `known` the client offers; a client that offers nothing gets the oldest.
fn choose(headers: &HeaderMap, header: &HeaderName, known: &[&str]) -> Result<String> {
    let offered: Vec<&str> = headers
        .get_all(header)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    if offered.is_empty() {
        return Ok(String::new());
    }
    let found = known.iter().find(|protocol| offered.contains(protocol));
    found.map(|protocol| (*protocol).to_owned()).ok_or_else(|| {
        Status::new(403, "Forbidden", format!(
            "unable to upgrade: unable to negotiate protocol: client supports {offered:?}, server \
             accepts {known:?}"
        ))
    })
}
