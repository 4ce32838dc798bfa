//! exec, attach and port-forward: upgraded connections to running containers.

use http::request::Parts;

use crate::core::Core;
use crate::request::{Query, Target};
use crate::rest::Reply;
use crate::status::{Result, Status};

/// Answers a request for a stream.
#[expect(clippy::unused_async)]
pub(crate) async fn connect(
    _core: &Core,
    target: &Target,
    _query: &Query,
    _parts: &mut Parts,
) -> Result<Reply> {
    Err(Status::method_not_supported(
        &target.resource,
        &target.subresource,
    ))
}
