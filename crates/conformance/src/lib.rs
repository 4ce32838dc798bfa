//! Whether a cluster serves as Knative Serving does: one named test for each of Knative's own
//! conformance and end-to-end tests and for each sentence of its specification, as a black box over
//! the Kubernetes API and HTTP.
//!
//! In reading order: a [`row::Row`] is a test's name, what it asserts and what to run; the suites
//! ([`api_v1`], [`runtime`], [`e2e`], [`spec`]) are lists of rows; a [`test::Test`] is what a running
//! test has at hand, made of a [`cluster::Cluster`] and [`web`]; [`run`] runs them side by side;
//! [`report`] writes down what came of it (`docs/conformance.md`). The applications they run are in
//! `src/bin/images` and packed by [`images`].
//!
//! Nothing here imports the product's crates: any cluster that has the images can be asked.

pub mod api_v1;
pub mod cluster;
pub mod draft;
pub mod e2e;
pub mod images;
pub mod report;
pub mod row;
pub mod run;
pub mod runtime;
pub mod spec;
pub mod test;
pub mod web;

/// All rows, in the order of the report.
pub fn rows() -> Vec<row::Row> {
    [api_v1::rows(), runtime::rows(), e2e::rows(), spec::rows()]
        .into_iter()
        .flatten()
        .collect()
}
