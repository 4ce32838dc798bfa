//! What a kubelet does for its node to be known: registers the Node object, again when somebody
//! deletes it, and renews the Node's Lease. Started by `wire`.

use std::time::Duration;

use ::api::object::ObjectExt;
use ::api::world::{LEASE, NODE};
use anyhow::{Context as _, Result};
use controller::request::{self, Error, Request};
use controller::watch::{Update, watch};
use futures_util::StreamExt;
use http::Method;
use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use stdx::Backoff;
use tracing::{debug, warn};

/// Where the Leases of nodes are.
const LEASES: &str = "kube-node-lease";
/// A node whose Lease is older is taken for lost; the kubelet's default.
const LEASE_S: u32 = 40;
/// Between renewals: a quarter of that, as the kubelet has it.
const RENEWAL: Duration = Duration::from_secs(10);
/// Between attempts to write the node's state.
const PAUSES: Backoff = Backoff {
    base: Duration::from_millis(100),
    max: Duration::from_secs(10),
};
const MERGE: &str = "application/merge-patch+json";

/// The Node object of a name, as it is at a time (RFC 3339).
pub(crate) type Describe = Box<dyn Fn(&str, &str) -> Value + Send + Sync>;

/// See the module.
pub(crate) struct Registration {
    client: Client,
    name: String,
    describe: Describe,
}

impl Registration {
    pub(crate) fn new(client: &Client, name: &str, describe: Describe) -> Self {
        Self {
            client: client.clone(),
            name: name.to_owned(),
            describe,
        }
    }

    /// Registers the node and keeps it registered from now on.
    pub(crate) async fn begin(self) -> Result<()> {
        self.register().await?;
        tokio::spawn(self.keep());
        Ok(())
    }

    /// Writes the Node object, as it is since this start. A store that takes no writes, say on a
    /// full disk, is told later: reading and running what runs need no fresh heartbeat.
    async fn register(&self) -> Result<()> {
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let object = (self.describe)(&self.name, &now);
        let path = |name, part| request::path(NODE, "", name, part);
        let created = Request::json(Method::POST, path("", ""), object.to_string());
        match request::call(&self.client, created).await {
            Err(error) if !error.is_conflict() => return Err(error).context("register the node"),
            _ => {}
        }
        let status = Request {
            method: Method::PATCH,
            uri: path(&self.name, "status"),
            body: json!({"status": object["status"]}).to_string().into(),
            content_type: MERGE,
        };
        match request::call(&self.client, status.clone()).await {
            Err(error) if error.is_rejected() => Err(error).context("report the node's state"),
            Err(error) => {
                warn!(%error, "the node's state could not be written, trying again");
                tokio::spawn(write_later(self.client.clone(), status));
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    async fn keep(self) {
        let mut nodes = Box::pin(watch(self.client.clone(), NODE));
        let mut renewal = tokio::time::interval(RENEWAL);
        renewal.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = renewal.tick() => {}
                Some(update) = nodes.next() => if !self.is_gone(&update) {
                    continue;
                },
            }
            if let Err(error) = self.renew().await {
                debug!(error = %format!("{error:#}"), "the node's lease was not renewed");
            }
        }
    }

    fn is_gone(&self, update: &Update) -> bool {
        let Update::Gone(object) = update else {
            return false;
        };
        serde_json::from_slice::<Value>(object).is_ok_and(|node| node.name() == self.name)
    }

    /// Renews the Lease; a Node that is not there is registered first.
    async fn renew(&self) -> Result<()> {
        let found = self.find_node().await;
        let node = match found {
            Err(error) if error.is_not_found() => {
                self.register().await?;
                self.find_node().await
            }
            found => found,
        };
        let node = node.context("read the Node")?;
        let time = Timestamp::now().strftime("%FT%T.%6fZ").to_string();
        let spec = json!({
            "holderIdentity": self.name, "leaseDurationSeconds": LEASE_S, "renewTime": time,
        });
        let renewed = Request {
            content_type: MERGE,
            ..Request::json(
                Method::PATCH,
                request::path(LEASE, LEASES, &self.name, ""),
                json!({"spec": spec}).to_string(),
            )
        };
        match request::call(&self.client, renewed).await {
            Err(error) if error.is_not_found() => {}
            answer => return answer.map(drop).context("renew the Lease"),
        }
        let lease = json!({
            "apiVersion": LEASE.api_version(),
            "kind": LEASE.kind,
            "metadata": {
                "name": self.name,
                "namespace": LEASES,
                // The Lease goes with the Node.
                "ownerReferences": [{
                    "apiVersion": NODE.api_version(), "kind": NODE.kind,
                    "name": self.name, "uid": node.uid(),
                }],
            },
            "spec": spec,
        });
        let uri = request::path(LEASE, LEASES, "", "");
        let made = Request::json(Method::POST, uri, lease.to_string());
        let made = request::call(&self.client, made).await;
        made.map(drop).context("make the Lease")
    }

    async fn find_node(&self) -> Result<Value, Error> {
        let uri = request::path(NODE, "", &self.name, "");
        let answer = request::call(&self.client, Request::get(uri)).await?;
        Ok(serde_json::from_slice(&answer)?)
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
