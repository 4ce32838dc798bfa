//! Knative's `test/e2e` and its siblings that turn features on: what users of a running system see.

mod autoscale;
mod burst;
mod destroy;
mod features;
mod grpc;
mod local;
mod pods;
mod probes;
mod rollout;
mod scale;
mod timeouts;
mod websocket;

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use futures_util::future::join_all;

use crate::row::{Row, Rows};
use crate::test::Test;
use crate::web::{self, Ask};

/// All of them.
pub fn rows() -> Vec<Row> {
    let rows = Rows::of("test/e2e");
    let rows = autoscale::add(rows);
    let rows = burst::add(rows);
    let rows = destroy::add(rows);
    let rows = grpc::add(rows);
    let rows = local::add(rows);
    let rows = pods::add(rows);
    let rows = probes::add(rows);
    let rows = rollout::add(rows);
    let rows = scale::add(rows);
    let rows = timeouts::add(rows);
    let mut rows = websocket::add(rows).rows;
    rows.extend(features::add(Rows::of("other end-to-end tests")).rows);
    rows
}

/// Keeps `at_once` requests for `path` under way while `work` is done; at least 99.9 % of them are
/// answered 200.
pub(crate) async fn under_load<T>(
    test: &Test,
    (url, path): (&str, &str),
    at_once: usize,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let done = Cell::new(false);
    let (good, bad) = (Cell::new(0_u32), Cell::new(0_u32));
    let client = || async {
        let ask = Ask::get(url, path);
        while !done.get() {
            match web::ask(test.gateway(), &ask).await {
                Ok(answer) if answer.status == 200 => good.set(good.get() + 1),
                _ => {
                    bad.set(bad.get() + 1);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    };
    let load = join_all((0..at_once).map(|_| client()));
    let work = async {
        let outcome = work.await;
        done.set(true);
        outcome
    };
    let (outcome, _) = futures_util::future::join(work, load).await;
    let (good, bad) = (good.get(), bad.get());
    ensure!(good > 0, "nothing was answered");
    if f64::from(bad) > f64::from(good + bad) * 0.001 {
        bail!("{bad} of {} requests failed", good + bad);
    }
    outcome
}
