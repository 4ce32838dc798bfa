//! Where a request goes: matching against the table of `api::route`, and gradual rollout.

pub use api::route::*;
