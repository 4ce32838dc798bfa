//! Looking at dead letters and sending them again.

use std::sync::Arc;
use std::time::Duration;

use api::delivery::{Key, Subscriber};
use http::HeaderMap;

use crate::backend::BackendError;
use crate::broker::Broker;
use crate::dead::{DeadLetter, DeadLetters};
use crate::dispatch::encode;

/// One attempt.
const ATTEMPT_MAX: Duration = Duration::from_secs(60);
/// What a dead letter has that its event had not.
const EXTENSIONS: [&str; 3] = ["knativeerrordest", "knativeerrorcode", "knativeerrordata"];

/// Why a dead letter was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ResendError {
    /// It is not there.
    #[error("there is no such dead letter; it may have been sent by someone else")]
    Unknown,
    /// Nobody to send it to.
    #[error("its Trigger or Subscription is gone")]
    NoSubscriber,
    /// The subscriber answered otherwise than 2xx.
    #[error("{url} answered {status}")]
    Refused {
        /// Where it was sent.
        url: String,
        /// The status.
        status: u16,
    },
    /// No answer.
    #[error("{url}: {reason}")]
    NoAnswer {
        /// Where it was sent.
        url: String,
        /// Why.
        reason: String,
    },
    /// The log of dead letters.
    #[error(transparent)]
    Log(#[from] BackendError),
}

impl Broker {
    /// What could not be delivered at `ingress`, the oldest first; nothing where there is no such
    /// ingress. May wait for the disk.
    pub fn dead_letters(&self, ingress: &Key) -> Result<Vec<DeadLetter>, BackendError> {
        self.dead(ingress)
            .map_or(Ok(Vec::new()), |dead| dead.list())
    }

    /// Sends dead letter `id` of `ingress` to its subscriber once more; it is one no more when that
    /// takes it.
    pub async fn resend(&self, ingress: &Key, id: u64) -> Result<(), ResendError> {
        let dead = self.dead(ingress).ok_or(ResendError::Unknown)?;
        let letter = dead.get(id)?.ok_or(ResendError::Unknown)?;
        let subscriber = self
            .subscriber(ingress, &letter.subscriber)
            .ok_or(ResendError::NoSubscriber)?;
        let endpoint = subscriber.target.as_ref().or(subscriber.reply.as_ref());
        let endpoint = endpoint.ok_or(ResendError::NoSubscriber)?;
        let account = subscriber.service_account.as_deref();
        let address = self.sender().address(endpoint, account);
        let mut event = letter.event;
        for name in EXTENSIONS {
            event.remove(name);
        }
        let (headers, body): (HeaderMap, _) = encode(&event, None);
        let url = || endpoint.url.clone();
        match self
            .sender()
            .post(&address, headers, body, ATTEMPT_MAX)
            .await
        {
            Ok(answer) if answer.status.is_success() => {
                dead.remove(id);
                Ok(())
            }
            Ok(answer) => Err(ResendError::Refused {
                url: url(),
                status: answer.status.as_u16(),
            }),
            Err(failure) => Err(ResendError::NoAnswer {
                url: url(),
                reason: failure.to_string(),
            }),
        }
    }

    fn dead(&self, ingress: &Key) -> Option<Arc<DeadLetters>> {
        self.with_ingresses(|all| all.get(ingress).map(|running| running.dead()))
    }

    fn subscriber(&self, ingress: &Key, uid: &str) -> Option<Arc<Subscriber>> {
        self.with_ingresses(|all| {
            let consumer = all.get(ingress)?.dispatch.consumers().get(uid)?;
            Some(Arc::clone(consumer.spec()))
        })
    }
}
