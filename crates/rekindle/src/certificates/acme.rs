//! Certificates of an authority that speaks ACME (RFC 8555), by the challenge http-01. The plan of
//! Certificate shows the way to the answers; `answers` gives them; this file speaks to the
//! authority, by one account, whose key is in a Secret.

use std::collections::BTreeMap;
use std::time::Duration;

use ::api::certificate::{self, CERTIFICATE, KEY, Order};
use ::api::config::SYSTEM_NAMESPACE;
use ::api::world::SECRET;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use controller::Gathered;
use controller::request::{self, Request};
use http::Method;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Identifier, NewAccount,
    NewOrder, RetryPolicy,
};
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tracing::warn;

use super::answers::Answers;
use super::https::Https;
use crate::builtins::chain;

/// The Secret of the account, in the system's namespace.
const ACCOUNT: &str = "acme-account";
/// What it holds: the account as `instant-acme` writes it, and whose account it is.
const CREDENTIALS: &str = "credentials";
const DIRECTORY: &str = "directory";
/// How long an authority may take to look, and to sign.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long challenges are believed to stand: authorities forget orders after a week.
const CHALLENGES_VALID_FOR: Duration = Duration::from_secs(3600);
/// A certificate is remembered until it is in its Secret.
const GRANTED_VALID_FOR: Duration = Duration::from_secs(10);
/// After a first failure so long passes, after each further one twice as long; authorities count.
const RETRY_FIRST: Duration = Duration::from_secs(30);
const RETRY_MAX: Duration = Duration::from_secs(3600);

/// Orders that are under way, by holder.
pub(super) struct Acme {
    client: Client,
    answers: Answers,
    pending: Mutex<BTreeMap<String, Pending>>,
}

struct Pending {
    wanted: Order,
    /// `None` while it is being tried, and after it has failed.
    order: Option<instant_acme::Order>,
    is_being_tried: bool,
    challenges: Value,
    failures: u32,
}

impl Acme {
    pub(super) fn new(client: Client, answers: Answers) -> Self {
        Self {
            client,
            answers,
            pending: Mutex::default(),
        }
    }

    /// Places the order, unless it stands; what the authority wants to see is answered for from
    /// now on.
    pub(super) async fn challenges(&self, wanted: &Order) -> Gathered {
        let mut pending = self.pending.lock().await;
        let known = pending.get(&wanted.holder);
        let known = known.filter(|known| known.wanted == *wanted);
        if let Some(standing) = known.filter(|k| k.order.is_some() || k.is_being_tried) {
            return found(standing.challenges.clone(), CHALLENGES_VALID_FOR);
        }
        let failures = known.map_or(0, |known| known.failures);
        match self.place(wanted).await {
            Ok((order, challenges)) => {
                let placed = Pending {
                    wanted: wanted.clone(),
                    order: Some(order),
                    is_being_tried: false,
                    challenges: challenges.clone(),
                    failures,
                };
                pending.insert(wanted.holder.clone(), placed);
                // Asked for again that soon, so that a new order stands when the next try is due.
                found(challenges, pause(failures) / 2)
            }
            Err(error) => {
                let failed = Pending {
                    wanted: wanted.clone(),
                    order: None,
                    is_being_tried: false,
                    challenges: Value::Null,
                    failures: failures + 1,
                };
                pending.insert(wanted.holder.clone(), failed);
                refused(&wanted.holder, &error, pause(failures))
            }
        }
    }

    /// Tells the authority to look, and gives what it signs.
    pub(super) async fn granted(&self, wanted: &Order) -> Gathered {
        let mut pending = self.pending.lock().await;
        let known = pending.get_mut(&wanted.holder);
        let Some(known) = known.filter(|known| known.wanted == *wanted) else {
            let error = anyhow!("the order is no more; another one will be placed");
            return refused(&wanted.holder, &error, RETRY_FIRST);
        };
        let (order, failures) = (known.order.take(), known.failures);
        known.is_being_tried = true;
        drop(pending);
        let granted = match order {
            Some(order) => fulfil(order, &wanted.names).await,
            None => Err(anyhow!("the order has failed; another one will be placed")),
        };
        let mut pending = self.pending.lock().await;
        match granted {
            Ok(pems) => {
                pending.remove(&wanted.holder);
                found(pems, GRANTED_VALID_FOR)
            }
            Err(error) => {
                if let Some(known) = pending.get_mut(&wanted.holder) {
                    known.failures = failures + 1;
                    known.is_being_tried = false;
                }
                refused(&wanted.holder, &error, pause(failures))
            }
        }
    }

