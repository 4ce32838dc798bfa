//! What the tests of the kinds share.

use serde_json::Value;

use super::Errors;
use crate::field::join;

/// Judges an object, as a change of `old` if there is one; nothing expected means it is valid.
#[track_caller]
pub(super) fn check(
    validate: fn(&Value, Option<&Value>, &mut Errors),
    object: &Value,
    old: Option<&Value>,
    expected: &str,
) {
    let mut errors = Errors::new();
    validate(object, old, &mut errors);
    let said = match errors.is_empty() {
        true => String::new(),
        false => join(&errors),
    };
    assert_eq!(said, expected);
}
