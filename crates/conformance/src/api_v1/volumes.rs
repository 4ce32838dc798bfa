//! Several containers, and volumes.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{CONFIG_MAPS, SECRETS};
use crate::draft::Draft;
use crate::row::Rows;
use crate::test::{Running, Test};

pub(super) fn add(rows: Rows) -> Rows {
    rows.test(
        "TestServiceCreateWithMultipleContainers",
        "two containers, one of them with the port: both digests are in the status, and the answer \
         comes through the sidecar",
        several_containers,
    )
    .test(
        "TestServiceCreateWithEmptyDir",
        "an emptyDir in memory can be written and read",
        empty_dir,
    )
    .test(
        "TestConfigMapVolume",
        "a ConfigMap's key is a file",
        |test| async move {
            let volume = json!({"configMap": {"name": test.name}});
            mounted(&test, CONFIG_MAPS, volume, "/hello").await
        },
    )
    .test(
        "TestProjectedConfigMapVolume",
        "the same in a projected volume",
        |test| async move {
            let source = json!({"configMap": {"name": test.name}});
            mounted(
                &test,
                CONFIG_MAPS,
                json!({"projected": {"sources": [source]}}),
                "/hello",
            )
            .await
        },
    )
    .test(
        "TestSecretVolume",
        "a Secret's key is a file",
        |test| async move {
            let volume = json!({"secret": {"secretName": test.name}});
            mounted(&test, SECRETS, volume, "/hello").await
        },
    )
    .test(
        "TestProjectedSecretVolume",
        "a Secret's key in a projected volume under another path",
        |test| async move {
            let items = json!([{"key": "other", "path": "dir/testfile"}]);
            let source = json!({"secret": {"name": test.name, "items": items}});
            let volume = json!({"projected": {"sources": [source]}});
            mounted(&test, SECRETS, volume, "/hello/dir").await
        },
    )
    .test(
        "TestProjectedComplex",
        "several sources with one path in a projected volume: the later one is seen",
        projected_complex,
    )
    .test(
        "TestProjectedServiceAccountToken",
        "a projected token has the shape of a JWT",
        token,
    )
}

async fn several_containers(test: Test) -> Result<()> {
    let containers = json!([
        {"image": test.image("servingcontainer"), "ports": [{"containerPort": 8881}],
         "env": [{"name": "FORWARD_PORT", "value": "8882"}]},
        {"image": test.image("sidecarcontainer")},
    ]);
    let draft = Draft::service(&test.name, "").revision("containers", containers);
    let service = test.serve(&draft).await?;
    service.says("Yay!! multi-container works").await?;
    let statuses = service.latest().await?["status"]["containerStatuses"].clone();
    let statuses = statuses.as_array().map_or(0, Vec::len);
    ensure!(statuses == 2, "{statuses} container statuses");
    Ok(())
}

async fn empty_dir(test: Test) -> Result<()> {
    let volumes = json!([{
        "name": "data", "emptyDir": {"medium": "Memory", "sizeLimit": "100M"},
    }]);
    let draft = test
        .draft("emptydir")
        .revision("volumes", volumes)
        .container(
            "volumeMounts",
            json!([{"name": "data", "mountPath": "/data"}]),
        );
    let service = test.serve(&draft).await?;
    service.says("From file in empty dir!").await
}

fn with_volume(test: &Test, volume: Value, path: &str) -> Draft {
    let mut volume = volume;
    volume["name"] = json!("hello");
    test.draft("hellovolume")
        .revision("volumes", json!([volume]))
        .container(
            "volumeMounts",
            json!([{"name": "hello", "mountPath": "/hello", "readOnly": true}]),
        )
        .env("VOLUME_PATH", path)
}

/// An object of the test's name with one text under two keys.
async fn keep(test: &Test, kind: crate::cluster::Resource, name: &str, said: &str) -> Result<()> {
    let (kind_name, field) = if kind == SECRETS {
        ("Secret", "stringData")
    } else {
        ("ConfigMap", "data")
    };
    let object = json!({
        "apiVersion": "v1", "kind": kind_name, "metadata": {"name": name},
        field: {"testfile": said, "other": said},
    });
    test.create(kind, &Draft(object)).await?;
    Ok(())
}

async fn mounted(
    test: &Test,
    kind: crate::cluster::Resource,
    volume: Value,
    path: &str,
) -> Result<()> {
    keep(test, kind, &test.name, "This is something").await?;
    let service = test.serve(&with_volume(test, volume, path)).await?;
    said(&service, "This is something").await
}

async fn said(service: &Running, wanted: &str) -> Result<()> {
    let body = service.ask("/testfile").await?.ok()?.body;
    ensure!(body == wanted, "{body:?}");
    Ok(())
}

async fn projected_complex(test: Test) -> Result<()> {
    let [one, two, three] = ["one", "two", "three"].map(|word| format!("{}-{word}", test.name));
    keep(&test, CONFIG_MAPS, &one, "one").await?;
    keep(&test, CONFIG_MAPS, &two, "two").await?;
    keep(&test, SECRETS, &three, "three").await?;
    let items = json!([{"key": "testfile", "path": "testfile"}]);
    let sources = json!([
        {"configMap": {"name": one, "items": items}},
        {"configMap": {"name": two, "items": items}},
        {"secret": {"name": three, "items": items}},
    ]);
    let volume = json!({"projected": {"sources": sources}});
    let service = test.serve(&with_volume(&test, volume, "/hello")).await?;
    said(&service, "three").await
}

async fn token(test: Test) -> Result<()> {
    let sources = json!([{"serviceAccountToken": {
        "audience": "api", "expirationSeconds": 3600, "path": "testfile",
    }}]);
    let volume = json!({"projected": {"sources": sources}});
    let service = test.serve(&with_volume(&test, volume, "/hello")).await?;
    let token = service.ask("/testfile").await?.ok()?.body;
    let parts: Vec<&str> = token.split('.').collect();
    let is_part = |part: &&str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte))
    };
    ensure!(parts.len() == 3 && parts.iter().all(is_part), "{token:?}");
    Ok(())
}
