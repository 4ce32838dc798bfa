//! The Serving API specification.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::{Value, json};

use crate::cluster::{CONFIGURATIONS, REVISIONS, ROUTES, SERVICES, expect_refusal};
use crate::draft::Draft;
use crate::row::{Row, Rows};
use crate::test::{Test, condition, is_ready, target, text};

pub(super) fn rows() -> Vec<Row> {
    let rows = Rows::of("Serving API specification");
    let rows = verbs(rows);
    let rows = relations(rows);
    let rows = status(rows);
    routing(rows).rows
}

fn verbs(rows: Rows) -> Rows {
    rows.shown(
        "MUST",
        "Services can be created, got, listed and deleted",
        &["TestServiceCreateListAndDelete"],
    )
    .shown(
        "MUST",
        "Services can be replaced",
        &["TestServiceCreateAndUpdate"],
    )
    .test(
        "SHOULD: merge patch",
        "Services can be changed by a JSON merge patch",
        merge_patch,
    )
    .test("MAY: watch", "Services can be watched", watch)
    .shown(
        "MUST",
        "Configurations, Routes and Revisions can be got and listed",
        &[
            "TestConfigurationGetAndList",
            "TestRouteGetAndList",
            "TestRevisionGetAndList",
        ],
    )
    .test(
        "SHOULD: delete a Revision",
        "a Revision nobody routes to can be deleted and does not come back",
        delete_revision,
    )
    .test(
        "MUST: Revisions are the system's",
        "the specification of a Revision cannot be changed",
        immutable,
    )
    .shown(
        "MAY",
        "Configurations and Routes of one's own",
        &["TestRouteCreation", "TestRouteAndConfigGenerateName"],
    )
    .shown(
        "SHOULD",
        "fields that are not supported are refused",
        &[
            "TestShouldNotContainerConstraints",
            "TestMustNotContainerConstraints",
        ],
    )
}

fn relations(rows: Rows) -> Rows {
    rows.shown(
        "MUST",
        "a Service owns a Configuration and a Route of its name, as their controller",
        &["TestServiceCreateAndUpdate"],
    )
    .test(
        "MUST: deletion cascades",
        "with a Service go its Configuration, its Route and its Revisions",
        cascade,
    )
    .shown(
        "MUST",
        "labels and annotations of a Service are those of its Configuration and Route",
        &["TestLabelPropagation", "TestAnnotationPropagation"],
    )
    .shown(
        "MUST NOT",
        "metadata of a Configuration leaks into its Revisions",
        &["TestUpdateConfigurationMetadata"],
    )
    .shown(
        "MUST",
        "each change of the template makes a Revision with the labels of its Configuration and \
         generation",
        &["TestServiceCreateAndUpdate"],
    )
    .shown(
        "MUST",
        "a Revision may be named by its template, and then a change needs another name",
        &["TestServiceBYOName"],
    )
    .test(
        "MUST NOT: traffic to a failed Revision",
        "an edition that cannot run gets no traffic; the one before goes on",
        failed_edition,
    )
}

fn status(rows: Rows) -> Rows {
    rows.test(
        "MUST: conditions",
        "Service, Configuration, Revision and Route have Ready and the conditions it is made of, \
         each with type, status and the time of its last change, sorted by type",
        conditions,
    )
    .test(
        "MUST: status fields",
        "url, address, traffic, observedGeneration and the names of the latest Revisions",
        fields,
    )
    .shown(
        "MUST",
        "containerStatuses have the digest of each image",
        &["TestServiceCreateWithMultipleContainers"],
    )
    .shown(
        "SHOULD",
        "replicas that are and that are wanted are in the Revision's status",
        &["TestMinScale"],
    )
    .shown(
        "MUST",
        "what goes wrong is told by Ready=False with reason and message, up to the Service",
        &[
            "TestContainerErrorMsg",
            "TestContainerExitingMsg",
            "TestRoutesNotReady",
        ],
    )
}

