//! The forwarder: TCP connections to Services, from Pods and from the node, to an endpoint.
//!
//! The kernel turns every connection to the Services' range to one listening socket; the original
//! destination says which Service was meant. Node ports have listeners of their own. Where the
//! kernel has no nf_tables, every Service port has, on an address made local.
//!
//! A connection is tried at one endpoint after the other until one takes it, so that a Pod that
//! just went away is nobody's error.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket as RawSocket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::error::Error;
use super::firewall::{Rules, UdpMap};
use super::link;
use super::netlink::Socket;
use super::network::Network;
use super::service::{PortOf, Protocol, Services};
use super::splice;

/// How long an endpoint may take to accept while there are others.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// How long the last one may take.
const CONNECT_LAST_MAX: Duration = Duration::from_secs(10);
const BACKLOG: i32 = 4096;
/// When so many clients have an affinity, those that expired are forgotten.
const AFFINITIES_MAX: usize = 10_000;

/// The running forwarder; dropping it stops listening. Connections under way go on.
#[derive(Debug)]
pub struct ServiceProxy {
    _tasks: JoinSet<()>,
}

struct Shared {
    services: Services,
    affinities: Mutex<HashMap<(String, String, IpAddr), Affinity>>,
}

struct Affinity {
    endpoint: SocketAddr,
    used: Instant,
}

/// What a listener's connections are meant for.
#[derive(Clone, Copy, Debug)]
enum Meaning {
    /// What they were meant for before the kernel turned them here.
    OriginalDestination,
    /// The address they came in at.
    Own,
    NodePort(u16),
}

impl ServiceProxy {
    /// Starts to forward. Without nf_tables it says so once and does with less: a listener for each
    /// Service port, and no UDP.
    pub async fn start(network: &Network, services: Services) -> Result<Self, Error> {
        let listener = TcpListener::bind((network.gateway(), 0))
            .await
            .map_err(Error::setup("listen for connections to Services"))?;
        let address = listener
            .local_addr()
            .map_err(Error::setup("listen for Services"))?;
        let forwarder = SocketAddrV4::new(network.gateway(), address.port());
        let rules = Rules {
            forwarder: Some(forwarder),
            ..network.rules()
        };
        let turned = rules.install().map(|()| listener);
        Self::run(network, services, turned)
    }

    /// `turned` is the listener the kernel turns connections to, if it does.
    pub(super) fn run(
        network: &Network,
        services: Services,
        turned: std::io::Result<TcpListener>,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            services,
            affinities: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        let udp = match turned {
            Ok(listener) => {
                let shared = Arc::clone(&shared);
                tasks.spawn(accept(listener, Meaning::OriginalDestination, shared));
                Some(UdpMap::new(&network.config().bridge))
            }
            Err(error) => {
                tracing::info!(%error, "no nf_tables: a listener for each Service port");
                make_local(network)?;
                None
            }
        };
        tasks.spawn(follow(shared, udp));
        Ok(Self { _tasks: tasks })
    }
}

/// Makes the Services' range addresses of this machine.
fn make_local(network: &Network) -> Result<(), Error> {
    const LOOPBACK: u32 = 1;
    let mut socket = Socket::route().map_err(Error::setup("open a netlink socket"))?;
    socket
        .request(link::add_local_route(
            LOOPBACK,
            network.config().service_cidr,
        ))
        .map_err(Error::setup("route the Services' range"))
}

/// Keeps listeners and UDP map as the table says.
async fn follow(shared: Arc<Shared>, mut udp: Option<UdpMap>) {
    let mut changes = shared.services.generation();
    let mut tasks = JoinSet::new();
    let mut listening: BTreeMap<SocketAddrV4, AbortHandle> = BTreeMap::new();
    loop {
        changes.borrow_and_update();
        let wanted = wanted_listeners(&shared.services, udp.is_none());
        listening.retain(|address, task| {
            let keep = wanted.contains_key(address);
            if !keep {
                task.abort();
            }
            keep
        });
        for (address, meaning) in wanted {
            if listening.contains_key(&address) {
                continue;
            }
            match listen(address) {
                Ok(listener) => {
                    let task = tasks.spawn(accept(listener, meaning, Arc::clone(&shared)));
                    listening.insert(address, task);
                }
                Err(error) => tracing::warn!(%address, %error, "cannot listen for a Service"),
            }
        }
        if let Some(udp) = &mut udp
            && let Err(error) = udp.update(&shared.services.read())
        {
            tracing::warn!(%error, "cannot update the UDP Services");
        }
        while tasks.try_join_next().is_some() {}
        if changes.changed().await.is_err() {
            return;
        }
    }
}

