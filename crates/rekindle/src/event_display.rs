//! Knative's `event_display` as a builtin container: the sink of nearly every Eventing tutorial,
//! which prints the events it gets. `builtins` hands it to the node for Knative's image names,
//! unless the image itself is in the store.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cloudevents::{Limits, Style};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use k8s_openapi::api::core::v1::{Container, Pod};
use node::logs::{LogSink, Stream};
use node::{Builtin, BuiltinStart, RunningBuiltin};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::debug;

/// Where the image listens unless `PORT` says otherwise, as a Knative Service does.
const PORT: u16 = 8080;
/// Knative's release images are named `REGISTRY/GO-PACKAGE`.
const REGISTRY: &str = "gcr.io/knative-releases/";
const PROGRAM: &str = "/cmd/event_display";
/// Where the program lives since 2021; the packages before printed a line more.
const CURRENT_PACKAGE: &str = "knative.dev/eventing";

/// The builtin.
pub(crate) struct EventDisplay {
    style: Style,
}

/// The builtin for one of Knative's image names, whatever its tag and digest.
pub(crate) fn for_image(image: &str) -> Option<EventDisplay> {
    let name = image.split('@').next().unwrap_or_default();
    let (path, last) = name.rsplit_once('/')?;
    let last = last.split(':').next().unwrap_or_default();
    let name = format!("{path}/{last}");
    let package = name.strip_prefix(REGISTRY)?.strip_suffix(PROGRAM)?;
    let style = match package {
        CURRENT_PACKAGE => Style::Current,
        _ => Style::Validated,
    };
    Some(EventDisplay { style })
}

impl Builtin for EventDisplay {
    fn ports(&self, _: &Pod, _: &Container, env: &[(String, String)]) -> Vec<u16> {
        let port = env.iter().rev().find(|(name, _)| name == "PORT");
        vec![port.and_then(|(_, port)| port.parse().ok()).unwrap_or(PORT)]
    }

    fn start(&self, start: BuiltinStart) -> Result<Box<dyn RunningBuiltin>, String> {
        let printer = Arc::new(Printer {
            style: self.style,
            log: Mutex::new(start.log),
        });
        let mut tasks = Vec::new();
        for listener in start.listeners {
            let listener = TcpListener::from_std(listener).map_err(|error| error.to_string())?;
            tasks.push(tokio::spawn(serve(listener, Arc::clone(&printer))));
        }
        let (sender, ready) = watch::channel(true);
        Ok(Box::new(Running {
            _sender: sender,
            ready,
            tasks,
        }))
    }
}

struct Running {
    _sender: watch::Sender<bool>,
    ready: watch::Receiver<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl RunningBuiltin for Running {
    fn ready(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }

    fn stop(&mut self, _: Duration) -> BoxFuture<'static, ()> {
        self.tasks.drain(..).for_each(|task| task.abort());
        async {}.boxed()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Accepts until the task is dropped; connections at work finish their request.
async fn serve(listener: TcpListener, printer: Arc<Printer>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, as a rule: others will be closed.
                debug!(%error, "accept for event_display");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let printer = Arc::clone(&printer);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let printer = Arc::clone(&printer);
                async move { Ok::<_, Infallible>(printer.answer(request).await) }
            });
            let connections = auto::Builder::new(TokioExecutor::new());
            let connection = connections.serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                debug!(error, "a connection to event_display ended");
            }
        });
    }
}

struct Printer {
    style: Style,
    /// Locked for a whole event: its lines stay together.
    log: Mutex<LogSink>,
}

impl Printer {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        if head.uri.path() == "/healthz" {
            return respond(StatusCode::NO_CONTENT, String::new());
        }
        if head.method != Method::POST {
            let text = "send events by POST\n".to_owned();
            return respond(StatusCode::METHOD_NOT_ALLOWED, text);
        }
        let limits = Limits::default();
        let Ok(body) = Limited::new(body, limits.body_bytes_max).collect().await else {
            return respond(StatusCode::PAYLOAD_TOO_LARGE, String::new());
        };
        match cloudevents::decode(&head.headers, body.to_bytes(), &limits) {
            Ok(events) => {
                let text = events.iter().map(|e| cloudevents::display(e, self.style));
                self.print(&text.collect::<String>());
                respond(StatusCode::OK, String::new())
            }
            Err(error) => {
                let status = StatusCode::from_u16(error.status());
                respond(
                    status.unwrap_or(StatusCode::BAD_REQUEST),
                    format!("{error}\n"),
                )
            }
        }
    }

    fn print(&self, text: &str) {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        for line in text.lines() {
            log.line(Stream::Stdout, line);
        }
    }
}

fn respond(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_has_many_names() {
        let style = |image| for_image(image).map(|builtin| builtin.style);
        for image in [
            "gcr.io/knative-releases/knative.dev/eventing/cmd/event_display",
            "gcr.io/knative-releases/knative.dev/eventing/cmd/event_display:v1.2.3",
            "gcr.io/knative-releases/knative.dev/eventing/cmd/event_display@sha256:1234",
        ] {
            assert_eq!(style(image), Some(Style::Current), "{image}");
        }
        for image in [
            "gcr.io/knative-releases/github.com/knative/eventing-sources/cmd/event_display@sha256:37ace9",
            "gcr.io/knative-releases/knative.dev/eventing-contrib/cmd/event_display:latest",
        ] {
            assert_eq!(style(image), Some(Style::Validated), "{image}");
        }
        for image in [
            "event_display",
            "gcr.io/knative-releases/knative.dev/eventing/cmd/heartbeats",
            "example.com/knative.dev/eventing/cmd/event_display",
        ] {
            assert_eq!(style(image), None, "{image}");
        }
    }
}
