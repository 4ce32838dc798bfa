//! Instants on disk: milliseconds since the node's origin, the Unix epoch.

use serde::{Deserialize, Deserializer, Serializer};
use stdx::Instant;

pub(super) fn serialize<S: Serializer>(instant: &Instant, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(u64::try_from(instant.since_origin().as_millis()).unwrap_or(u64::MAX))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Instant, D::Error> {
    u64::deserialize(from).map(Instant::from_millis)
}
