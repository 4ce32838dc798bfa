//! Asking probes and running hooks: HTTP, TCP and gRPC from inside the Pod's network namespace;
//! exec is the agent's own matter. When to ask is decided in `agent`.

mod grpc;
mod http;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, GRPCAction, HTTPGetAction, Probe, TCPSocketAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::builtin::Dialer;

/// What is asked of the network.
#[derive(Clone, Debug)]
pub(crate) enum Question {
    /// `httpGet`.
    Http(HTTPGetAction),
    /// `tcpSocket`.
    Tcp(TCPSocketAction),
    /// `grpc`.
    Grpc(GRPCAction),
}

impl Question {
    /// The question of a probe; none for exec.
    pub(crate) fn of(probe: &Probe) -> Option<Self> {
        let http = probe.http_get.clone().map(Self::Http);
        let tcp = probe.tcp_socket.clone().map(Self::Tcp);
        http.or(tcp).or_else(|| probe.grpc.clone().map(Self::Grpc))
    }
}

/// How long a probe may take.
pub(crate) fn timeout(probe: &Probe) -> Duration {
    let seconds = probe
        .timeout_seconds
        .and_then(|s| u64::try_from(s).ok())
        .filter(|s| *s > 0);
    Duration::from_secs(seconds.unwrap_or(1))
}

/// Asks from inside the Pod; the error says what is wrong in the kubelet's words.
pub(crate) async fn ask(
    question: &Question,
    container: &Container,
    dialer: &Dialer,
    pod_ip: IpAddr,
    limit: Duration,
) -> Result<(), String> {
    let asked = async {
        match question {
            Question::Http(action) => {
                let to = address(action.host.as_deref(), &action.port, container, pod_ip)?;
                http::get(action, dialer, to).await
            }
            Question::Tcp(action) => {
                let to = address(action.host.as_deref(), &action.port, container, pod_ip)?;
                let connected = dialer.connect(to).await;
                connected
                    .map(drop)
                    .map_err(|error| format!("dial tcp {to}: {error}"))
            }
            Question::Grpc(action) => {
                let port = u16::try_from(action.port).map_err(|_| "invalid port".to_owned())?;
                grpc::check(action, dialer, SocketAddr::new(pod_ip, port)).await
            }
        }
    };
    match tokio::time::timeout(limit, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", limit.as_secs_f64())),
    }
}

fn address(
    host: Option<&str>,
    port: &IntOrString,
    container: &Container,
    pod_ip: IpAddr,
) -> Result<SocketAddr, String> {
    let ip = match host.filter(|host| !host.is_empty()) {
        Some("localhost") => IpAddr::from([127, 0, 0, 1]),
        Some(host) => host
            .parse()
            .map_err(|_| format!("host {host:?} is not an address"))?,
        None => pod_ip,
    };
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let ports = container.ports.iter().flatten();
            let named = ports.filter(|port| port.name.as_deref() == Some(name));
            named
                .map(|port| port.container_port)
                .next()
                .or_else(|| name.parse().ok())
        }
    };
    let number = number
        .and_then(|number| u16::try_from(number).ok())
        .filter(|port| *port > 0);
    match number {
        Some(number) => Ok(SocketAddr::new(ip, number)),
        None => Err(format!("the container has no port {port:?}")),
    }
}
