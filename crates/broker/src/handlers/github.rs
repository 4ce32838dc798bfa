//! GitHubSource: GitHub's webhook posts become events, when the secret token has signed them.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::delivery::{Access, Source};
use bytes::Bytes;
use cloudevents::Event;
use futures_util::future::BoxFuture;
use http::{HeaderMap, StatusCode};
use ring::hmac;
use serde_json::Value;

use super::Handler;
use crate::answer::Answer;
use crate::ingress::Guard;
use crate::sources::Outlet;

const TYPE_PREFIX: &str = "dev.knative.source.github.";
const DEFAULT_CONTENT_TYPE: &str = "application/json";
/// The headers of a signature and their algorithms, the better one first.
const SIGNATURES: [(&str, &str, hmac::Algorithm); 2] = [
    ("x-hub-signature-256", "sha256=", hmac::HMAC_SHA256),
    (
        "x-hub-signature",
        "sha1=",
        hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
    ),
];

/// See the module.
pub(crate) struct GitHub {
    outlet: Outlet,
    secret: String,
    source: String,
    /// Empty takes all.
    types: BTreeSet<String>,
}

impl GitHub {
    /// Of the source object and the facts its plan found out.
    pub(crate) fn new(source: &Source, outlet: Outlet) -> Result<Self, String> {
        let fact = |name: &str| source.facts.get(name).and_then(Value::as_str);
        let spec = &source.object["spec"];
        let types = spec["eventTypes"].as_array().into_iter().flatten();
        Ok(Self {
            secret: fact("secretToken")
                .ok_or("it has no secret token")?
                .to_owned(),
            source: format!(
                "https://github.com/{}",
                spec["ownerAndRepository"].as_str().unwrap_or_default()
            ),
            types: types.filter_map(Value::as_str).map(str::to_owned).collect(),
            outlet,
        })
    }

    fn event(&self, headers: &HeaderMap, body: Bytes) -> Result<Option<Event>, Box<Answer>> {
        let refuse = |status, text: &str| Box::new(Answer::text(status, text));
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let kind = header("x-github-event").ok_or_else(|| {
            refuse(
                StatusCode::BAD_REQUEST,
                "X-GitHub-Event is missing: this address is for GitHub's webhooks",
            )
        })?;
        if !self.is_signed(headers, &body) {
            let text =
                "the signature is missing or not made with the secret token of this GitHubSource";
            return Err(refuse(StatusCode::UNAUTHORIZED, text));
        }
        if !self.types.is_empty() && !self.types.contains(kind) {
            return Ok(None);
        }
        let id = header("x-github-delivery").unwrap_or_default();
        let content_type = header("content-type").unwrap_or(DEFAULT_CONTENT_TYPE);
        let mut event = Event::new(id, &self.source, &format!("{TYPE_PREFIX}{kind}"))
            .map_err(|error| refuse(StatusCode::BAD_REQUEST, &error.to_string()))?;
        event
            .set_data(content_type, body)
            .map_err(|error| refuse(StatusCode::BAD_REQUEST, &error.to_string()))?;
        Ok(Some(event))
    }

    fn is_signed(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        for (name, prefix, algorithm) in SIGNATURES {
            let Some(value) = headers.get(name).and_then(|value| value.to_str().ok()) else {
                continue;
            };
            let Some(signature) = value.strip_prefix(prefix).and_then(from_hex) else {
                return false;
            };
            let key = hmac::Key::new(algorithm, self.secret.as_bytes());
            return hmac::verify(&key, body, &signature).is_ok();
        }
        false
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok())
        .collect()
}

impl Handler for GitHub {
    fn takes_strangers(&self) -> bool {
        true
    }

    fn guard(&self) -> Arc<Guard> {
        Arc::new(Guard::new(&Access::default()))
    }

    fn raw<'a>(&'a self, headers: &'a HeaderMap, body: &Bytes) -> Option<BoxFuture<'a, Answer>> {
        let event = self.event(headers, body.clone());
        Some(Box::pin(async move {
            let event = match event {
                Ok(Some(event)) => event,
                Ok(None) => return Answer::empty(StatusCode::ACCEPTED),
                Err(answer) => return *answer,
            };
            if self.outlet.send(event).await {
                return Answer::empty(StatusCode::ACCEPTED);
            }
            let text = "the event cannot be kept: send it again";
            Answer::text(StatusCode::SERVICE_UNAVAILABLE, text)
        }))
    }

    fn handle<'a>(&'a self, _: Event, _: &'a HeaderMap, _: &'a str) -> BoxFuture<'a, Answer> {
        let text = "this address is for GitHub's webhooks";
        Box::pin(std::future::ready(Answer::text(
            StatusCode::BAD_REQUEST,
            text,
        )))
    }
}
