//! What the broker needs of the API server: tokens of service accounts, checked and made, the Jobs
//! of JobSinks, what ApiServerSources watch, and EventTypes. Plugged in by `events`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::api::delivery::Key;
use ::api::names::event_type_seen;
use ::api::object::ObjectExt;
use ::api::world::{EVENT_TYPE, JOB, Kind, SECRET, SERVICE_ACCOUNT};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use broker::{EventTypes, Happened, Job, JobState, Jobs, Observed, Tokens, Watches};
use controller::request::{self, Request};
use controller::watch::{Update, watch};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use http::Method;
use kube::Client;
use serde_json::{Value, json};

/// How long a token is asked for.
const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);
/// A token is not used in its last minutes.
const TOKEN_MARGIN: Duration = Duration::from_secs(300);
/// How long a token that was found valid is not asked about again.
const VERDICT_LIFETIME: Duration = Duration::from_secs(60);
/// Tokens remembered; beyond it the memory begins anew.
const REMEMBERED_MAX: usize = 10_000;
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
/// Where a JobSink's containers find the event.
const EVENT_DIR: &str = "/etc/jobsink-event";
const EVENT_VOLUME: &str = "jobsink-event";

type Known = Arc<Mutex<BTreeMap<(String, String), (String, Instant)>>>;

/// See the module.
#[derive(Clone)]
pub(crate) struct EventApi {
    client: Client,
    /// Tokens by account and audience, until when they are used.
    issued: Known,
    /// Subjects by token and audience, until when they are believed.
    verified: Known,
}

impl EventApi {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            issued: Known::default(),
            verified: Known::default(),
        }
    }

    async fn ask(&self, uri: String, body: Value) -> Result<Value, String> {
        let request = Request::json(Method::POST, uri, body.to_string());
        let answer = request::call(&self.client, request).await;
        let answer = answer.map_err(|error| error.message())?;
        serde_json::from_slice(&answer).map_err(|error| error.to_string())
    }
}

fn recall(known: &Known, key: &(String, String)) -> Option<String> {
    let known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let (value, until) = known.get(key)?;
    (*until > Instant::now()).then(|| value.clone())
}

fn remember(known: &Known, key: (String, String), value: &str, lifetime: Duration) {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() >= REMEMBERED_MAX {
        known.clear();
    }
    known.insert(key, (value.to_owned(), Instant::now() + lifetime));
}

impl Tokens for EventApi {
    fn verify(&self, token: &str, audience: &str) -> BoxFuture<'static, Result<String, String>> {
        let (this, key) = (self.clone(), (token.to_owned(), audience.to_owned()));
        async move {
            if let Some(subject) = recall(&this.verified, &key) {
                return Ok(subject);
            }
            let review = json!({
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenReview",
                "spec": {"token": key.0, "audiences": [key.1]},
            });
            let answer = this.ask(REVIEWS.to_owned(), review).await?;
            let status = &answer["status"];
            let for_us = status["audiences"]
                .as_array()
                .is_some_and(|all| all.contains(&json!(key.1)));
            let subject = status["user"]["username"].as_str();
            match subject.filter(|_| status["authenticated"] == true && for_us) {
                Some(subject) => {
                    let subject = subject.to_owned();
                    remember(&this.verified, key, &subject, VERDICT_LIFETIME);
                    Ok(subject)
                }
                None => {
                    let why = status["error"].as_str().filter(|why| !why.is_empty());
                    Err(format!(
                        "the token is not valid: {}",
                        why.unwrap_or("wrong audience, signature or age")
                    ))
                }
            }
        }
        .boxed()
    }

    fn issue(&self, account: &str, audience: &str) -> BoxFuture<'static, Result<String, String>> {
        let (this, key) = (self.clone(), (account.to_owned(), audience.to_owned()));
        async move {
            if let Some(token) = recall(&this.issued, &key) {
                return Ok(token);
            }
            let (namespace, name) = key.0.split_once('/').unwrap_or(("default", &key.0));
            let wanted = json!({
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {"audiences": [key.1], "expirationSeconds": TOKEN_LIFETIME.as_secs()},
            });
            let uri = request::path(SERVICE_ACCOUNT, namespace, name, "token");
            let answer = this.ask(uri, wanted).await?;
            let token = answer["status"]["token"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            remember(&this.issued, key, &token, TOKEN_LIFETIME - TOKEN_MARGIN);
            Ok(token)
        }
        .boxed()
    }
}

