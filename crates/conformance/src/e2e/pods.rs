//! Pods: what is in them, and what is said when there are none.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{CONFIGURATIONS, EVENTS, REVISIONS, SERVICES, expect_refusal};
use crate::draft::Draft;
use crate::row::Rows;
use crate::test::{Test, condition, has_failed, text};

pub(super) fn add(rows: Rows) -> Rows {
    rows.test(
        "TestHelloWorld",
        "status text, and labels of revision and route",
        hello,
    )
    .test(
        "TestHelloHTTP2WithPortNameH2C",
        "an application that speaks HTTP/2 alone, behind a port named h2c",
        http2,
    )
    .not_applicable(
        "TestHelloHTTP2WithEmptyPortName",
        "the same without a port name",
        "skipped in Knative's own source",
    )
    .not_applicable(
        "TestEgressTraffic",
        "an application reaches a site of the internet",
        "needs the internet",
    )
    .test(
        "TestEmptyDir",
        "an emptyDir can be written and read",
        empty_dir,
    )
    .test(
        "TestMultiContainer",
        "a sidecar is reached on localhost",
        sidecar,
    )
    .test(
        "TestQueueSideCarResourceLimit",
        "resource-percentage 0.2: queue-proxy asks for the least of what it may ask",
        queue_resources,
    )
    .test(
        "TestRequestLogs",
        "queue-proxy's log has a line in JSON for each request and each probe",
        request_logs,
    )
    .test(
        "TestImagePullError",
        "a digest nobody has: RevisionFailed, and ErrImagePull or ImagePullBackOff",
        image_pull,
    )
    .test(
        "TestPodScheduleError",
        "50 processors: Insufficient cpu, Unschedulable",
        unschedulable,
    )
    .test(
        "TestResourceQuotaError",
        "more than the namespace's quota: forbidden: exceeded quota",
        quota,
    )
    .test(
        "TestServiceDryRunValidationWithInvalidPodSpec",
        "a dry run of a Pod that cannot be: validation callback failed",
        dry_run,
    )
    .test(
        "Events",
        "Created for what a reconciler makes, and one each when things become ready",
        events,
    )
}

async fn hello(test: Test) -> Result<()> {
    let service = test.serve(&test.draft("helloworld")).await?;
    service
        .says("Hello World! How about some tasty noodles?")
        .await?;
    let revision = service.latest().await?;
    let labels = &revision["metadata"]["labels"];
    ensure!(
        labels["serving.knative.dev/configuration"] == service.name()
            && labels["serving.knative.dev/service"] == service.name()
            && labels["serving.knative.dev/routingState"] == "active",
        "{labels}"
    );
    let route = service.route().await?;
    let label = &route["metadata"]["labels"]["serving.knative.dev/service"];
    ensure!(*label == service.name(), "{label}");
    Ok(())
}

async fn http2(test: Test) -> Result<()> {
    let draft = test.draft("hellohttp2").port_name("h2c");
    let service = test.serve(&draft).await?;
    let said = "Hello, New World! How about donuts and coffee?";
    service.says(said).await
}

async fn empty_dir(test: Test) -> Result<()> {
    let mounts = json!([{"name": "data", "mountPath": "/data"}]);
    let draft = test
        .draft("volumes")
        .revision("volumes", json!([{"name": "data", "emptyDir": {}}]))
        .container("volumeMounts", mounts);
    test.serve(&draft)
        .await?
        .says("From file in empty dir!")
        .await
}

async fn sidecar(test: Test) -> Result<()> {
    let containers = json!([
        {"name": "front", "image": test.image("servingcontainer"),
         "ports": [{"containerPort": 8881}],
         "env": [{"name": "FORWARD_PORT", "value": "8882"}]},
        {"name": "back", "image": test.image("sidecarcontainer")},
    ]);
    let draft = Draft::service(&test.name, "").revision("containers", containers);
    let service = test.serve(&draft).await?;
    service.says("Yay!! multi-container works").await
}

async fn queue_resources(test: Test) -> Result<()> {
    let resources = json!({
        "requests": {"cpu": "50m", "memory": "128Mi"},
        "limits": {"cpu": "100m", "memory": "258Mi"},
    });
    let draft = test
        .draft("helloworld")
        .annotate(
            "queue.sidecar.serving.knative.dev/resource-percentage",
            "0.2",
        )
        .container("resources", resources);
    let service = test.serve(&draft).await?;
    let pods = test.pods(&service.revision()).await?;
    let containers = pods[0]["spec"]["containers"].as_array();
    let queue = containers
        .into_iter()
        .flatten()
        .find(|container| container["name"] == "queue-proxy");
    let found = &queue.context("no queue-proxy")?["resources"];
    let amounts = [
        ("/requests/cpu", "25m"),
        ("/requests/memory", "50Mi"),
        ("/limits/cpu", "40m"),
        ("/limits/memory", "200Mi"),
    ];
    for (pointer, wanted) in amounts {
        let amount = text(found, pointer);
        let bytes = wanted.strip_suffix("Mi").map(|mi| mi.parse::<u64>());
        let bytes = bytes.transpose()?.map(|mi| (mi << 20).to_string());
        let is_it = amount == wanted || bytes.as_deref() == Some(&amount);
        ensure!(is_it, "{pointer}: {amount} instead of {wanted}");
    }
    Ok(())
}

