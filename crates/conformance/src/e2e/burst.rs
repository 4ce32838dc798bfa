//! Whether the activator is in the path, as the public endpoints show it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::under_load;
use crate::cluster::{ENDPOINT_SLICES, SERVERLESS_SERVICES};
use crate::row::Rows;
use crate::test::{Running, Test, text};

pub(super) fn add(rows: Rows) -> Rows {
    rows.test(
        "TestTargetBurstCapacity",
        "capacity 7 at target 10: with seven requests the public endpoints are activators, with \
         enough Pods to spare they are the Pods",
        capacity,
    )
    .test(
        "TestTargetBurstCapacityMinusOne",
        "-1: always activators, also under load",
        minus_one,
    )
    .test(
        "TestTargetBurstCapacityZero",
        "0: the Pods while there are any, activators only at zero, which is reached within a minute",
        zero,
    )
}

/// The addresses behind a Kubernetes Service.
async fn addresses(test: &Test, service: &str) -> Result<BTreeSet<String>> {
    let selector = format!("kubernetes.io/service-name={service}");
    let slices = test.list(ENDPOINT_SLICES, &selector).await?;
    let endpoints = slices
        .iter()
        .filter_map(|slice| slice["endpoints"].as_array());
    let ready = endpoints
        .flatten()
        .filter(|endpoint| endpoint["conditions"]["ready"] != false);
    Ok(ready
        .map(|endpoint| text(endpoint, "/addresses/0"))
        .collect())
}

/// The name of the Service of a revision's own Pods.
async fn private(test: &Test, revision: &str) -> Result<String> {
    let sks = test.get(SERVERLESS_SERVICES, revision).await?;
    Ok(text(&sks, "/status/privateServiceName"))
}

/// Whether the public endpoints are the revision's own Pods.
async fn serves_itself(test: &Test, service: &Running) -> Result<bool> {
    let revision = service.revision();
    let own = addresses(test, &private(test, &revision).await?).await?;
    Ok(!own.is_empty() && addresses(test, &revision).await? == own)
}

async fn capacity(test: Test) -> Result<()> {
    let draft = test
        .draft("autoscale")
        .scale("target-burst-capacity", 7)
        .scale("target", 10)
        .scale("window", "6s");
    let service = test.serve(&draft).await?;
    let at = (service.url(), "/?sleep=200");
    let at = (at.0.as_str(), at.1);
    let proxied = test.eventually("activators at concurrency 7", || async {
        Ok(!serves_itself(&test, &service).await?)
    });
    under_load(&test, at, 7, proxied).await?;
    let direct = test.eventually("the two Pods at concurrency 12", || async {
        let ready = test.ready_replicas(&service.revision()).await?;
        Ok(ready == 2 && serves_itself(&test, &service).await?)
    });
    under_load(&test, at, 12, direct).await
}

async fn minus_one(test: Test) -> Result<()> {
    let draft = test
        .draft("autoscale")
        .scale("target-burst-capacity", -1)
        .scale("target", 10)
        .scale("window", "6s");
    let service = test.serve(&draft).await?;
    ensure!(!serves_itself(&test, &service).await?, "without load");
    let at = service.url();
    let always = async {
        for _ in 0..20 {
            ensure!(!serves_itself(&test, &service).await?, "under load");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    };
    under_load(&test, (&at, "/?sleep=100"), 5, always).await
}

async fn zero(test: Test) -> Result<()> {
    let draft = test
        .draft("autoscale")
        .scale("target-burst-capacity", 0)
        .scale("window", "10s");
    let service = test.serve(&draft).await?;
    test.eventually("the Pods themselves", || serves_itself(&test, &service))
        .await?;
    let revision = service.revision();
    test.within(Duration::from_secs(60), "activators at zero", || async {
        let pods = test.ready_replicas(&revision).await?;
        let own = addresses(&test, &private(&test, &revision).await?).await?;
        let public = addresses(&test, &revision).await?;
        Ok(pods == 0 && own.is_empty() && !public.is_empty())
    })
    .await?;
    service.fetch().await?;
    Ok(())
}