impl Jobs for EventApi {
    fn start(&self, job: Job) -> BoxFuture<'static, Result<(), String>> {
        let client = self.client.clone();
        async move {
            let manifest = job_manifest(&job);
            // The Job first: the Secret belongs to it, and its Pods wait for what they mount.
            let created = create(&client, JOB, &job.namespace, &manifest).await?;
            let uid = created["metadata"]["uid"].as_str().unwrap_or_default();
            create(&client, SECRET, &job.namespace, &secret_manifest(&job, uid)).await?;
            Ok(())
        }
        .boxed()
    }

    fn state(&self, namespace: &str, name: &str) -> BoxFuture<'static, Result<JobState, String>> {
        let client = self.client.clone();
        let uri = request::path(JOB, namespace, name, "");
        async move {
            match request::call(&client, Request::get(uri)).await {
                Ok(bytes) => {
                    let job: Value =
                        serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
                    Ok(state_of(&job))
                }
                Err(error) if error.is_not_found() => Ok(JobState::Unknown),
                Err(error) => Err(error.message()),
            }
        }
        .boxed()
    }
}

impl EventTypes for EventApi {
    fn observed(&self, observed: Observed) -> BoxFuture<'static, Result<(), String>> {
        let client = self.client.clone();
        async move {
            let uri = request::path(EVENT_TYPE, &observed.ingress.namespace, "", "");
            let manifest = event_type_manifest(&observed).to_string();
            match request::call(&client, Request::json(Method::POST, uri, manifest)).await {
                Err(error) if !error.is_conflict() => Err(error.message()),
                _ => Ok(()),
            }
        }
        .boxed()
    }
}

/// An EventType as Knative makes it of an event that came by.
fn event_type_manifest(observed: &Observed) -> Value {
    let Key {
        kind,
        namespace,
        name,
    } = &observed.ingress;
    let (r#type, source) = (&observed.r#type, &observed.source);
    json!({
        "apiVersion": EVENT_TYPE.api_version(),
        "kind": EVENT_TYPE.kind,
        "metadata": {
            "name": event_type_seen(namespace, name, r#type, source),
            "namespace": &**namespace,
            "ownerReferences": [{
                "apiVersion": kind.api_version(),
                "kind": kind.kind,
                "name": &**name,
                "uid": &*observed.uid,
            }],
        },
        "spec": {
            "reference": {
                "apiVersion": kind.api_version(),
                "kind": kind.kind,
                "namespace": &**namespace,
                "name": &**name,
            },
            "description": "Event Type auto-created by controller",
            "attributes": [
                {"name": "type", "required": true, "value": r#type},
                {"name": "source", "required": true, "value": source},
                {"name": "schemadata", "required": true,
                 "value": observed.schema.as_deref().unwrap_or_default()},
                {"name": "specversion", "required": true, "value": observed.version},
                {"name": "id", "required": false},
            ],
        },
    })
}

impl Watches for EventApi {
    fn watch(
        &self,
        api_version: &str,
        kind: &str,
        plural: &str,
        namespaced: bool,
    ) -> BoxStream<'static, Happened> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let kind = Kind {
            group: interned(group),
            version: interned(version),
            kind: interned(kind),
            plural: interned(plural),
            namespaced,
        };
        let updates = watch(self.client.clone(), kind);
        let mut seen = Seen::default();
        updates
            .flat_map(move |update| stream::iter(seen.take(update)))
            .boxed()
    }
}

/// A text that lives as long as the process. There are as many as names of kinds that
/// ApiServerSources ever watched.
fn interned(text: &str) -> &'static str {
    static TEXTS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = texts.get(text) {
        return known;
    }
    let text: &'static str = Box::leak(text.to_owned().into_boxed_str());
    texts.insert(text);
    text
}

