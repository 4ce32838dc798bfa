//! Traffic from one revision to the next.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{ROUTES, SERVICES};
use crate::draft::put;
use crate::row::Rows;
use crate::test::{Test, condition, is_ready, target, text};

pub(super) fn add(rows: Rows) -> Rows {
    rows.test(
        "TestGradualRollout",
        "rollout-duration: RolloutInProgress with two targets meanwhile, one when it is over",
        gradual,
    )
    .test(
        "TestRollbackBYOName",
        "traffic back to an earlier revision with a name of its own",
        roll_back,
    )
    .test(
        "TestRoutesNotReady",
        "traffic to a revision that is not there: RevisionMissing",
        not_ready,
    )
}

async fn gradual(test: Test) -> Result<()> {
    let mut draft = test.draft("pizzaplanetv1");
    put(
        &mut draft.0,
        "metadata.annotations",
        json!({"serving.knative.dev/rollout-duration": "20s"}),
    );
    let mut service = test.serve(&draft).await?;
    let image = test.image("pizzaplanetv2");
    let name = service.name();
    test.update(SERVICES, &name, |object| {
        put(
            object,
            "spec.template.spec.containers.0.image",
            json!(image),
        );
    })
    .await?;
    let under_way = test
        .until(SERVICES, &name, "rolling out", |object| {
            condition(object, "RoutesReady")["reason"] == "RolloutInProgress"
        })
        .await?;
    let targets = under_way["status"]["traffic"]
        .as_array()
        .map_or(0, Vec::len);
    ensure!(
        targets == 2,
        "{targets} targets: {}",
        under_way["status"]["traffic"]
    );
    let began = std::time::Instant::now();
    test.until(SERVICES, &name, "ready", is_ready).await?;
    ensure!(began.elapsed() > Duration::from_secs(10), "over too soon");
    service.service = test.get(SERVICES, &name).await?;
    let traffic = &service.service["status"]["traffic"];
    ensure!(
        traffic.as_array().map_or(0, Vec::len) == 1 && traffic[0]["latestRevision"] == true,
        "{traffic}"
    );
    service
        .says("Re-energize yourself with a slice of pepperoni!")
        .await
}

async fn roll_back(test: Test) -> Result<()> {
    let [first, second] = ["one", "two"].map(|word| format!("{}-{word}", test.name));
    let draft = test
        .draft("pizzaplanetv1")
        .put("spec.template.metadata.name", json!(first));
    let mut service = test.serve(&draft).await?;
    let image = test.image("pizzaplanetv2");
    service
        .update(|object| {
            put(
                object,
                "spec.template.spec.containers.0.image",
                json!(image),
            );
            put(object, "spec.template.metadata.name", json!(second));
        })
        .await?;
    service
        .says("Re-energize yourself with a slice of pepperoni!")
        .await?;
    service
        .update(|object| {
            put(
                object,
                "spec.traffic",
                json!([target("", Some(&first), 100)]),
            )
        })
        .await?;
    service.says("What a spaceport!").await
}

async fn not_ready(test: Test) -> Result<()> {
    let traffic = json!([target("", Some("foobar-does-not-exist"), 100)]);
    let draft = test.draft("helloworld").put("spec.traffic", traffic);
    test.create(SERVICES, &draft).await?;
    let missing = |object: &Value, kind: &str| {
        let condition = condition(object, kind);
        condition["status"] == "False" && condition["reason"] == "RevisionMissing"
    };
    let name = test.name.as_str();
    test.until(ROUTES, name, "missing it", |object| {
        missing(object, "AllTrafficAssigned")
    })
    .await?;
    let service = test
        .until(SERVICES, name, "missing it", |object| {
            missing(object, "RoutesReady")
        })
        .await?;
    let ready = condition(&service, "Ready");
    ensure!(text(ready, "/reason") == "RevisionMissing", "{ready}");
    test.delete(SERVICES, name).await
}
