//! The node's half of the Kubernetes API: Pods bound to this node go to the node, what became of
//! them goes into their status. Started by `wire`; knows the node only through [`Runner`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ::api::world::POD;
use bytes::Bytes;
use controller::request::{self, Error, Request};
use controller::watch::{Update, watch};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::Method;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::Client;
use serde_json::json;
use stdx::Backoff;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, warn};

/// How long the report of a Pod that is not ready waits for the next one, which will take its
/// place: a start has four of them within milliseconds, and the application needs the processor.
const STARTING_DELAY: Duration = Duration::from_millis(6);
/// The same for a Pod that is ready: the request that waited for it goes first.
const READY_DELAY: Duration = Duration::from_millis(1);
/// How long nothing is looked at when nothing waits.
const IDLE: Duration = Duration::from_secs(3600);
/// Status writes on their way at once.
const WRITES_MAX: usize = 32;

/// Between attempts to write a status.
const PAUSES: Backoff = Backoff {
    base: Duration::from_millis(100),
    max: Duration::from_secs(2),
};

/// Runs Pods.
pub(crate) trait Runner: Send + Sync {
    /// The Pod is wanted as it is written here; with a deletion timestamp it is to stop.
    fn set(&self, pod: Arc<Pod>);
    /// The Pod's object is gone.
    fn remove(&self, uid: &str);
    /// These are all Pods there are: whatever else runs is left over from an earlier process.
    fn retain(&self, uids: &BTreeSet<String>);
}

/// What became of a Pod.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// Its UID: a Pod of the same name may have taken its place.
    pub(crate) uid: String,
    /// How it is now; `None` when nothing of a terminating Pod is left.
    pub(crate) status: Option<PodStatus>,
}

/// Joins the API server and the runner until the process ends.
pub(crate) async fn run(
    client: Client,
    node_name: String,
    runner: Arc<dyn Runner>,
    mut reports: mpsc::UnboundedReceiver<Report>,
) {
    let mut pods = Box::pin(watch(client.clone(), POD));
    let mut desired = Desired {
        node_name,
        runner,
        known: BTreeMap::new(),
        unseen: None,
    };
    let mut waiting = Waiting::default();
    let mut busy: BTreeSet<String> = BTreeSet::new();
    let mut failures: BTreeMap<String, u32> = BTreeMap::new();
    let mut writes = FuturesUnordered::new();
    loop {
        let pause = waiting.pause(Instant::now(), &busy);
        tokio::select! {
            update = pods.next() => match update {
                Some(update) => desired.take(update),
                None => return,
            },
            report = reports.recv() => match report {
                // The newest report of a Pod is the only one worth writing.
                Some(report) => waiting.add(Instant::now() + delay(&report), report),
                None => return,
            },
            Some((uid, again)) = writes.next() => {
                let uid: String = uid;
                busy.remove(&uid);
                match again {
                    Some(report) => {
                        *failures.entry(uid.clone()).or_default() += 1;
                        let due = Instant::now();
                        waiting.0.entry(uid).or_insert((due, report));
                    }
                    None => drop(failures.remove(&uid)),
                }
            }
            () = tokio::time::sleep(pause) => {}
        }
        while busy.len() < WRITES_MAX {
            let Some((uid, report)) = waiting.take_due(Instant::now(), &busy) else {
                break;
            };
            let failed = failures.get(&uid).copied().unwrap_or_default();
            busy.insert(uid);
            writes.push(write(client.clone(), report, failed));
        }
    }
}

/// The newest report of each Pod, by UID, and when it is to be written.
#[derive(Default)]
struct Waiting(BTreeMap<String, (Instant, Report)>);

impl Waiting {
    /// The newest report of a Pod is the only one worth writing; it is due when the first was.
    fn add(&mut self, due: Instant, report: Report) {
        let before = self.0.get(&report.uid).map(|(before, _)| *before);
        let due = before.map_or(due, |before| due.min(before));
        self.0.insert(report.uid.clone(), (due, report));
    }

    fn take_due(&mut self, now: Instant, busy: &BTreeSet<String>) -> Option<(String, Report)> {
        let is_due = |uid: &String, due: Instant| due <= now && !busy.contains(uid);
        let due = self.0.iter().find(|(uid, (due, _))| is_due(uid, *due));
        let uid = due?.0.clone();
        let (_, report) = self.0.remove(&uid)?;
        Some((uid, report))
    }

    /// How long nothing is due. A Pod whose last report is being written comes after it.
    fn pause(&self, now: Instant, busy: &BTreeSet<String>) -> Duration {
        let free = self.0.iter().filter(|(uid, _)| !busy.contains(*uid));
        let next = free.map(|(_, (due, _))| *due).min();
        next.map_or(IDLE, |due| due.saturating_duration_since(now))
    }
}

fn delay(report: &Report) -> Duration {
    let Some(status) = &report.status else {
        return Duration::ZERO;
    };
    let over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let mut conditions = status.conditions.iter().flatten();
    if over || conditions.any(|one| one.type_ == "Ready" && one.status == "True") {
        READY_DELAY
    } else {
        STARTING_DELAY
    }
}

/// The Pods this node should run, as the watch tells them.
struct Desired {
    node_name: String,
    runner: Arc<dyn Runner>,
    /// Namespace and name → UID.
    known: BTreeMap<(String, String), String>,
    /// While a collection is read anew: what has not been seen again yet.
    unseen: Option<BTreeSet<(String, String)>>,
}

