//! The three timeouts of a revision.

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use serde_json::json;

use crate::row::Rows;
use crate::test::Test;

pub(super) fn add(rows: Rows) -> Rows {
    rows.test(
        "TestRevisionTimeout",
        "timeoutSeconds, responseStartTimeoutSeconds and idleTimeoutSeconds, six cases: 200 in time, \
         504 after",
        cases,
    )
}

async fn cases(test: Test) -> Result<()> {
    // Seconds: timeout, response start, idle; milliseconds before the head and before the body.
    let cases = [
        ((10, 0, 0), (2000, 0), 200),
        ((10, 0, 0), (12000, 0), 504),
        ((20, 7, 0), (4000, 0), 200),
        ((20, 7, 0), (15000, 0), 504),
        ((20, 0, 5), (2000, 0), 200),
        ((25, 0, 7), (20000, 0), 504),
    ];
    let runs = cases.map(|(seconds, (first, then), status)| {
        let test = test.also(&test.name);
        async move {
            let draft = test
                .draft("timeout")
                .revision("timeoutSeconds", json!(seconds.0))
                .revision("responseStartTimeoutSeconds", json!(seconds.1))
                .revision("idleTimeoutSeconds", json!(seconds.2));
            let service = test.serve(&draft).await?;
            let path = format!("/?initialTimeout={first}&timeout={then}");
            let answer = service.ask(&path).await?;
            ensure!(
                answer.status == status,
                "{seconds:?}, {path}: {} instead of {status}",
                answer.status
            );
            Ok(())
        }
    });
    join_all(runs).await.into_iter().collect()
}
