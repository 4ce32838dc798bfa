//! The API server as a tower service: what `kube::Client` and the listener call.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Limited};

use crate::auth::{Identity, User};
use crate::core::Core;
use crate::rest::{self, BODY_BYTES_MAX, Body};
use crate::status::Status;

/// A handle on the API server that answers requests on behalf of one origin. Cheap to clone.
#[derive(Clone)]
pub struct ApiService {
    core: Arc<Core>,
    identity: Arc<Identity>,
}

impl ApiService {
    pub(crate) fn new(core: Arc<Core>, identity: Identity) -> Self {
        Self {
            core,
            identity: Arc::new(identity),
        }
    }

    /// The same service on behalf of another local user.
    #[must_use]
    pub fn as_user(&self, user: User) -> Self {
        Self::new(Arc::clone(&self.core), Identity::Local(user))
    }

    /// Answers one request.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        match Limited::new(body, BODY_BYTES_MAX).collect().await {
            Ok(body) => rest::handle(&self.core, &self.identity, parts, body.to_bytes()).await,
            Err(error) => rest::refuse(unreadable(&*error)),
        }
    }
}

fn unreadable(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Status {
    if error.is::<http_body_util::LengthLimitError>() {
        let why = format!("Request entity too large: limit is {BODY_BYTES_MAX}");
        return Status::new(413, "RequestEntityTooLarge", why);
    }
    Status::bad_request(format!("could not read the request body: {error}"))
}

impl<B> tower::Service<Request<B>> for ApiService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.answer(request).await) })
    }
}
