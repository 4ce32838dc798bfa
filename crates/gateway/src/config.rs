//! What the gateway must be told: where to listen, how to reach a Pod, where statistics go.
//! Filled by the binary's wiring.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use serving::autoscale::Stat;
use serving::route::{HTTPS_PORT, Pod};
use tokio::sync::mpsc;
use trace::Tracer;

use crate::pod::Pods;
use crate::request_log::RequestLog;
use crate::tls::Certificates;

/// How the gateway gets a connection to a Pod's application.
pub trait Dial: Send + Sync + 'static {
    /// A new non-blocking TCP socket, made in the network namespace from which the Pod's
    /// application is reached, and the address to connect it to. In the embedded shape the socket
    /// is made inside the Pod's own namespace and connects to the loopback address.
    ///
    /// Called on a worker thread for every new connection; must not block.
    ///
    /// # Errors
    /// When the namespace is gone or the system is out of sockets; treated like a refused
    /// connection.
    fn socket(&self, pod: &Pod) -> io::Result<(socket2::Socket, SocketAddr)>;

    /// The same for the TLS port of the Pod's queue-proxy, over the network that Pods and this
    /// machine have in common.
    ///
    /// # Errors
    /// When the system is out of sockets.
    fn secure(&self, pod: &Pod) -> io::Result<(socket2::Socket, SocketAddr)> {
        let address = SocketAddr::new(pod.ip, HTTPS_PORT);
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
        Ok((socket, address))
    }

    /// The address of a name that only the cluster knows (`NAME.NAMESPACE.svc.DOMAIN`, the backend
    /// of a DomainMapping); `None` leaves it to the system's resolver.
    fn resolve(&self, _name: &str) -> Option<IpAddr> {
        None
    }
}

/// Which part of Knative answers on a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Face {
    /// The external gateway: hosts of external visibility.
    External,
    /// The cluster-local gateway: every host.
    Local,
    /// The activator, where the Services of revisions in Proxy mode point: a revision is found by
    /// the headers `Knative-Serving-Namespace` and `-Revision`, or by the host
    /// `NAME.NAMESPACE.svc.DOMAIN`.
    Activator,
}

/// Where a listener comes from.
#[derive(Debug)]
pub enum ListenOn {
    /// Bind this address; port 0 picks a free one.
    Address(SocketAddr),
    /// Already bound, perhaps in another network namespace.
    Bound(TcpListener),
}

/// One listener.
#[derive(Debug)]
pub struct Listen {
    /// Where.
    pub on: ListenOn,
    /// Who answers.
    pub face: Face,
    /// Terminates TLS with this when given.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

impl Listen {
    /// A plain listener of `face` on `address`.
    pub const fn plain(address: SocketAddr, face: Face) -> Self {
        Self {
            on: ListenOn::Address(address),
            face,
            tls: None,
        }
    }
}

/// Everything the gateway must be told.
pub struct Config {
    /// The listeners to open at the start; more can be added later.
    pub listeners: Vec<Listen>,
    /// Whether connections wait at the listeners until [`crate::Gateway::open`] is called: before
    /// the routes are known, a request for any host would be answered 404.
    pub closed: bool,
    /// How a Pod is reached.
    pub dialer: Arc<dyn Dial>,
    /// Where statistics go: one [`Stat`] a second for each busy revision and each of its Pods, and
    /// one at once for the first request of a revision without Pods. When the channel is full the
    /// statistic is dropped, and the next second's takes its place: give it room for one of each
    /// Pod.
    pub stats: mpsc::Sender<Stat>,
    /// Whether the Pods' own statistics are sent to `stats` too. False where queue-proxies run in
    /// other processes and report themselves.
    pub report_pods: bool,
    /// The certificates its TLS listeners show, by host; filled by [`crate::Gateway::apply`].
    pub certificates: Certificates,
    /// The Pods' limits and counters, shared with the queue-proxies of the same process.
    pub pods: Pods,
    /// Worker threads; 0 takes one per core, at most four.
    pub workers: usize,
    /// Requests per revision that may wait for a Pod; one more is answered 503.
    pub queue_depth_max: usize,
    /// Where requests are logged; `None` is off.
    pub request_log: Option<RequestLog>,
    /// Which requests are traced.
    pub tracer: Tracer,
    /// How long a connection may be silent between requests.
    pub idle_timeout: Duration,
    /// How long a request's head may take from its first byte to its last.
    pub head_timeout: Duration,
    /// How long [`crate::Gateway::drain`] waits for requests in flight.
    pub drain_timeout: Duration,
}

impl Config {
    /// A configuration with Knative's limits, without listeners.
    pub fn new(dialer: Arc<dyn Dial>, stats: mpsc::Sender<Stat>) -> Self {
        Self {
            listeners: Vec::new(),
            closed: false,
            dialer,
            stats,
            report_pods: true,
            certificates: Certificates::default(),
            pods: Pods::default(),
            workers: 0,
            queue_depth_max: 10_000,
            request_log: None,
            tracer: Tracer::default(),
            idle_timeout: Duration::from_secs(90),
            head_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(60),
        }
    }
}
