//! What became of one attempt, and what follows from it.

use std::time::Duration;

use api::delivery::Subscriber;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Bytes of a response's body that are kept for `knativeerrordata`: their base64 form is as long
/// as Knative lets it be, 1024 characters.
const BODY_KEPT_MAX: usize = 768;
/// `knativeerrorcode` where there was no answer at all.
const NO_RESPONSE: i32 = -1;

/// What became of one attempt.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// No HTTP answer: nobody listens, the connection broke, the policy's `timeout` passed.
    None,
    /// An HTTP answer.
    Response {
        /// Its status code.
        code: u16,
        /// It is a CloudEvent, which the shell holds.
        has_event: bool,
        /// Its `Retry-After`, as a duration from now.
        retry_after: Option<Duration>,
        /// Its body, as far as it may matter: the first bytes are enough.
        body: Vec<u8>,
    },
}

/// What follows from an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// 2xx.
    Taken,
    /// Another attempt may do better.
    TryAgain,
    /// No other attempt would.
    Refused,
}

impl Answer {
    /// An answer of which only the status matters.
    pub fn status(code: u16) -> Self {
        Self::Response {
            code,
            has_event: false,
            retry_after: None,
            body: Vec::new(),
        }
    }

    /// What follows from it: Knative tries again without an answer, on 404, 408, 409, 429 and on
    /// every 5xx.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::None => Verdict::TryAgain,
            Self::Response { code, .. } => match code {
                200..300 => Verdict::Taken,
                404 | 408 | 409 | 429 | 500.. => Verdict::TryAgain,
                _ => Verdict::Refused,
            },
        }
    }

    pub(super) fn has_event(&self) -> bool {
        matches!(
            self,
            Self::Response {
                has_event: true,
                ..
            }
        )
    }

    /// `Retry-After` counts with 429 and 503 alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Response {
                code: 429 | 503,
                retry_after,
                ..
            } => *retry_after,
            _ => None,
        }
    }
}

/// Why an event could not be delivered: what its dead letter tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// It was the reply that could not be delivered.
    pub of_reply: bool,
    /// The last status code; `None` without an answer.
    pub code: Option<u16>,
    /// The beginning of the last answer's body.
    pub body: Vec<u8>,
}

impl Failure {
    pub(super) fn new(of_reply: bool, answer: Answer) -> Self {
        let (code, mut body) = match answer {
            Answer::None => (None, Vec::new()),
            Answer::Response { code, body, .. } => (Some(code), body),
        };
        body.truncate(BODY_KEPT_MAX);
        Self {
            of_reply,
            code,
            body,
        }
    }

    /// The extensions that Knative adds to a dead letter, as attribute names and values: the
    /// address that failed, the status code (-1 without an answer) and the body in base64 if
    /// there is one.
    pub fn extensions(&self, subscriber: &Subscriber) -> Vec<(&'static str, String)> {
        let failed = if self.of_reply {
            &subscriber.reply
        } else {
            &subscriber.target
        };
        let address = failed.as_ref().map_or("", |endpoint| endpoint.url.as_str());
        let code = self.code.map_or(NO_RESPONSE, i32::from);
        let mut extensions = vec![
            ("knativeerrordest", address.to_owned()),
            ("knativeerrorcode", code.to_string()),
        ];
        if !self.body.is_empty() {
            extensions.push(("knativeerrordata", STANDARD.encode(&self.body)));
        }
        extensions
    }
}
