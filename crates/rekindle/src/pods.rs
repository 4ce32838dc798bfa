//! Running Pods as the API server offers them (logs, exec, attach, port-forward, usage), answered
//! by the node. Plugged in by `wire`; only words are translated here.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use apiserver::{ContainerUsage, Duplex, ExecOptions, LogOptions, PodBackend, PodError, Process};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use node::{AccessError, Node};

/// Usage is an average over at least this long.
const USAGE_WINDOW: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Pods {
    node: Node,
    /// CPU time of each container when it was last looked at, by Pod UID and container name.
    before: Mutex<HashMap<(String, String), Look>>,
}

/// A measurement of one container, and what it said together with the one before.
struct Look {
    at: Instant,
    cpu_ns: u64,
    nanocores: u64,
}

impl Pods {
    pub(crate) fn new(node: Node) -> Self {
        Self {
            node,
            before: Mutex::default(),
        }
    }

    /// Billionths of a core used since the last look.
    fn cores(&self, key: (String, String), at: Instant, cpu_ns: u64) -> u64 {
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let last = before.entry(key).or_insert(Look {
            at,
            cpu_ns,
            nanocores: 0,
        });
        let elapsed = at.saturating_duration_since(last.at);
        if elapsed < USAGE_WINDOW {
            return last.nanocores;
        }
        let used = u128::from(cpu_ns.saturating_sub(last.cpu_ns)) * 1_000_000_000;
        let nanocores = u64::try_from(used / elapsed.as_nanos()).unwrap_or(u64::MAX);
        *last = Look {
            at,
            cpu_ns,
            nanocores,
        };
        nanocores
    }
}

impl PodBackend for Pods {
    fn log<'a>(
        &'a self,
        pod: (&'a str, &'a str),
        options: LogOptions,
    ) -> BoxFuture<'a, Result<BoxStream<'static, io::Result<Bytes>>, PodError>> {
        async move {
            let container = options.container.clone();
            let wanted = log_options(options)?;
            let lines = self.node.logs(pod, &container, wanted);
            let lines = lines.map_err(|error| refused(&error))?;
            let next = |mut lines: node::LogStream| async {
                let line = lines.recv().await?;
                Some((line, lines))
            };
            Ok(stream::unfold(lines, next).boxed())
        }
        .boxed()
    }

    fn exec<'a>(
        &'a self,
        pod: (&'a str, &'a str),
        options: ExecOptions,
    ) -> BoxFuture<'a, Result<Process, PodError>> {
        async move {
            let session = self.node.exec(pod, &exec_options(options)).await;
            session.map(process).map_err(|error| refused(&error))
        }
        .boxed()
    }

    fn attach<'a>(
        &'a self,
        pod: (&'a str, &'a str),
        options: ExecOptions,
    ) -> BoxFuture<'a, Result<Process, PodError>> {
        async move {
            let session = self.node.attach(pod, &exec_options(options));
            session.map(process).map_err(|error| refused(&error))
        }
        .boxed()
    }

    fn port_forward<'a>(
        &'a self,
        pod: (&'a str, &'a str),
        port: u16,
    ) -> BoxFuture<'a, Result<Box<dyn Duplex>, PodError>> {
        async move {
            let stream = self.node.port_forward(pod, port).await;
            stream
                .map(|s| Box::new(s) as Box<dyn Duplex>)
                .map_err(|error| refused(&error))
        }
        .boxed()
    }

    fn usage(&self, namespace: &str, name: &str) -> Option<Vec<ContainerUsage>> {
        let all = self.node.stats();
        let pod = all
            .into_iter()
            .find(|pod| pod.namespace == namespace && pod.name == name)?;
        let usage = pod.containers.into_iter().map(|container| ContainerUsage {
            cpu_nanocores: self.cores(
                (pod.uid.clone(), container.name.clone()),
                pod.at,
                container.cpu_ns,
            ),
            memory_bytes: container.memory_bytes,
            name: container.name,
        });
        Some(usage.collect())
    }
}

fn log_options(options: LogOptions) -> Result<node::LogOptions, PodError> {
    let seconds = options
        .since_seconds
        .map(|s| Timestamp::now() - SignedDuration::from_secs(s));
    let time = options
        .since_time
        .as_deref()
        .map(str::parse::<Timestamp>)
        .transpose();
    let time = time.map_err(|error| PodError {
        code: 400,
        message: format!("sinceTime: {error}"),
    })?;
    Ok(node::LogOptions {
        follow: options.follow,
        previous: options.previous,
        timestamps: options.timestamps,
        tail_lines: options.tail_lines,
        since: seconds.or(time),
        limit_bytes: options.limit_bytes,
    })
}

fn exec_options(options: ExecOptions) -> node::ExecOptions {
    node::ExecOptions {
        container: options.container,
        command: options.command,
        stdin: options.stdin,
        stdout: options.stdout,
        stderr: options.stderr,
        tty: options.tty,
    }
}

fn process(session: node::Session) -> Process {
    let resize = session.resize.map(|sizes| {
        let (sender, mut receiver) = tokio::sync::mpsc::channel::<apiserver::TerminalSize>(8);
        tokio::spawn(async move {
            while let Some(size) = receiver.recv().await {
                let size = node::TerminalSize {
                    width: size.width,
                    height: size.height,
                };
                if sizes.send(size).await.is_err() {
                    return;
                }
            }
        });
        sender
    });
    Process {
        stdin: session.stdin,
        stdout: session.stdout,
        stderr: session.stderr,
        resize,
        exit: session.exit,
    }
}

fn refused(error: &AccessError) -> PodError {
    let code = match error {
        AccessError::NoPod(_) => 404,
        AccessError::NoContainer { .. }
        | AccessError::Ambiguous { .. }
        | AccessError::NotRunning { .. }
        | AccessError::NoPrevious { .. } => 400,
        AccessError::Failed(_) => 500,
    };
    PodError {
        code,
        message: error.to_string(),
    }
}
