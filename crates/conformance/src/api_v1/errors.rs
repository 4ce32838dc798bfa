//! What goes wrong, and how it is told.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{CONFIGURATIONS, REVISIONS, ROUTES, SERVICES, expect_refusal};
use crate::draft::Draft;
use crate::row::Rows;
use crate::test::{Test, condition, has_failed, text};

pub(super) fn add(rows: Rows) -> Rows {
    rows.test(
        "TestContainerErrorMsg",
        "an image that does not exist: Service, Configuration and Revision are not Ready, with \
         reason and message",
        missing_image,
    )
    .test(
        "TestContainerExitingMsg",
        "a container that exits with 5, with and without a readiness probe: Configuration and \
         Revision say so",
        exiting,
    )
    .test(
        "TestCustomResourcesLimits",
        "memory limit 350Mi: 100 and 200 MB can be had, 500 cannot",
        memory_limit,
    )
    .test(
        "TestRevisionTimeout (api)",
        "timeoutSeconds 10: 2 s are fine, 12 s before the head are 504, a head at once stays 200",
        timeout,
    )
    .test(
        "TestServiceAccountValidation",
        "an impossible serviceAccountName is refused in Knative's own words",
        service_account,
    )
}

async fn missing_image(test: Test) -> Result<()> {
    let image = test.image("there-is-no-such-image");
    let name = test.name.clone();
    test.create(SERVICES, &Draft::service(&name, &image))
        .await?;
    let service = test.until(SERVICES, &name, "failed", has_failed).await?;
    let configuration = test
        .until(CONFIGURATIONS, &name, "failed", has_failed)
        .await?;
    told(&service, "Ready")?;
    told(&configuration, "Ready")?;
    let revision = text(&configuration, "/status/latestCreatedRevisionName");
    let revision = test
        .until(REVISIONS, &revision, "failed", has_failed)
        .await?;
    let said = told(&revision, "Ready")?;
    ensure!(said.contains("Unable to fetch image"), "{said}");
    let route = test.get(ROUTES, &name).await?;
    ensure!(
        condition(&route, "Ready")["status"] != "True",
        "the route has nothing to lead to"
    );
    test.delete(SERVICES, &name).await
}

/// The message of a condition that is False and says why.
fn told(object: &Value, kind: &str) -> Result<String> {
    let condition = condition(object, kind);
    let (reason, message) = (text(condition, "/reason"), text(condition, "/message"));
    ensure!(
        condition["status"] == "False" && !reason.is_empty() && !message.is_empty(),
        "{condition}"
    );
    Ok(message)
}

async fn exiting(test: Test) -> Result<()> {
    let probe = json!({"httpGet": {"path": "/"}});
    for (word, probe) in [("none", None), ("http", Some(probe))] {
        let test = test.also(&format!("{}-{word}", test.name));
        let mut draft = Draft::configuration(&test.name, &test.image("failing"))
            .annotate("serving.knative.dev/progress-deadline", "30s");
        if let Some(probe) = probe {
            draft = draft.container("readinessProbe", probe);
        }
        test.create(CONFIGURATIONS, &draft).await?;
        let configuration = test
            .until(CONFIGURATIONS, &test.name, "failed", has_failed)
            .await?;
        let said = told(&configuration, "Ready")?;
        ensure!(said.contains("Container failed with"), "{said}");
        let revision = text(&configuration, "/status/latestCreatedRevisionName");
        let revision = test.get(REVISIONS, &revision).await?;
        told(&revision, "Ready")?;
        let reason = text(condition(&revision, "ContainerHealthy"), "/reason");
        ensure!(reason == "ExitCode5", "{reason}");
        test.delete(CONFIGURATIONS, &test.name).await?;
    }
    Ok(())
}

async fn memory_limit(test: Test) -> Result<()> {
    let draft = test
        .draft("autoscale")
        .container("resources", json!({"limits": {"memory": "350Mi"}}));
    let service = test.serve(&draft).await?;
    for megabytes in [100, 200] {
        service.ask(&format!("/?bloat={megabytes}")).await?.ok()?;
    }
    let answer = service.ask("/?bloat=500").await?;
    ensure!(answer.status != 200, "500 MB were given");
    // It comes back.
    test.eventually("serving again", || async {
        Ok(service.ask("/?bloat=100").await?.status == 200)
    })
    .await?;
    test.delete(SERVICES, &test.name).await
}

async fn timeout(test: Test) -> Result<()> {
    let draft = test.draft("timeout").revision("timeoutSeconds", json!(10));
    let service = test.serve(&draft).await?;
    let cases = [
        ("/?initialTimeout=0&timeout=2000", 200),
        ("/?initialTimeout=12000&timeout=0", 504),
        ("/?initialTimeout=0&timeout=15000", 200),
    ];
    let asked = cases.map(|(path, _)| service.ask(path));
    for ((path, status), answer) in cases
        .into_iter()
        .zip(futures_util::future::join_all(asked).await)
    {
        let answer = answer?;
        ensure!(answer.status == status, "{path}: {}", answer.status);
        if path.ends_with("timeout=15000") {
            ensure!(!answer.whole, "the body came after the timeout");
        }
    }
    Ok(())
}

async fn service_account(test: Test) -> Result<()> {
    let draft = test
        .draft("helloworld")
        .revision("serviceAccountName", json!("foo@bar.baz"));
    let said = expect_refusal(test.create(SERVICES, &draft).await)?;
    let wanted = "admission webhook \"validation.webhook.serving.knative.dev\" denied the request: \
        validation failed: invalid value: foo@bar.baz: spec.template.spec.serviceAccountName\n\
        a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
        '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used \
        for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    ensure!(said == wanted, "{said}");
    Ok(())
}
