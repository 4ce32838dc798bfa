//! What the kinds of Knative's first year are today: `channels.knative.dev` (Bus, Channel,
//! Subscription), `feeds.knative.dev` (Feed and what it names) and `flows.knative.dev` (Flow); and what
//! the channels, flows and sources of 2019 are.
//!
//! Pure translation of one object into another. `eventing`'s plans keep the translated objects as
//! children of the old ones. In reading order: [`channels`], [`feeds`], [`flows`], [`moved`],
//! [`sources`]; then [`migrate`], which rewrites the text of whole manifests of any year for `rekindle migrate`.

pub mod channels;
pub mod feeds;
pub mod flows;
pub mod migrate;
pub mod moved;
pub mod sources;

use serde_json::Value;

/// The text of a field; nothing reads as `""`.
fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}