async fn request_logs(test: Test) -> Result<()> {
    let draft = test.draft("helloworld").scale("min-scale", 1);
    let service = test.serve(&draft).await?;
    service.fetch().await?;
    let pods = test.pods(&service.revision()).await?;
    let pod = text(&pods[0], "/metadata/name");
    let line = |log: &str, agent: &str, url: &str| {
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut requests = lines.map(|line| line["httpRequest"].clone());
        requests.any(|request| {
            request["requestUrl"] == url
                && text(&request, "/userAgent").starts_with(agent)
                && request["status"] == 200
        })
    };
    test.eventually("both lines", || async {
        let log = test
            .cluster()
            .log(test.namespace, &pod, "queue-proxy")
            .await?;
        Ok(line(&log, "", "/") && line(&log, "kube-probe/", "/"))
    })
    .await
}

/// A Configuration that fails; its message and its revision.
async fn failed(test: &Test, draft: &Draft) -> Result<(Value, Value)> {
    test.create(SERVICES, draft).await?;
    let configuration = test
        .until(CONFIGURATIONS, &test.name, "failed", has_failed)
        .await?;
    let revision = text(&configuration, "/status/latestCreatedRevisionName");
    let revision = test.get(REVISIONS, &revision).await?;
    test.delete(SERVICES, &test.name).await?;
    Ok((condition(&configuration, "Ready").clone(), revision))
}

async fn image_pull(test: Test) -> Result<()> {
    let image = format!("{}@sha256:{}", test.image("ubuntu"), "0".repeat(64));
    let draft =
        Draft::service(&test.name, &image).annotate("serving.knative.dev/progress-deadline", "10s");
    let (said, revision) = failed(&test, &draft).await?;
    ensure!(said["reason"] == "RevisionFailed", "{said}");
    let reason = text(condition(&revision, "Ready"), "/reason");
    ensure!(
        reason == "ImagePullBackOff" || reason == "ErrImagePull",
        "{reason}"
    );
    Ok(())
}

async fn unschedulable(test: Test) -> Result<()> {
    let draft = test
        .draft("helloworld")
        .container("resources", json!({"requests": {"cpu": "50000m"}}))
        .annotate("serving.knative.dev/progress-deadline", "20s");
    let (said, revision) = failed(&test, &draft).await?;
    let message = text(&said, "/message");
    ensure!(message.contains("Insufficient cpu"), "{message}");
    let reason = text(condition(&revision, "Ready"), "/reason");
    ensure!(reason == "Unschedulable", "{reason}");
    Ok(())
}

async fn quota(test: Test) -> Result<()> {
    let namespace = "rq-test";
    test.cluster().namespace(namespace).await?;
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "rq-e2e-test"},
        "spec": {"hard": {"cpu": "50m"}},
    });
    let quotas = crate::cluster::Resource {
        root: "/api/v1",
        plural: "resourcequotas",
    };
    test.cluster().create(quotas, namespace, &quota, "").await?;
    let test = test.within_namespace(namespace);
    let draft = test
        .draft("autoscale")
        .container(
            "resources",
            json!({"requests": {"cpu": "50m", "memory": "20Mi"}}),
        )
        .annotate("serving.knative.dev/progress-deadline", "20s");
    let (said, _) = failed(&test, &draft).await?;
    ensure!(said["reason"] == "RevisionFailed", "{said}");
    let message = text(&said, "/message");
    ensure!(
        message.contains("forbidden: exceeded quota") || message.contains("ProgressDeadline"),
        "{message}"
    );
    test.cluster()
        .delete(quotas, namespace, "rq-e2e-test")
        .await
}

async fn dry_run(test: Test) -> Result<()> {
    let service = test.serve(&test.draft("helloworld")).await?;
    let fine = json!([{
        "op": "add", "path": "/spec/template/metadata/labels", "value": {"x": "y"},
    }]);
    let name = service.name();
    test.cluster()
        .json_patch(SERVICES, test.namespace, &name, &fine, "?dryRun=All")
        .await?;
    let impossible = json!([{
        "op": "add", "path": "/spec/template/spec/containers/0/name", "value": "Not_A_Name",
    }]);
    let said = test
        .cluster()
        .json_patch(SERVICES, test.namespace, &name, &impossible, "?dryRun=All")
        .await;
    let said = expect_refusal(said)?;
    ensure!(said.contains("validation callback failed"), "{said}");
    Ok(())
}

async fn events(test: Test) -> Result<()> {
    let service = test.serve(&test.draft("helloworld")).await?;
    let wanted = [
        ("Service", "Created"),
        ("Configuration", "Created"),
        ("Configuration", "ConfigurationReady"),
        ("Revision", "RevisionReady"),
    ];
    test.eventually("all Events", || async {
        let events = test.list(EVENTS, "").await?;
        let is_ours = |event: &&Value| {
            let name = text(event, "/involvedObject/name");
            name == service.name() || name == service.revision()
        };
        let ours: Vec<_> = events.iter().filter(is_ours).collect();
        Ok(wanted.iter().all(|(kind, reason)| {
            ours.iter()
                .any(|event| event["involvedObject"]["kind"] == *kind && event["reason"] == *reason)
        }))
    })
    .await
}
