//! Knative's `test/conformance/runtime`: what a container finds around it. Nearly all of it is asked
//! of the application `runtime`, which answers a picture of its surroundings.

mod constraints;
mod files;
mod probes;
mod process;

use anyhow::Result;
use serde_json::Value;

use crate::draft::Draft;
use crate::row::{Row, Rows};
use crate::test::{Running, Test};
use crate::web::{self, Ask};

/// All of them.
pub fn rows() -> Vec<Row> {
    let rows = Rows::of("test/conformance/runtime");
    let rows = process::add(rows);
    let rows = files::add(rows);
    let rows = constraints::add(rows);
    probes::add(rows).rows
}

/// Runs `draft` and asks for the picture.
pub(crate) async fn picture(test: &Test, draft: &Draft) -> Result<(Running, Value)> {
    let service = test.serve(draft).await?;
    let picture = look(test, &Ask::get(&service.url(), "/")).await?;
    Ok((service, picture))
}

/// The picture as the answer to `ask`.
pub(crate) async fn look(test: &Test, ask: &Ask) -> Result<Value> {
    let body = web::ask(test.gateway(), ask).await?.ok()?.body;
    Ok(serde_json::from_str(&body)?)
}
