//! The node's Events: what happens to Pods, as `kubectl describe pod` shows it. Fed by `wire`.
//!
//! They are written a moment later than they happen: nobody waits for them, and a Pod that starts
//! wants the machine for itself. What would be too much is left out, as the kubelet leaves it out.

use std::collections::BTreeMap;
use std::time::Duration;

use ::api::world::POD;
use controller::request;
use controller::{Happening, Recorder};
use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::debug;

/// How long an Event waits for those that come with it.
const PAUSE: Duration = Duration::from_millis(300);
/// Events written after one pause, at the most: what comes beyond them is left out.
const BATCH_MAX: usize = 100;
/// Events of one Pod that are written at once (the recorder's spam filter of client-go).
const BURST: u32 = 25;
/// After which time a Pod that has had them may have another.
const REFILL_S: i64 = 300;
/// Pods whose allowance is remembered; beyond it all have a full one again.
const REMEMBERED_MAX: usize = 4096;

/// Something that happened to a Pod.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// When.
    pub(crate) at: Timestamp,
    /// The Pod's namespace.
    pub(crate) namespace: String,
    /// The Pod's name.
    pub(crate) name: String,
    /// The Pod's UID.
    pub(crate) uid: String,
    /// The part of it, as `spec.containers{NAME}`; empty for the whole.
    pub(crate) field: String,
    /// `Warning` rather than `Normal`.
    pub(crate) warning: bool,
    /// CamelCase reason.
    pub(crate) reason: &'static str,
    /// The sentence for people.
    pub(crate) message: String,
}

impl Record {
    fn pod(&self) -> Value {
        json!({
            "apiVersion": POD.api_version(),
            "kind": POD.kind,
            "metadata": {"namespace": self.namespace, "name": self.name, "uid": self.uid},
        })
    }
}

/// Writes Events until nobody sends records any more.
pub(crate) async fn run(
    client: Client,
    node_name: String,
    mut records: mpsc::UnboundedReceiver<Record>,
) {
    let mut recorder = Recorder::new("kubelet", &node_name);
    let mut allowances = Allowances::default();
    while let Some(first) = records.recv().await {
        tokio::time::sleep(PAUSE).await;
        let mut batch = vec![first];
        while let Ok(record) = records.try_recv() {
            if batch.len() < BATCH_MAX {
                batch.push(record);
            }
        }
        for record in batch {
            if allowances.take(&record.uid, record.at.as_second()) {
                write(&client, &mut recorder, &record).await;
            }
        }
    }
}

async fn write(client: &Client, recorder: &mut Recorder, record: &Record) {
    let regarding = record.pod();
    let happening = Happening {
        at: record.at,
        regarding: &regarding,
        field: &record.field,
        event_type: if record.warning { "Warning" } else { "Normal" },
        reason: record.reason,
        message: &record.message,
    };
    let mut answer = request::call(client, recorder.record(&happening)).await;
    if answer.as_ref().is_err_and(request::Error::is_not_found) {
        recorder.forget(&happening);
        answer = request::call(client, recorder.record(&happening)).await;
    }
    if let Err(error) = answer {
        // As a rule the namespace is on its way out.
        recorder.forget(&happening);
        debug!(%error, pod = record.name, reason = record.reason, "an Event was not recorded");
    }
}

/// How many more Events each Pod may have: by UID, what is left, and when it was counted.
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
    fn a_pod_that_fails_on_and_on_has_an_event_in_five_minutes() {
        let mut allowances = Allowances::default();
        let taken = (0..100)
            .filter(|second| allowances.take("a", *second))
            .count();
        assert_eq!(taken, 25);
        assert!(allowances.take("b", 100), "each Pod has its own");
        let later = (300..900)
            .filter(|second| allowances.take("a", *second))
            .count();
        assert_eq!(later, 2);
    }
}
