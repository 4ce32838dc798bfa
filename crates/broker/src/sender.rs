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
use crate::client::{Client, Failure, Target, lines};
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

    fn target(&self) -> Result<&Target, Failure> {
        self.target
            .as_ref()
            .map_err(|error| Failure::Unreachable(error.clone()))
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

    /// Closes connections that have been idle for long. To be called now and then.
    pub(crate) fn tidy(&self) {
        self.client.tidy();
    }

    /// Whether what is sent to `address` goes over the network and needs no token: then it can be
    /// [`Sender::send`].
    pub(crate) fn is_plain(&self, address: &Address) -> bool {
        let is_known = address.endpoint.audience.is_some() && address.account.is_some();
        !is_known && self.own(address).is_none()
    }

    /// Posts what is ready to be sent (see [`Sender::is_plain`]) and reads the whole answer. The head
    /// has `lines`, each with its end.
    pub(crate) async fn send(
        &self,
        address: &Address,
        lines: [&[u8]; 3],
        body: &[u8],
        timeout: Duration,
    ) -> Result<Answer, Failure> {
        address.target()?.post(lines, body, timeout).await
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
        let Some(door) = self.own(address) else {
            let lines = lines(&headers);
            let sent = self.send(address, [&lines, b"", b""], &body, timeout);
            return sent.await;
        };
        let uri = address.target()?.uri();
        let host = uri.host().unwrap_or_default();
        let posted = door.post(host, uri.path(), &headers, body);
        tokio::time::timeout(timeout, posted)
            .await
            .map_err(|_| Failure::Timeout(timeout))
    }

    /// The door behind which `address` is, if it is one of this broker's.
    fn own(&self, address: &Address) -> Option<Arc<Door>> {
        let uri = address.target.as_ref().ok()?.uri();
        let door = self.door.upgrade()?;
        let is_own = door.is_own(uri.host().unwrap_or_default(), uri.path());
        is_own.then_some(door)
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