impl Desired {
    fn take(&mut self, update: Update) {
        match update {
            Update::Restarted => self.unseen = Some(self.known.keys().cloned().collect()),
            Update::Put(objects) => objects.iter().for_each(|object| self.put(object)),
            Update::Gone(object) => {
                if let Some(pod) = decode(&object) {
                    self.forget(&key(&pod));
                }
            }
            Update::Synced { .. } => {
                let Some(unseen) = self.unseen.take() else {
                    return;
                };
                for key in unseen {
                    self.forget(&key);
                }
                self.runner.retain(&self.known.values().cloned().collect());
            }
            Update::NotServed => warn!("the API server does not serve Pods"),
        }
    }

    fn put(&mut self, object: &Bytes) {
        let Some(pod) = decode(object) else { return };
        let key = key(&pod);
        if let Some(unseen) = &mut self.unseen {
            unseen.remove(&key);
        }
        let bound = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        if bound != Some(self.node_name.as_str()) {
            return;
        }
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        if let Some(old) = self.known.insert(key, uid.clone())
            && old != uid
        {
            self.runner.remove(&old);
        }
        self.runner.set(Arc::new(pod));
    }

    fn forget(&mut self, key: &(String, String)) {
        if let Some(uid) = self.known.remove(key) {
            self.runner.remove(&uid);
        }
    }
}

fn decode(object: &Bytes) -> Option<Pod> {
    serde_json::from_slice(object)
        .inspect_err(|error| warn!(%error, "a Pod that cannot be read is left alone"))
        .ok()
}

fn key(pod: &Pod) -> (String, String) {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    (text(&pod.metadata.namespace), text(&pod.metadata.name))
}

/// Writes one report; gives it back, after a pause, when it is worth another attempt. `failed`
/// attempts came before.
async fn write(client: Client, report: Report, failed: u32) -> (String, Option<Report>) {
    let uid = report.uid.clone();
    let answer = match &report.status {
        Some(status) => write_status(&client, &report, status).await,
        None => delete(&client, &report).await,
    };
    match answer {
        Ok(()) => (uid, None),
        // The Pod is gone or another has its name: there is nobody to report on.
        Err(error) if error.is_not_found() || error.is_conflict() || error.is_rejected() => {
            debug!(%error, pod = report.name, "status not taken");
            (uid, None)
        }
        Err(error) => {
            let pod = &report.name;
            match failed {
                0 => warn!(%error, pod, "writing the status failed, trying again"),
                _ => debug!(%error, pod, failed, "writing the status failed again"),
            }
            tokio::time::sleep(PAUSES.delay(failed)).await;
            (uid, Some(report))
        }
    }
}

async fn write_status(client: &Client, report: &Report, status: &PodStatus) -> Result<(), Error> {
    let patch = json!([
        {"op": "test", "path": "/metadata/uid", "value": report.uid},
        {"op": "add", "path": "/status", "value": status},
    ]);
    let uri = request::path(POD, &report.namespace, &report.name, "status");
    let request = Request {
        method: Method::PATCH,
        uri,
        body: serde_json::to_vec(&patch)?.into(),
        content_type: "application/json-patch+json",
    };
    request::call(client, request).await.map(drop)
}

async fn delete(client: &Client, report: &Report) -> Result<(), Error> {
    let options = json!({
        "kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0,
        "preconditions": {"uid": report.uid},
    });
    let uri = request::path(POD, &report.namespace, &report.name, "");
    let request = Request::json(Method::DELETE, uri, serde_json::to_vec(&options)?);
    request::call(client, request).await.map(drop)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodCondition;

    use super::*;

    fn report(uid: &str, phase: &str, ready: bool) -> Report {
        let condition = PodCondition {
            type_: "Ready".to_owned(),
            status: if ready { "True" } else { "False" }.to_owned(),
            ..PodCondition::default()
        };
        Report {
            namespace: "default".to_owned(),
            name: uid.to_owned(),
            uid: uid.to_owned(),
            status: Some(PodStatus {
                phase: Some(phase.to_owned()),
                conditions: Some(vec![condition]),
                ..PodStatus::default()
            }),
        }
    }

    #[test]
    fn of_reports_in_a_row_the_newest_is_written_when_the_soonest_is_due() {
        let (start, free) = (Instant::now(), BTreeSet::new());
        let after = |millis| start + Duration::from_millis(millis);
        let mut waiting = Waiting::default();
        let mut add = |millis, report: Report| waiting.add(after(millis) + delay(&report), report);
        add(0, report("a", "Pending", false));
        add(2, report("a", "Running", false));
        add(3, report("a", "Running", true));
        add(3, report("b", "Pending", false));
        assert_eq!(waiting.pause(after(3), &free), READY_DELAY);
        assert!(waiting.take_due(after(3), &free).is_none());
        let (uid, newest) = waiting.take_due(after(4), &free).unwrap();
        assert_eq!((uid.as_str(), delay(&newest)), ("a", READY_DELAY));
        let busy = BTreeSet::from(["b".to_owned()]);
        assert!(waiting.take_due(after(20), &busy).is_none());
        assert_eq!(waiting.pause(after(20), &busy), IDLE);
        assert!(waiting.take_due(after(9), &free).is_some());
    }
}
