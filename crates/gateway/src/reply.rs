//! The answers the gateway gives by itself, with the texts Knative gives.

use std::borrow::Cow;
use std::io::Write as _;

/// One answer without a backend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Cow<'static, str>,
    /// One more header, name and value.
    pub(crate) header: Option<(&'static str, String)>,
    /// What is left of the request is not to be trusted or not to be read.
    pub(crate) close: bool,
}

impl Reply {
    pub(crate) const fn text(status: u16, body: &'static str) -> Self {
        Self {
            status,
            body: Cow::Borrowed(body),
            header: None,
            close: false,
        }
    }

    pub(crate) const fn owned(status: u16, body: String) -> Self {
        Self {
            status,
            body: Cow::Owned(body),
            header: None,
            close: false,
        }
    }

    /// 400: the request cannot be understood; the connection ends.
    pub(crate) fn bad_request(reason: &str) -> Self {
        Self {
            close: true,
            ..Self::owned(400, format!("400 Bad Request: {reason}\n"))
        }
    }

    /// 404 of the ingress: no such host, or none for this listener.
    pub(crate) const fn no_such_host() -> Self {
        Self::text(404, "")
    }

    /// 503 of a full queue.
    pub(crate) const fn queue_full() -> Self {
        Self::text(503, "pending request queue full\n")
    }

    /// 502: the application could not be reached or gave no answer.
    pub(crate) fn bad_gateway(reason: &str) -> Self {
        Self::owned(502, format!("{reason}\n"))
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: String) -> Self {
        self.header = Some((name, value));
        self
    }

    pub(crate) const fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// Writes the answer as HTTP/1.1; without the body for HEAD.
    pub(crate) fn write(&self, out: &mut Vec<u8>, is_head: bool, keep_alive: bool) {
        let reason = http::StatusCode::from_u16(self.status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or("");
        // Writing to a Vec cannot fail.
        let _ = write!(out, "HTTP/1.1 {} {reason}\r\n", self.status);
        if let Some((name, value)) = &self.header {
            let _ = write!(out, "{name}: {value}\r\n");
        }
        if !self.body.is_empty() {
            out.extend_from_slice(
                b"content-type: text/plain; charset=utf-8\r\nx-content-type-options: nosniff\r\n",
            );
        }
        if !keep_alive {
            out.extend_from_slice(b"connection: close\r\n");
        }
        let _ = write!(out, "content-length: {}\r\n\r\n", self.body.len());
        if !is_head {
            out.extend_from_slice(self.body.as_bytes());
        }
    }
}
