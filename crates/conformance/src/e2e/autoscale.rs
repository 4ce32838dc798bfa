//! Up with load, down without.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use serde_json::json;

use super::under_load;
use crate::cluster::POD_AUTOSCALERS;
use crate::draft::Draft;
use crate::row::Rows;
use crate::test::{Running, Test, text};

/// What a request of these tests takes.
const WORK: &str = "/?sleep=100";

pub(super) fn add(rows: Rows) -> Rows {
    rows.test(
        "TestAutoscaleUpDownUp (linear)",
        "two Pods under load, none without, two again; 99.9 % of requests answered",
        |test| up_down_up(test, "linear"),
    )
    .test(
        "TestAutoscaleUpDownUp (weighted-exponential)",
        "the same with the other way to average",
        |test| up_down_up(test, "weighted-exponential"),
    )
    .test(
        "TestAutoscaleUpCountPods",
        "2, 3 and 4 Pods as concurrency rises; 99.9 % answered",
        |test| steps(test, "concurrency"),
    )
    .test(
        "TestRPSBasedAutoscaleUpCountPods",
        "the same by requests per second, target 10",
        |test| steps(test, "rps"),
    )
    .long(
        "TestAutoscaleSustaining",
        "a load from 1 to 8 Pods, held for two minutes, never has fewer",
        sustaining,
    )
    .test(
        "TestFastScaleToZero",
        "window 6 s and activators in the path: no ready Pod is left within the grace period and 15 s",
        fast_to_zero,
    )
    .test(
        "TestActivatorOverload",
        "100 requests at once from zero, one per Pod, ten Pods: all 200",
        overload,
    )
    .not_applicable(
        "TestHPAAutoscaleUpDownUpMem",
        "the class hpa by memory",
        "skipped in Knative's own source",
    )
}

fn draft(test: &Test) -> Draft {
    test.draft("autoscale")
        .scale("window", "6s")
        .scale("target", 6)
        .scale("target-utilization-percentage", 70)
        .container(
            "resources",
            json!({"requests": {"cpu": "30m", "memory": "20Mi"}}),
        )
}

/// Waits for exactly so many ready Pods, or at least so many.
async fn replicas(test: &Test, service: &Running, wanted: u64, exactly: bool) -> Result<()> {
    let said = format!("{wanted} ready Pods of {}", service.revision());
    test.eventually(&said, || async {
        let ready = test.ready_replicas(&service.revision()).await?;
        Ok(ready == wanted || (!exactly && ready > wanted))
    })
    .await
}

async fn up_down_up(test: Test, algorithm: &'static str) -> Result<()> {
    let test = test.also(&format!("{}-{}", test.name, &algorithm[..4]));
    let draft = draft(&test).scale("metric-aggregation-algorithm", algorithm);
    let service = test.serve(&draft).await?;
    for round in 0..2 {
        let reached = replicas(&test, &service, 2, false);
        under_load(&test, (&service.url(), WORK), 8, reached).await?;
        if round == 0 {
            replicas(&test, &service, 0, true).await?;
        }
    }
    Ok(())
}

async fn steps(test: Test, metric: &'static str) -> Result<()> {
    let target = if metric == "rps" { 10 } else { 6 };
    let draft = draft(&test).scale("metric", metric).scale("target", target);
    let service = test.serve(&draft).await?;
    for pods in 2..=4_u64 {
        // At 70 % of the target each Pod bears 4.2 requests at once or 7 a second.
        let at_once = if metric == "rps" { pods } else { pods * 4 };
        let reached = replicas(&test, &service, pods, false);
        let at_once = usize::try_from(at_once)?;
        under_load(&test, (&service.url(), WORK), at_once, reached).await?;
    }
    Ok(())
}

async fn sustaining(test: Test) -> Result<()> {
    let service = test.serve(&draft(&test)).await?;
    let held = async {
        replicas(&test, &service, 8, false).await?;
        for _ in 0..120 {
            let ready = test.ready_replicas(&service.revision()).await?;
            ensure!(ready >= 7, "{ready} Pods");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    };
    under_load(&test, (&service.url(), WORK), 34, held).await
}

async fn fast_to_zero(test: Test) -> Result<()> {
    let draft = test
        .draft("autoscale")
        .scale("target-burst-capacity", -1)
        .scale("window", "6s");
    let service = test.serve(&draft).await?;
    let revision = service.revision();
    // The grace period is 30 s.
    test.within(Duration::from_secs(6 + 30 + 15), "no ready Pod", || async {
        Ok(test.ready_replicas(&revision).await? == 0)
    })
    .await?;
    let autoscaler = test.get(POD_AUTOSCALERS, &revision).await?;
    let active = crate::test::condition(&autoscaler, "Active");
    ensure!(text(active, "/reason") == "NoTraffic", "{active}");
    service.fetch().await?;
    Ok(())
}

async fn overload(test: Test) -> Result<()> {
    let draft = test
        .draft("autoscale")
        .revision("containerConcurrency", json!(1))
        .scale("max-scale", 10)
        .scale("initial-scale", 0)
        .scale("target-burst-capacity", -1)
        .container(
            "resources",
            json!({"requests": {"cpu": "10m", "memory": "10Mi"}}),
        );
    let service = test.serve(&draft).await?;
    let asked = (0..100).map(|_| service.ask("/?sleep=300"));
    for answer in join_all(asked).await {
        answer?.ok()?;
    }
    Ok(())
}