fn routing(rows: Rows) -> Rows {
    rows.test(
        "MUST: percents are 100",
        "traffic that does not sum to 100 is refused; so is a revisionName beside latestRevision",
        percents,
    )
    .shown(
        "MUST",
        "each tag has a URL of its own; percent 0 is allowed; latestRevision follows",
        &["TestServiceWithTrafficSplit"],
    )
    .shown(
        "MUST",
        "splits are honoured in proportion, request by request",
        &["TestBlueGreenRoute"],
    )
    .shown(
        "MUST",
        "each stream of HTTP/2 is a request",
        &["TestGRPCLoadBalancing", "TestHelloHTTP2WithPortNameH2C"],
    )
    .shown(
        "MUST",
        "host names of Routes are their own",
        &["TestMultipleNamespace", "TestDomainMapping"],
    )
    .shown(
        "MUST",
        "requests wait while there is no Pod and are refused only when the queue is full or time \
         is up",
        &["TestActivatorOverload", "TestInitScaleZero"],
    )
    .shown(
        "MUST",
        "args, command, env, image, ports, resources, workingDir, containerConcurrency and \
         timeoutSeconds are obeyed",
        &[
            "TestCmdArgs",
            "TestMustEnvVars",
            "TestCustomResourcesLimits",
            "TestWorkingDirService",
            "TestSingleConcurrency",
            "TestRevisionTimeout",
        ],
    )
    .shown(
        "SHOULD",
        "envFrom, valueFrom, probes, securityContext, volumes, serviceAccountName",
        &[
            "TestSecretsViaEnv",
            "TestConfigsViaEnv",
            "TestProbeRuntime",
            "TestLivenessWithFail",
            "TestMustRunAsUser",
            "TestProjectedComplex",
            "TestServiceAccountValidation",
        ],
    )
}

async fn merge_patch(test: Test) -> Result<()> {
    let service = test.serve(&test.draft("helloworld")).await?;
    let patch = json!({"spec": {"template": {"metadata": {"labels": {"x": "y"}}}}});
    test.cluster()
        .merge_patch(SERVICES, test.namespace, &service.name(), &patch)
        .await?;
    let changed = |object: &Value| {
        is_ready(object) && text(object, "/status/latestReadyRevisionName") != service.revision()
    };
    test.until(SERVICES, &service.name(), "at its second edition", changed)
        .await?;
    Ok(())
}

async fn watch(test: Test) -> Result<()> {
    let made = test.create(SERVICES, &test.draft("helloworld")).await?;
    // A watch that the server ends by itself, so that it can be read as one answer.
    let path = format!(
        "/apis/serving.knative.dev/v1/namespaces/{}/services?watch=true&timeoutSeconds=3\
         &fieldSelector=metadata.name%3D{}&resourceVersion={}",
        test.namespace,
        test.name,
        text(&made, "/metadata/resourceVersion")
    );
    let text = test
        .cluster()
        .text(Method::GET, &path, "application/json", None)
        .await?;
    let first = text.lines().next().context("no event")?;
    let event: Value = serde_json::from_str(first)?;
    ensure!(event["type"] == "MODIFIED", "{event}");
    ensure!(event["object"]["metadata"]["name"] == test.name, "{event}");
    Ok(())
}

async fn delete_revision(test: Test) -> Result<()> {
    let mut service = test.serve(&test.draft("helloworld")).await?;
    let first = service.revision();
    service
        .update(|object| {
            let labels = json!({"x": "2"});
            crate::draft::put(object, "spec.template.metadata.labels", labels);
        })
        .await?;
    test.delete(REVISIONS, &first).await?;
    test.eventually("the Revision is gone", || async {
        let found = test
            .cluster()
            .find(REVISIONS, test.namespace, &first)
            .await?;
        Ok(found.is_none())
    })
    .await?;
    service.fetch().await?;
    Ok(())
}

async fn immutable(test: Test) -> Result<()> {
    let service = test.serve(&test.draft("helloworld")).await?;
    let patch = json!([{
        "op": "replace", "path": "/spec/containers/0/image", "value": test.image("runtime"),
    }]);
    let said = expect_refusal(test.patch(REVISIONS, &service.revision(), patch).await)?;
    ensure!(
        said.contains("Immutable fields changed (-old +new): spec"),
        "{said}"
    );
    Ok(())
}

