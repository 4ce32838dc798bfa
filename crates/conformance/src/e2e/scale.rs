//! Bounds of the scale.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::cluster::{POD_AUTOSCALERS, PODS, REVISIONS, ROUTES, SERVICES};
use crate::draft::put;
use crate::row::Rows;
use crate::test::{Test, text};

pub(super) fn add(rows: Rows) -> Rows {
    rows.test(
        "TestActivationScale",
        "activation-scale 5: after one request from zero five Pods are wanted",
        activation,
    )
    .test(
        "TestInitScalePositive",
        "initial-scale 3: three Pods before it is ready, fewer after",
        initial,
    )
    .test(
        "TestMinScale",
        "min-scale 4: four Pods before it is ready and after; the next revision too; the old one \
         goes below four, and the new one when its Route is gone",
        min,
    )
    .test(
        "TestMinScaleTransition",
        "the old revision keeps its Pods until the new one has all of its own",
        transition,
    )
    .test(
        "TestMinScaleAnnotationChange",
        "min-scale changed on the Revision itself, 1, 2, 3 and 0, is followed",
        annotation,
    )
    .long(
        "TestScaleToN",
        "100 Services made at once: each becomes ready and serves",
        to_n,
    )
}

async fn desired(test: &Test, revision: &str) -> Result<i64> {
    let autoscaler = test.get(POD_AUTOSCALERS, revision).await?;
    Ok(autoscaler["status"]["desiredScale"].as_i64().unwrap_or(-1))
}

async fn activation(test: Test) -> Result<()> {
    let draft = test
        .draft("helloworld")
        .scale("activation-scale", 5)
        .scale("initial-scale", 0)
        .scale("window", "6s");
    let service = test.serve(&draft).await?;
    let revision = test.get(SERVICES, &service.name()).await?;
    let revision = text(&revision, "/status/latestCreatedRevisionName");
    service.fetch().await?;
    test.eventually("five wanted", || async {
        Ok(desired(&test, &revision).await? == 5)
    })
    .await
}

async fn initial(test: Test) -> Result<()> {
    let draft = test
        .draft("helloworld")
        .scale("initial-scale", 3)
        .scale("window", "6s");
    test.create(SERVICES, &draft).await?;
    let revision = format!("{}-00001", test.name);
    let selector = format!("serving.knative.dev/revision={revision}");
    // They go soon after the third has become ready, so they are counted as they come.
    test.eventually("three Pods", || async {
        Ok(test.list(PODS, &selector).await?.len() >= 3)
    })
    .await?;
    test.ready(SERVICES, &test.name).await?;
    test.eventually("fewer than three", || async {
        Ok(test.ready_replicas(&revision).await? < 3)
    })
    .await
}

async fn min(test: Test) -> Result<()> {
    let draft = test
        .draft("helloworld")
        .scale("min-scale", 4)
        .scale("window", "6s");
    let mut service = test.serve(&draft).await?;
    let first = service.revision();
    for _ in 0..8 {
        let ready = test.ready_replicas(&first).await?;
        ensure!(ready >= 4, "{ready} Pods");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    test.until(REVISIONS, &first, "at four", |object| {
        object["status"]["actualReplicas"] == 4
    })
    .await?;
    service
        .update(|object| {
            let env = json!([{"name": "FOO", "value": "BAR"}]);
            put(object, "spec.template.spec.containers.0.env", env);
        })
        .await?;
    let second = service.revision();
    ensure!(test.ready_replicas(&second).await? >= 4, "the second");
    test.eventually("the first goes", || async {
        Ok(test.ready_replicas(&first).await? < 4)
    })
    .await?;
    // The Service would make its Route again.
    let route = text(&service.route().await?, "/metadata/uid");
    test.delete(ROUTES, &service.name()).await?;
    test.until(ROUTES, &service.name(), "made again", |object| {
        object["metadata"]["uid"] != route
    })
    .await?;
    test.delete(SERVICES, &service.name()).await
}

async fn transition(test: Test) -> Result<()> {
    let draft = test
        .draft("helloworld")
        .scale("min-scale", 4)
        .scale("window", "6s");
    let service = test.serve(&draft).await?;
    let first = service.revision();
    let name = service.name();
    // The second edition takes its time to become ready.
    let image = test.image("readiness");
    test.update(SERVICES, &name, |object| {
        let container = "spec.template.spec.containers.0";
        put(object, &format!("{container}.image"), json!(image));
        let env = json!([{"name": "READY_DELAY", "value": "8s"}]);
        put(object, &format!("{container}.env"), env);
        let probe = json!({"httpGet": {"path": "/healthz/readiness"}, "periodSeconds": 1});
        put(object, &format!("{container}.readinessProbe"), probe);
    })
    .await?;
    let created = |object: &Value| text(object, "/status/latestCreatedRevisionName") != first;
    let now = test.until(SERVICES, &name, "changed", created).await?;
    let second = text(&now, "/status/latestCreatedRevisionName");
    loop {
        let (old, object) = futures_util::future::try_join(
            test.ready_replicas(&first),
            test.get(REVISIONS, &second),
        )
        .await?;
        if crate::test::is_ready(&object) {
            break;
        }
        ensure!(old >= 4, "{old} old Pods before the new ones were ready");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let ready = test.ready_replicas(&second).await?;
    ensure!(ready >= 4, "{ready} new Pods");
    test.ready(SERVICES, &name).await?;
    test.delete(SERVICES, &name).await
}

async fn annotation(test: Test) -> Result<()> {
    let draft = test
        .draft("helloworld")
        .scale("min-scale", 1)
        .scale("window", "6s");
    let service = test.serve(&draft).await?;
    let revision = service.revision();
    for wanted in [2_u64, 3, 0] {
        let patch = json!([{
            "op": "replace", "path": "/metadata/annotations/autoscaling.knative.dev~1min-scale",
            "value": wanted.to_string(),
        }]);
        test.patch(REVISIONS, &revision, patch).await?;
        let said = format!("{wanted} Pods");
        test.eventually(&said, || async {
            Ok(test.ready_replicas(&revision).await? == wanted)
        })
        .await?;
    }
    Ok(())
}

async fn to_n(test: Test) -> Result<()> {
    let made = (0..100).map(|_| async {
        let test = test.also("scale-to-n");
        let draft = test.draft("helloworld").container(
            "resources",
            json!({"requests": {"cpu": "10m", "memory": "20Mi"}}),
        );
        let service = test.serve(&draft).await?;
        service.fetch().await?;
        test.delete(SERVICES, &service.name()).await
    });
    join_all(made).await.into_iter().collect()
}
