//! The shell of the HorizontalPodAutoscaler machine (`workloads::horizontal`): measures Pods
//! through the metrics API, scales targets, writes statuses. Runs where no kube-controller-manager
//! does; speaks to the API server alone.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use api::object::ObjectExt;
use api::world::{HPA, Kind, POD};
use bytes::Bytes;
use futures_util::StreamExt;
use http::Method;
use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use stdx::Instant;
use workloads::horizontal::{Horizontal, Outcome, Seen, target, unable};

use crate::events::{Happening, Recorder};
use crate::request::{self, Error, Request, path};
use crate::watch::{Update, chain, watch};

/// How often each autoscaler looks, as kube-controller-manager does by default.
const PERIOD: Duration = Duration::from_secs(15);
/// How soon it looks again while its target is still on its way to the desired size.
const UNSETTLED: Duration = Duration::from_secs(1);

/// An autoscaler's namespace and name.
type Name = (String, String);

/// Runs all HorizontalPodAutoscalers; never ends.
pub async fn run(client: Client) {
    let mut updates = pin!(watch(client.clone(), HPA));
    let mut shell = Shell {
        client,
        origin: std::time::Instant::now(),
        recorder: Recorder::new("horizontal-pod-autoscaler", ""),
        known: BTreeMap::new(),
    };
    loop {
        let due = shell.known.values().map(|known| known.due).min();
        tokio::select! {
            Some(update) = updates.next() => shell.take(update),
            () = sleep_until(due) => shell.look().await,
        }
    }
}

async fn sleep_until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

struct Shell {
    client: Client,
    origin: std::time::Instant,
    recorder: Recorder,
    known: BTreeMap<Name, Known>,
}

struct Known {
    object: Value,
    machine: Horizontal,
    due: tokio::time::Instant,
    /// Not seen since the watch began anew.
    stale: bool,
}

impl Shell {
    fn take(&mut self, update: Update) {
        match update {
            Update::Restarted => self.known.values_mut().for_each(|known| known.stale = true),
            Update::Put(objects) => objects.iter().for_each(|object| self.put(object)),
            Update::Gone(object) => {
                if let Ok(object) = serde_json::from_slice::<Value>(&object) {
                    self.known.remove(&name_of(&object));
                }
            }
            Update::Synced { .. } => self.known.retain(|_, known| !known.stale),
            Update::NotServed => self.known.clear(),
        }
    }

    fn put(&mut self, object: &Bytes) {
        let Ok(object) = serde_json::from_slice::<Value>(object) else {
            return;
        };
        let now = tokio::time::Instant::now();
        let known = self.known.entry(name_of(&object)).or_insert_with(|| Known {
            object: Value::Null,
            machine: Horizontal::default(),
            due: now,
            stale: false,
        });
        if known.object.uid() != object.uid() {
            known.machine = Horizontal::default();
        }
        if known.object["spec"] != object["spec"] {
            known.due = now;
        }
        known.object = object;
        known.stale = false;
    }

    /// Lets every autoscaler decide that is due.
    async fn look(&mut self) {
        let now = tokio::time::Instant::now();
        let due = self.known.iter().filter(|(_, known)| known.due <= now);
        let due: Vec<Name> = due.map(|(name, _)| name.clone()).collect();
        for name in due {
            let Some(known) = self.known.get_mut(&name) else {
                continue;
            };
            let at = Instant::from_origin(self.origin.elapsed());
            let again = match sync(&self.client, &mut self.recorder, known, at).await {
                Ok(true) => UNSETTLED,
                Ok(false) => PERIOD,
                Err(error) => {
                    let (namespace, name) = &name;
                    tracing::debug!(namespace, name, error = %chain(&error), "not autoscaled");
                    PERIOD
                }
            };
            known.due = now + again;
        }
    }
}

/// One decision, carried out; answers whether to look again soon.
async fn sync(
    client: &Client,
    recorder: &mut Recorder,
    known: &mut Known,
    now: Instant,
) -> Result<bool, Error> {
    let object = &known.object;
    let (api_version, kind, name) = target(object);
    let Some(kind) = Kind::find(api_version, kind) else {
        let error = format!("no matches for kind {kind:?} in {api_version:?}");
        let status = unable(object, &error, Timestamp::now());
        return report(client, object, status).await.map(|()| false);
    };
    let at = path(kind, object.namespace(), name, "scale");
    let scale = match get(client, at.clone()).await {
        Ok(scale) => scale,
        Err(error) => {
            let status = unable(object, &error.message(), Timestamp::now());
            report(client, object, status).await?;
            return Ok(true);
        }
    };
    let (pods, usage) = measure(client, object.namespace(), &scale).await?;
    let seen = Seen {
        object,
        scale: &scale,
        pods: &pods,
        usage: &usage,
    };
    let outcome = known.machine.decide(now, Timestamp::now(), &seen);
    carry_out(client, recorder, object, &scale, at, outcome).await
}

async fn carry_out(
    client: &Client,
    recorder: &mut Recorder,
    object: &Value,
    scale: &Value,
    at: String,
    outcome: Outcome,
) -> Result<bool, Error> {
    if let Some((replicas, reason)) = outcome.rescale {
        let mut scale = scale.clone();
        scale["spec"]["replicas"] = json!(replicas);
        let put = Request::json(Method::PUT, at, scale.to_string());
        request::call(client, put).await?;
        let message = format!("New size: {replicas}; reason: {reason}");
        let now = Timestamp::now();
        let event = recorder.record(&Happening {
            at: now,
            regarding: object,
            field: "",
            event_type: "Normal",
            reason: "SuccessfulRescale",
            message: &message,
        });
        request::call(client, event).await?;
    }
    report(client, object, outcome.status).await?;
    Ok(outcome.unsettled)
}

/// Writes the status if it says anything new. A conflict is no matter: the next look repeats it.
async fn report(client: &Client, object: &Value, status: Value) -> Result<(), Error> {
    if object["status"] == status {
        return Ok(());
    }
    let uri = path(HPA, object.namespace(), object.name(), "status");
    let mut object = object.clone();
    object["status"] = status;
    let put = Request::json(Method::PUT, uri, object.to_string());
    match request::call(client, put).await {
        Err(error) if !error.is_conflict() && !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// The Pods of a scale, and what the metrics API knows of them.
async fn measure(
    client: &Client,
    namespace: &str,
    scale: &Value,
) -> Result<(Vec<Value>, BTreeMap<String, Value>), Error> {
    let selector = scale["status"]["selector"].as_str().unwrap_or_default();
    let selector: String = selector.bytes().flat_map(escaped).collect();
    let pods = format!("{}?labelSelector={selector}", path(POD, namespace, "", ""));
    let usage = format!(
        "/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods?labelSelector={selector}"
    );
    let pods = items(get(client, pods).await?);
    let usage = items(get(client, usage).await?);
    let by_name = usage.into_iter().map(|pod| (pod.name().to_owned(), pod));
    Ok((pods, by_name.collect()))
}

/// A byte of a query's value.
fn escaped(byte: u8) -> Vec<char> {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => vec![byte.into()],
        _ => format!("%{byte:02X}").chars().collect(),
    }
}

async fn get(client: &Client, uri: String) -> Result<Value, Error> {
    let bytes = request::call(client, Request::get(uri)).await?;
    Ok(serde_json::from_slice(&bytes)?)
}

fn items(mut list: Value) -> Vec<Value> {
    match list["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

fn name_of(object: &Value) -> Name {
    (object.namespace().to_owned(), object.name().to_owned())
}
