//! What the program around the API server plugs in: admission and conversion of its own kinds, and
//! access to running Pods. Everything has a default that does nothing.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

use crate::auth::User;

/// What a request wants to do with an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// The object is new.
    Create,
    /// The object replaces its old state.
    Update,
    /// The object goes.
    Delete,
    /// A subresource is connected to (exec, proxy …).
    Connect,
}

impl Operation {
    /// The word used by admission reviews.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// Something somebody may be allowed to do with objects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Access {
    /// `get`, `knsubscribe` …
    pub verb: String,
    /// API group.
    pub group: String,
    /// The resource, as roles name it.
    pub resource: String,
    /// The namespace.
    pub namespace: String,
    /// The name of the one object that is meant.
    pub name: String,
}

/// What a judge may ask about the cluster. Answers are quick: they come from memory.
pub trait Lookup: Sync {
    /// One object of a built-in kind, in its stored version.
    fn object(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Value>;

    /// The objects of any kind in a namespace, in their stored version.
    fn objects(&self, group: &str, plural: &str, namespace: &str) -> Vec<Value>;

    /// What is wrong with a new object of a built-in kind, as its creation with strict validation of
    /// fields would say it; `None` when it could be created.
    fn trouble(&self, object: &Value) -> Option<String>;

    /// Whether `user` may do this.
    fn may(&self, user: &User, access: &Access) -> bool;
}

/// A write on its way to the store, for judgement.
pub struct Review<'a> {
    /// What is done.
    pub operation: Operation,
    /// API group of the object.
    pub group: &'a str,
    /// Version the request was made in; `object` and `old` are in it too.
    pub version: &'a str,
    /// Kind of the object.
    pub kind: &'a str,
    /// `status`, `scale` …; empty for the object itself.
    pub subresource: &'a str,
    /// Namespace, empty for cluster-scoped kinds.
    pub namespace: &'a str,
    /// Name; empty while it is still to be generated.
    pub name: &'a str,
    /// The object as it would be stored; `Null` on deletion.
    pub object: &'a Value,
    /// The object as it is stored; `Null` on creation.
    pub old: &'a Value,
    /// Who asks.
    pub user: &'a User,
    /// Nothing will be stored.
    pub dry_run: bool,
    /// The rest of the cluster.
    pub cluster: &'a dyn Lookup,
}

/// A write that may go on.
#[derive(Clone, PartialEq, Debug)]
pub struct Admitted {
    /// The object to store, defaults filled in.
    pub object: Value,
    /// Sent to the client in `Warning` headers.
    pub warnings: Vec<String>,
}

/// A write that may not go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denied {
    /// The sentence for people, complete with the denier's name where Kubernetes gives it.
    pub message: String,
}

/// Knowledge of the program's own kinds. Calls are synchronous and must be quick.
pub trait Hooks: Send + Sync + 'static {
    /// Whether [`Hooks::admit`] wants to see writes of this kind or of its subresource.
    fn claims(&self, group: &str, kind: &str, subresource: &str) -> bool {
        let _ = (group, kind, subresource);
        false
    }

    /// Fills in defaults and judges a write.
    ///
    /// # Errors
    /// [`Denied`] ends the request with status 400.
    fn admit(&self, review: &Review<'_>) -> Result<Admitted, Denied> {
        Ok(Admitted {
            object: review.object.clone(),
            warnings: Vec::new(),
        })
    }

    /// Whether [`Hooks::convert`] converts this kind, so that no webhook has to be called.
    fn converts(&self, group: &str, kind: &str) -> bool {
        let _ = (group, kind);
        false
    }

    /// Converts an object of a claimed kind to another version.
    ///
    /// # Errors
    /// The sentence for people.
    fn convert(&self, object: Value, to_api_version: &str) -> Result<Value, String> {
        let mut object = object;
        object["apiVersion"] = to_api_version.into();
        Ok(object)
    }
}

/// Hooks that do nothing.
pub struct NoHooks;

impl Hooks for NoHooks {}

/// Which part of a container's log is wanted.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LogOptions {
    /// Empty: the only container, or the default one.
    pub container: String,
    /// Go on as more is written.
    pub follow: bool,
    /// The run before the last restart.
    pub previous: bool,
    /// Prefix every line with its time.
    pub timestamps: bool,
    /// Only the last lines.
    pub tail_lines: Option<u64>,
    /// Only what is younger than this many seconds.
    pub since_seconds: Option<i64>,
    /// Only what is younger than this time (RFC 3339).
    pub since_time: Option<String>,
    /// At most so many bytes.
    pub limit_bytes: Option<u64>,
}

