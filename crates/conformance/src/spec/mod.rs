//! The sentences of Knative's Serving API specification (1.0.2) and of its runtime contract, each
//! with the tests that show it; what no test of Knative's shows has one of its own here.

mod api;
mod contract;

use crate::row::Row;

/// All of them.
pub fn rows() -> Vec<Row> {
    let mut rows = api::rows();
    rows.extend(contract::rows());
    rows
}
