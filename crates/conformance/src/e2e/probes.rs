//! Probes beyond those of the runtime contract.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::row::Rows;
use crate::test::{Test, text};

pub(super) fn add(rows: Rows) -> Rows {
    rows.test(
        "TestReadinessAlternatePort",
        "readiness on a port of its own",
        |test| async move {
            let probe = json!({"httpGet": {"path": "/readiness", "port": 8077}});
            let draft = test.draft("readiness").env("HEALTHCHECK_PORT", "8077");
            ready(&test, draft, probe).await
        },
    )
    .test(
        "TestReadinessPathAndQuery",
        "readiness with a query in its path",
        |test| async move {
            let probe = json!({"httpGet": {"path": "/query?probe=ok"}});
            let draft = test.draft("readiness");
            ready(&test, draft, probe).await
        },
    )
    .test(
        "TestReadinessGRPCProbe",
        "readiness by gRPC",
        |test| async move {
            let draft = test.draft("healthprobes").port_name("h2c");
            ready(&test, draft, json!({"grpc": {}})).await
        },
    )
    .test(
        "TestLivenessProbeAwareOfStartupProbe",
        "liveness waits until the startup probe has succeeded",
        startup,
    )
}

async fn ready(test: &Test, draft: crate::draft::Draft, probe: Value) -> Result<()> {
    let service = test
        .serve(&draft.container("readinessProbe", probe))
        .await?;
    let said = service.fetch().await?;
    ensure!(said.starts_with("Hello World!"), "{said}");
    Ok(())
}

async fn startup(test: Test) -> Result<()> {
    let get = |path: &str| json!({"path": path, "port": 8080});
    let draft = test
        .draft("readiness")
        .env("READY_DELAY", "8s")
        .container(
            "startupProbe",
            json!({"httpGet": get("/healthz/readiness"), "periodSeconds": 1, "failureThreshold": 40}),
        )
        .container(
            "livenessProbe",
            json!({"httpGet": get("/healthz/liveness"), "periodSeconds": 1, "failureThreshold": 1}),
        );
    let service = test.serve(&draft).await?;
    service.fetch().await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let pods = test.pods(&service.revision()).await?;
    let statuses = pods[0]["status"]["containerStatuses"].as_array();
    for status in statuses.into_iter().flatten() {
        let name = text(status, "/name");
        ensure!(status["restartCount"] == 0, "{name} was restarted");
    }
    Ok(())
}
