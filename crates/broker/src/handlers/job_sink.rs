//! JobSink: every event is the input of a Job. The same event, sent again, is the same Job.

use std::sync::Arc;

use api::delivery::Key;
use api::names::child_name;
use cloudevents::{Event, Mode};
use futures_util::future::BoxFuture;
use http::header::LOCATION;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Handler;
use crate::answer::Answer;
use crate::ingress::Guard;
use crate::jobs::{Job, JobState, Jobs};

/// Bytes of the hash in a Job's name.
const HASH_BYTES: usize = 8;
const REASON: HeaderName = HeaderName::from_static("reason");

/// See the module.
pub(crate) struct JobSink {
    guard: Arc<Guard>,
    key: Key,
    object: Arc<Value>,
    jobs: Arc<dyn Jobs>,
}

impl JobSink {
    pub(crate) fn new(
        guard: Arc<Guard>,
        key: &Key,
        object: &Arc<Value>,
        jobs: Arc<dyn Jobs>,
    ) -> Self {
        Self {
            guard,
            key: key.clone(),
            object: Arc::clone(object),
            jobs,
        }
    }

    /// The Job of the event that `source` calls `id`.
    fn job_name(&self, source: &str, id: &str) -> String {
        let mut hash = Sha256::new();
        // No source contains a byte 0, so no two events are told the same.
        hash.update(source);
        hash.update([0]);
        hash.update(id);
        let hash: String = hash.finalize()[..HASH_BYTES]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        child_name(&self.key.name, &format!("-{hash}"))
    }

    fn location(&self, source: &str, id: &str) -> String {
        let Key {
            namespace, name, ..
        } = &self.key;
        format!("/namespaces/{namespace}/name/{name}/sources/{source}/ids/{id}")
    }

    async fn start(&self, event: Event) -> Answer {
        let (source, id) = (event.source().to_owned(), event.id().to_owned());
        let job = Job {
            sink: Arc::clone(&self.object),
            namespace: self.key.namespace.to_string(),
            sink_name: self.key.name.to_string(),
            name: self.job_name(&source, &id),
            event: cloudevents::encode(&event, Mode::Structured).body,
        };
        match self.jobs.start(job).await {
            Ok(()) => located(
                Answer::empty(StatusCode::ACCEPTED),
                &self.location(&source, &id),
            ),
            Err(error) => Answer::text(StatusCode::INTERNAL_SERVER_ERROR, error),
        }
    }

    async fn look(&self, path: &str) -> Answer {
        // /namespaces/NS/name/N/sources/SOURCE/ids/ID, where a source may have slashes.
        let parts = path
            .split_once("/sources/")
            .and_then(|(_, rest)| rest.rsplit_once("/ids/"));
        let Some((source, id)) = parts else {
            return Answer::text(StatusCode::BAD_REQUEST, format!("{path} names no event"));
        };
        let state = self
            .jobs
            .state(&self.key.namespace, &self.job_name(source, id))
            .await;
        match state {
            Ok(JobState::Unknown) => {
                Answer::text(StatusCode::NOT_FOUND, "there is no Job of this event")
            }
            Ok(JobState::Running) => located(Answer::empty(StatusCode::ACCEPTED), path),
            Ok(JobState::Complete) => reasoned(StatusCode::OK, "Complete"),
            Ok(JobState::Failed) => reasoned(StatusCode::BAD_REQUEST, "Failed"),
            Err(error) => Answer::text(StatusCode::INTERNAL_SERVER_ERROR, error),
        }
    }
}

impl Handler for JobSink {
    fn guard(&self) -> Arc<Guard> {
        Arc::clone(&self.guard)
    }

    fn handle<'a>(&'a self, event: Event, _: &'a HeaderMap, _: &'a str) -> BoxFuture<'a, Answer> {
        Box::pin(self.start(event))
    }

    fn answers_get(&self) -> bool {
        true
    }

    fn get<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Answer> {
        Box::pin(self.look(path))
    }
}

fn located(mut answer: Answer, location: &str) -> Answer {
    // An ID that no header can hold has no location.
    if let Ok(location) = HeaderValue::from_str(location) {
        answer.headers.insert(LOCATION, location);
    }
    answer
}

fn reasoned(status: StatusCode, reason: &'static str) -> Answer {
    let mut answer = Answer::empty(status);
    answer
        .headers
        .insert(REASON, HeaderValue::from_static(reason));
    answer
}
