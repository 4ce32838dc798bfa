//! Events written a moment later than they happen: nobody waits for them, and a Pod that starts
//! wants the machine for itself. What would be too much is left out, as client-go's recorder leaves
//! it out. Fed by the driver, which hands over what plans tell, and by the node.

use std::collections::BTreeMap;
use std::time::Duration;

use api::object::ObjectExt;
use api::world::POD;
use jiff::Timestamp;
use kube::Client;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::events::{Happening, Recorder};
use crate::request;

/// How long an Event waits for those that come with it.
const PAUSE: Duration = Duration::from_millis(300);
/// Events written after one pause, at the most: what comes beyond them is left out.
const BATCH_MAX: usize = 100;
/// Events of one object that are written at once (the recorder's spam filter of client-go).
const BURST: u32 = 25;
/// After which time an object that has had them may have another.
const REFILL_S: i64 = 300;
/// Objects whose allowance is remembered; beyond it all have a full one again.
const REMEMBERED_MAX: usize = 4096;

/// Something that happened to an object, on its way to become an Event.
#[derive(Clone, Debug)]
pub struct Record {
    /// When.
    pub at: Timestamp,
    /// Who says so: `kubelet`, `job-controller` …
    pub component: String,
    /// The machine that runs on; empty for one of the cluster.
    pub host: String,
    /// The object: apiVersion, kind, and what of its metadata tells it.
    pub regarding: Value,
    /// The part of it, as `spec.containers{NAME}`; empty for the whole.
    pub field: String,
    /// `Normal` or `Warning`.
    pub event_type: &'static str,
    /// CamelCase reason.
    pub reason: String,
    /// The sentence for people.
    pub message: String,
}

impl Record {
    /// What a controller tells about an object of its kind.
    pub fn of_controller(
        regarding: Value,
        event_type: &'static str,
        reason: String,
        message: String,
    ) -> Self {
        Self {
            at: Timestamp::now(),
            component: component(regarding.kind()),
            host: String::new(),
            regarding,
            field: String::new(),
            event_type,
            reason,
            message,
        }
    }

    fn happening(&self) -> Happening<'_> {
        Happening {
            at: self.at,
            regarding: &self.regarding,
            field: &self.field,
            event_type: self.event_type,
            reason: &self.reason,
            message: &self.message,
        }
    }
}

/// The controller of a kind, as kube-controller-manager and Knative name theirs.
fn component(kind: &str) -> String {
    if kind == POD.kind {
        return "default-scheduler".to_owned();
    }
    format!("{}-controller", kind.to_lowercase())
}

/// Starts who writes Events; ends when nobody can send records any more.
pub fn start(client: Client) -> mpsc::UnboundedSender<Record> {
    let (record, records) = mpsc::unbounded_channel();
    tokio::spawn(run(client, records));
    record
}

async fn run(client: Client, mut records: mpsc::UnboundedReceiver<Record>) {
    let mut recorders = BTreeMap::new();
    let mut allowances = Allowances::default();
    while let Some(first) = records.recv().await {
        tokio::time::sleep(PAUSE).await;
        let mut batch = Vec::new();
        let mut next = Some(first);
        while let Some(record) = next {
            if batch.len() < BATCH_MAX
                && allowances.take(record.regarding.uid(), record.at.as_second())
            {
                batch.push(record);
            }
            next = records.try_recv().ok();
        }
        for record in batch {
            let source = (record.component.clone(), record.host.clone());
            let recorder = recorders
                .entry(source)
                .or_insert_with(|| Recorder::new(&record.component, &record.host));
            write(&client, recorder, &record).await;
        }
    }
}

async fn write(client: &Client, recorder: &mut Recorder, record: &Record) {
    let happening = record.happening();
    let mut answer = request::call(client, recorder.record(&happening)).await;
    if answer.as_ref().is_err_and(request::Error::is_not_found) {
        recorder.forget(&happening);
        answer = request::call(client, recorder.record(&happening)).await;
    }
    if let Err(error) = answer {
        // As a rule the namespace is on its way out.
        recorder.forget(&happening);
        let (name, reason) = (record.regarding.name(), &record.reason);
        tracing::debug!(%error, name, reason, "an Event was not recorded");
    }
}

/// How many more Events each object may have: by UID, what is left, and when it was counted.
#[derive(Default)]
struct Allowances(BTreeMap<String, (u32, i64)>);

impl Allowances {
    fn take(&mut self, uid: &str, now_s: i64) -> bool {
        if self.0.len() >= REMEMBERED_MAX && !self.0.contains_key(uid) {
            self.0.clear();
        }
        let (left, since) = self.0.entry(uid.to_owned()).or_insert((BURST, now_s));
        let refilled = (now_s - *since).max(0) / REFILL_S;
        *since += refilled * REFILL_S;
        let refilled = u32::try_from(refilled).unwrap_or(BURST);
        *left = left.saturating_add(refilled).min(BURST);
        let may = *left > 0;
        *left = left.saturating_sub(1);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_fails_on_and_on_has_an_event_in_five_minutes() {
        let mut allowances = Allowances::default();
        let taken = (0..100)
            .filter(|second| allowances.take("a", *second))
            .count();
        assert_eq!(taken, 25);
        assert!(allowances.take("b", 100), "each object has its own");
        let later = (300..900)
            .filter(|second| allowances.take("a", *second))
            .count();
        assert_eq!(later, 2);
    }

    #[test]
    fn controllers_are_named_as_in_kubernetes() {
        assert_eq!(component("ReplicaSet"), "replicaset-controller");
        assert_eq!(component("Pod"), "default-scheduler");
    }
}