async fn cascade(test: Test) -> Result<()> {
    let service = test.serve(&test.draft("helloworld")).await?;
    let name = service.name();
    test.delete(SERVICES, &name).await?;
    for (kind, name) in [
        (CONFIGURATIONS, name.clone()),
        (ROUTES, name.clone()),
        (REVISIONS, service.revision()),
    ] {
        test.eventually("nothing is left of it", || async {
            let found = test.cluster().find(kind, test.namespace, &name).await?;
            Ok(found.is_none())
        })
        .await?;
    }
    Ok(())
}

async fn failed_edition(test: Test) -> Result<()> {
    let service = test.serve(&test.draft("helloworld")).await?;
    let name = service.name();
    let image = test.image("failing");
    test.update(SERVICES, &name, |object| {
        crate::draft::put(
            object,
            "spec.template.spec.containers.0.image",
            json!(image),
        );
    })
    .await?;
    test.until(SERVICES, &name, "failed", crate::test::has_failed)
        .await?;
    let now = test.get(SERVICES, &name).await?;
    let ready = text(&now, "/status/latestReadyRevisionName");
    ensure!(ready == service.revision(), "{ready}");
    ensure!(
        now["status"]["traffic"][0]["revisionName"] == ready,
        "{now}"
    );
    service.fetch().await?;
    test.delete(SERVICES, &name).await
}

async fn conditions(test: Test) -> Result<()> {
    let service = test.serve(&test.draft("helloworld")).await?;
    let objects = [
        (
            &service.service,
            &["ConfigurationsReady", "Ready", "RoutesReady"][..],
        ),
        (&service.configuration().await?, &["Ready"][..]),
        (
            &service.latest().await?,
            &["ContainerHealthy", "Ready", "ResourcesAvailable"][..],
        ),
        (
            &service.route().await?,
            &["AllTrafficAssigned", "IngressReady", "Ready"][..],
        ),
    ];
    for (object, wanted) in objects {
        for kind in wanted {
            let condition = condition(object, kind);
            ensure!(condition["status"] == "True", "{kind}: {condition}");
            let time = text(condition, "/lastTransitionTime");
            ensure!(time.ends_with('Z'), "{kind}: {condition}");
        }
        let list = object["status"]["conditions"]
            .as_array()
            .context("a list")?;
        let types: Vec<String> = list.iter().map(|c| text(c, "/type")).collect();
        ensure!(types.is_sorted(), "{types:?}");
    }
    Ok(())
}

async fn fields(test: Test) -> Result<()> {
    let service = test.serve(&test.draft("helloworld")).await?;
    for pointer in [
        "/status/url",
        "/status/address/url",
        "/status/latestCreatedRevisionName",
        "/status/latestReadyRevisionName",
        "/status/traffic/0/revisionName",
    ] {
        ensure!(!text(&service.service, pointer).is_empty(), "{pointer}");
    }
    let route = service.route().await?;
    ensure!(
        route["status"]["url"] == service.service["status"]["url"],
        "url"
    );
    let observed = &service.service["status"]["observedGeneration"];
    ensure!(*observed == 1, "{observed}");
    Ok(())
}

async fn percents(test: Test) -> Result<()> {
    let draft: Draft = test.draft("helloworld");
    let half = draft
        .clone()
        .put("spec.traffic", json!([target("", None, 50)]));
    let said = expect_refusal(test.create(SERVICES, &half).await)?;
    ensure!(
        said.contains("Traffic targets sum to 50, want 100: spec.traffic"),
        "{said}"
    );
    let both = json!([{"latestRevision": true, "revisionName": "x-00001", "percent": 100}]);
    let said = test
        .create(SERVICES, &draft.put("spec.traffic", both))
        .await;
    let said = expect_refusal(said)?;
    ensure!(
        said.contains("may not set revisionName \"x-00001\" when latestRevision is true"),
        "{said}"
    );
    Ok(())
}
