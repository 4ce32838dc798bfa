//! The DNS server the Pods ask: UDP and TCP, the cluster's zone, everything else passed on.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::DNSClass;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::upstream::{Upstream, write_framed};
use super::zone::{Answer, Zone};
use crate::net::{Cidr, Services};

/// The largest datagram we send; fits every path without fragments (DNS flag day 2020).
const UDP_BYTES_MAX: u16 = 1232;
/// What an asker without EDNS can take.
const UDP_BYTES_CLASSIC: u16 = 512;
/// A TCP connection that says nothing for so long is closed.
const TCP_IDLE: Duration = Duration::from_secs(10);
/// How many questions are passed on at once; more are dropped, and asked again by the asker.
const PENDING_MAX: usize = 1024;

/// What the server needs to know.
#[derive(Clone, Debug)]
pub struct DnsConfig {
    /// Where it listens; the bridge's address, port 53. Port 0 picks one (for tests).
    pub listen: SocketAddr,
    /// `cluster.local`.
    pub cluster_domain: String,
    /// The ranges of Pods and Services, whose reverse names are the cluster's.
    pub ranges: Vec<Cidr>,
    /// The node's own resolvers; followed as the file changes.
    pub resolv_conf: PathBuf,
}

/// Starting the DNS server failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken or not this machine's.
    #[error("cannot listen for DNS on {address}")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
    /// The domain is no DNS name.
    #[error("the cluster domain {domain:?} is not a DNS name")]
    Domain {
        domain: String,
        source: hickory_proto::ProtoError,
    },
}

