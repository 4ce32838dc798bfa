//! Metrics leave the process by OTLP: `metrics-protocol`, `metrics-endpoint` and
//! `metrics-export-interval` of Serving's ConfigMap `config-observability`, followed while they change.
//! What is sent is what the console's page shows, under Knative's own names: `page` reads it, `otlp`
//! writes it, `traces::send` carries it off. Joined by `wire`.

mod otlp;
mod page;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use ::api::config::observability::Metrics;
use ::api::config::{self, Observability, SYSTEM_NAMESPACE};
use ::api::world::{CONFIG_MAP, Context, Key, World};
use anyhow::Result;
use broker::Connect;
use bytes::Bytes;
use controller::Observer;
use node::Node;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tracing::warn;

use crate::builtins::chain;
use crate::console;
use crate::events::ByService;
use crate::traces::send::{self, Endpoint, METRICS};

/// How often metrics leave where nothing is said (OpenTelemetry's default).
const INTERVAL_DEFAULT: Duration = Duration::from_secs(60);

/// The exporter of this process.
pub(crate) struct Measures {
    page: console::Metrics,
    connect: Arc<dyn Connect>,
    /// Where metrics are sent from.
    runtime: Handle,
    current: Mutex<Option<(Metrics, Option<JoinHandle<()>>)>>,
    started_ns: u64,
}

impl Measures {
    /// Sends what `page` shows, once it is told where to: to a collector outside or to one behind a
    /// Service that `node` knows.
    pub(crate) fn beside(node: &Node, page: console::Metrics, context: &Context) -> Self {
        let services = node.services().clone();
        Self {
            page,
            connect: Arc::new(ByService::new(services, &context.cluster_domain)),
            runtime: Handle::current(),
            current: Mutex::default(),
            started_ns: now_ns(),
        }
    }

    /// Follows the ConfigMap. What it says wrongly changes nothing.
    pub(crate) fn observer(self) -> Observer {
        let observe = move |_: &Context, key: &Key, world: &World| {
            if key.namespace != SYSTEM_NAMESPACE || key.name != Observability::NAME {
                return;
            }
            let map = world.get(CONFIG_MAP, &key.namespace, &key.name);
            let said = map.map_or_else(
                || Ok(Observability::default()),
                |map| Observability::parse(&config::data_of(&map)),
            );
            // `traces` has told what is wrong.
            if let Ok(said) = said {
                self.configure(said.metrics);
            }
        };
        Observer {
            name: "Measures",
            root: CONFIG_MAP,
            watches: &[],
            observe: Box::new(observe),
        }
    }

    fn configure(&self, said: Metrics) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|(known, _)| *known == said) {
            return;
        }
        if let Some((_, Some(before))) = current.take() {
            before.abort();
        }
        let exporter = match endpoint(&said) {
            Ok(endpoint) => endpoint.map(|endpoint| self.export(endpoint, &said)),
            Err(error) => {
                warn!(%error, "no metrics are sent: config-observability, metrics-endpoint");
                None
            }
        };
        *current = Some((said, exporter));
    }

    fn export(&self, endpoint: Endpoint, said: &Metrics) -> JoinHandle<()> {
        let nanos = u64::try_from(said.export_interval).unwrap_or(0);
        let period = match nanos {
            0 => INTERVAL_DEFAULT,
            nanos => Duration::from_nanos(nanos),
        };
        let (page, connect) = (Arc::clone(&self.page), Arc::clone(&self.connect));
        let started_ns = self.started_ns;
        self.runtime.spawn(async move {
            let first = tokio::time::Instant::now() + period;
            let mut ticks = tokio::time::interval_at(first, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let families = page::read(&page());
                let body = otlp::request(&families, (started_ns, now_ns()), VERSION);
                if let Err(error) = send::send(&endpoint, &*connect, Bytes::from(body)).await {
                    let error = chain(&*error);
                    warn!(%error, "metrics are not taken: metrics-endpoint");
                }
            }
        })
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn endpoint(said: &Metrics) -> Result<Option<Endpoint>> {
    // Prometheus' page is there in any case.
    if said.protocol == "prometheus" {
        return Ok(None);
    }
    let protocol = send::protocol(&said.protocol)?;
    protocol
        .map(|protocol| Endpoint::parse(protocol, &said.endpoint, METRICS))
        .transpose()
}

/// The time since 1970.
fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}