    async fn place(&self, wanted: &Order) -> Result<(instant_acme::Order, Value)> {
        let answers = self.answers.table().context(
            "the controllers are in a process of their own, and challenges are answered in that \
             of the gateway only",
        )?;
        let account = self.account(wanted).await?;
        let names: Vec<Identifier> = wanted.names.iter().cloned().map(Identifier::Dns).collect();
        let order = account.new_order(&NewOrder::new(&names)).await;
        let mut order = order.context("the authority takes no order")?;
        let mut challenges = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.context("read an authorization")?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let host = authorization.identifier().to_string();
            let challenge = authorization
                .challenge(ChallengeType::Http01)
                .with_context(|| format!("the authority does not offer http-01 for {host}"))?;
            answers.set(&challenge.token, challenge.key_authorization().as_str());
            challenges.push(json!({"host": host, "token": challenge.token}));
        }
        Ok((order, json!({ "challenges": challenges })))
    }

    /// The account with the authority that is meant; opened where there is none.
    async fn account(&self, wanted: &Order) -> Result<Account> {
        let https = || Https::new(&wanted.roots).map(|https| Box::new(https) as _);
        let stored = self.stored().await?;
        let entry = |key| certificate::entry(&stored, key);
        if entry(DIRECTORY).as_deref() == Some(&wanted.directory)
            && let Some(text) = entry(CREDENTIALS)
        {
            let credentials: AccountCredentials =
                serde_json::from_str(&text).with_context(|| at("holds no account; delete it"))?;
            let account = Account::builder_with_http(https()?).from_credentials(credentials);
            return account.await.context("the authority does not answer");
        }
        let contact = format!("mailto:{}", wanted.email);
        let contacts = [contact.as_str()];
        let terms = NewAccount {
            contact: if wanted.email.is_empty() {
                &[]
            } else {
                &contacts
            },
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let (account, credentials) = Account::builder_with_http(https()?)
            .create(&terms, wanted.directory.clone(), None)
            .await
            .context("the authority opens no account")?;
        self.store(stored, &wanted.directory, &credentials).await?;
        Ok(account)
    }

    async fn stored(&self) -> Result<Value> {
        let uri = request::path(SECRET, SYSTEM_NAMESPACE, ACCOUNT, "");
        match request::call(&self.client, Request::get(uri)).await {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.is_not_found() => Ok(Value::Null),
            Err(error) => bail!(at(&chain(&error))),
        }
    }

    async fn store(
        &self,
        before: Value,
        directory: &str,
        credentials: &AccountCredentials,
    ) -> Result<()> {
        let text = serde_json::to_string(credentials)?;
        let data = json!({
            CREDENTIALS: STANDARD.encode(text),
            DIRECTORY: STANDARD.encode(directory),
        });
        let (method, name, mut secret) = if before.is_null() {
            let metadata = json!({"name": ACCOUNT, "namespace": SYSTEM_NAMESPACE});
            let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata});
            (Method::POST, "", secret)
        } else {
            (Method::PUT, ACCOUNT, before)
        };
        secret["data"] = data;
        let uri = request::path(SECRET, SYSTEM_NAMESPACE, name, "");
        let request = Request::json(method, uri, secret.to_string());
        let written = request::call(&self.client, request).await;
        written
            .map(drop)
            .map_err(|error| anyhow!(at(&chain(&error))))
    }
}

fn at(what: &str) -> String {
    format!("Secret {SYSTEM_NAMESPACE}/{ACCOUNT}: {what}")
}

/// Goes through with an order whose challenges are answered.
async fn fulfil(mut order: instant_acme::Order, names: &[String]) -> Result<Value> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.context("read an authorization")?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let challenge = authorization.challenge(ChallengeType::Http01);
        let mut challenge = challenge.context("the authority has taken http-01 back")?;
        challenge.set_ready().await.context("tell the authority")?;
    }
    let policy = RetryPolicy::default().timeout(PATIENCE);
    let status = order.poll_ready(&policy).await;
    let status = status.context("ask the authority what it has seen")?;
    if status == instant_acme::OrderStatus::Invalid {
        bail!(
            "the authority is not convinced: {}",
            objection(&mut order).await
        );
    }
    let key = rcgen::KeyPair::generate()?;
    let mut params = rcgen::CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    let csr = params.serialize_request(&key)?;
    order
        .finalize_csr(csr.der())
        .await
        .context("the authority does not sign")?;
    let chain = order.poll_certificate(&policy).await;
    let chain = chain.context("fetch the certificate")?;
    ensure!(!chain.is_empty(), "the authority has sent no certificate");
    Ok(json!({CERTIFICATE: chain, KEY: key.serialize_pem()}))
}

/// What the authority says is wrong.
async fn objection(order: &mut instant_acme::Order) -> String {
    let mut said = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(authorization)) = authorizations.next().await {
        let problems = authorization.challenges.iter();
        let problems = problems.filter_map(|challenge| challenge.error.as_ref());
        said.extend(problems.map(|problem| format!("{}: {problem}", authorization.identifier())));
    }
    said.join("; ")
}

fn found(value: Value, valid_for: Duration) -> Gathered {
    Gathered {
        value,
        valid_for: Some(valid_for),
    }
}

fn refused(holder: &str, error: &anyhow::Error, valid_for: Duration) -> Gathered {
    warn!(holder, "no certificate by ACME: {error:#}");
    found(json!({"error": format!("{error:#}")}), valid_for)
}

fn pause(failures: u32) -> Duration {
    RETRY_FIRST
        .saturating_mul(1 << failures.min(16))
        .min(RETRY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_an_hour() {
        assert_eq!(pause(0).as_secs(), 30);
        assert_eq!(pause(3).as_secs(), 240);
        assert_eq!(pause(40).as_secs(), 3600);
    }
}
