//! The three patches of Kubernetes that change an object in place.
//!
//! The API server picks one by the request's content type and answers 422 with the error's text.
//! Server-side apply is not here (`crate::apply`): it needs to know who owns what.

mod json;
mod merge;
mod strategic;
#[cfg(test)]
mod tests;

pub use json::json_patch;
pub use merge::merge_patch;
pub use strategic::strategic_merge;

/// Why a patch cannot be applied. The texts are Kubernetes'.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The body is no patch of this type.
    #[error("error decoding patch: {0}")]
    Decode(String),
    /// A JSON patch has more operations than allowed.
    #[error("The allowed maximum operations in a JSON patch is {limit}, got {count}")]
    TooManyOperations {
        /// How many are allowed.
        limit: usize,
        /// How many there are.
        count: usize,
    },
    /// An operation of a JSON patch does not apply to the object.
    #[error("{0}")]
    Operation(String),
    /// `$patch` has a value it cannot have.
    #[error("unknown patch type: {directive} in map: {map}")]
    Directive {
        /// The value of `$patch`.
        directive: String,
        /// The JSON it is in.
        map: String,
    },
    /// An element of a list merged by key lacks the key.
    #[error("map: {map} does not contain declared merge key: {key}")]
    MergeKey {
        /// The element's JSON.
        map: String,
        /// The key it lacks.
        key: String,
    },
    /// A directive's value is not of the type it must be.
    #[error("invalid patch format of {directive} list: it must be {expected}")]
    DirectiveValue {
        /// `$retainKeys`, `$setElementOrder/NAME` or `$deleteFromPrimitiveList/NAME`.
        directive: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A field the patch sets is not in its own `$retainKeys`.
    #[error("patch field {0:?} is not listed in its $retainKeys: list it there or leave it out")]
    RetainKeys(String),
    /// The elements of a patch list are not in the order its `$setElementOrder` says.
    #[error("The order in patch list:\n{list}\n doesn't match $setElementOrder list:\n{order}\n")]
    Order {
        /// The list's JSON.
        list: String,
        /// The order's JSON.
        order: String,
    },
    /// Elements of a list that is merged are not of one type.
    #[error("list element types are not identical: {0}")]
    Mixed(String),
}
