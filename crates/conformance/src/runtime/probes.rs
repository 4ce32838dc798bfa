//! Readiness and liveness.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::row::Rows;
use crate::test::{Running, Test};

pub(super) fn add(rows: Rows) -> Rows {
    rows.test(
        "TestLivenessWithFail",
        "an application that begins to fail its liveness probe is restarted and serves again",
        liveness,
    )
    .test(
        "TestProbeRuntime",
        "readiness by HTTP, TCP and exec, every second or at once: ready only when the slow \
         application is",
        readiness,
    )
    .test(
        "TestProbeRuntimeAfterStartup",
        "an application that begins to fail its readiness probe gets no more requests",
        after_startup,
    )
}

async fn checks(service: &Running) -> Result<u64> {
    let answer = service.ask("/healthz/livenessCounter").await?;
    Ok(answer.body.parse().unwrap_or(0))
}

async fn liveness(test: Test) -> Result<()> {
    let probe = json!({
        "httpGet": {"path": "/healthz/liveness", "port": 8080},
        "periodSeconds": 1, "failureThreshold": 3,
    });
    let draft = test.draft("readiness").container("livenessProbe", probe);
    let service = test.serve(&draft).await?;
    test.eventually("five liveness checks", || async {
        Ok(checks(&service).await? >= 5)
    })
    .await?;
    ensure!(restarts(&test, &service).await? == 0, "restarted too early");
    service.ask("/start-failing").await?.ok()?;
    test.eventually("restarted", || async {
        Ok(restarts(&test, &service).await? > 0)
    })
    .await?;
    test.eventually("five liveness checks after the restart", || async {
        Ok(checks(&service).await? >= 5)
    })
    .await
}

/// Restarts of the application's container, over all Pods.
async fn restarts(test: &Test, service: &Running) -> Result<u64> {
    let pods = test.pods(&service.revision()).await?;
    let statuses = pods
        .iter()
        .filter_map(|pod| pod["status"]["containerStatuses"].as_array());
    let counts = statuses
        .flatten()
        .filter(|status| status["name"] == "user-container")
        .filter_map(|status| status["restartCount"].as_u64());
    Ok(counts.sum())
}

/// The ways to ask, each every second and as often as possible.
fn ways() -> Vec<(&'static str, Value)> {
    vec![
        ("http", json!({"httpGet": {"path": "/healthz/readiness"}})),
        ("tcp", json!({"tcpSocket": {}})),
        (
            "exec",
            json!({"exec": {"command": ["/ko-app/readiness", "probe"]}}),
        ),
    ]
}

async fn readiness(test: Test) -> Result<()> {
    // An exec probe needs a period: nothing but the kubelet runs it.
    let cases = ways()
        .into_iter()
        .flat_map(|(word, probe)| [0, 1].map(|period| (word, probe.clone(), period)))
        .filter(|(word, _, period)| *word != "exec" || *period > 0);
    let runs = cases.map(|(word, mut probe, period)| {
        let test = test.also(&format!("{}-{word}-{period}", test.name));
        async move {
            probe["periodSeconds"] = json!(period);
            // A TCP probe cannot see health, only whether anybody listens.
            let delay = if word == "tcp" {
                "LISTEN_DELAY"
            } else {
                "READY_DELAY"
            };
            let draft = test
                .draft("readiness")
                .container("readinessProbe", probe)
                .env(delay, "5s");
            let began = std::time::Instant::now();
            let service = test.serve(&draft).await.context(word)?;
            ensure!(
                began.elapsed() >= Duration::from_secs(5),
                "{word}: too early"
            );
            let said = service.fetch().await.context(word)?;
            ensure!(said.starts_with("Hello World!"), "{word}: {said}");
            Ok(())
        }
    });
    join_all(runs).await.into_iter().collect()
}

async fn after_startup(test: Test) -> Result<()> {
    let runs = ways()
        .into_iter()
        .filter(|(word, _)| *word != "tcp")
        .map(|(word, mut probe)| {
            let test = test.also(&format!("{}-{word}", test.name));
            async move {
                probe["periodSeconds"] = json!(1);
                probe["failureThreshold"] = json!(3);
                let draft = test.draft("readiness").container("readinessProbe", probe);
                let service = test.serve(&draft).await?;
                service.ask("/start-failing").await?.ok()?;
                // No answer within five seconds, or 503: nobody who is not ready is asked.
                test.within(Duration::from_secs(60), "no more requests", || async {
                    let asked = tokio::time::timeout(Duration::from_secs(5), service.ask("/"));
                    Ok(match asked.await {
                        Err(_) => true,
                        Ok(answer) => answer?.status == 503,
                    })
                })
                .await
                .context(word)
            }
        });
    join_all(runs).await.into_iter().collect()
}
