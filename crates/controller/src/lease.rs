//! Leader election among several processes of one role, by a Lease as client-go does it: who
//! holds it renews it; who does not waits until it has not been renewed for its duration.
//!
//! Every process that runs controllers asks for the lead. The embedded one never gives it up, so
//! that controllers started beside it stand by.

use std::time::{Duration, Instant};

use api::object::ObjectExt;
use api::world::LEASE;
use http::Method;
use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};

use crate::request::{self, Error, Request, path};
use crate::watch::chain;

/// Which Lease, and how long it holds.
#[derive(Clone, Debug)]
pub struct Config {
    /// The namespace of the Lease.
    pub namespace: String,
    /// The name of the Lease.
    pub name: String,
    /// Who asks: different for every process.
    pub identity: String,
    /// Others may take over after the Lease has not been renewed for so long.
    pub duration: Duration,
    /// The holder gives up when it could not renew for so long; shorter than `duration`.
    pub renew_deadline: Duration,
    /// Between attempts to take or renew.
    pub retry_period: Duration,
}

impl Config {
    /// Knative's durations: 60, 40 and 10 seconds.
    pub fn new(namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity: identity.to_owned(),
            duration: Duration::from_secs(60),
            renew_deadline: Duration::from_secs(40),
            retry_period: Duration::from_secs(10),
        }
    }
}

/// Waits until this process leads, then runs `work`, which is dropped when the lead is lost:
/// the process should end then, since others act in its place. Answers the outcome of `work`,
/// or `None` when the lead was lost. A work that ends gives the Lease back.
pub async fn lead<T>(client: &Client, config: &Config, work: impl Future<Output = T>) -> Option<T> {
    let mut candidate = Candidate::new(client, config);
    while !candidate.attempt().await {
        tokio::time::sleep(config.retry_period).await;
    }
    tracing::info!(name = config.name, identity = config.identity, "leading");
    let outcome = tokio::select! {
        outcome = work => Some(outcome),
        () = candidate.renew() => None,
    };
    if outcome.is_some() {
        candidate.release().await;
    } else {
        tracing::error!(name = config.name, "the lead is lost");
    }
    outcome
}

struct Candidate<'a> {
    client: &'a Client,
    config: &'a Config,
    /// Another's Lease as last seen, and since when by our own clock: clocks of two machines are
    /// not compared.
    seen: Option<(Value, Instant)>,
    renewed: Instant,
}

impl<'a> Candidate<'a> {
    fn new(client: &'a Client, config: &'a Config) -> Self {
        let renewed = Instant::now();
        Self {
            client,
            config,
            seen: None,
            renewed,
        }
    }

    /// Takes or renews the Lease; answers whether it is ours.
    async fn attempt(&mut self) -> bool {
        match self.take_or_renew().await {
            Ok(ours) => ours,
            Err(error) => {
                tracing::warn!(name = self.config.name, error = %chain(&error), "no lease");
                false
            }
        }
    }

    /// Returns when the Lease could not be renewed in time.
    async fn renew(&mut self) {
        loop {
            tokio::time::sleep(self.config.retry_period).await;
            let left = self
                .config
                .renew_deadline
                .saturating_sub(self.renewed.elapsed());
            let renewed = tokio::time::timeout(left, self.attempt()).await;
            if renewed != Ok(true) && self.renewed.elapsed() >= self.config.renew_deadline {
                return;
            }
        }
    }

    async fn take_or_renew(&mut self) -> Result<bool, Error> {
        let attempted = Instant::now();
        let present = match self.read().await {
            Ok(lease) => lease,
            Err(error) if error.is_not_found() => {
                let (method, name) = (Method::POST, "");
                let lease = json!({
                    "apiVersion": LEASE.api_version(),
                    "kind": LEASE.kind,
                    "metadata": {"namespace": self.config.namespace, "name": self.config.name},
                });
                return self.write(method, name, self.held(lease), attempted).await;
            }
            Err(error) => return Err(error),
        };
        let holder = present["spec"]["holderIdentity"].as_str();
        let held_by_other = holder.is_some_and(|h| !h.is_empty() && h != self.config.identity);
        if held_by_other && self.seen.is_none() {
            tracing::warn!(
                name = self.config.name,
                holder,
                "another leads; this one stands by"
            );
        }
        if held_by_other && !self.has_expired(&present) {
            return Ok(false);
        }
        let lease = self.held(present);
        let name = self.config.name.clone();
        self.write(Method::PUT, &name, lease, attempted).await
    }

    /// Whether another's Lease has stayed as it is for its whole duration.
    fn has_expired(&mut self, lease: &Value) -> bool {
        let since = match &self.seen {
            Some((seen, since)) if seen["spec"] == lease["spec"] => *since,
            _ => {
                let now = Instant::now();
                self.seen = Some((lease.clone(), now));
                now
            }
        };
        let seconds = lease["spec"]["leaseDurationSeconds"].as_u64();
        let duration = seconds.map_or(self.config.duration, Duration::from_secs);
        since.elapsed() >= duration
    }

    /// The Lease, held by us from now on.
    fn held(&self, mut lease: Value) -> Value {
        let now = Timestamp::now().strftime("%FT%T.%6fZ").to_string();
        let spec = &mut lease["spec"];
        if spec["holderIdentity"].as_str() != Some(self.config.identity.as_str()) {
            let transitions = spec["leaseTransitions"].as_i64();
            spec["leaseTransitions"] = json!(transitions.map_or(0, |count| count + 1));
            spec["acquireTime"] = json!(now);
        }
        spec["holderIdentity"] = json!(self.config.identity);
        spec["leaseDurationSeconds"] = json!(self.config.duration.as_secs().max(1));
        spec["renewTime"] = json!(now);
        lease
    }

    async fn release(&self) {
        let Ok(mut lease) = self.read().await else {
            return;
        };
        if lease["spec"]["holderIdentity"].as_str() != Some(self.config.identity.as_str()) {
            return;
        }
        lease["spec"]["holderIdentity"] = json!("");
        lease["spec"]["leaseDurationSeconds"] = json!(1);
        let uri = path(LEASE, lease.namespace(), lease.name(), "");
        let request = Request::json(Method::PUT, uri, lease.to_string());
        if let Err(error) = request::call(self.client, request).await {
            // It expires by itself.
            tracing::debug!(error = %chain(&error), "the lease was not given back");
        }
    }

    async fn read(&self) -> Result<Value, Error> {
        let (namespace, name) = (&self.config.namespace, &self.config.name);
        let uri = path(LEASE, namespace, name, "");
        let answer = request::call(self.client, Request::get(uri)).await?;
        Ok(serde_json::from_slice(&answer)?)
    }

    /// Writes the Lease; a conflict means somebody else was quicker.
    async fn write(
        &mut self,
        method: Method,
        name: &str,
        lease: Value,
        attempted: Instant,
    ) -> Result<bool, Error> {
        let uri = path(LEASE, &self.config.namespace, name, "");
        let request = Request::json(method, uri, lease.to_string());
        match request::call(self.client, request).await {
            Ok(_) => {
                self.renewed = attempted;
                Ok(true)
            }
            Err(error) if error.is_conflict() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
