//! Finding out what plans need to know and no object says: the seam to registries and probes.

use std::time::Duration;

use api::world::Fact;
use futures_util::future::BoxFuture;
use serde_json::Value;

/// What was found out.
#[derive(Clone, Debug, PartialEq)]
pub struct Gathered {
    /// In the shape that [`Fact`] documents, errors included.
    pub value: Value,
    /// After this time the fact is gathered again if a plan still builds on it, and forgotten if
    /// none does; `None` is for ever.
    pub valid_for: Option<Duration>,
}

/// Finds out facts. Called once for each fact until it is known, however many plans need it.
pub trait Gather: Send + Sync {
    /// Finds out one fact. Failure is an answer too, with a `valid_for` after which to try again.
    fn gather<'a>(&'a self, fact: &'a Fact) -> BoxFuture<'a, Gathered>;
}
