//! Pods that go while requests are under way.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures_util::future::{join, join_all};
use serde_json::json;

use crate::cluster::{CONFIGURATIONS, PODS, ROUTES};
use crate::draft::Draft;
use crate::row::Rows;
use crate::test::{Test, text};

pub(super) fn add(rows: Rows) -> Rows {
    rows.test(
        "TestDestroyPodInflight",
        "a request of 20 s survives the deletion of its Configuration",
        in_flight,
    )
    .test(
        "TestDestroyPodTimely",
        "a deleted Pod is gone long before its timeout of five minutes",
        timely,
    )
    .test(
        "TestDestroyPodWithRequests",
        "six requests of 12 s, begun one after the other, survive the deletion of their Pod",
        with_requests,
    )
}

async fn in_flight(test: Test) -> Result<()> {
    let name = test.name.clone();
    let draft =
        Draft::configuration(&name, &test.image("timeout")).revision("timeoutSeconds", json!(60));
    test.create(CONFIGURATIONS, &draft).await?;
    test.create(ROUTES, &Draft::route(&name, &name)).await?;
    let route = test.ready(ROUTES, &name).await?;
    let url = text(&route, "/status/url");
    test.ask(&url, "/").await?.ok()?;
    let asked = test.ask(&url, "/?initialTimeout=20000&timeout=0");
    let deleted = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        test.delete(CONFIGURATIONS, &name).await
    };
    let (answer, deleted) = join(asked, deleted).await;
    deleted?;
    let body = answer?.ok()?.body;
    ensure!(body.contains("20000"), "{body}");
    test.delete(ROUTES, &name).await
}

async fn timely(test: Test) -> Result<()> {
    let draft = test
        .draft("helloworld")
        .revision("timeoutSeconds", json!(300));
    let service = test.serve(&draft).await?;
    let pods = test.pods(&service.revision()).await?;
    let pod = text(&pods[0], "/metadata/name");
    test.delete(PODS, &pod).await?;
    test.eventually("the Pod is gone", || async {
        let found = test.cluster().find(PODS, test.namespace, &pod).await?;
        Ok(found.is_none())
    })
    .await?;
    service.fetch().await?;
    Ok(())
}

async fn with_requests(test: Test) -> Result<()> {
    let service = test.serve(&test.draft("autoscale")).await?;
    let pods = test.pods(&service.revision()).await?;
    let pod = text(&pods[0], "/metadata/name");
    let began = Instant::now();
    let asked = (0..6_u32).map(|number| {
        let service = &service;
        async move {
            tokio::time::sleep(Duration::from_secs(1) * number).await;
            service.ask("/?sleep=12000").await?.ok()
        }
    });
    let deleted = async {
        tokio::time::sleep(Duration::from_millis(5500)).await;
        test.delete(PODS, &pod).await
    };
    let (answers, deleted) = join(join_all(asked), deleted).await;
    deleted?;
    for answer in answers {
        answer?;
    }
    ensure!(began.elapsed() >= Duration::from_secs(17), "too quick");
    Ok(())
}
