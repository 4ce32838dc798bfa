//! Names that are not the cluster's: asked of the node's own resolvers, with a small cache.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::resolv::ResolvConf;

const DNS_PORT: u16 = 53;
/// How long one resolver may take before the next is asked.
const ATTEMPT_MAX: Duration = Duration::from_secs(2);
/// How often the whole list of resolvers is gone through.
const ROUNDS: usize = 2;
/// No answer is kept for longer, whatever it says; as in CoreDNS's usual configuration.
const CACHE_S_MAX: u32 = 30;
/// An answer without records and without a word on how long that holds.
const CACHE_NEGATIVE_S: u32 = 5;
const CACHE_ENTRIES_MAX: usize = 4096;
const UDP_BYTES_MAX: usize = 4096;

/// Where questions go that the zone does not answer.
#[derive(Debug)]
pub(super) struct Upstream {
    resolv_conf: PathBuf,
    /// Never asked: ourselves.
    own: Ipv4Addr,
    servers: Mutex<Servers>,
    cache: Mutex<HashMap<Question, Cached>>,
}

#[derive(Debug, Default)]
struct Servers {
    read_at: Option<SystemTime>,
    addresses: Vec<SocketAddr>,
}

/// Everything a resolver's answer depends on.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Question {
    name: String,
    kind: RecordType,
    dnssec: bool,
}

#[derive(Clone, Debug)]
struct Cached {
    answer: Message,
    stored: Instant,
    seconds: u32,
}

impl Upstream {
    /// Follows the servers of this file as it changes.
    pub(super) fn new(resolv_conf: PathBuf, own: Ipv4Addr) -> Self {
        Self {
            resolv_conf,
            own,
            servers: Mutex::default(),
            cache: Mutex::default(),
        }
    }

    /// The answer to a query, under the query's own id. `over_tcp` asks over TCP at once, because
    /// the answer may be as long as it likes. None when no resolver answers.
    pub(super) async fn ask(&self, query: &Message, over_tcp: bool) -> Option<Message> {
        let question = question(query)?;
        if let Some(mut answer) = self.cached(&question) {
            answer.metadata.id = query.metadata.id;
            return Some(answer);
        }
        let mut forwarded = query.clone();
        forwarded.metadata.id = rand::random();
        let bytes = forwarded.to_vec().ok()?;
        for _ in 0..ROUNDS {
            for server in self.servers() {
                let attempt = exchange(server, &bytes, &forwarded, over_tcp);
                match timeout(ATTEMPT_MAX, attempt).await {
                    Ok(Ok(mut answer)) if is_final(&answer) => {
                        self.keep(question, &answer);
                        answer.metadata.id = query.metadata.id;
                        return Some(answer);
                    }
                    Ok(Ok(answer)) => {
                        tracing::debug!(%server, code = %answer.metadata.response_code, "refused");
                    }
                    Ok(Err(error)) => tracing::debug!(%server, %error, "no answer"),
                    Err(_) => tracing::debug!(%server, "no answer in time"),
                }
            }
        }
        None
    }

    fn servers(&self) -> Vec<SocketAddr> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let modified = std::fs::metadata(&self.resolv_conf)
            .and_then(|found| found.modified())
            .ok();
        if modified.is_none() || servers.read_at != modified {
            let text = std::fs::read_to_string(&self.resolv_conf).unwrap_or_default();
            let found = ResolvConf::parse(&text).nameservers.into_iter();
            let others = found.filter(|ip| *ip != IpAddr::V4(self.own));
            servers.addresses = others.map(|ip| SocketAddr::new(ip, DNS_PORT)).collect();
            servers.read_at = modified;
        }
        servers.addresses.clone()
    }

    fn cached(&self, question: &Question) -> Option<Message> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let cached = cache.get(question)?;
        let age = u32::try_from(cached.stored.elapsed().as_secs()).unwrap_or(u32::MAX);
        if age >= cached.seconds {
            return None;
        }
        let mut answer = cached.answer.clone();
        let older = |record: &mut Record| record.ttl = record.ttl.saturating_sub(age);
        answer.answers.iter_mut().for_each(older);
        answer.authorities.iter_mut().for_each(older);
        answer.additionals.iter_mut().for_each(older);
        Some(answer)
    }

    fn keep(&self, question: Question, answer: &Message) {
        let seconds = lifetime_s(answer);
        if seconds == 0 || answer.metadata.truncation {
            return;
        }
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHE_ENTRIES_MAX {
            cache.retain(|_, old| old.stored.elapsed().as_secs() < u64::from(old.seconds));
        }
        // Still full: forget everything rather than keep books about it.
        if cache.len() >= CACHE_ENTRIES_MAX {
            cache.clear();
        }
        cache.insert(
            question,
            Cached {
                answer: answer.clone(),
                stored: Instant::now(),
                seconds,
            },
        );
    }
}

fn question(query: &Message) -> Option<Question> {
    let asked = query.queries.first()?;
    Some(Question {
        name: asked.name.to_lowercase().to_ascii(),
        kind: asked.query_type,
        dnssec: query
            .edns
            .as_ref()
            .is_some_and(|edns| edns.flags().dnssec_ok),
    })
}

/// Whether another resolver could not know better.
fn is_final(answer: &Message) -> bool {
    matches!(
        answer.metadata.response_code,
        ResponseCode::NoError | ResponseCode::NXDomain
    )
}

fn lifetime_s(answer: &Message) -> u32 {
    let records = match answer.answers.is_empty() {
        true => &answer.authorities,
        false => &answer.answers,
    };
    let shortest = records.iter().map(|record| record.ttl).min();
    shortest.unwrap_or(CACHE_NEGATIVE_S).min(CACHE_S_MAX)
}

/// One question to one server, from a port of its own.
async fn exchange(
    server: SocketAddr,
    bytes: &[u8],
    asked: &Message,
    over_tcp: bool,
) -> io::Result<Message> {
    if over_tcp {
        return exchange_tcp(server, bytes, asked).await;
    }
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; UDP_BYTES_MAX];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // Anything else in this socket is late or forged.
        if let Some(answer) = answer_to(asked, &buffer[..length]) {
            return Ok(answer);
        }
    }
}

async fn exchange_tcp(server: SocketAddr, bytes: &[u8], asked: &Message) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    write_framed(&mut stream, bytes).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    answer_to(asked, &answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// A message over TCP has its length in front.
pub(super) async fn write_framed(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let length = u16::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let framed = [&length.to_be_bytes(), bytes].concat();
    stream.write_all(&framed).await
}

fn answer_to(asked: &Message, bytes: &[u8]) -> Option<Message> {
    let answer = Message::from_vec(bytes).ok()?;
    let same = |one: &Query, other: &Query| {
        one.name.to_lowercase() == other.name.to_lowercase() && one.query_type == other.query_type
    };
    let questions = (asked.queries.first()?, answer.queries.first()?);
    (answer.metadata.id == asked.metadata.id && same(questions.0, questions.1)).then_some(answer)
}
