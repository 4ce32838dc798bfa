//! What a Pod stands on before its containers start: network and volumes.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use super::fields::Facts;
use super::step::Input;
use super::worker::{Message, Worker};
use crate::cluster::Source;
use crate::net::PodNet;
use crate::node::Shared;
use crate::volume::{Maker, Volumes};

/// Network and volumes.
pub(crate) struct Ground {
    net: Option<PodNet>,
    volumes: Volumes,
}

/// Why there is no ground; a network that was had is kept for the next attempt.
pub(crate) struct Failure {
    net: Option<PodNet>,
    /// Reason of the Event.
    event: &'static str,
    message: String,
}

/// Everything the ground is made from, by value.
pub(super) struct Place {
    shared: Arc<Shared>,
    pod: Arc<Pod>,
    facts: Facts,
    net: Option<PodNet>,
    host_network: bool,
    /// Held while volumes are written, from the reading of what goes into them.
    writing: Arc<tokio::sync::Mutex<()>>,
}

impl Place {
    fn maker(&self) -> Maker<'_> {
        Maker {
            data_dir: &self.shared.config.data_dir,
            pod: &self.pod,
            facts: &self.facts,
            cluster: &*self.shared.config.cluster,
        }
    }

    /// Whether a volume shows something of `source`.
    pub(super) fn draws_on(&self, source: &Source) -> bool {
        self.maker().draws_on(source)
    }

    async fn make(mut self) -> Result<Ground, Failure> {
        if self.net.is_none() && !self.host_network {
            match self.shared.network.take().await {
                Ok(net) => self.net = Some(net),
                Err(error) => {
                    return Err(Failure {
                        net: None,
                        event: "FailedCreatePodSandBox",
                        message: format!(
                            "Failed to create pod sandbox: failed to set up network: {error}"
                        ),
                    });
                }
            }
        }
        if let Some(net) = &self.net {
            self.facts.pod_ip = net.ip().to_string();
        }
        let _one = self.writing.lock().await;
        match self.maker().make().await {
            Ok(volumes) => Ok(Ground {
                net: self.net,
                volumes,
            }),
            Err(error) => Err(Failure {
                event: "FailedMount",
                message: error.to_string(),
                net: self.net,
            }),
        }
    }
}

/// Brings volumes up to date, in the background.
pub(super) async fn refresh(place: Place, source: Option<Source>) {
    let _one = place.writing.lock().await;
    if let Err(error) = place.maker().refresh(source.as_ref()).await {
        tracing::warn!(%error, "a volume could not be brought up to date");
    }
}

impl Worker {
    pub(super) fn ground_place(&self) -> Place {
        Place {
            shared: Arc::clone(&self.shared),
            pod: Arc::clone(self.machine.pod()),
            facts: self.facts.clone(),
            net: self.net.clone(),
            host_network: self.is_host_network(),
            writing: Arc::clone(&self.writing),
        }
    }

    pub(super) fn prepare_ground(&mut self) {
        let place = self.ground_place();
        self.go(async move { Message::Grounded(place.make().await) });
    }

    pub(super) fn renew_in(&self) -> Option<Duration> {
        self.ground_place().maker().renew_in()
    }

    pub(super) fn grounded(&mut self, outcome: Result<Ground, Failure>) {
        match outcome {
            Ok(ground) => {
                self.volumes = Arc::new(ground.volumes);
                let ip = self.stand_on(ground.net);
                self.renew_at = self
                    .renew_in()
                    .map(|after| tokio::time::Instant::now() + after);
                self.feed(Input::Prepared { ip });
            }
            Err(failure) => {
                self.net = failure.net;
                let reason = "ContainerCreating";
                self.feed(Input::PrepareFailed {
                    event: failure.event,
                    reason,
                    message: failure.message,
                });
            }
        }
    }

    /// Takes the network, or the machine's for a Pod that wants it, and gives the address.
    pub(super) fn stand_on(&mut self, net: Option<PodNet>) -> Ipv4Addr {
        let host = self.shared.network.gateway();
        let ip = net.as_ref().map_or(host, PodNet::ip);
        self.directory
            .set_network(net.clone(), self.is_host_network());
        self.net = net;
        self.facts.pod_ip = ip.to_string();
        ip
    }

    pub(super) fn pod_ip(&self) -> IpAddr {
        let ip = self.facts.pod_ip.parse();
        ip.unwrap_or_else(|_| IpAddr::V4(self.shared.network.gateway()))
    }
}
