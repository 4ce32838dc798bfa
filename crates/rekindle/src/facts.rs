//! Facts plans ask for that no object holds: image digests from the node's store or a registry,
//! whether the gateway answers as activator. Plugged into the driver by `wire`.

use std::time::Duration;

use ::api::world::Fact;
use controller::{Gather, Gathered};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::json;

use crate::builtins::chain;

/// After this time an image that could not be resolved is looked for again: it may have been
/// loaded or pushed meanwhile.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// See the module.
pub(crate) struct Facts {
    /// The node's images.
    pub(crate) images: node::image::ImageStore,
}

impl Gather for Facts {
    fn gather<'a>(&'a self, fact: &'a Fact) -> BoxFuture<'a, Gathered> {
        async move {
            match fact {
                Fact::Digest { image, .. } => self.digest(image).await,
                // The gateway lives in this process and its table is written before the
                // endpoints that lead to it.
                Fact::ActivatorProbe { .. } => always(json!({"ready": true})),
                // Decisions are told by the autoscaler, never looked for.
                Fact::Decision { .. } => always(json!(null)),
            }
        }
        .boxed()
    }
}

impl Facts {
    async fn digest(&self, image: &str) -> Gathered {
        match self.images.resolve_digest(image, None).await {
            Ok(digest) => always(json!({"digest": digest})),
            Err(error) => Gathered {
                value: json!({"error": chain(&error)}),
                valid_for: Some(RETRY_AFTER),
            },
        }
    }
}

fn always(value: serde_json::Value) -> Gathered {
    Gathered { value, valid_for: None }
}
