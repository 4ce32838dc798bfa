//! What makes events in this process: one task for each source object, ended when the object
//! changes or goes.

mod api_server;
mod ping;
mod timer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::delivery::{Access, Growth, Ingress, Key, Policy, Source, Start, Subscriber};
use cloudevents::Event;
use http::HeaderMap;
use tokio::runtime::Handle;
use tracing::warn;

pub use api_server::{Happened, NoWatches, Watches};

use crate::dispatch::Abort;
use crate::ingress;
use crate::topic::Topic;

/// Attempts to send one event after the first. Knative's adapters try five times and keep nothing;
/// here the event waits in a log: the last attempt is about an hour after the first.
const RETRIES: u32 = 16;
/// The first wait between them; each is twice the one before.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// One attempt; a sink at zero has to start within it.
const ATTEMPT_MAX: Duration = Duration::from_secs(120);
/// The fact that names the ServiceAccount a source sends as.
const ACCOUNT: &str = "serviceAccount";

/// Where a source's events go: into its log.
#[derive(Clone)]
pub(crate) struct Outlet {
    topic: Arc<Topic>,
    extensions: BTreeMap<String, String>,
    name: String,
}

/// The log of a source as an ingress that nobody can post to, with the sink as its one subscriber.
pub(crate) fn outbox(key: &Key, source: &Source) -> Ingress {
    let account = source.facts.get(ACCOUNT);
    let to_sink = Subscriber {
        uid: Arc::clone(&source.uid),
        key: key.clone(),
        filters: Vec::new(),
        target: None,
        // As it is, and without asking for an answer.
        reply: Some(source.sink.clone()),
        replies_to_ingress: false,
        policy: Policy {
            retry: RETRIES,
            backoff: Some((Growth::Exponential, FIRST_WAIT)),
            timeout: Some(ATTEMPT_MAX),
            ..Policy::default()
        },
        ordered: false,
        parallelism: 0,
        start: Start::Now,
        replay: String::new(),
        service_account: account.and_then(|account| account.as_str().map(str::to_owned)),
    };
    Ingress {
        uid: Arc::clone(&source.uid),
        hosts: Vec::new(),
        access: Access::default(),
        subscribers: vec![Arc::new(to_sink)],
        retention: None,
        bytes_max: None,
        makes_event_types: false,
    }
}

impl Outlet {
    /// Of `source`, whose log is `topic`.
    pub(crate) fn new(topic: &Arc<Topic>, key: &Key, source: &Source) -> Self {
        Self {
            topic: Arc::clone(topic),
            extensions: source.extensions.clone(),
            name: format!("{} {}/{}", key.kind.kind, key.namespace, key.name),
        }
    }

    /// Keeps an event with the object's extensions for the sink. Says whether it is kept.
    pub(crate) async fn send(&self, mut event: Event) -> bool {
        for (name, value) in &self.extensions {
            if let Err(error) = event.set(name, value.as_str()) {
                warn!(source = %self.name, %error, "spec.ceOverrides");
            }
        }
        let kept = ingress::keep(&self.topic, vec![event], &HeaderMap::new()).await;
        if kept.status.is_success() {
            return true;
        }
        let reason = String::from_utf8_lossy(&kept.body);
        warn!(source = %self.name, %reason, "an event is lost");
        false
    }
}

/// Starts `source` on `worker`, or says why it cannot run.
pub(crate) fn start(
    worker: &Handle,
    key: &Key,
    source: &Source,
    watches: &dyn Watches,
    outlet: Outlet,
) -> Result<Abort, String> {
    let spec = &source.object["spec"];
    let task = match key.kind.kind {
        "PingSource" => worker.spawn(ping::run(ping::Ping::new(key, &source.object)?, outlet)),
        "IntegrationSource" if spec["timer"].is_object() => {
            worker.spawn(timer::run(timer::Timer::new(&spec["timer"]), outlet))
        }
        "ApiServerSource" => {
            let source = api_server::ApiServer::new(source);
            let watches = source.watches(watches);
            worker.spawn(api_server::run(source, watches, outlet))
        }
        kind => return Err(format!("this broker has nothing that runs this {kind}")),
    };
    Ok(Abort(task))
}

/// A new ID of an event.
fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
