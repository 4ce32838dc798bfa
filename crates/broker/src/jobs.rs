//! What a JobSink needs of the cluster. `wire` gives what speaks to the API server.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::Value;

/// One run of a JobSink.
#[derive(Clone, Debug)]
pub struct Job {
    /// The JobSink, as stored.
    pub sink: Arc<Value>,
    /// Its namespace.
    pub namespace: String,
    /// The JobSink's name.
    pub sink_name: String,
    /// The name of the Job and of the Secret with the event: the same for the same event.
    pub name: String,
    /// The event in structured JSON.
    pub event: Bytes,
}

/// How far a Job is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JobState {
    /// There is none.
    Unknown,
    /// It is not done.
    Running,
    /// It has succeeded.
    Complete,
    /// It has failed.
    Failed,
}

/// Runs Jobs.
pub trait Jobs: Send + Sync + 'static {
    /// Makes the Job and the Secret it mounts; one that is there already is left alone.
    fn start(&self, job: Job) -> BoxFuture<'static, Result<(), String>>;

    /// How far the Job of this name is.
    fn state(&self, namespace: &str, name: &str) -> BoxFuture<'static, Result<JobState, String>>;
}

/// A broker on its own runs no Jobs.
#[derive(Clone, Copy, Default, Debug)]
pub struct NoJobs;

const NOBODY: &str = "nothing runs Jobs here";

impl Jobs for NoJobs {
    fn start(&self, _: Job) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(std::future::ready(Err(NOBODY.to_owned())))
    }

    fn state(&self, _: &str, _: &str) -> BoxFuture<'static, Result<JobState, String>> {
        Box::pin(std::future::ready(Err(NOBODY.to_owned())))
    }
}
