//! Knative's suites that need a ConfigMap changed first; the run has changed them all.

use anyhow::{Result, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::websocket;
use crate::cluster::{DOMAIN_MAPPINGS, REVISIONS};
use crate::draft::{Draft, put};
use crate::row::Rows;
use crate::test::{Test, target, text};
use crate::web::{Ask, ask};

pub(super) fn add(rows: Rows) -> Rows {
    rows.test(
        "TestTagHeaderBasedRouting",
        "the header Knative-Serving-Tag chooses the tag; an unknown one is the main traffic's",
        tag_header,
    )
    .test(
        "TestInitScaleZero",
        "initial-scale 0: ready without a Pod, also for the second revision",
        initial_zero,
    )
    .test(
        "TestInitContainers",
        "an init container writes what the application serves",
        init_containers,
    )
    .test(
        "TestMultiContainerReadiness",
        "the sidecar's readiness counts: not ready before it is",
        multi_readiness,
    )
    .test(
        "TestDomainMappingWebsocket",
        "a WebSocket by the mapped host",
        mapped_websocket,
    )
    .not_applicable(
        "TestSystemInternalTLSWithServeMode",
        "traffic without the activator under system-internal-tls",
        "turns on a key of config-network that no code of Knative reads",
    )
    .not_applicable(
        "ha: TestControllerHA and five more",
        "the Pods of Knative's components are killed one by one",
        "the components are parts of one process; its restart is a system test of its own",
    )
}

async fn tag_header(test: Test) -> Result<()> {
    let mut service = test.serve(&test.draft("pizzaplanetv1")).await?;
    let first = service.revision();
    let image = test.image("pizzaplanetv2");
    service
        .update(|object| {
            put(
                object,
                "spec.template.spec.containers.0.image",
                json!(image),
            );
        })
        .await?;
    service
        .update(|object| {
            let traffic = json!([target("", None, 100), target("old", Some(&first), 0)]);
            put(object, "spec.traffic", traffic);
        })
        .await?;
    for (tag, said) in [
        ("old", "What a"),
        ("nobody", "Re-energize"),
        ("", "Re-energize"),
    ] {
        let mut request = Ask::get(&service.url(), "/");
        if !tag.is_empty() {
            request = request.header("knative-serving-tag", tag);
        }
        let body = ask(test.gateway(), &request).await?.ok()?.body;
        ensure!(body.starts_with(said), "{tag:?}: {body}");
    }
    Ok(())
}

async fn initial_zero(test: Test) -> Result<()> {
    let draft = test.draft("helloworld").scale("initial-scale", 0);
    let mut service = test.serve(&draft).await?;
    for round in 0..2 {
        let revision = text(&service.service, "/status/latestReadyRevisionName");
        let pods = test.pods(&revision).await?.len();
        ensure!(pods == 0, "{pods} Pods");
        service.fetch().await?;
        if round == 0 {
            service
                .update(|object| {
                    put(object, "spec.template.metadata.labels", json!({"x": "2"}));
                })
                .await?;
        }
    }
    Ok(())
}

async fn init_containers(test: Test) -> Result<()> {
    let mounts = json!([{"name": "data", "mountPath": "/data"}]);
    let init = json!([{
        "image": test.image("emptydir"),
        "volumeMounts": mounts,
        "env": [{"name": "SKIP_DATA_SERVE", "value": "True"}],
    }]);
    let draft = test
        .draft("emptydir")
        .revision("initContainers", init)
        .revision("volumes", json!([{"name": "data", "emptyDir": {}}]))
        .container("volumeMounts", mounts)
        .env("SKIP_DATA_WRITE", "True");
    let service = test.serve(&draft).await?;
    service.says("From file in empty dir!").await?;
    let revision = test.get(REVISIONS, &service.revision()).await?;
    let statuses = revision["status"]["initContainerStatuses"].as_array();
    ensure!(statuses.map_or(0, Vec::len) == 1, "{statuses:?}");
    Ok(())
}

async fn multi_readiness(test: Test) -> Result<()> {
    let containers = json!([
        {"name": "front", "image": test.image("readiness"),
         "ports": [{"containerPort": 8080}],
         "readinessProbe": {"httpGet": {"path": "/healthz/readiness"}}},
        {"name": "back", "image": test.image("readiness"),
         "env": [{"name": "PORT", "value": "8881"}, {"name": "READY_DELAY", "value": "6s"}],
         "readinessProbe": {"httpGet": {"path": "/healthz/readiness", "port": 8881}}},
    ]);
    let draft = Draft::service(&test.name, "").revision("containers", containers);
    let began = std::time::Instant::now();
    let service = test.serve(&draft).await?;
    ensure!(began.elapsed().as_secs() >= 6, "ready too early");
    service.fetch().await?;
    Ok(())
}

async fn mapped_websocket(test: Test) -> Result<()> {
    let host = format!("{}.example.org", test.name);
    let service = test.serve(&test.draft("wsserver")).await?;
    let mapping = json!({
        "apiVersion": "serving.knative.dev/v1beta1", "kind": "DomainMapping",
        "metadata": {"name": host},
        "spec": {"ref": {
            "apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": service.name(),
        }},
    });
    test.create(DOMAIN_MAPPINGS, &Draft(mapping)).await?;
    test.ready(DOMAIN_MAPPINGS, &host).await?;
    let mut socket = websocket::open(&test, &host, "/").await?;
    socket.send(Message::text("mapped")).await?;
    let said = socket.next().await;
    ensure!(
        matches!(&said, Some(Ok(message)) if message.to_text()? == "mapped"),
        "{said:?}"
    );
    test.delete(DOMAIN_MAPPINGS, &host).await
}
