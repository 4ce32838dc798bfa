//! What a container may not ask for.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::cluster::SERVICES;
use crate::cluster::refusal;
use crate::row::Rows;
use crate::test::Test;

pub(super) fn add(rows: Rows) -> Rows {
    rows.test(
        "TestMustNotContainerConstraints",
        "an unknown port name and mount propagation are refused",
        must_not,
    )
    .test(
        "TestShouldNotContainerConstraints",
        "hooks, several ports, a host port, stdin, a terminal and a negative user are refused or \
         dropped",
        should_not,
    )
}

/// Creates with the field set: refused, or without the field.
async fn refused(test: &Test, field: &str, value: Value, may_prune: bool) -> Result<()> {
    let test = test.also(&test.name);
    let draft = test.draft("runtime").container(field, value);
    match test.create(SERVICES, &draft).await {
        Err(error) if refusal(&error).is_some_and(|said| said.code < 500) => Ok(()),
        Err(error) => Err(error),
        Ok(made) => {
            let container = &made["spec"]["template"]["spec"]["containers"][0];
            ensure!(
                may_prune && container[field].is_null(),
                "{field} was accepted: {container}"
            );
            test.delete(SERVICES, &test.name).await
        }
    }
}

async fn must_not(test: Test) -> Result<()> {
    let ports = json!([{"name": "arbitrary", "containerPort": 8080}]);
    refused(&test, "ports", ports, false).await?;
    let mounts = json!([{
        "name": "VolumeMount", "mountPath": "/", "mountPropagation": "HostToContainer",
    }]);
    refused(&test, "volumeMounts", mounts, false).await
}

async fn should_not(test: Test) -> Result<()> {
    let hook = |hook: &str| json!({hook: {"exec": {"command": ["/bin/true"]}}});
    refused(&test, "lifecycle", hook("postStart"), true).await?;
    refused(&test, "lifecycle", hook("preStop"), true).await?;
    let ports = json!([{"containerPort": 80}, {"containerPort": 81}]);
    refused(&test, "ports", ports, false).await?;
    for field in ["stdin", "stdinOnce", "tty"] {
        refused(&test, field, json!(true), true).await?;
    }
    refused(&test, "securityContext", json!({"runAsUser": -10}), false).await?;
    let test = test.also(&test.name);
    let ports = json!([{"containerPort": 8081, "hostPort": 80}]);
    let draft = test.draft("runtime").container("ports", ports);
    if let Ok(made) = test.create(SERVICES, &draft).await {
        let port = &made["spec"]["template"]["spec"]["containers"][0]["ports"][0];
        ensure!(port["hostPort"].is_null(), "{port}");
        test.delete(SERVICES, &test.name).await?;
    }
    Ok(())
}
