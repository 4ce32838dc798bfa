//! Addressables that answer each event themselves and keep nothing.

mod event_transform;
mod github;
mod job_sink;
mod log_sink;
mod request_reply;

use std::sync::Arc;

use api::delivery::{self, Key};
use bytes::Bytes;
use cloudevents::Event;
use futures_util::future::BoxFuture;
use http::HeaderMap;

use crate::answer::Answer;
use crate::ingress::Guard;
use crate::jobs::Jobs;
use crate::sender::Sender;
use crate::sources::Outlet;

/// One addressable. `ingress` has checked method, rights and format before it is asked.
pub(crate) trait Handler: Send + Sync {
    /// Who may post.
    fn guard(&self) -> Arc<Guard>;

    /// Answers one event, which came to `path` with `headers`.
    fn handle<'a>(
        &'a self,
        event: Event,
        headers: &'a HeaderMap,
        path: &'a str,
    ) -> BoxFuture<'a, Answer>;

    /// Answers what need not be an event, if it takes such.
    fn raw<'a>(&'a self, _: &'a HeaderMap, _: &Bytes) -> Option<BoxFuture<'a, Answer>> {
        None
    }

    /// Answers what is no event, where anyone may post, if it takes such.
    fn other<'a>(&'a self, _: &'a HeaderMap, _: &Bytes) -> Option<BoxFuture<'a, Answer>> {
        None
    }

    /// Whether it is posted to from outside: a webhook.
    fn takes_strangers(&self) -> bool {
        false
    }

    /// Whether it answers GET.
    fn answers_get(&self) -> bool {
        false
    }

    /// Answers a GET of `path`.
    fn get<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Answer> {
        let answer = Answer::text(
            http::StatusCode::NOT_FOUND,
            format!("there is nothing at {path}"),
        );
        Box::pin(std::future::ready(answer))
    }
}

/// What runs for `handler`, or why nothing can.
pub(crate) fn build(
    key: &Key,
    handler: &delivery::Handler,
    jobs: &Arc<dyn Jobs>,
    sender: &Sender,
) -> Result<Arc<dyn Handler>, String> {
    let guard = Arc::new(Guard::new(&handler.access));
    let spec = &handler.object["spec"];
    match key.kind.kind {
        "IntegrationSink" if spec["log"].is_object() => {
            Ok(Arc::new(log_sink::LogSink::new(guard, &spec["log"])))
        }
        "JobSink" => {
            let jobs = Arc::clone(jobs);
            Ok(Arc::new(job_sink::JobSink::new(
                guard,
                key,
                &handler.object,
                jobs,
            )))
        }
        "EventTransform" => {
            let built = event_transform::EventTransform::new(guard, sender, handler)?;
            Ok(Arc::new(built))
        }
        "RequestReply" => {
            let built = request_reply::RequestReply::new(guard, sender, handler)?;
            Ok(Arc::new(built))
        }
        kind => Err(format!("this broker has nothing that runs this {kind}")),
    }
}

/// What takes the posts of a source that is posted to; `None` where `source` is none of those.
pub(crate) fn of_source(
    key: &Key,
    source: &delivery::Source,
    outlet: &Outlet,
) -> Option<Result<Arc<dyn Handler>, String>> {
    (key.kind.kind == "GitHubSource").then(|| {
        let built = github::GitHub::new(source, outlet.clone())?;
        Ok(Arc::new(built) as Arc<dyn Handler>)
    })
}
