//! The gateway as a whole: threads, listeners, the table, the end.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serving::route::Change;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::config::{Config, Face, Listen, ListenOn};
use crate::front::{Front, Ingress};
use crate::h1::serve;
use crate::internal::Peers;
use crate::metrics::{self, GatewayMetrics};
use crate::pod::LANES;
use crate::stats::Reporter;
use crate::table::Table;
use crate::tls::{Certificates, OneCertificate};
use crate::worker::{Connection, Origin, Worker};

/// Workers taken when the configuration leaves it open, at most.
const WORKERS_DEFAULT_MAX: usize = 4;
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often draining looks whether requests are still in flight.
const DRAIN_POLL: Duration = Duration::from_millis(10);
/// Requests that were on their way when a drain began have so long to arrive.
const DRAIN_SETTLE: Duration = Duration::from_millis(50);

/// Why the gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A listener could not be opened.
    #[error("listen on {address}: is another process using it? Choose another address")]
    Listen {
        /// The address asked for.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A worker thread could not be started.
    #[error("start a gateway worker")]
    Worker(#[source] io::Error),
}

struct Thread {
    worker: Arc<Worker>,
    runtime: Handle,
    join: Option<JoinHandle<()>>,
}

/// The running gateway. Dropping it stops it at once; [`Gateway::drain`] lets requests finish.
pub struct Gateway {
    table: Arc<Table>,
    certificates: Certificates,
    /// What the activator shows where the parts of the system speak by TLS.
    routing: OneCertificate,
    /// How queue-proxies are known.
    peers: Peers,
    /// Where users are sent who must come by TLS.
    https_port: Arc<AtomicU16>,
    threads: Vec<Thread>,
    stop: watch::Sender<bool>,
    /// Whether connections are accepted.
    open: watch::Sender<bool>,
    draining: Arc<AtomicBool>,
    drain_timeout: Duration,
    addresses: Mutex<Vec<(Face, bool, SocketAddr)>>,
    next_acceptor: AtomicUsize,
}

impl Gateway {
    /// Starts the workers and opens the listeners.
    ///
    /// # Errors
    /// When an address cannot be listened on or a thread cannot be started.
    pub fn start(config: Config) -> Result<Self, Error> {
        let table = Arc::new(Table::new(config.queue_depth_max, config.pods.clone()));
        let (stop, stopped) = watch::channel(false);
        let draining = Arc::new(AtomicBool::new(false));
        let peers = Peers::default();
        let shared = (Arc::clone(&draining), peers.clone());
        let threads = (0..worker_count(config.workers))
            .map(|lane| start_worker(lane, &config, shared.clone(), stopped.clone()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(Error::Worker)?;
        let workers: Vec<_> = threads.iter().map(|t| Arc::clone(&t.worker)).collect();
        let in_flight = |worker: &Arc<Worker>| worker.requests.load(Ordering::Relaxed) > 0;
        let reporter = Reporter {
            table: Arc::clone(&table),
            stats: config.stats.clone(),
            pods: config.report_pods,
        };
        let report = reporter.run(move || workers.iter().any(in_flight));
        threads[0].runtime.spawn(report);
        let gateway = Self {
            table,
            certificates: config.certificates,
            routing: OneCertificate::default(),
            peers,
            https_port: Arc::new(AtomicU16::new(443)),
            threads,
            stop,
            open: watch::Sender::new(!config.closed),
            draining,
            drain_timeout: config.drain_timeout,
            addresses: Mutex::default(),
            next_acceptor: AtomicUsize::new(0),
        };
        for listen in config.listeners {
            gateway.listen(listen)?;
        }
        Ok(gateway)
    }

    /// Accepts connections from now on, if [`Config::closed`] had them wait.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Opens one more listener and returns its address.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn listen(&self, listen: Listen) -> Result<SocketAddr, Error> {
        let Listen { on, face, tls } = listen;
        let name = match &on {
            ListenOn::Address(address) => address.to_string(),
            ListenOn::Bound(listener) => format!("{listener:?}"),
        };
        let fail = |source| Error::Listen {
            address: name.clone(),
            source,
        };
        let listener = open(on).map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        let at = self.next_acceptor.fetch_add(1, Ordering::Relaxed) % self.threads.len();
        let acceptor = Acceptor {
            targets: self
                .threads
                .iter()
                .map(|thread| (Arc::clone(&thread.worker), thread.runtime.clone()))
                .collect(),
            home: at,
            front: Arc::new(Front::Gateway(Ingress {
                face,
                table: Arc::clone(&self.table),
                https_port: Arc::clone(&self.https_port),
            })),
            tls: tls.clone().map(TlsAcceptor::from),
            open: self.open.subscribe(),
        };
        self.threads[at].runtime.spawn(acceptor.run(listener));
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let first = !addresses.iter().any(|(f, t, _)| (*f, *t) == (face, true));
        if face == Face::External && tls.is_some() && first {
            self.https_port.store(address.port(), Ordering::Relaxed);
        }
        addresses.push((face, tls.is_some(), address));
        Ok(address)
    }

    /// Takes in one change of the route table. When this returns, new requests see it, and waiting
    /// requests that can go have been let go.
    pub fn apply(&self, change: Change) {
        match change {
            Change::Identity(host, identity) => self.certificates.set(host, identity.as_deref()),
            Change::Internal(told) => {
                let told = told.as_deref();
                self.routing.set(told.map(|told| &told.identity));
                self.peers.set(told);
            }
            Change::Host(..) | Change::Ingress(..) | Change::Revision(..) => {
                self.table.apply(change)
            }
        }
    }

    /// The certificates TLS listeners show.
    pub const fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// The certificate the activator's TLS listener shows.
    pub const fn routing(&self) -> &OneCertificate {
        &self.routing
    }

    /// The metrics of all revisions in Prometheus' text format.
    pub fn metrics(&self) -> String {
        metrics::text(GatewayMetrics(Arc::clone(&self.table)))
    }

    /// The address of the first plain listener of the external gateway.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.address(Face::External, false)
    }

    /// The address of the first listener of `face`, with or without TLS.
    pub fn address(&self, face: Face, tls: bool) -> Option<SocketAddr> {
        let addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let found = addresses.iter().find(|(f, t, _)| (*f, *t) == (face, tls));
        found.map(|(_, _, address)| *address)
    }

    /// Stops gracefully: no new connections, answers say `connection: close`, requests in flight
    /// finish within the configured time. Then the workers end.
    pub async fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + self.drain_timeout;
        tokio::time::sleep(DRAIN_SETTLE.min(self.drain_timeout)).await;
        let busy = || {
            let requests = |thread: &Thread| thread.worker.requests.load(Ordering::Relaxed);
            self.threads.iter().map(requests).sum::<usize>() > 0
        };
        while busy() && Instant::now() < deadline {
            tokio::time::sleep(DRAIN_POLL).await;
        }
        // A watch without receivers has no one to tell.
        let _ = self.stop.send(true);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        for thread in &mut self.threads {
            if let Some(join) = thread.join.take() {
                // A worker that panicked has said so already.
                let _ = join.join();
            }
        }
    }
}

