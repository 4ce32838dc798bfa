//! `x-kubernetes-validations`: rules in the Common Expression Language, kept with the nodes of a
//! schema whose values they judge.
//!
//! `structural::compile` hands over what a schema says (`compile` reads it, `check` finds what is
//! wrong with an expression before any object comes); `evaluate` judges objects. The language
//! itself is the `cel` crate's; what Kubernetes adds to it and is not there is listed in
//! [`NOT_ENFORCED`].

mod check;
mod compile;
mod evaluate;
#[cfg(test)]
mod tests;
mod value;

pub(super) use compile::compile;
pub(super) use evaluate::evaluate;

use std::sync::{Arc, LazyLock};

use cel::{Env, Program, extensions};

use crate::field::Violation;

/// One rule of one node.
#[derive(Debug)]
pub(crate) struct Rule {
    /// As it is written, without the blanks around it.
    text: Box<str>,
    program: Program,
    /// What is said when it does not hold; empty when nothing was given.
    message: Box<str>,
    /// What says that instead.
    message_expression: Option<Program>,
    violation: Violation,
    /// The field that is named, below the node; empty for the node itself.
    field_path: Box<str>,
    /// `oldSelf` is an optional, and the rule holds of new values, too.
    is_optional: bool,
    /// Only changes are judged.
    is_of_changes: bool,
    /// Operations of the expression …
    size: u64,
    /// … and how many loops lie within each other.
    depth: u32,
}

/// Functions of Kubernetes that the crate does not have: a rule with one of them is kept, and not
/// asked.
const NOT_ENFORCED: [&str; 45] = [
    "duration",
    "timestamp",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
    "url",
    "isURL",
    "getScheme",
    "getHost",
    "getHostname",
    "getPort",
    "getEscapedPath",
    "getQuery",
    "ip",
    "isIP",
    "cidr",
    "isCIDR",
    "containsIP",
    "containsCIDR",
    "masked",
    "prefixLength",
    "family",
    "quantity",
    "isQuantity",
    "isInteger",
    "asInteger",
    "asApproximateFloat",
    "sign",
    "add",
    "sub",
    "isLessThan",
    "isGreaterThan",
    "compareTo",
    "semver",
    "isSemver",
    "named",
    "validate",
    "equivalent",
];

/// What expressions are written in: the language with its extensions for strings and lists.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    for extension in [extensions::strings, extensions::lists, extensions::math] {
        env.add_extension(extension)
            .expect("the extensions share no name");
    }
    Arc::new(env)
});
