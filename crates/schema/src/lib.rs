//! Structural schemas, merge and apply, field ownership, protobuf bodies, OpenAPI documents: what
//! objects of any kind may look like and how two of them become one.
//!
//! In reading order: `structural` (the tree compiled from a CustomResourceDefinition), `builtin`
//! (the same for Kubernetes' own kinds), `patch` (JSON, merge and strategic merge patches),
//! `apply` (server-side apply and field ownership), `protobuf` (bodies of older clients), `openapi`
//! (documents for kubectl). Everything works on `serde_json::Value`; nothing here knows Knative,
//! a store or a clock.

pub mod apply;
mod builtin;
mod field;
mod format;
pub mod openapi;
mod patch;
pub mod protobuf;
mod structural;
#[cfg(test)]
mod testing;

pub use builtin::{builtin, builtin_kinds};
pub use field::{FieldError, Violation};
pub use patch::{Error as PatchError, json_patch, merge_patch, strategic_merge};
pub use structural::Schema;
