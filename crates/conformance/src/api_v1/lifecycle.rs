//! Creating, naming, changing and deleting; what becomes of labels and annotations.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::traffic::{ONE, TWO};
use crate::cluster::{
    CONFIGURATIONS, CORE_SERVICES, REVISIONS, ROUTES, Resource, SERVICES, expect_refusal,
};
use crate::draft::{Draft, at, put};
use crate::row::Rows;
use crate::test::{Running, Test, text};

const IMAGE: &str = "spec.template.spec.containers.0.image";

pub(super) fn add(rows: Rows) -> Rows {
    rows.test(
        "TestUpdateConfigurationMetadata",
        "labels and annotations of a Configuration can be changed without a new revision, stay, and \
         are not copied to the revision there is",
        configuration_metadata,
    )
    .test(
        "TestServiceGenerateName",
        "generateName of a Service: it gets a name with the prefix, becomes ready and serves",
        service_generate_name,
    )
    .test(
        "TestRouteAndConfigGenerateName",
        "generateName of a Configuration and of a Route",
        route_generate_name,
    )
    .test(
        "TestServiceCreateListAndDelete",
        "a Service is in the list after it was created and not after it was deleted",
        create_list_delete,
    )
    .test(
        "TestServiceCreateAndUpdate",
        "image, template label and template annotation changed one after the other: a new revision \
         each, generations 2, 3 and 4, no request lost; creator and lastModifier are there",
        create_and_update,
    )
    .test(
        "TestServiceBYOName",
        "a revision name of one's own is taken; changing the template without another is refused",
        own_name,
    )
    .test(
        "TestAnnotationPropagation",
        "annotations of a Service appear on its Configuration and Route, and go with it",
        annotations,
    )
    .test(
        "TestLabelPropagation",
        "labels of a Service appear on its Configuration, its Route and the Kubernetes Service of \
         its name, and go with it",
        labels,
    )
}

async fn configuration_metadata(test: Test) -> Result<()> {
    let name = test.name.clone();
    let draft = Draft::configuration(&name, &test.image("helloworld"));
    test.create(CONFIGURATIONS, &draft).await?;
    let made = test.ready(CONFIGURATIONS, &name).await?;
    let revision = text(&made, "/status/latestReadyRevisionName");
    for (place, key) in [("labels", "labelX"), ("annotations", "annotationA")] {
        let path = format!("metadata.{place}");
        test.update(CONFIGURATIONS, &name, |object| {
            at(object, &path)[key] = json!("x");
        })
        .await?;
    }
    let now = test.ready(CONFIGURATIONS, &name).await?;
    ensure!(now["metadata"]["labels"]["labelX"] == "x", "the label");
    ensure!(
        now["metadata"]["annotations"]["annotationA"] == "x",
        "the annotation"
    );
    ensure!(
        now["metadata"]["generation"] == made["metadata"]["generation"],
        "the generation must not change"
    );
    ensure!(
        text(&now, "/status/latestReadyRevisionName") == revision,
        "a new revision"
    );
    let revision = test.get(REVISIONS, &revision).await?;
    ensure!(
        revision["metadata"]["labels"]["labelX"].is_null()
            && revision["metadata"]["annotations"]["annotationA"].is_null(),
        "metadata of the configuration leaked into the revision"
    );
    test.delete(CONFIGURATIONS, &name).await
}

fn generate(draft: Draft, prefix: &str) -> Draft {
    let mut draft = draft.put("metadata.generateName", json!(prefix));
    let metadata = draft.0["metadata"].as_object_mut();
    metadata.expect("drafts have metadata").remove("name");
    draft
}

async fn service_generate_name(test: Test) -> Result<()> {
    let prefix = format!("{}-", test.name);
    let service = test
        .serve(&generate(test.draft("helloworld"), &prefix))
        .await?;
    ensure!(
        service.name().starts_with(&prefix) && service.name().len() > prefix.len(),
        "{}",
        service.name()
    );
    service.fetch().await?;
    test.delete(SERVICES, &service.name()).await
}

async fn route_generate_name(test: Test) -> Result<()> {
    let prefix = format!("{}-", test.name);
    let draft = generate(Draft::configuration("", &test.image("helloworld")), &prefix);
    let made = test.create(CONFIGURATIONS, &draft).await?;
    let configuration = text(&made, "/metadata/name");
    ensure!(configuration.starts_with(&prefix), "{configuration}");
    let made = test
        .create(ROUTES, &generate(Draft::route("", &configuration), &prefix))
        .await?;
    let route = text(&made, "/metadata/name");
    ensure!(route.starts_with(&prefix), "{route}");
    let ready = test.ready(ROUTES, &route).await?;
    test.fetch(&text(&ready, "/status/url")).await?;
    test.delete(ROUTES, &route).await?;
    test.delete(CONFIGURATIONS, &configuration).await
}

async fn create_list_delete(test: Test) -> Result<()> {
    let service = test.serve(&test.draft("helloworld")).await?;
    let name = service.name();
    let listed = || async {
        let list = test.list(SERVICES, "").await?;
        Ok::<_, anyhow::Error>(list.iter().any(|item| item["metadata"]["name"] == name))
    };
    ensure!(listed().await?, "not listed");
    test.delete(SERVICES, &name).await?;
    test.eventually("gone from the list", || async { Ok(!listed().await?) })
        .await?;
    for kind in [CONFIGURATIONS, ROUTES] {
        test.eventually("gone with its Service", || async {
            let found = test.cluster().find(kind, test.namespace, &name).await?;
            Ok(found.is_none())
        })
        .await?;
    }
    Ok(())
}