/// Tells new objects from changed ones.
#[derive(Default)]
struct Seen {
    /// Versions by UID.
    versions: BTreeMap<String, String>,
    /// While the collection is read anew: last states of what has not come again.
    unseen: BTreeMap<String, String>,
}

impl Seen {
    fn take(&mut self, update: Update) -> Vec<Happened> {
        match update {
            Update::Restarted => {
                self.unseen = self.versions.clone();
                Vec::new()
            }
            Update::Put(objects) => objects
                .iter()
                .filter_map(|object| self.put(object))
                .collect(),
            Update::Gone(object) => {
                let object: Option<Value> = serde_json::from_slice(&object).ok();
                let gone = object.filter(|object| self.versions.remove(object.uid()).is_some());
                gone.map(Happened::Deleted).into_iter().collect()
            }
            Update::Synced { .. } | Update::NotServed => {
                // What went while nobody looked is not told: its last state is not known.
                for uid in std::mem::take(&mut self.unseen).into_keys() {
                    self.versions.remove(&uid);
                }
                Vec::new()
            }
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Option<Happened> {
        let object: Value = serde_json::from_slice(bytes).ok()?;
        let (uid, version) = (
            object.uid().to_owned(),
            object.resource_version().to_owned(),
        );
        self.unseen.remove(&uid);
        match self.versions.insert(uid, version.clone()) {
            None => Some(Happened::Added(object)),
            Some(known) if known != version => Some(Happened::Updated(object)),
            Some(_) => None,
        }
    }
}

/// The object as it is now, whether it was made or was there.
async fn create(
    client: &Client,
    kind: Kind,
    namespace: &str,
    object: &Value,
) -> Result<Value, String> {
    let post = Request::json(
        Method::POST,
        request::path(kind, namespace, "", ""),
        object.to_string(),
    );
    let answer = match request::call(client, post).await {
        Err(error) if error.is_conflict() => {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            request::call(
                client,
                Request::get(request::path(kind, namespace, name, "")),
            )
            .await
        }
        answer => answer,
    };
    let answer = answer.map_err(|error| error.message())?;
    serde_json::from_slice(&answer).map_err(|error| error.to_string())
}

fn job_manifest(job: &Job) -> Value {
    let mut manifest = job.sink["spec"]["job"].clone();
    manifest["apiVersion"] = json!("batch/v1");
    manifest["kind"] = json!("Job");
    let metadata = &mut manifest["metadata"];
    metadata["name"] = json!(job.name);
    metadata["namespace"] = json!(job.namespace);
    metadata["labels"]["sinks.knative.dev/job-sink-name"] = json!(job.sink_name);
    metadata["labels"]["sinks.knative.dev/job-sink-id"] = json!(job.name);
    metadata["ownerReferences"] = json!([{
        "apiVersion": "sinks.knative.dev/v1alpha1",
        "kind": "JobSink",
        "name": job.sink_name,
        "uid": job.sink["metadata"]["uid"],
        "controller": true,
        "blockOwnerDeletion": true,
    }]);
    let pod = &mut manifest["spec"]["template"]["spec"];
    push(
        &mut pod["volumes"],
        json!({"name": EVENT_VOLUME, "secret": {"secretName": job.name}}),
    );
    for list in ["containers", "initContainers"] {
        for container in pod[list].as_array_mut().into_iter().flatten() {
            push(
                &mut container["volumeMounts"],
                json!({"name": EVENT_VOLUME, "mountPath": EVENT_DIR, "readOnly": true}),
            );
            push(
                &mut container["env"],
                json!({"name": "K_EVENT_PATH", "value": format!("{EVENT_DIR}/event")}),
            );
            let mode = "K_EXECUTION_MODE";
            let has_mode = container["env"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|env| env["name"] == mode);
            if !has_mode {
                push(
                    &mut container["env"],
                    json!({"name": mode, "value": "batch"}),
                );
            }
        }
    }
    if pod["initContainers"].is_null()
        && let Some(pod) = pod.as_object_mut()
    {
        pod.remove("initContainers");
    }
    manifest
}

fn push(list: &mut Value, item: Value) {
    match list.as_array_mut() {
        Some(list) => list.push(item),
        None => *list = json!([item]),
    }
}

fn secret_manifest(job: &Job, job_uid: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": job.name,
            "namespace": job.namespace,
            "labels": {"sinks.knative.dev/job-sink-name": job.sink_name},
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": job.name, "uid": job_uid}],
        },
        "immutable": true,
        "data": {"event": STANDARD.encode(&job.event)},
    })
}

