//! Looking at dead letters, sending them again, throwing them away.

use std::sync::Arc;
use std::time::Duration;

use api::delivery::{Key, Subscriber};
use eventing::delivery::{Answer as Told, Verdict};

use crate::answer::Answer;
use crate::backend::BackendError;
use crate::broker::Broker;
use crate::dead::{DeadLetter, DeadLetters};
use crate::dispatch::{encode, forward, hand_on, reply};
use crate::record::Record;
use crate::topic::Topic;

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
    #[error("its Trigger or Subscription is gone, or has no address")]
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
    /// The subscriber took it, but its answer did not get where answers go.
    #[error("{url} took it, but its answer was not taken")]
    Reply {
        /// Where it was sent.
        url: String,
    },
    /// The log of dead letters.
    #[error(transparent)]
    Log(#[from] BackendError),
}

/// A dead letter, and who should have it.
struct Addressed {
    dead: Arc<DeadLetters>,
    topic: Arc<Topic>,
    letter: DeadLetter,
    record: Record,
    subscriber: Arc<Subscriber>,
}

impl Broker {
    /// What could not be delivered at `ingress`, the oldest first; nothing where there is no such
    /// ingress. May wait for the disk.
    pub fn dead_letters(&self, ingress: &Key) -> Result<Vec<DeadLetter>, BackendError> {
        let Some(dead) = self.dead(ingress) else {
            return Ok(Vec::new());
        };
        let mut letters = dead.list()?;
        for letter in &mut letters {
            let subscriber = self.subscriber(ingress, &letter.subscriber);
            letter.key = subscriber.map(|subscriber| subscriber.key.clone());
        }
        Ok(letters)
    }

    /// Sends dead letter `id` of `ingress` to its subscriber once more; it is one no more when that
    /// takes it. An answer goes where the subscriber's answers go. With `dry_run` it is only looked
    /// whether there is somebody to send it to.
    pub async fn resend(&self, ingress: &Key, id: u64, dry_run: bool) -> Result<(), ResendError> {
        let addressed = self.addressed(ingress, id)?;
        let subscriber = &addressed.subscriber;
        let endpoint = subscriber.target.as_ref().or(subscriber.reply.as_ref());
        let endpoint = endpoint.ok_or(ResendError::NoSubscriber)?;
        if dry_run {
            return Ok(());
        }
        let account = subscriber.service_account.as_deref();
        let address = self.sender().address(endpoint, account);
        let mut event = addressed.letter.event.clone();
        for name in EXTENSIONS {
            event.remove(name);
        }
        let (mut headers, body) = encode(&event, None);
        forward(&addressed.record, &mut headers);
        let url = endpoint.url.clone();
        let sent = self.sender().post(&address, headers, body, ATTEMPT_MAX);
        match sent.await {
            Ok(answer) if answer.status.is_success() => {
                if !self.answered(&addressed, &answer).await {
                    return Err(ResendError::Reply { url });
                }
                addressed.dead.remove(id);
                Ok(())
            }
            Ok(answer) => Err(ResendError::Refused {
                url,
                status: answer.status.as_u16(),
            }),
            Err(failure) => Err(ResendError::NoAnswer {
                url,
                reason: failure.to_string(),
            }),
        }
    }

    /// Forgets dead letter `id` of `ingress`, whoever it was for. With `dry_run` it is only looked
    /// whether it is there.
    ///
    /// # Errors
    /// [`ResendError::Unknown`], [`ResendError::Log`].
    pub fn forget_dead_letter(
        &self,
        ingress: &Key,
        id: u64,
        dry_run: bool,
    ) -> Result<(), ResendError> {
        let dead = self.dead(ingress).ok_or(ResendError::Unknown)?;
        dead.get(id)?.ok_or(ResendError::Unknown)?;
        if !dry_run {
            dead.remove(id);
        }
        Ok(())
    }

    /// Hands the event of an answer on, if there is one and it is wanted; answers whether that is
    /// done with.
    async fn answered(&self, addressed: &Addressed, answer: &Answer) -> bool {
        let subscriber = &addressed.subscriber;
        let wanted = subscriber.replies_to_ingress || subscriber.reply.is_some();
        if subscriber.target.is_none() || !wanted {
            return true;
        }
        let event = match reply(answer) {
            None => return true,
            Some(Err(_)) => return false,
            Some(Ok(event)) => event,
        };
        let told: Told = hand_on(
            self.sender(),
            &addressed.topic,
            subscriber,
            &addressed.record,
            event,
        )
        .await;
        told.verdict() == Verdict::Taken
    }

    fn addressed(&self, ingress: &Key, id: u64) -> Result<Addressed, ResendError> {
        let found = self.with_ingresses(|all| {
            let running = all.get(ingress)?;
            Some((running.dead(), Arc::clone(&running.topic)))
        });
        let (dead, topic) = found.ok_or(ResendError::Unknown)?;
        let (letter, record) = dead.get(id)?.ok_or(ResendError::Unknown)?;
        let subscriber = self
            .subscriber(ingress, &letter.subscriber)
            .ok_or(ResendError::NoSubscriber)?;
        Ok(Addressed {
            dead,
            topic,
            letter,
            record,
            subscriber,
        })
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