async fn create_and_update(test: Test) -> Result<()> {
    let mut service = test.serve(&test.draft("pizzaplanetv1")).await?;
    let mut revision = service.revision();
    check_names(&service, &revision, 1).await?;
    service.says(ONE).await?;
    let url = service.url();
    let image = test.image("pizzaplanetv2");
    let steps: [(&str, Value); 3] = [
        (IMAGE, json!(image)),
        ("spec.template.metadata.labels", json!({"labelX": "abc"})),
        (
            "spec.template.metadata.annotations",
            json!({"annotationA": "123"}),
        ),
    ];
    for (step, (path, value)) in steps.into_iter().enumerate() {
        let changed = service.update(|object| put(object, path, value.clone()));
        test.while_asked(&url, changed).await?;
        ensure!(service.revision() != revision, "{path}: no new revision");
        revision = service.revision();
        check_names(&service, &revision, step + 2).await?;
    }
    service.says(TWO).await?;
    let annotations = &service.latest().await?["metadata"]["annotations"];
    ensure!(annotations["annotationA"] == "123", "{annotations}");
    Ok(())
}

/// Labels, generations and annotations that every Service's objects carry.
async fn check_names(service: &Running, revision: &str, generation: usize) -> Result<()> {
    let name = service.name();
    let object = &service.service;
    ensure!(object["metadata"]["generation"] == generation, "{object}");
    ensure!(
        text(object, "/status/latestCreatedRevisionName") == revision,
        "latestCreatedRevisionName"
    );
    let configuration = service.configuration().await?;
    let route = service.route().await?;
    for child in [&configuration, &route] {
        let labels = &child["metadata"]["labels"];
        ensure!(labels["serving.knative.dev/service"] == name, "{labels}");
        let owner = &child["metadata"]["ownerReferences"][0];
        ensure!(
            owner["name"] == name && owner["controller"] == true && owner["kind"] == "Service",
            "{owner}"
        );
    }
    let latest = service.latest().await?;
    let labels = &latest["metadata"]["labels"];
    ensure!(labels["serving.knative.dev/service"] == name, "{labels}");
    ensure!(
        labels["serving.knative.dev/configuration"] == name,
        "{labels}"
    );
    let number = generation.to_string();
    ensure!(
        labels["serving.knative.dev/configurationGeneration"] == number.as_str(),
        "{labels}"
    );
    let annotations = &object["metadata"]["annotations"];
    for key in ["creator", "lastModifier"] {
        let key = format!("serving.knative.dev/{key}");
        ensure!(annotations[&key].is_string(), "{key} is missing");
    }
    let digest = text(&latest, "/status/containerStatuses/0/imageDigest");
    ensure!(
        digest.contains("@sha256:") || digest.starts_with("kind.local") || digest.is_empty(),
        "{digest}"
    );
    let host = text(&route, "/status/address/url");
    let local = format!("http://{name}.{}.svc.", test_namespace(object));
    ensure!(host.starts_with(&local), "{host}");
    Ok(())
}

fn test_namespace(object: &Value) -> String {
    text(object, "/metadata/namespace")
}

async fn own_name(test: Test) -> Result<()> {
    let first = format!("{}-byo-foo", test.name);
    let draft = test
        .draft("pizzaplanetv1")
        .put("spec.template.metadata.name", json!(first));
    let mut service = test.serve(&draft).await?;
    ensure!(service.revision() == first, "{}", service.revision());
    let image = test.image("pizzaplanetv2");
    let kept = test
        .update(SERVICES, &service.name(), |object| {
            put(object, IMAGE, json!(image));
        })
        .await;
    let said = expect_refusal(kept)?;
    ensure!(
        said.contains("Saw the following changes without a name change"),
        "{said}"
    );
    let second = format!("{}-byo-bar", test.name);
    service
        .update(|object| {
            put(object, IMAGE, json!(image));
            put(object, "spec.template.metadata.name", json!(second));
        })
        .await?;
    ensure!(service.revision() == second, "{}", service.revision());
    service.says(TWO).await
}

/// Waits until `key` in `place` of the metadata is `value` on all of `objects`.
async fn spread(
    test: &Test,
    objects: &[(Resource, &str)],
    place: &str,
    key: &str,
    value: &Value,
) -> Result<()> {
    for (kind, name) in objects {
        test.until(*kind, name, "as its Service says", |object| {
            object["metadata"][place][key] == *value
        })
        .await
        .with_context(|| format!("{place} {key} should be {value}"))?;
    }
    Ok(())
}

async fn propagate(test: &Test, place: &str, objects: &[(Resource, &str)]) -> Result<()> {
    let path = format!("metadata.{place}");
    let mut service = test.serve(&test.draft("helloworld")).await?;
    service
        .update(|object| at(object, &path)["juicy"] = json!("jamba"))
        .await?;
    spread(test, objects, place, "juicy", &json!("jamba")).await?;
    service
        .update(|object| {
            let map = at(object, &path).as_object_mut().expect("a map");
            map.remove("juicy");
        })
        .await?;
    spread(test, objects, place, "juicy", &Value::Null).await?;
    service.fetch().await?;
    Ok(())
}

async fn annotations(test: Test) -> Result<()> {
    let name = test.name.as_str();
    propagate(
        &test,
        "annotations",
        &[(CONFIGURATIONS, name), (ROUTES, name)],
    )
    .await
}

async fn labels(test: Test) -> Result<()> {
    let name = test.name.as_str();
    let objects = [
        (CONFIGURATIONS, name),
        (ROUTES, name),
        (CORE_SERVICES, name),
    ];
    propagate(&test, "labels", &objects).await
}