fn wanted_listeners(services: &Services, each_address: bool) -> BTreeMap<SocketAddrV4, Meaning> {
    let table = services.read();
    let ports = table.node_ports(Protocol::Tcp).into_iter();
    let mut wanted: BTreeMap<SocketAddrV4, Meaning> = ports
        .map(|port| {
            (
                SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port),
                Meaning::NodePort(port),
            )
        })
        .collect();
    if each_address {
        let addresses = table.addresses(Protocol::Tcp);
        wanted.extend(addresses.map(|(ip, port, _)| (SocketAddrV4::new(ip, port), Meaning::Own)));
    }
    wanted
}

fn listen(address: SocketAddrV4) -> std::io::Result<TcpListener> {
    let socket = RawSocket::new(Domain::IPV4, Type::STREAM.nonblocking(), None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::V4(address).into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn accept(listener: TcpListener, meaning: Meaning, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((client, peer)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move { serve(client, peer, meaning, &shared).await });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to a Service");
                // Out of file descriptors, most likely: let others give some back.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(client: TcpStream, peer: SocketAddr, meaning: Meaning, shared: &Shared) {
    let Some(server) = connect(&client, peer, meaning, shared).await else {
        reset(client);
        return;
    };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
        // A peer that vanished without a word is found out in the end.
        let _ = SockRef::from(stream).set_keepalive(true);
    }
    if let Err(error) = splice::both_ways(&client, &server).await {
        tracing::debug!(%error, %peer, "a connection to a Service broke");
        reset(client);
        reset(server);
    }
}

/// What a client sees whose connection was refused, as near as one can come after accepting it.
fn reset(stream: TcpStream) {
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

/// A connection to an endpoint of the Service that was meant.
async fn connect(
    client: &TcpStream,
    peer: SocketAddr,
    meaning: Meaning,
    shared: &Shared,
) -> Option<TcpStream> {
    let target = target(client, meaning, &shared.services)?;
    let endpoints = shared.order(&target, peer.ip());
    for (at, endpoint) in endpoints.iter().enumerate() {
        let limit = if at + 1 < endpoints.len() {
            CONNECT_MAX
        } else {
            CONNECT_LAST_MAX
        };
        match timeout(limit, TcpStream::connect(endpoint)).await {
            Ok(Ok(server)) => {
                shared.remember(&target, peer.ip(), *endpoint);
                return Some(server);
            }
            Ok(Err(error)) => tracing::debug!(%endpoint, %error, "an endpoint did not accept"),
            Err(_) => tracing::debug!(%endpoint, "an endpoint did not accept in time"),
        }
    }
    None
}

fn target(client: &TcpStream, meaning: Meaning, services: &Services) -> Option<PortOf> {
    let meant = match meaning {
        Meaning::NodePort(port) => return services.read().at_node_port(port, Protocol::Tcp),
        Meaning::Own => client.local_addr().ok()?,
        Meaning::OriginalDestination => {
            SockRef::from(client).original_dst_v4().ok()?.as_socket()?
        }
    };
    match meant {
        SocketAddr::V4(meant) => services.read().at(*meant.ip(), meant.port(), Protocol::Tcp),
        SocketAddr::V6(_) => None,
    }
}

impl Shared {
    /// All endpoints, in the order to try them: the client's own first, the others from a random
    /// one on.
    fn order(&self, target: &PortOf, client: IpAddr) -> Vec<SocketAddr> {
        let mut endpoints = target.port().endpoints.clone();
        if endpoints.len() > 1 {
            let first = rand::random_range(0..endpoints.len());
            endpoints.rotate_left(first);
        }
        if let Some(lifetime) = target.service.affinity {
            let affinities = self
                .affinities
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let own = affinities.get(&affinity_key(target, client));
            let own = own
                .filter(|own| own.used.elapsed() < lifetime)
                .map(|own| own.endpoint);
            if let Some(at) = own.and_then(|own| endpoints.iter().position(|e| *e == own)) {
                endpoints.swap(0, at);
            }
        }
        endpoints
    }

    fn remember(&self, target: &PortOf, client: IpAddr, endpoint: SocketAddr) {
        let Some(lifetime) = target.service.affinity else {
            return;
        };
        let mut affinities = self
            .affinities
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if affinities.len() >= AFFINITIES_MAX {
            affinities.retain(|_, old| old.used.elapsed() < lifetime);
        }
        let affinity = Affinity {
            endpoint,
            used: Instant::now(),
        };
        affinities.insert(affinity_key(target, client), affinity);
    }
}

/// Affinity is per Service, not per port; endpoints differ in the port, so the port's name is in.
fn affinity_key(target: &PortOf, client: IpAddr) -> (String, String, IpAddr) {
    let service = &target.service;
    let name = format!("{}/{}", service.name, target.port().port);
    (service.namespace.clone(), name, client)
}
