//! The parts of Knative Serving as Pods: containers that stand for what runs in this process
//! anyway, ready from the start, each with a log of its own in Knative's format. `builtins` hands
//! them to the node; `wire` tells the activator's log what the gateway is told.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::api::route::{Change, Revision, RevisionKey};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use node::logs::{LogSink, Stream};
use node::{Builtin, BuiltinStart, RunningBuiltin};
use serde_json::json;
use tokio::sync::watch;

const ACTIVATOR: &str = "activator";
/// What Knative calls the capacity of a revision whose Pods take any number of requests.
const UNLIMITED: u32 = i32::MAX.unsigned_abs();

/// The logs of the parts that have a Pod.
#[derive(Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// By part: its Pod's name and log.
    logs: HashMap<String, (String, LogSink)>,
    /// Pods that take requests, by revision, as the activator's log last said.
    backends: BTreeMap<RevisionKey, usize>,
}

impl Journal {
    /// Says in the activator's log how many Pods a revision has now, if that is news.
    pub(crate) fn routed(&self, change: &Change) {
        let Change::Revision(key, revision) = change else {
            return;
        };
        let mut state = self.state();
        let Some(revision) = revision else {
            state.backends.remove(key);
            return;
        };
        let backends = revision.pods.iter().filter(|pod| pod.ready).count();
        if state.backends.insert(key.clone(), backends).unwrap_or(0) == backends {
            return;
        }
        for message in news(revision, backends) {
            state.write(ACTIVATOR, &message, Some(key));
        }
    }

    fn open(&self, part: &str, pod: String, log: LogSink) {
        let mut state = self.state();
        state.logs.insert(part.to_owned(), (pod, log));
        state.write(part, &format!("Starting {part} inside rekindle"), None);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn write(&self, part: &str, message: &str, key: Option<&RevisionKey>) {
        let Some((pod, log)) = self.logs.get(part) else {
            return;
        };
        let mut line = json!({
            "severity": "INFO",
            "timestamp": Timestamp::now().to_string(),
            "logger": part,
            "message": message,
            "knative.dev/controller": part,
            "knative.dev/pod": pod,
        });
        if let Some(RevisionKey { namespace, name }) = key {
            line["knative.dev/key"] = json!(format!("{namespace}/{name}"));
        }
        log.line(Stream::Stdout, &line.to_string());
    }
}

/// The two lines of Knative's throttler.
fn news(revision: &Revision, backends: usize) -> [String; 2] {
    let count = u32::try_from(backends).unwrap_or(u32::MAX);
    let capacity = match revision.container_concurrency {
        _ if count == 0 => 0,
        0 => UNLIMITED,
        limit => limit.saturating_mul(count),
    };
    [
        format!(
            "Updating Revision Throttler with: clusterIP = <nil>, trackers = {backends}, \
             backends = {backends}"
        ),
        format!("Set capacity to {capacity} (backends: {backends}, index: 0/1)"),
    ]
}

/// One part.
pub(crate) struct Part {
    /// Its name: `activator`, `autoscaler` …
    pub(crate) name: String,
    /// Where its log is kept.
    pub(crate) journal: Journal,
}

impl Builtin for Part {
    fn ports(&self, _: &Pod, _: &Container, _: &[(String, String)]) -> Vec<u16> {
        Vec::new()
    }

    fn start(&self, start: BuiltinStart) -> Result<Box<dyn RunningBuiltin>, String> {
        let pod = start.pod.metadata.name.clone().unwrap_or_default();
        self.journal.open(&self.name, pod, start.log);
        let (sender, ready) = watch::channel(true);
        Ok(Box::new(RunningPart {
            _sender: sender,
            ready,
        }))
    }
}

struct RunningPart {
    _sender: watch::Sender<bool>,
    ready: watch::Receiver<bool>,
}

impl RunningBuiltin for RunningPart {
    fn ready(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }

    fn stop(&mut self, _: Duration) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }
}
