//! Where a request goes: matching against the table of `api::route`, and gradual rollout.

mod matcher;
pub mod rollout;

pub use api::networking::CHALLENGE_PATH;
pub use api::route::*;
pub use matcher::{TAG_HEADER, draw_split, host_key, ingress_keys, match_rule, without_port};
