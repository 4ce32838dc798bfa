//! What makes events in this process: one task for each source object, ended when the object
//! changes or goes.

mod api_server;
mod ping;
mod timer;

use std::collections::BTreeMap;
use std::time::Duration;

use api::delivery::{Key, Source};
use cloudevents::Event;
use stdx::Backoff;
use tokio::runtime::Handle;
use tracing::warn;

pub use api_server::{Happened, NoWatches, Watches};

use crate::dispatch::{Abort, encode};
use crate::sender::{Address, Sender};

/// Attempts to send one event. There is no log before the sink: what it does not take by then is
/// lost, as with Knative's adapters, which try five times.
const ATTEMPTS: u32 = 12;
/// The waits between them: half a minute in all.
const WAITS: Backoff = Backoff {
    base: Duration::from_millis(50),
    max: Duration::from_secs(5),
};
/// One attempt; a sink at zero has to start within it.
const ATTEMPT_MAX: Duration = Duration::from_secs(120);
/// The fact that names the ServiceAccount a source sends as.
const ACCOUNT: &str = "serviceAccount";

/// Where a source's events go.
pub(crate) struct Outlet {
    sender: Sender,
    address: Address,
    extensions: BTreeMap<String, String>,
    name: String,
}

impl Outlet {
    pub(crate) fn new(sender: &Sender, key: &Key, source: &Source) -> Self {
        let account = source
            .facts
            .get(ACCOUNT)
            .and_then(|account| account.as_str());
        Self {
            address: sender.address(&source.sink, account),
            sender: sender.clone(),
            extensions: source.extensions.clone(),
            name: format!("{} {}/{}", key.kind.kind, key.namespace, key.name),
        }
    }

    /// Sends an event with the object's extensions, again and again if need be. Says whether the
    /// sink has it.
    pub(crate) async fn send(&self, mut event: Event) -> bool {
        for (name, value) in &self.extensions {
            if let Err(error) = event.set(name, value.as_str()) {
                warn!(source = %self.name, %error, "spec.ceOverrides");
            }
        }
        let (headers, body) = encode(&event, None);
        let mut last = String::new();
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(WAITS.delay(attempt - 1)).await;
            }
            let posted =
                self.sender
                    .post(&self.address, headers.clone(), body.clone(), ATTEMPT_MAX);
            last = match posted.await {
                Ok(answer) if answer.status.is_success() => return true,
                Ok(answer) if !tries_again(answer.status.as_u16()) => {
                    last = answer.status.to_string();
                    break;
                }
                Ok(answer) => answer.status.to_string(),
                Err(failure) => failure.to_string(),
            };
        }
        warn!(source = %self.name, sink = self.address.url(), reason = %last, "an event is lost");
        false
    }
}

/// As subscribers are tried again.
fn tries_again(status: u16) -> bool {
    eventing::delivery::Answer::status(status).verdict() == eventing::delivery::Verdict::TryAgain
}

/// Starts `source` on `worker`, or says why it cannot run.
pub(crate) fn start(
    worker: &Handle,
    sender: &Sender,
    key: &Key,
    source: &Source,
    watches: &dyn Watches,
) -> Result<Abort, String> {
    let outlet = Outlet::new(sender, key, source);
    let spec = &source.object["spec"];
    let task = match key.kind.kind {
        "PingSource" => worker.spawn(ping::run(ping::Ping::new(key, spec)?, outlet)),
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