/// A running server; dropping it stops it.
#[derive(Debug)]
pub struct DnsServer {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl DnsServer {
    /// Binds both sockets and starts to answer from the table.
    pub async fn start(config: DnsConfig, services: Services) -> Result<Self, Error> {
        let domain = config.cluster_domain.clone();
        let gateway = match config.listen {
            SocketAddr::V4(address) => *address.ip(),
            SocketAddr::V6(_) => std::net::Ipv4Addr::UNSPECIFIED,
        };
        let zone = Zone::new(&domain, gateway, config.ranges.clone())
            .map_err(|source| Error::Domain { domain, source })?;
        let failed = |address| move |source| Error::Listen { address, source };
        let udp = UdpSocket::bind(config.listen)
            .await
            .map_err(failed(config.listen))?;
        let address = udp.local_addr().map_err(failed(config.listen))?;
        let tcp = TcpListener::bind(address).await.map_err(failed(address))?;
        let responder = Arc::new(Responder {
            zone,
            services,
            upstream: Upstream::new(config.resolv_conf, gateway),
            pending: Arc::new(Semaphore::new(PENDING_MAX)),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(udp, Arc::clone(&responder)));
        tasks.spawn(serve_tcp(tcp, responder));
        Ok(Self {
            address,
            _tasks: tasks,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

struct Responder {
    zone: Zone,
    services: Services,
    upstream: Upstream,
    pending: Arc<Semaphore>,
}

/// Questions about the cluster are answered on the spot; only those that wait for others get a task.
async fn serve_udp(socket: UdpSocket, responder: Arc<Responder>) {
    let socket = Arc::new(socket);
    let mut buffer = vec![0; 4096];
    loop {
        let (length, peer) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // An ICMP error about an earlier answer; the socket is fine.
                tracing::debug!(%error, "DNS receive");
                continue;
            }
        };
        let Ok(query) = Message::from_vec(&buffer[..length]) else {
            continue;
        };
        if let Some(answer) = responder.answer_here(&query) {
            send(&socket, peer, &query, answer).await;
            continue;
        }
        let Ok(permit) = Arc::clone(&responder.pending).try_acquire_owned() else {
            continue;
        };
        let (socket, responder) = (Arc::clone(&socket), Arc::clone(&responder));
        tokio::spawn(async move {
            let answer = responder.answer_elsewhere(&query, false).await;
            send(&socket, peer, &query, answer).await;
            drop(permit);
        });
    }
}

async fn send(socket: &UdpSocket, peer: SocketAddr, query: &Message, answer: Message) {
    let limit = match &query.edns {
        Some(edns) => edns.max_payload().clamp(UDP_BYTES_CLASSIC, UDP_BYTES_MAX),
        None => UDP_BYTES_CLASSIC,
    };
    let bytes = match answer.to_vec() {
        Ok(bytes) if bytes.len() > usize::from(limit) => answer.truncate().to_vec(),
        other => other,
    };
    match bytes {
        Ok(bytes) => {
            if let Err(error) = socket.send_to(&bytes, peer).await {
                tracing::debug!(%error, %peer, "DNS answer");
            }
        }
        Err(error) => tracing::debug!(%error, "DNS answer cannot be written"),
    }
}

async fn serve_tcp(listener: TcpListener, responder: Arc<Responder>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "DNS accept");
                // Out of file descriptors, most likely: let others give some back.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&responder.pending).try_acquire_owned() else {
            continue;
        };
        let responder = Arc::clone(&responder);
        tokio::spawn(async move {
            if let Err(error) = converse(stream, &responder).await {
                tracing::debug!(%error, "DNS over TCP");
            }
            drop(permit);
        });
    }
}

async fn converse(mut stream: TcpStream, responder: &Responder) -> std::io::Result<()> {
    loop {
        let Ok(length) = timeout(TCP_IDLE, stream.read_u16()).await else {
            return Ok(());
        };
        let mut bytes = vec![0; usize::from(length?)];
        timeout(TCP_IDLE, stream.read_exact(&mut bytes)).await??;
        let Ok(query) = Message::from_vec(&bytes) else {
            return Ok(());
        };
        let answer = match responder.answer_here(&query) {
            Some(answer) => answer,
            None => responder.answer_elsewhere(&query, true).await,
        };
        let bytes = answer.to_vec().map_err(std::io::Error::other)?;
        write_framed(&mut stream, &bytes).await?;
    }
}

impl Responder {
    /// The answer, unless somebody else is to be asked.
    fn answer_here(&self, query: &Message) -> Option<Message> {
        let mut response = response_to(query);
        if query.metadata.message_type != MessageType::Query {
            return Some(with_code(response, ResponseCode::FormErr));
        }
        if query.metadata.op_code != OpCode::Query {
            return Some(with_code(response, ResponseCode::NotImp));
        }
        let Some(asked) = query.queries.first() else {
            return Some(with_code(response, ResponseCode::FormErr));
        };
        if asked.query_class != DNSClass::IN {
            return None;
        }
        match self.zone.answer(asked, &self.services.read()) {
            Answer::Elsewhere | Answer::Alias { .. } => None,
            Answer::Here {
                code,
                answers,
                additionals,
            } => {
                response.metadata.authoritative = true;
                if answers.is_empty() {
                    response.add_authority(self.zone.authority());
                }
                response.add_answers(answers).add_additionals(additionals);
                Some(with_code(response, code))
            }
        }
    }

    /// The answer of the node's resolvers, behind the zone's own aliases if there are any.
    async fn answer_elsewhere(&self, query: &Message, over_tcp: bool) -> Message {
        let failed = || with_code(response_to(query), ResponseCode::ServFail);
        let Some(asked) = query.queries.first() else {
            return failed();
        };
        let answer = self.zone.answer(asked, &self.services.read());
        let Answer::Alias { answers, target } = answer else {
            let Some(mut answer) = self.upstream.ask(query, over_tcp).await else {
                return failed();
            };
            answer.metadata.recursion_available = true;
            return answer;
        };
        let mut onward = query.clone();
        onward.metadata.recursion_desired = true;
        onward.queries[0].name = target;
        let found = self.upstream.ask(&onward, over_tcp).await;
        let mut response = response_to(query);
        response.add_answers(answers);
        match found {
            Some(found) => {
                response.metadata.truncation = found.metadata.truncation;
                response
                    .add_answers(found.answers)
                    .add_authorities(found.authorities);
                with_code(response, found.metadata.response_code)
            }
            None => with_code(response, ResponseCode::ServFail),
        }
    }
}

fn response_to(query: &Message) -> Message {
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.metadata.recursion_desired = query.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.add_queries(query.queries.iter().take(1).cloned());
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_BYTES_MAX);
        response.set_edns(edns);
    }
    response
}

fn with_code(mut response: Message, code: ResponseCode) -> Message {
    response.metadata.response_code = code;
    response
}