/// A process to run in a container, or the main process to attach to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExecOptions {
    /// Empty: the only container, or the default one.
    pub container: String,
    /// The command; empty for attach.
    pub command: Vec<String>,
    /// Standard input is forwarded.
    pub stdin: bool,
    /// Standard output is forwarded.
    pub stdout: bool,
    /// Standard error is forwarded.
    pub stderr: bool,
    /// A terminal is allocated; standard error then comes with standard output.
    pub tty: bool,
}

/// Anything bytes are read from.
pub type Reader = Pin<Box<dyn AsyncRead + Send>>;
/// Anything bytes are written to.
pub type Writer = Pin<Box<dyn AsyncWrite + Send>>;

/// A terminal's size in characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// The ends of a running process.
pub struct Process {
    /// Its standard input; dropping it is end of file.
    pub stdin: Option<Writer>,
    /// Its standard output.
    pub stdout: Option<Reader>,
    /// Its standard error.
    pub stderr: Option<Reader>,
    /// Takes new sizes of the terminal.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// Tells how it ended: the exit code, or why it could not run.
    pub exit: oneshot::Receiver<Result<i32, String>>,
}

/// A stream of bytes in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Why the node could not do it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PodError {
    /// The HTTP status: 400 for a request that makes no sense now, 404, 500.
    pub code: u16,
    /// The sentence for people, worded as the kubelet words it.
    pub message: String,
}

/// Usage of one container, for `kubectl top`.
#[derive(Clone, PartialEq, Debug)]
pub struct ContainerUsage {
    /// The container's name.
    pub name: String,
    /// Processor time used, in billionths of a core.
    pub cpu_nanocores: u64,
    /// The working set.
    pub memory_bytes: u64,
}

/// Usage of one Pod.
#[derive(Clone, PartialEq, Debug)]
pub struct PodUsage {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Over how long the processor time was measured.
    pub window: std::time::Duration,
    /// Its running containers.
    pub containers: Vec<ContainerUsage>,
}

/// Access to running Pods; the node gives it.
pub trait PodBackend: Send + Sync + 'static {
    /// The bytes of a container's log, as `kubectl logs` prints them.
    fn log<'a>(
        &'a self,
        pod: (&'a str, &'a str),
        options: LogOptions,
    ) -> BoxFuture<'a, Result<BoxStream<'static, std::io::Result<Bytes>>, PodError>>;

    /// Runs a command in a container.
    fn exec<'a>(
        &'a self,
        pod: (&'a str, &'a str),
        options: ExecOptions,
    ) -> BoxFuture<'a, Result<Process, PodError>>;

    /// Attaches to the main process of a container.
    fn attach<'a>(
        &'a self,
        pod: (&'a str, &'a str),
        options: ExecOptions,
    ) -> BoxFuture<'a, Result<Process, PodError>>;

    /// A connection to a port inside the Pod.
    fn port_forward<'a>(
        &'a self,
        pod: (&'a str, &'a str),
        port: u16,
    ) -> BoxFuture<'a, Result<Box<dyn Duplex>, PodError>>;

    /// What the Pods that run here use at the moment. Those of which that is not known yet are left
    /// out; the answer may take a second, because a rate needs two measurements.
    fn usage(&self) -> BoxFuture<'_, Vec<PodUsage>>;
}

/// A [`PodBackend`] that can be set once the node is up.
pub(crate) type PodSlot = std::sync::OnceLock<Arc<dyn PodBackend>>;

/// A request for a subresource that is not in the store. Who asks may do so, and the object exists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// As roles have it: `get`, `create` …
    pub verb: &'static str,
    /// API group of the object.
    pub group: String,
    /// Its resource.
    pub plural: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What is asked for.
    pub subresource: String,
    /// The decoded query, in its order.
    pub query: Vec<(String, String)>,
    /// Nothing may happen.
    pub dry_run: bool,
}

/// Subresources that a part of the program answers.
pub trait Subresources: Send + Sync + 'static {
    /// Whether it answers this one.
    fn has(&self, group: &str, plural: &str, subresource: &str) -> bool;

    /// The answer, as JSON.
    fn answer(&self, asked: Asked) -> BoxFuture<'static, Result<Value, PodError>>;
}

/// [`Subresources`] that can be set once their part is up.
pub(crate) type SubresourceSlot = std::sync::OnceLock<Arc<dyn Subresources>>;