fn state_of(job: &Value) -> JobState {
    let conditions = job["status"]["conditions"].as_array();
    let is = |kind: &str| {
        let mut all = conditions.into_iter().flatten();
        all.any(|one| one["type"] == kind && one["status"] == "True")
    };
    match (is("Complete"), is("Failed")) {
        (_, true) => JobState::Failed,
        (true, _) => JobState::Complete,
        _ => JobState::Running,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        Job {
            sink: Arc::new(json!({
                "metadata": {"uid": "u"},
                "spec": {"job": {"spec": {"template": {"spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "main", "image": "i", "env": [
                        {"name": "K_EXECUTION_MODE", "value": "batch"},
                    ]}],
                }}}}},
            })),
            namespace: "ns".to_owned(),
            sink_name: "sink".to_owned(),
            name: "sink-1".to_owned(),
            event: "{}".into(),
        }
    }

    #[test]
    fn a_job_mounts_its_event() {
        let manifest = job_manifest(&job());
        let pod = &manifest["spec"]["template"]["spec"];
        assert_eq!(pod["volumes"][0]["secret"]["secretName"], "sink-1");
        let main = &pod["containers"][0];
        assert_eq!(main["volumeMounts"][0]["mountPath"], "/etc/jobsink-event");
        let env: Vec<_> = main["env"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|env| &env["name"])
            .collect();
        assert_eq!(env, ["K_EXECUTION_MODE", "K_EVENT_PATH"]);
        assert!(pod.get("initContainers").is_none());
        assert_eq!(
            manifest["metadata"]["ownerReferences"][0]["kind"],
            "JobSink"
        );
        assert_eq!(secret_manifest(&job(), "j")["data"]["event"], "e30=");
    }

    #[test]
    fn what_was_seen_is_told_once() {
        let object = |version: &str| {
            let object = json!({"metadata": {"uid": "u", "resourceVersion": version}});
            bytes::Bytes::from(object.to_string())
        };
        let mut seen = Seen::default();
        let mut told = |update| {
            let told = seen.take(update).into_iter();
            told.map(|happened| match happened {
                Happened::Added(_) => "added",
                Happened::Updated(_) => "updated",
                Happened::Deleted(_) => "deleted",
            })
            .collect::<Vec<_>>()
        };
        assert_eq!(
            told(Update::Put(vec![object("1"), object("1"), object("2")])),
            ["added", "updated"]
        );
        told(Update::Restarted);
        assert!(told(Update::Put(vec![object("2")])).is_empty());
        assert!(told(Update::Synced { version: 2 }).is_empty());
        assert_eq!(told(Update::Gone(object("3"))), ["deleted"]);
        assert!(told(Update::Gone(object("3"))).is_empty());
    }

    #[test]
    fn conditions_say_how_far_a_job_is() {
        let of = |kind: &str| {
            state_of(&json!({"status": {"conditions": [{"type": kind, "status": "True"}]}}))
        };
        assert_eq!(of("Complete"), JobState::Complete);
        assert_eq!(of("Failed"), JobState::Failed);
        assert_eq!(of("Suspended"), JobState::Running);
    }
}
