//! The dead letters of Brokers and channels as a subresource of the API server: listed with GET,
//! sent again with POST, thrown away with DELETE. Joined with the broker by `wire`; `cli/event/dead_letters.rs` asks.
//!
//! `…/brokers/NAME/deadletters` takes `trigger` (a name, or the UID of one that is gone), `since`
//! (RFC 3339) and `id` as filters. A POST sends the one letter of `id`, a DELETE forgets it; with
//! `dryRun=All` they only look whether that could be.

use std::sync::Arc;

use ::api::delivery::Key;
use ::api::world::{BROKER, IN_MEMORY_CHANNEL, Kind};
use apiserver::{Asked, PodError, Subresources};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use broker::{BackendError, Broker, DeadLetter, ResendError};
use cloudevents::Mode;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The subresource.
pub(crate) const SUBRESOURCE: &str = "deadletters";
/// What has dead letters.
const KINDS: [Kind; 2] = [BROKER, IN_MEMORY_CHANNEL];
/// What a dead letter has that its event had not.
const DESTINATION: &str = "knativeerrordest";
const CODE: &str = "knativeerrorcode";
const DATA: &str = "knativeerrordata";

/// See the module.
pub(crate) struct DeadLetters(pub(crate) Broker);

impl Subresources for DeadLetters {
    fn has(&self, group: &str, plural: &str, subresource: &str) -> bool {
        subresource == SUBRESOURCE && kind(group, plural).is_some()
    }

    fn answer(&self, asked: Asked) -> BoxFuture<'static, Result<Value, PodError>> {
        let broker = self.0.clone();
        async move {
            let Some(kind) = kind(&asked.group, &asked.plural) else {
                return Err(refusal(404, "it has no dead letters"));
            };
            let ingress = Key::new(kind, &asked.namespace, &asked.name);
            let wanted = Wanted::parse(&asked.query).map_err(|why| refusal(400, &why))?;
            match asked.verb {
                "get" => list(&broker, &ingress, &wanted),
                "delete" => forget(&broker, &ingress, &wanted, asked.dry_run),
                _ => resend(&broker, &ingress, &wanted, asked.dry_run).await,
            }
        }
        .boxed()
    }
}

fn kind(group: &str, plural: &str) -> Option<Kind> {
    let mut kinds = KINDS.into_iter();
    kinds.find(|kind| kind.group == group && kind.plural == plural)
}

fn refusal(code: u16, message: &str) -> PodError {
    PodError {
        code,
        message: message.to_owned(),
    }
}

/// Which letters are meant.
#[derive(Default, Debug, PartialEq)]
struct Wanted {
    id: Option<u64>,
    /// The name or the UID of a Trigger or Subscription.
    subscriber: Option<String>,
    since: Option<Timestamp>,
}

impl Wanted {
    fn parse(query: &[(String, String)]) -> Result<Self, String> {
        let mut wanted = Self::default();
        for (name, value) in query {
            match name.as_str() {
                "id" => {
                    let id = value.parse();
                    wanted.id = Some(id.map_err(|_| format!("id={value}: not a number"))?);
                }
                "trigger" | "subscription" => wanted.subscriber = Some(value.clone()),
                "since" => {
                    let since = value.parse();
                    wanted.since = Some(
                        since.map_err(|error| format!("since={value}: {error}; use RFC 3339"))?,
                    );
                }
                _ => {}
            }
        }
        Ok(wanted)
    }

    /// The one letter that is meant.
    fn one(&self) -> Result<u64, PodError> {
        let id = self.id;
        id.ok_or_else(|| refusal(400, "say which: id=NUMBER"))
    }

    fn has(&self, letter: &DeadLetter) -> bool {
        let name = letter.key.as_ref().map(|key| &*key.name);
        self.id.is_none_or(|id| id == letter.id)
            && (self.subscriber.as_deref())
                .is_none_or(|wanted| name == Some(wanted) || letter.subscriber == wanted)
            && (self.since).is_none_or(|since| letter.at.is_some_and(|at| at >= since))
    }
}

fn list(broker: &Broker, ingress: &Key, wanted: &Wanted) -> Result<Value, PodError> {
    let letters = broker.dead_letters(ingress);
    let letters = letters.map_err(|error: BackendError| refusal(500, &error.to_string()))?;
    let items = letters.iter().filter(|letter| wanted.has(letter));
    Ok(json!({
        "apiVersion": "eventing.rekindle.dev/v1alpha1",
        "kind": "DeadLetterList",
        "metadata": {},
        "items": items.map(described).collect::<Vec<_>>(),
    }))
}

