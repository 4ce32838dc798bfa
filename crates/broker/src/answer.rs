//! A whole HTTP response as a value: what the broker answers, and what it was answered.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// What ingress can do.
const METHODS: HeaderValue = HeaderValue::from_static("POST, OPTIONS");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// Status, headers and body.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers, without those of the connection.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// A status and nothing else.
    pub fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    /// A status and a line for people that says what to change.
    pub fn text(status: StatusCode, text: impl Into<String>) -> Self {
        let mut text = text.into();
        text.push('\n');
        let mut answer = Self::empty(status);
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        answer.headers.insert(CONTENT_TYPE, plain);
        answer.body = text.into();
        answer
    }

    /// Try again after this many seconds.
    pub(crate) fn later(mut self, seconds: u64) -> Self {
        self.headers.insert(RETRY_AFTER, seconds.into());
        self
    }

    /// The method is not one of ingress'.
    pub(crate) fn wrong_method(method: &http::Method) -> Self {
        let text = format!("{method} is not for events: send them with POST");
        let mut answer = Self::text(StatusCode::METHOD_NOT_ALLOWED, text);
        answer.headers.insert(ALLOW, METHODS);
        answer
    }

    /// The handshake of the CloudEvents WebHook specification: everyone may send, at any rate.
    pub(crate) fn handshake() -> Self {
        let mut answer = Self::empty(StatusCode::OK);
        let any = HeaderValue::from_static("*");
        answer.headers.insert(ALLOW, METHODS);
        answer.headers.insert(ALLOWED_ORIGIN, any.clone());
        answer.headers.insert(ALLOWED_RATE, any);
        answer
    }
}
