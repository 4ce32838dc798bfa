//! Requests to the Kubernetes API in bytes: URLs, bodies, and what the answers mean.
//!
//! Used by the watches, the driver's writes, events and leases. Goes through `kube::Client`, so
//! that transport, TLS and credentials are one matter in both shapes.

use api::world::Kind;
use bytes::Bytes;
use http::{Method, StatusCode, header};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde::Deserialize;

/// Why a request gave no object.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server answered with a `Status`.
    #[error("{code} {reason}: {message}")]
    Api {
        /// The HTTP status.
        code: u16,
        /// The machine-readable reason, for example `AlreadyExists`.
        reason: String,
        /// The sentence for people.
        message: String,
    },
    /// No answer came; worth repeating.
    #[error("the API server did not answer")]
    Transport(#[source] kube::Error),
    /// The answer, or what was to be sent, is not what the API speaks.
    #[error("the API server's answer could not be read")]
    Decode(#[from] serde_json::Error),
    /// A URL could not be built: a name holds what no name may hold.
    #[error("the request could not be built")]
    Request(#[from] http::Error),
}

impl Error {
    /// The HTTP status; 0 where there is none.
    pub fn code(&self) -> u16 {
        match self {
            Self::Api { code, .. } => *code,
            Self::Transport(_) | Self::Decode(_) | Self::Request(_) => 0,
        }
    }

    /// The API server's own sentence, else this error's.
    pub fn message(&self) -> String {
        match self {
            Self::Api { message, .. } => message.clone(),
            Self::Transport(_) | Self::Decode(_) | Self::Request(_) => self.to_string(),
        }
    }

    /// 404: it is not there (or no longer), or the kind is not served.
    pub fn is_not_found(&self) -> bool {
        self.code() == StatusCode::NOT_FOUND.as_u16()
    }

    /// 409: it exists already, or it was modified since it was read.
    pub fn is_conflict(&self) -> bool {
        self.code() == StatusCode::CONFLICT.as_u16()
    }

    /// 410: the resource version is too old to watch or to continue from.
    pub fn is_gone(&self) -> bool {
        self.code() == StatusCode::GONE.as_u16()
    }

    /// Nothing new may be made in a namespace that is being deleted.
    pub fn is_of_ending_namespace(&self) -> bool {
        let ending = "because it is being terminated";
        self.code() == StatusCode::FORBIDDEN.as_u16() && self.message().contains(ending)
    }

    /// Another 4xx: the request itself was not understood or not allowed.
    pub fn is_rejected(&self) -> bool {
        matches!(self.code(), 400 | 403 | 405 | 422)
    }
}

/// The path of a collection, or of one object when `name` is not empty, or of its subresource.
pub fn path(kind: Kind, namespace: &str, name: &str, subresource: &str) -> String {
    let mut path = match kind.group {
        "" => format!("/api/{}", kind.version),
        group => format!("/apis/{group}/{}", kind.version),
    };
    let mut push = |segment: &str| {
        path.push('/');
        path.push_str(segment);
    };
    if kind.namespaced && !namespace.is_empty() {
        push("namespaces");
        push(namespace);
    }
    push(kind.plural);
    for segment in [name, subresource] {
        if !segment.is_empty() {
            push(segment);
        }
    }
    path
}

/// A request ready to be sent.
#[derive(Clone, Debug)]
pub struct Request {
    /// The verb.
    pub method: Method,
    /// Path and query.
    pub uri: String,
    /// JSON, or empty.
    pub body: Bytes,
    /// Of the body.
    pub content_type: &'static str,
}

impl Request {
    /// A request with a JSON body, which may be empty.
    pub fn json(method: Method, uri: String, body: impl Into<Bytes>) -> Self {
        Self {
            method,
            uri,
            body: body.into(),
            content_type: "application/json",
        }
    }

    /// Reads one object or a list.
    pub fn get(uri: String) -> Self {
        Self::json(Method::GET, uri, Bytes::new())
    }

    fn into_http(self) -> Result<http::Request<Body>, Error> {
        let mut builder = http::Request::builder()
            .method(self.method)
            .uri(self.uri)
            .header(header::ACCEPT, "application/json");
        if !self.body.is_empty() {
            builder = builder.header(header::CONTENT_TYPE, self.content_type);
        }
        Ok(builder.body(Body::from(self.body))?)
    }
}

/// Sends a request and collects the answer.
pub async fn call(client: &Client, request: Request) -> Result<Bytes, Error> {
    let mut body = open(client, request).await?;
    let whole = (&mut body).collect().await.map_err(Error::Transport)?;
    Ok(whole.to_bytes())
}

/// Sends a request and answers the body to read from; an HTTP error becomes an [`Error`].
pub async fn open(client: &Client, request: Request) -> Result<Body, Error> {
    let response = client
        .send(request.into_http()?)
        .await
        .map_err(Error::Transport)?;
    let status = response.status();
    let body = response.into_body();
    if status.is_success() {
        return Ok(body);
    }
    let bytes = body.collect_bytes().await.map_err(Error::Transport)?;
    Err(refusal(status.as_u16(), &bytes))
}

/// The error a `Status` object stands for; `code` is used when the object names none.
pub fn refusal(code: u16, body: &[u8]) -> Error {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Status {
        code: u16,
        reason: String,
        message: String,
    }
    let status: Status = serde_json::from_slice(body).unwrap_or_else(|_| Status {
        message: String::from_utf8_lossy(body).into_owned(),
        ..Status::default()
    });
    Error::Api {
        code: if status.code == 0 { code } else { status.code },
        reason: status.reason,
        message: status.message,
    }
}

#[cfg(test)]
mod tests {
    use api::world::{DEPLOYMENT, NODE, POD};

    use super::*;

    #[test]
    fn paths() {
        let check = |actual: String, expected: &str| assert_eq!(actual, expected);
        check(path(POD, "", "", ""), "/api/v1/pods");
        check(path(POD, "a", "x", ""), "/api/v1/namespaces/a/pods/x");
        check(path(NODE, "", "n", "status"), "/api/v1/nodes/n/status");
        check(
            path(DEPLOYMENT, "a", "x", "scale"),
            "/apis/apps/v1/namespaces/a/deployments/x/scale",
        );
    }

    #[test]
    fn refusals_carry_the_reason() {
        let error = refusal(
            409,
            br#"{"code":409,"reason":"AlreadyExists","message":"pods \"x\" already exists"}"#,
        );
        assert!(error.is_conflict());
        assert_eq!(
            error.to_string(),
            "409 AlreadyExists: pods \"x\" already exists"
        );
        assert!(refusal(410, b"gone").is_gone());
        let ending = br#"{"code":403,"reason":"Forbidden","message":"endpoints \"x\" is forbidden:
 unable to create new content in namespace a because it is being terminated"}"#;
        let ending = String::from_utf8_lossy(ending).replace('\n', "");
        assert!(refusal(403, ending.as_bytes()).is_of_ending_namespace());
        assert!(!refusal(403, b"no").is_of_ending_namespace());
    }
}
