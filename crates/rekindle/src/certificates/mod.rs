//! Certificates for those whom plans decide to give one: by the installation's own authority
//! (`authority`), whose key is in a Secret, or by one that speaks ACME (`acme`).
//!
//! Called by `facts`; when a certificate is wanted, and where it goes, is for the plans.

mod acme;
mod answers;
mod authority;
mod https;

use std::time::Duration;

use ::api::certificate::{self, AUTHORITY, CERTIFICATE, KEY, Order, TRUST};
use ::api::config::SYSTEM_NAMESPACE;
use ::api::world::SECRET;
use anyhow::{Context as _, Result};
use controller::Gathered;
use controller::request::{self, Request};
use http::Method;
use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use self::acme::Acme;
pub(crate) use self::answers::Answers;
use self::authority::Pair;
pub(crate) use self::https::trusting;
use crate::builtins::chain;

/// A certificate is remembered until it is in its Secret; a failure so long.
const VALID_FOR: Duration = Duration::from_secs(10);

/// Gives certificates.
pub(crate) struct Issuer {
    client: Client,
    /// Held while the authority is read or made: there is to be one.
    one_at_a_time: Mutex<()>,
    acme: Acme,
}

impl Issuer {
    /// `answers` is who answers challenges in this process, if anybody does.
    pub(crate) fn new(client: Client, answers: Answers) -> Self {
        Self {
            acme: Acme::new(client.clone(), answers),
            client,
            one_at_a_time: Mutex::default(),
        }
    }

    /// A certificate of the installation's own authority.
    pub(crate) async fn issued(&self, names: &[String], lifetime_s: u64) -> Gathered {
        let value = match self.issue(names, lifetime_s).await {
            Ok(value) => value,
            Err(error) => json!({"error": format!("{error:#}")}),
        };
        Gathered {
            value,
            valid_for: Some(VALID_FOR),
        }
    }

    /// What an authority that speaks ACME wants to see.
    pub(crate) async fn challenges(&self, order: &Order) -> Gathered {
        self.acme.challenges(order).await
    }

    /// What it signs once it has seen it.
    pub(crate) async fn granted(&self, order: &Order) -> Gathered {
        self.acme.granted(order).await
    }

    async fn issue(&self, names: &[String], lifetime_s: u64) -> Result<Value> {
        let (authority, trust) = self.authority().await?;
        let lifetime = Duration::from_secs(lifetime_s);
        let leaf = authority::issue(&authority, names, Timestamp::now(), lifetime)?;
        Ok(json!({CERTIFICATE: leaf.certificate, KEY: leaf.key, TRUST: trust}))
    }

    /// The authority and whom to trust; made where there is none, and made anew when a third of its
    /// time is left. What the former has signed is trusted as long as that holds.
    async fn authority(&self) -> Result<(Pair, String)> {
        let _alone = self.one_at_a_time.lock().await;
        let stored = self.stored().await?;
        let entry = |key| certificate::entry(&stored, key);
        let now = Timestamp::now();
        let kept = entry(CERTIFICATE).zip(entry(KEY)).zip(entry(TRUST));
        let facts = kept
            .as_ref()
            .and_then(|((pem, _), _)| certificate::Facts::of_pem(pem));
        let former = match (kept, facts) {
            (Some(((certificate, key), trust)), Some(facts)) if now < facts.renew_at() => {
                return Ok((Pair { certificate, key }, trust));
            }
            (Some(((certificate, _), _)), Some(facts)) if now < facts.not_after => certificate,
            _ => String::new(),
        };
        let made = authority::make(now).context("make the installation's authority")?;
        let trust = format!("{}{former}", made.certificate);
        let pems = json!({CERTIFICATE: made.certificate, KEY: made.key, TRUST: trust});
        self.store(stored, &pems).await?;
        Ok((made, trust))
    }

    /// The Secret of the authority; null where there is none.
    async fn stored(&self) -> Result<Value> {
        let uri = request::path(SECRET, SYSTEM_NAMESPACE, AUTHORITY, "");
        match request::call(&self.client, Request::get(uri)).await {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.is_not_found() => Ok(Value::Null),
            Err(error) => Err(failed("read", &error)),
        }
    }

    async fn store(&self, before: Value, pems: &Value) -> Result<()> {
        let body = certificate::secret_body(pems);
        let (method, name, mut secret) = if before.is_null() {
            let metadata = json!({"name": AUTHORITY, "namespace": SYSTEM_NAMESPACE});
            let secret = json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": body["type"],
            });
            (Method::POST, "", secret)
        } else {
            (Method::PUT, AUTHORITY, before)
        };
        secret["data"] = body["data"].clone();
        let uri = request::path(SECRET, SYSTEM_NAMESPACE, name, "");
        let request = Request::json(method, uri, secret.to_string());
        let written = request::call(&self.client, request).await;
        written.map(drop).map_err(|error| failed("write", &error))
    }
}

fn failed(step: &str, error: &request::Error) -> anyhow::Error {
    let why = chain(error);
    anyhow::anyhow!("{step} Secret {SYSTEM_NAMESPACE}/{AUTHORITY}: {why}")
}
