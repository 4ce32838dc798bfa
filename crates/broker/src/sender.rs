//! Sends events to addresses: those of this broker without a socket, all others through `client`.
//! Used by consumers, handlers and sources.

use std::sync::{Arc, Weak};
use std::time::Duration;

use api::delivery::{Endpoint, Key};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use tracing::warn;

use crate::answer::Answer;
use crate::client::{Client, Failure, Target};
use crate::ingress::Door;
use crate::tokens::Tokens;

/// See the module. Cheap to copy.
#[derive(Clone)]
pub(crate) struct Sender {
    client: Arc<Client>,
    tokens: Arc<dyn Tokens>,
    /// The door owns handlers, which own senders.
    door: Weak<Door>,
}

/// Where to send, found out once.
pub(crate) struct Address {
    endpoint: Endpoint,
    /// Whose token goes with each request.
    account: Option<String>,
    target: Result<Target, String>,
}

impl Address {
    /// As it was given.
    pub(crate) fn url(&self) -> &str {
        &self.endpoint.url
    }
}

impl Sender {
    pub(crate) fn new(client: Client, tokens: Arc<dyn Tokens>, door: &Arc<Door>) -> Self {
        Self {
            client: Arc::new(client),
            tokens,
            door: Arc::downgrade(door),
        }
    }

    /// From now on those who descend from the PEM certificates of `pem` are believed; `None`
    /// takes back what `key` said.
    pub(crate) fn trust(&self, key: Key, pem: Option<Arc<str>>) {
        self.client.trust(key, pem);
    }

    /// What is needed to send to `endpoint` as `account` (`NAMESPACE/NAME`).
    pub(crate) fn address(&self, endpoint: &Endpoint, account: Option<&str>) -> Address {
        let target = self.client.target(endpoint).map_err(|error| {
            warn!(%error, "an address cannot be sent to");
            error.to_string()
        });
        Address {
            endpoint: endpoint.clone(),
            account: account.map(str::to_owned),
            target,
        }
    }

    /// Posts and reads the whole answer.
    pub(crate) async fn post(
        &self,
        address: &Address,
        mut headers: HeaderMap,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Answer, Failure> {
        self.identify(address, &mut headers).await?;
        let target = address
            .target
            .as_ref()
            .map_err(|error| Failure::Unreachable(error.clone()))?;
        let uri = target.uri();
        let host = uri.host().unwrap_or_default();
        match self
            .door
            .upgrade()
            .filter(|door| door.is_own(host, uri.path()))
        {
            Some(door) => {
                let posted = door.post(host, uri.path(), &headers, body);
                tokio::time::timeout(timeout, posted)
                    .await
                    .map_err(|_| Failure::Timeout(timeout))
            }
            None => target.post(headers, body, timeout).await,
        }
    }

    /// Adds a token where the receiver has an audience and the sender a name.
    async fn identify(&self, address: &Address, headers: &mut HeaderMap) -> Result<(), Failure> {
        let (Some(audience), Some(account)) = (&address.endpoint.audience, &address.account) else {
            return Ok(());
        };
        let refused = |reason: String| Failure::Token {
            audience: audience.clone(),
            reason,
        };
        let token = self
            .tokens
            .issue(account, audience)
            .await
            .map_err(refused)?;
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        let value = value.map_err(|error| refused(error.to_string()))?;
        headers.insert(AUTHORIZATION, value);
        Ok(())
    }
}