fn worker_count(configured: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let count = if configured == 0 {
        cores.min(WORKERS_DEFAULT_MAX)
    } else {
        configured
    };
    count.clamp(1, LANES - 1)
}

fn start_worker(
    lane: usize,
    config: &Config,
    (draining, peers): (Arc<AtomicBool>, Peers),
    mut stopped: watch::Receiver<bool>,
) -> io::Result<Thread> {
    let worker = Arc::new(Worker {
        lane,
        dialer: Arc::clone(&config.dialer),
        stats: Some(config.stats.clone()),
        idle_timeout: config.idle_timeout,
        head_timeout: config.head_timeout,
        draining,
        peers: Some(peers),
        log: config.request_log.clone(),
        tracer: config.tracer.clone(),
        pod_logs: config.pods.logs(),
        log_revision: None,
        mark_proxied: !config.report_pods,
        connections: AtomicUsize::new(0),
        requests: AtomicUsize::new(0),
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let handle = runtime.handle().clone();
    let join = std::thread::Builder::new()
        .name(format!("gateway-{lane}"))
        .spawn(move || {
            // An error means that the gateway is gone, which is the signal, too.
            let _ = runtime.block_on(stopped.wait_for(|stop| *stop));
        })?;
    Ok(Thread {
        worker,
        runtime: handle,
        join: Some(join),
    })
}

fn open(on: ListenOn) -> io::Result<StdListener> {
    let listener = match on {
        ListenOn::Address(address) => {
            let domain = socket2::Domain::for_address(address);
            let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            socket.listen(4096)?;
            socket.into()
        }
        ListenOn::Bound(listener) => listener,
    };
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Accepts on one listener and spreads the connections over the workers.
struct Acceptor {
    targets: Vec<(Arc<Worker>, Handle)>,
    home: usize,
    front: Arc<Front>,
    tls: Option<TlsAcceptor>,
    open: watch::Receiver<bool>,
}

impl Acceptor {
    async fn run(mut self, listener: StdListener) {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "register a gateway listener");
                return;
            }
        };
        // Fails when the gateway is gone, and its workers with it.
        if self.open.wait_for(|is_open| *is_open).await.is_err() {
            return;
        }
        while !self.targets[self.home].0.is_draining() {
            match listener.accept().await {
                Ok((stream, peer)) => self.hand_out(stream, peer),
                Err(error) => {
                    // Out of descriptors, most likely: others will be closed.
                    tracing::warn!(%error, "accept a connection");
                    tokio::time::sleep(DRAIN_POLL).await;
                }
            }
        }
    }

    /// Gives the connection to the worker with the fewest; to its own when it is among them.
    fn hand_out(&self, stream: TcpStream, peer: SocketAddr) {
        let _ = stream.set_nodelay(true);
        let load = |at: usize| self.targets[at].0.connections.load(Ordering::Relaxed);
        let least = (0..self.targets.len()).min_by_key(|&at| (load(at), at != self.home));
        let at = least.unwrap_or(self.home);
        let (worker, runtime) = &self.targets[at];
        let (connection, tls) = (Connection::new(worker), self.tls.clone());
        let origin = Origin {
            front: Arc::clone(&self.front),
            peer,
            https: tls.is_some(),
        };
        if at == self.home {
            runtime.spawn(serve_stream(stream, tls, connection, origin));
            return;
        }
        // The stream must be registered with the other worker's reactor.
        let Ok(stream) = stream.into_std() else {
            return;
        };
        runtime.spawn(async move {
            if let Ok(stream) = TcpStream::from_std(stream) {
                serve_stream(stream, tls, connection, origin).await;
            }
        });
    }
}

async fn serve_stream(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    connection: Connection,
    origin: Origin,
) {
    let Some(tls) = tls else {
        return serve(stream, connection, origin).await;
    };
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => serve(stream, connection, origin).await,
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake"),
        Err(_) => tracing::debug!("TLS handshake took too long"),
    }
}
