//! Arbitrary values for the property tests of this crate.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Any JSON value whose field names are likely to meet those of the test schemas.
pub(crate) fn arbitrary_json() -> impl Strategy<Value = Value> {
    let name = proptest::sample::select(vec![
        "size", "mode", "parts", "tags", "labels", "free", "template", "metadata", "name", "spec",
        "weight", "other",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3i64..9).prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| json!(items)),
            btree_map(name.clone(), inner, 0..5).prop_map(|fields| json!(fields)),
        ]
    })
}
