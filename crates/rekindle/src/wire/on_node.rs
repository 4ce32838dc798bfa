//! The node's part of the wiring: Pods to the node, their states and Events back, and what else
//! of the API the node follows.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::api::world::{Context, NODE};
use anyhow::{Context as _, Result};
use apiserver::ApiServer;
use controller::request::{self, Request};
use http::Method;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use node::image::{ImageStore, Puller};
use node::{News, Node, PodEvent};
use serde_json::{Value, json};
use stdx::Backoff;
use tokio::sync::mpsc;
use tracing::warn;

use super::LAUNCHER_VERB;
use crate::builtins::Parts;
use crate::cli::up::Flags;
use crate::cluster::FromApi;
use crate::kubelet::{self, Report, Runner};
use crate::pod_events::{self, Record};
use crate::{node_object, pods, services, sources};

/// Pod networks made ahead.
const NETWORKS_READY: usize = 8;
/// Containers prepared ahead.
const SPARES: usize = 4;
/// Between attempts to write the node's state.
const PAUSES: Backoff = Backoff {
    base: Duration::from_millis(100),
    max: Duration::from_secs(10),
};

/// Starts the node and joins it with the API server.
pub(super) async fn start_node(
    flags: &Flags,
    config: node::Config,
    client: &Client,
    server: &ApiServer,
    bridge_ip: IpAddr,
) -> Result<Node> {
    let name = config.node_name.clone();
    let data_dir = config.data_dir.clone();
    let (node, events) = Node::start(config).await?;
    server.set_pods(Arc::new(pods::Pods::new(node.clone())));
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let object = node_object::object(&name, bridge_ip, &flags.pod_cidr, &data_dir, &now);
    register_node(client, &name, object).await?;
    run_node(client, name, &node, events);
    Ok(node)
}

pub(super) fn node_config(
    flags: &Flags,
    data_dir: &Path,
    mut parts: Parts,
    (images, puller): (ImageStore, Puller),
    cluster: FromApi,
) -> Result<node::Config> {
    let program = std::env::current_exe().context("find this program's own file")?;
    parts.images = Some(images.clone());
    Ok(node::Config {
        data_dir: data_dir.to_owned(),
        node_name: node_object::name(),
        pod_cidr: flags.pod_cidr.parse().context("--pod-cidr")?,
        service_cidr: flags.service_cidr.parse().context("--service-cidr")?,
        bridge: flags.bridge.clone(),
        cluster_domain: Context::default().cluster_domain,
        networks_ready: NETWORKS_READY,
        spares: SPARES,
        launcher: vec![program.into(), LAUNCHER_VERB.into()],
        images,
        puller,
        builtins: Arc::new(parts),
        cluster: Arc::new(cluster),
    })
}

/// Writes the Node object, as it is since this start. A store that takes no writes, say on a full
/// disk, is told later: reading and running what runs need no fresh heartbeat.
async fn register_node(client: &Client, name: &str, object: Value) -> Result<()> {
    let path = |name, part| request::path(NODE, "", name, part);
    let body = object.to_string();
    let created = Request::json(Method::POST, path("", ""), body.clone());
    match request::call(client, created).await {
        Err(error) if !error.is_conflict() => return Err(error).context("register the node"),
        _ => {}
    }
    let status = Request {
        method: Method::PATCH,
        uri: path(name, "status"),
        body: json!({"status": object["status"]}).to_string().into(),
        content_type: "application/merge-patch+json",
    };
    match request::call(client, status.clone()).await {
        Err(error) if error.is_rejected() => Err(error).context("report the node's state"),
        Err(error) => {
            warn!(%error, "the node's state could not be written, trying again");
            tokio::spawn(write_later(client.clone(), status));
            Ok(())
        }
        Ok(_) => Ok(()),
    }
}

/// Makes the request until it succeeds.
async fn write_later(client: Client, request: Request) {
    for failed in 0.. {
        tokio::time::sleep(PAUSES.delay(failed)).await;
        if request::call(&client, request.clone()).await.is_ok() {
            return;
        }
    }
}

/// Pods to the node, their states back, Services to its network.
fn run_node(
    client: &Client,
    name: String,
    node: &Node,
    mut events: mpsc::UnboundedReceiver<PodEvent>,
) {
    let (report, reports) = mpsc::unbounded_channel();
    let (record, records) = mpsc::unbounded_channel();
    tokio::spawn(pod_events::run(client.clone(), name.clone(), records));
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            let told = match sort(event) {
                Sorted::Report(told) => report.send(*told).is_ok(),
                Sorted::Record(told) => record.send(told).is_ok(),
            };
            if !told {
                return;
            }
        }
    });
    let runner = Arc::new(OnNode(node.clone()));
    tokio::spawn(kubelet::run(client.clone(), name, runner, reports));
    let volumes = node.clone();
    tokio::spawn(sources::run(client.clone(), move |source| {
        volumes.source_changed(source);
    }));
    let table = node.services().clone();
    tokio::spawn(services::run(client.clone(), move |change| {
        table.apply(change)
    }));
}

/// News of a Pod, by who wants to know.
enum Sorted {
    Report(Box<Report>),
    Record(Record),
}

fn sort(event: PodEvent) -> Sorted {
    let PodEvent {
        namespace,
        name,
        uid,
        news,
    } = event;
    let status = match news {
        News::Status(status) => Some(*status),
        News::Gone => None,
        News::Record {
            field,
            warning,
            reason,
            message,
        } => {
            return Sorted::Record(Record {
                at: Timestamp::now(),
                namespace,
                name,
                uid,
                field,
                warning,
                reason,
                message,
            });
        }
    };
    Sorted::Report(Box::new(Report {
        namespace,
        name,
        uid,
        status,
    }))
}

struct OnNode(Node);

impl Runner for OnNode {
    fn set(&self, pod: Arc<Pod>) {
        self.0.set_pod(pod);
    }

    fn remove(&self, uid: &str) {
        self.0.remove_pod(uid);
    }

    fn retain(&self, uids: &BTreeSet<String>) {
        self.0.retain_pods(uids);
    }
}
