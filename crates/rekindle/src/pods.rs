//! Running Pods as the API server offers them (logs, exec, attach, port-forward, usage), answered
//! by the node. Plugged in by `wire`; only words are translated here.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use apiserver::{
    ContainerUsage, Duplex, ExecOptions, LogOptions, PodBackend, PodError, PodUsage, Process,
};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use node::{AccessError, Node};

/// Usage is an average over at least this long …
const USAGE_WINDOW: Duration = Duration::from_secs(1);
/// … and at most this long, so that it is of now.
const USAGE_WINDOW_MAX: Duration = Duration::from_secs(60);
/// What a measurement may come late.
const SLACK: Duration = Duration::from_millis(50);

/// See the module.
pub(crate) struct Pods {
    node: Node,
    rates: Mutex<Rates>,
}

impl Pods {
    pub(crate) fn new(node: Node) -> Self {
        Self {
            node,
            rates: Mutex::default(),
        }
    }

    /// What is known of the usage of all Pods now, and whether that is all of them.
    fn look(&self) -> (Vec<PodUsage>, bool) {
        let all = self.node.stats();
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        rates.forget_others(&all);
        let count = all.len();
        let known: Vec<PodUsage> = all.into_iter().filter_map(|pod| rates.of(pod)).collect();
        let complete = known.len() == count;
        (known, complete)
    }
}

/// A container: its Pod's UID and its name.
type ContainerKey = (String, String);

/// CPU times turned into rates, by two measurements of each container.
#[derive(Default)]
struct Rates(HashMap<ContainerKey, Look>);

/// The last measurement of one container, and the rate since the one before.
struct Look {
    at: Instant,
    cpu_ns: u64,
    rate: Option<Rate>,
}

/// Billionths of a core, and the time they are the average of.
type Rate = (u64, Duration);

impl Rates {
    fn forget_others(&mut self, pods: &[node::PodUsage]) {
        let uids: HashSet<&str> = pods.iter().map(|pod| pod.uid.as_str()).collect();
        self.0.retain(|(uid, _), _| uids.contains(uid.as_str()));
    }

    /// The usage of a Pod, if that of all its containers is known.
    fn of(&mut self, pod: node::PodUsage) -> Option<PodUsage> {
        let mut window = Duration::ZERO;
        let measured = pod.containers.into_iter().map(|container| {
            let key = (pod.uid.clone(), container.name.clone());
            let (cpu_nanocores, over) = self.rate(key, pod.at, container.cpu_ns)?;
            window = window.max(over);
            Some(ContainerUsage {
                cpu_nanocores,
                memory_bytes: container.memory_bytes,
                name: container.name,
            })
        });
        // All are measured, even when one is not known yet.
        let measured: Vec<Option<ContainerUsage>> = measured.collect();
        let containers = measured.into_iter().collect::<Option<Vec<_>>>()?;
        Some(PodUsage {
            namespace: pod.namespace,
            name: pod.name,
            window,
            containers,
        })
    }

    fn rate(&mut self, key: ContainerKey, at: Instant, cpu_ns: u64) -> Option<Rate> {
        let first = Look {
            at,
            cpu_ns,
            rate: None,
        };
        let last = self.0.entry(key).or_insert(first);
        let elapsed = at.saturating_duration_since(last.at);
        if elapsed < USAGE_WINDOW {
            return last.rate;
        }
        let used = cpu_ns.checked_sub(last.cpu_ns);
        // A container that was started again begins anew.
        let used = used.filter(|_| elapsed <= USAGE_WINDOW_MAX);
        let rate = used.map(|used| {
            let nanocores = u128::from(used) * 1_000_000_000 / elapsed.as_nanos();
            (u64::try_from(nanocores).unwrap_or(u64::MAX), elapsed)
        });
        *last = Look { at, cpu_ns, rate };
        rate
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

    fn usage(&self) -> BoxFuture<'_, Vec<PodUsage>> {
        async move {
            let (known, complete) = self.look();
            if complete {
                return known;
            }
            tokio::time::sleep(USAGE_WINDOW + SLACK).await;
            self.look().0
        }
        .boxed()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_needs_two_measurements_that_are_not_old() {
        let begin = Instant::now();
        let mut rates = Rates::default();
        let mut check = |millis: u64, cpu_ms: u64, cores: Option<f64>| {
            let at = begin + Duration::from_millis(millis);
            let key = ("pod".to_owned(), "main".to_owned());
            let rate = rates.rate(key, at, cpu_ms * 1_000_000);
            let found = rate.map(|(nanocores, _)| nanocores as f64 / 1e9);
            assert_eq!(found, cores, "after {millis} ms");
        };
        check(0, 500, None);
        check(100, 600, None);
        check(2000, 1500, Some(0.5));
        check(2500, 2000, Some(0.5));
        check(90_000, 3000, None);
        check(91_000, 3250, Some(0.25));
        // It was started again.
        check(93_000, 100, None);
        check(95_000, 100, Some(0.0));
    }
}
