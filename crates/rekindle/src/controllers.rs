//! The controllers as a process of their own: all plans but the gateway's, and the autoscaler,
//! against an API server reached through a kubeconfig. One of several such processes leads.
//!
//! What they must know of the gateway is in the objects that its process makes: its ports in a
//! Service, its addresses in Endpoints. What the gateway reports comes through `stats`. Joined
//! here with the parts `wire` uses too.

use std::net::SocketAddr;
use std::time::Duration;

use ::api::bootstrap;
use ::api::config::{self, LeaderElection, SYSTEM_NAMESPACE};
use ::api::world::{CONFIG_MAP, Context, ENDPOINTS, Kind, SERVICE};
use anyhow::{Context as _, Result, bail};
use controller::request::{self, Request};
use controller::{Report, lease, record};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::certificates::Answers;
use crate::cli::controller::Flags;
use crate::node_object;
use crate::roles::Roles;
use crate::stats::{self, Door, Sink};
use crate::wire::{self, Plans, STATS_WAITING_MAX};

/// The Lease, as Knative names it: component, share, number of shares.
pub(crate) const LEASE: &str = "controller.00-of-01";
/// How often is looked whether the gateway has moved, and between attempts to reach the API server.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Runs until `end`, or until the lead is lost. `leading` is called when this process leads.
///
/// # Errors
/// When the process cannot begin, or another has taken the lead from it.
pub(crate) async fn run(
    flags: &Flags,
    leading: impl Fn(SocketAddr) -> Result<()>,
    end: impl Future<Output = ()>,
) -> Result<()> {
    let client = connect(flags).await?;
    let (_, puller) = wire::open_images(&flags.data_dir)?;
    let listener = TcpListener::bind(flags.stats_listen)
        .await
        .with_context(|| format!("--stats-listen {}: cannot listen there", flags.stats_listen))?;
    let door = Door::new(listener.local_addr()?);
    let sink = Sink::default();
    tokio::spawn(stats::serve(listener, door.token.clone(), sink.clone()));
    let identity = format!("{}_{:016x}", node_object::name(), rand::random::<u64>());
    let mut end = std::pin::pin!(end);
    let election = tokio::select! {
        election = election(&client, &identity) => election?,
        () = &mut end => return Ok(()),
    };
    let work = async {
        door.announce(&client)
            .await
            .context("announce the autoscaler")?;
        leading(door.address)?;
        loop {
            let context = look(&client).await;
            info!(?context.gateway_addresses, context.http_port, "the gateway is there");
            let (sender, reports) = mpsc::channel(STATS_WAITING_MAX);
            sink.set(Some(sender));
            let moved = has_moved(&client, &context);
            let plans = Plans {
                client: client.clone(),
                context: context.clone(),
                roles: Roles::controllers(),
                route: Box::new(drop),
                events: None,
                caught_up: None,
                record: record::start(client.clone()),
                images: puller.clone(),
                answers: Answers::default(),
                stats: Some(reports),
                report: Report::default(),
                observers: Vec::new(),
            };
            wire::run_plans(plans, moved).await;
            info!("the gateway has moved; its plans are made anew");
        }
    };
    let election = lease::lead(&client, &election, async {
        tokio::select! {
            outcome = work => outcome,
            () = &mut end => Ok(()),
        }
    });
    match election.await {
        Some(outcome) => outcome,
        None => bail!("another process leads now; this one ends, start it again to stand by"),
    }
}

async fn connect(flags: &Flags) -> Result<Client> {
    let path = flags.kubeconfig.display();
    let file = Kubeconfig::read_from(&flags.kubeconfig)
        .with_context(|| format!("--kubeconfig {path}: cannot be read"))?;
    let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .with_context(|| format!("--kubeconfig {path}"))?;
    Client::try_from(config).with_context(|| format!("--kubeconfig {path}"))
}

/// What config-leader-election says. Waits for an API server that does not answer yet.
async fn election(client: &Client, identity: &str) -> Result<lease::Config> {
    let map = loop {
        match read(client, CONFIG_MAP, SYSTEM_NAMESPACE, LeaderElection::NAME).await {
            Ok(map) => break map,
            Err(error) if error.code() == 0 => {
                warn!(error = %crate::builtins::chain(&error), "no API server yet");
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            Err(error) if error.is_not_found() => break Value::Null,
            Err(error) => return Err(error).context("read config-leader-election"),
        }
    };
    let settings = LeaderElection::parse(&config::data_of(&map))
        .with_context(|| format!("ConfigMap {SYSTEM_NAMESPACE}/{}", LeaderElection::NAME))?;
    Ok(lease::Config {
        duration: nanoseconds(settings.lease_duration),
        renew_deadline: nanoseconds(settings.renew_deadline),
        retry_period: nanoseconds(settings.retry_period),
        ..lease::Config::new(SYSTEM_NAMESPACE, LEASE, identity)
    })
}

fn nanoseconds(count: i64) -> Duration {
    Duration::from_nanos(count.unsigned_abs())
}

/// The gateway as its process has written it down; waits until it has.
async fn look(client: &Client) -> Context {
    loop {
        match gateway(client).await {
            Ok(Some(context)) => return context,
            Ok(None) => info!("waiting for a process that runs the gateway"),
            Err(error) => {
                warn!(error = %crate::builtins::chain(&error), "the gateway cannot be looked up");
            }
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Returns when the gateway is elsewhere than `context` says.
async fn has_moved(client: &Client, context: &Context) {
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        // Without an answer nothing is known to have moved.
        if let Ok(Some(seen)) = gateway(client).await
            && seen != *context
        {
            return;
        }
    }
}

async fn gateway(client: &Client) -> Result<Option<Context>, request::Error> {
    let (namespace, name) = bootstrap::PUBLIC_GATEWAY;
    let service = absent_is_none(read(client, SERVICE, namespace, name).await)?;
    let name = bootstrap::ACTIVATOR_SERVICE;
    let endpoints = absent_is_none(read(client, ENDPOINTS, SYSTEM_NAMESPACE, name).await)?;
    let found = service.zip(endpoints);
    Ok(found.map(|(service, endpoints)| Context {
        binds_pods: true,
        ..bootstrap::context_of(&service, &endpoints)
    }))
}

fn absent_is_none(read: Result<Value, request::Error>) -> Result<Option<Value>, request::Error> {
    match read {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

async fn read(
    client: &Client,
    kind: Kind,
    namespace: &str,
    name: &str,
) -> Result<Value, request::Error> {
    let uri = request::path(kind, namespace, name, "");
    let bytes = request::call(client, Request::get(uri)).await?;
    Ok(serde_json::from_slice(&bytes)?)
}
