//! The node's part of the wiring: Pods to the node, their states and Events back, and what else
//! of the API the node follows.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use ::api::world::{Context, POD};
use anyhow::{Context as _, Result};
use apiserver::ApiServer;
use controller::{Record, record};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use node::image::{self, GC_PERIOD, GcPolicy, ImageStore, Puller};
use node::{News, Node, PodEvent};
use serde_json::json;
use tokio::sync::mpsc;

use super::LAUNCHER_VERB;
use crate::builtins::Parts;
use crate::cli::up::Flags;
use crate::cluster::FromApi;
use crate::kubelet::{self, Report, Runner};
use crate::registration::Registration;
use crate::{node_object, pods, services, sources};

/// Pod networks made ahead.
const NETWORKS_READY: usize = 8;
/// Containers prepared ahead.
const SPARES: usize = 4;

/// Starts the node with its images, of which those nobody uses go when the disk runs full.
pub(super) async fn begin_node(
    flags: &Flags,
    data_dir: &Path,
    parts: Parts,
    (images, puller): (ImageStore, Puller),
    (client, server, bridge_ip): (&Client, &ApiServer, IpAddr),
) -> Result<Node> {
    tokio::spawn(image::collect(
        images.clone(),
        GcPolicy::default(),
        GC_PERIOD,
    ));
    let cluster = FromApi(client.clone());
    let config = node_config(flags, data_dir, parts, (images, puller), cluster)?;
    start_node(flags, config, client, server, bridge_ip).await
}

/// Starts the node and joins it with the API server.
async fn start_node(
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
    let pod_cidr = flags.pod_cidr.clone();
    let object = move |name: &str, now: &str| {
        node_object::object(name, bridge_ip, &pod_cidr, &data_dir, now)
    };
    Registration::new(client, &name, Box::new(object))
        .begin()
        .await?;
    run_node(client, name, &node, events);
    Ok(node)
}

fn node_config(
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

/// Pods to the node, their states back, Services to its network.
fn run_node(
    client: &Client,
    name: String,
    node: &Node,
    mut events: mpsc::UnboundedReceiver<PodEvent>,
) {
    let (report, reports) = mpsc::unbounded_channel();
    let record = record::start(client.clone());
    let host = name.clone();
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            let told = match sort(event, &host) {
                Sorted::Report(told) => report.send(*told).is_ok(),
                Sorted::Record(told) => record.send(*told).is_ok(),
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
    Record(Box<Record>),
}

fn sort(event: PodEvent, host: &str) -> Sorted {
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
            return Sorted::Record(Box::new(Record {
                at: Timestamp::now(),
                component: "kubelet".to_owned(),
                host: host.to_owned(),
                regarding: json!({
                    "apiVersion": POD.api_version(),
                    "kind": POD.kind,
                    "metadata": {"namespace": namespace, "name": name, "uid": uid},
                }),
                field,
                event_type: if warning { "Warning" } else { "Normal" },
                reason: reason.to_owned(),
                message,
            }));
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
