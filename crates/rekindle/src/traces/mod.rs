//! Traces leave the process: `tracing-protocol`, `tracing-endpoint` and `tracing-sampling-rate` of
//! the ConfigMap `config-observability`, followed while they change. The gateway makes the spans, as
//! Serving's ConfigMap has it, and the broker, as Eventing's has it; `otlp` writes them, `send`
//! carries them off. Joined by `wire`.

pub(crate) mod otlp;
pub(crate) mod send;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::api::config::{self, Observability};
use ::api::world::{CONFIG_MAP, Context, Key, World};
use anyhow::Result;
use broker::Connect;
use controller::Observer;
use node::Node;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use trace::Tracer;
use tracing::warn;

use crate::events::{ByService, Events};
use send::{Endpoint, TRACES, WAITING_MAX};

/// What waits when the process ends has so long to be sent.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Whose requests are traced.
#[derive(Clone, Copy, Debug)]
struct Part {
    /// The observer's name.
    name: &'static str,
    /// Where its ConfigMap is.
    namespace: &'static str,
}

/// The gateway and the queue-proxies.
const SERVING: Part = Part {
    name: "Traces",
    namespace: config::SYSTEM_NAMESPACE,
};
/// The broker.
const EVENTING: Part = Part {
    name: "EventTraces",
    namespace: config::eventing::SYSTEM_NAMESPACE,
};

/// An exporter of a process; a cheap handle.
#[derive(Clone)]
pub(crate) struct Traces(Arc<Shared>);

struct Shared {
    part: Part,
    tracer: Tracer,
    connect: Arc<dyn Connect>,
    /// Where spans are sent from.
    runtime: Handle,
    current: Mutex<Current>,
}

/// What holds at this time.
#[derive(Default)]
struct Current {
    settings: Option<Settings>,
    exporter: Option<JoinHandle<()>>,
}

/// The part of the ConfigMap that is for traces.
#[derive(Clone, PartialEq, Debug)]
struct Settings {
    protocol: String,
    endpoint: String,
    rate: f64,
}

/// Those of requests and those of events, as far as this process serves any.
pub(crate) fn all(
    node: Option<&Node>,
    requests: Tracer,
    events: Option<&Events>,
    context: &Context,
) -> Vec<Traces> {
    let Some(node) = node else {
        return Vec::new();
    };
    let events = events.map(|events| (EVENTING, events.tracer()));
    let parts = [(SERVING, requests)].into_iter().chain(events);
    parts
        .map(|(part, tracer)| Traces::beside(node, part, tracer, context))
        .collect()
}

impl Traces {
    /// Nothing is traced yet. Spans are sent on the runtime of the caller, to a collector outside
    /// or to one behind a Service that `node` knows.
    fn beside(node: &Node, part: Part, tracer: Tracer, context: &Context) -> Self {
        let services = node.services().clone();
        Self(Arc::new(Shared {
            part,
            tracer,
            connect: Arc::new(ByService::new(services, &context.cluster_domain)),
            runtime: Handle::current(),
            current: Mutex::default(),
        }))
    }

    /// Follows the ConfigMap. What it says wrongly changes nothing.
    pub(crate) fn observer(&self) -> Observer {
        let traces = self.clone();
        let observe = move |_: &Context, key: &Key, world: &World| {
            let is_ours = *key.namespace == *traces.0.part.namespace;
            if !is_ours || key.name != Observability::NAME {
                return;
            }
            let map = world.get(CONFIG_MAP, &key.namespace, &key.name);
            let said = map.map_or_else(
                || Ok(Observability::default()),
                |map| Observability::parse(&config::data_of(&map)),
            );
            match said {
                Ok(said) => traces.configure(said),
                Err(error) => warn!(%error, "config-observability: the last good one holds"),
            }
        };
        Observer {
            name: self.0.part.name,
            root: CONFIG_MAP,
            watches: &[],
            observe: Box::new(observe),
        }
    }

    fn configure(&self, said: Observability) {
        let settings = Settings {
            protocol: said.tracing_protocol,
            endpoint: said.tracing_endpoint,
            rate: said.tracing_sampling_rate,
        };
        let mut current = self.current();
        if current.settings.as_ref() == Some(&settings) {
            return;
        }
        match endpoint(&settings) {
            Ok(None) => self.0.tracer.stop(),
            Ok(Some(endpoint)) => {
                let (sink, spans) = mpsc::channel(WAITING_MAX);
                let connect = Arc::clone(&self.0.connect);
                let exporter = send::export(spans, endpoint, connect);
                // The one before ends when its spans are sent.
                current.exporter = Some(self.0.runtime.spawn(exporter));
                // A full channel: the collector is slow or away, and its spans are the price.
                let sink = Box::new(move |span| drop(sink.try_send(span)));
                self.0.tracer.start(settings.rate, sink);
            }
            Err(error) => {
                warn!(%error, "nothing is traced: config-observability, tracing-endpoint");
                self.0.tracer.stop();
            }
        }
        current.settings = Some(settings);
    }

    /// Traces nothing more and sends what waits, but not for long.
    pub(crate) async fn stop(&self) {
        self.0.tracer.stop();
        let exporter = self.current().exporter.take();
        if let Some(exporter) = exporter {
            // Late spans are lost with the process.
            let _ = tokio::time::timeout(FLUSH_TIMEOUT, exporter).await;
        }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Current> {
        let current = &self.0.current;
        current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn endpoint(settings: &Settings) -> Result<Option<Endpoint>> {
    let protocol = send::protocol(&settings.protocol)?;
    protocol
        .map(|protocol| Endpoint::parse(protocol, &settings.endpoint, TRACES))
        .transpose()
}
