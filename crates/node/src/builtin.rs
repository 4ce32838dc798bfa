//! Containers that are tasks of the daemon: an image of a reserved name stands for code the
//! binary brings along. They listen inside the Pod's network namespace and look like any other
//! container from outside.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use k8s_openapi::api::core::v1::{Container, Pod};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;

use crate::cgroup::Limits;
use crate::launcher::Mount;
use crate::logs::LogSink;
use crate::net::{PodNet, in_netns};
use crate::program::Program;

/// Finds the builtin for a container.
pub trait Builtins: Send + Sync + 'static {
    /// The builtin a container's image stands for, or none: then it is a process.
    fn find(&self, container: &Container) -> Option<Arc<dyn Builtin>>;

    /// The program a container's image stands for, or none: then the image is looked for.
    fn program(&self, _: &Container) -> Option<Program> {
        None
    }
}

/// No builtins at all.
pub struct NoBuiltins;

impl Builtins for NoBuiltins {
    fn find(&self, _: &Container) -> Option<Arc<dyn Builtin>> {
        None
    }
}

/// One kind of builtin container.
pub trait Builtin: Send + Sync {
    /// The ports it will listen on, on all addresses of the Pod. `env` is the container's
    /// environment with all references resolved.
    fn ports(&self, pod: &Pod, container: &Container, env: &[(String, String)]) -> Vec<u16>;

    /// Starts it. The error is shown as the container's start error.
    fn start(&self, start: BuiltinStart) -> Result<Box<dyn RunningBuiltin>, String>;
}

/// What a builtin is given.
pub struct BuiltinStart {
    /// The Pod.
    pub pod: Arc<Pod>,
    /// Its part of the Pod.
    pub container: Container,
    /// The container's environment with all references resolved.
    pub env: Vec<(String, String)>,
    /// The container's command and arguments, one after the other, with `$(NAME)` expanded.
    pub args: Vec<String>,
    /// Its volumes in the order they would be mounted; [`crate::Files`] finds files in them.
    pub mounts: Vec<Mount>,
    /// What it may use of the machine: for a builtin that starts processes.
    pub limits: Limits,
    /// What it may take of the disk, bytes; none where the container has no such limit.
    pub storage_bytes: Option<u64>,
    /// A non-blocking listener inside the Pod's network namespace for each port asked for, in
    /// the same order.
    pub listeners: Vec<TcpListener>,
    /// The Pod's address.
    pub pod_ip: IpAddr,
    /// Makes sockets inside the Pod's network namespace.
    pub dialer: Dialer,
    /// The container's log.
    pub log: LogSink,
}

/// A builtin that runs.
pub trait RunningBuiltin: Send {
    /// Whether it is ready. The container is as ready as this says, from the moment it says so.
    fn ready(&self) -> watch::Receiver<bool>;

    /// Stops it: work at hand may take as long as `grace`. The container ends, and this is dropped,
    /// when the future is done and no process of the Pod runs any more, or when `grace` is over.
    fn stop(&mut self, grace: Duration) -> BoxFuture<'static, ()>;

    /// Comes true when it has ended by itself, as a process exits; asked once, right after the
    /// start. None for what runs until it is stopped. A daemon that was started again starts what
    /// had not ended anew.
    fn ended(&mut self) -> Option<BoxFuture<'static, BuiltinEnd>> {
        None
    }
}

/// How a builtin ended by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuiltinEnd {
    /// Its exit code.
    pub code: i32,
    /// Its last words: the message of the terminated state.
    pub message: String,
}

/// Makes sockets inside a Pod's network namespace, for connecting to 127.0.0.1 in the Pod.
#[derive(Clone)]
pub struct Dialer {
    net: Option<PodNet>,
}

impl Dialer {
    /// A dialer for the machine's own namespace.
    pub const fn machine() -> Self {
        Self { net: None }
    }

    /// A dialer for the Pod's namespace; without one, for the machine's own.
    pub(crate) const fn new(net: Option<PodNet>) -> Self {
        Self { net }
    }

    /// The Pod's network; none for the machine's own.
    pub(crate) const fn net(&self) -> Option<&PodNet> {
        self.net.as_ref()
    }

    /// A non-blocking TCP socket in the Pod's namespace, of the family of `to`, not connected.
    /// Takes some 10 µs.
    pub fn socket(&self, to: SocketAddr) -> io::Result<TcpSocket> {
        let family = if to.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let make = || rustix::net::socket_with(family, SocketType::STREAM, flags, None);
        let socket = self.inside(make)??;
        rustix::net::sockopt::set_tcp_nodelay(&socket, true)?;
        Ok(TcpSocket::from_std_stream(socket.into()))
    }

    /// Connects from inside the Pod.
    pub async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        self.socket(to)?.connect(to).await
    }

    /// Listens inside the Pod on all addresses.
    pub(crate) fn listen(&self, port: u16) -> io::Result<TcpListener> {
        let listener = self.inside(|| TcpListener::bind(("0.0.0.0", port)))??;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    fn inside<T>(&self, action: impl FnOnce() -> T) -> io::Result<T> {
        match &self.net {
            Some(net) => in_netns(net.netns(), action),
            None => Ok(action()),
        }
    }
}