async fn resend(
    broker: &Broker,
    ingress: &Key,
    wanted: &Wanted,
    dry_run: bool,
) -> Result<Value, PodError> {
    done(broker.resend(ingress, wanted.one()?, dry_run).await)
}

fn forget(
    broker: &Broker,
    ingress: &Key,
    wanted: &Wanted,
    dry_run: bool,
) -> Result<Value, PodError> {
    done(broker.forget_dead_letter(ingress, wanted.one()?, dry_run))
}

fn done(result: Result<(), ResendError>) -> Result<Value, PodError> {
    result.map_err(|error| refusal(code(&error), &error.to_string()))?;
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Status",
        "metadata": {},
        "status": "Success",
    }))
}

fn code(error: &ResendError) -> u16 {
    match error {
        ResendError::Unknown => 404,
        ResendError::NoSubscriber => 409,
        ResendError::Refused { .. } | ResendError::NoAnswer { .. } | ResendError::Reply { .. } => {
            // Clients try again by themselves on 503 and 504.
            502
        }
        ResendError::Log(_) => 500,
    }
}

/// A letter for people and programs: what happened, and the event as it was sent.
fn described(letter: &DeadLetter) -> Value {
    let mut event = letter.event.clone();
    let mut taken = |name: &str| {
        let value = event.get(name).map(|value| value.as_text().into_owned());
        event.remove(name);
        value
    };
    let (destination, code, data) = (taken(DESTINATION), taken(CODE), taken(DATA));
    let answer = data.and_then(|data| STANDARD.decode(data).ok());
    let answer = answer.map(|answer| String::from_utf8_lossy(&answer).into_owned());
    let subscriber = match &letter.key {
        Some(key) => json!({
            "kind": key.kind.kind,
            "namespace": &*key.namespace,
            "name": &*key.name,
            "uid": letter.subscriber,
        }),
        None => json!({"uid": letter.subscriber}),
    };
    let body = cloudevents::encode(&event, Mode::Structured).body;
    json!({
        "id": letter.id,
        "subscriber": subscriber,
        "givenUpAt": letter.at.map(|at| at.to_string()),
        "takenByDeadLetterSink": letter.sunk,
        "destination": destination,
        "code": code.and_then(|code| code.parse::<i64>().ok()),
        "answer": answer,
        "event": serde_json::from_slice::<Value>(&body).unwrap_or_default(),
    })
}

/// What the API server asks.
pub(crate) fn of(broker: &Broker) -> Arc<dyn Subresources> {
    Arc::new(DeadLetters(broker.clone()))
}

#[cfg(test)]
mod tests {
    use ::api::world::TRIGGER;
    use cloudevents::Event;

    use super::*;

    fn letter() -> DeadLetter {
        let mut event = Event::new("1", "/s", "t").expect("valid");
        event.set(DESTINATION, "http://nobody.ns").expect("valid");
        event.set(CODE, "500").expect("valid");
        event.set(DATA, STANDARD.encode("oh no")).expect("valid");
        DeadLetter {
            id: 7,
            subscriber: "uid".to_owned(),
            key: Some(Key::new(TRIGGER, "ns", "t")),
            at: Some(Timestamp::UNIX_EPOCH),
            sunk: false,
            event,
        }
    }

    #[test]
    fn a_letter_says_what_happened_and_holds_the_event_as_it_was() {
        let described = described(&letter());
        assert_eq!(
            described,
            json!({
                "id": 7,
                "subscriber": {"kind": "Trigger", "namespace": "ns", "name": "t", "uid": "uid"},
                "givenUpAt": "1970-01-01T00:00:00Z",
                "takenByDeadLetterSink": false,
                "destination": "http://nobody.ns",
                "code": 500,
                "answer": "oh no",
                "event": {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"},
            })
        );
    }

    #[test]
    fn filters_must_all_agree() {
        let wanted = |query: &[(&str, &str)]| {
            let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            Wanted::parse(&query.iter().map(own).collect::<Vec<_>>())
        };
        let has = |query| wanted(query).map(|wanted| wanted.has(&letter()));
        assert_eq!(has(&[]), Ok(true));
        assert_eq!(has(&[("trigger", "t"), ("id", "7")]), Ok(true));
        assert_eq!(has(&[("trigger", "uid")]), Ok(true));
        assert_eq!(has(&[("trigger", "other"), ("id", "7")]), Ok(false));
        assert_eq!(has(&[("since", "1970-01-01T00:00:00Z")]), Ok(true));
        assert_eq!(has(&[("since", "1970-01-01T00:00:01Z")]), Ok(false));
        assert_eq!(has(&[("id", "x")]), Err("id=x: not a number".to_owned()));
    }
}
