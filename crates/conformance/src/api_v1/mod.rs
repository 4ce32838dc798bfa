//! Knative's `test/conformance/api/v1` and `v1beta1`: what clients may do with the kinds of Serving.

mod errors;
mod lifecycle;
mod mapping;
mod traffic;
mod volumes;

use crate::row::{Row, Rows};

/// All of them.
pub fn rows() -> Vec<Row> {
    let rows = Rows::of("test/conformance/api/v1");
    let rows = traffic::add(rows);
    let rows = lifecycle::add(rows);
    let rows = errors::add(rows);
    let rows = volumes::add(rows);
    let mut rows = rows.rows;
    rows.extend(mapping::add(Rows::of("test/conformance/api/v1beta1")).rows);
    rows
}
