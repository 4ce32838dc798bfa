//! Inside and outside: visibility of Services, Routes and tags, and calls from one to another.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{CONFIGURATIONS, CORE_SERVICES, ROUTES, SERVICES};
use crate::draft::{Draft, at, put};
use crate::row::Rows;
use crate::test::{Running, Test, is_ready, target, text};
use crate::web::host;

const VISIBILITY: &str = "networking.knative.dev/visibility";
const LOCAL: &str = ".svc.cluster.local";

pub(super) fn add(rows: Rows) -> Rows {
    rows.test(
        "TestRouteVisibilityChanges",
        "the label cluster-local on a Service or a Route, put on and taken off, moves the URL",
        visibility,
    )
    .test(
        "TestServiceToServiceCall",
        "a Service calls another by name.ns.svc.cluster.local, name.ns.svc and name.ns; outside the \
         local host is 404",
        to_service,
    )
    .test(
        "TestSvcToSvcViaActivator",
        "the same with activators before either, both or none",
        via_activator,
    )
    .test(
        "TestCallToPublicService",
        "a Service calls another that is public",
        |test| call(test, |name, namespace| format!("{name}.{namespace}.svc.cluster.local"), 0, 0),
    )
    .test(
        "TestSubrouteLocalSTS",
        "a tag of a cluster-local Service is called by its local name",
        subroute_call,
    )
    .test(
        "TestSubrouteVisibilityPublicToPrivate",
        "the label on a tag's Kubernetes Service hides that tag alone",
        |test| subroute(test, true),
    )
    .test(
        "TestSubrouteVisibilityPrivateToPublic",
        "the label taken off shows the tag again",
        |test| subroute(test, false),
    )
    .test(
        "TestConflictingRouteService",
        "a Kubernetes Service elsewhere with the Route's label disturbs nothing",
        conflicting,
    )
    .test(
        "TestMultipleNamespace",
        "Services of one name in two namespaces do not mix",
        namespaces,
    )
}

async fn url_until(test: &Test, service: &str, local: bool) -> Result<String> {
    let moved =
        |object: &Value| is_ready(object) && text(object, "/status/url").ends_with(LOCAL) == local;
    let service = test.until(SERVICES, service, "moved", moved).await?;
    Ok(text(&service, "/status/url"))
}

async fn visibility(test: Test) -> Result<()> {
    let name = test.name.clone();
    let draft = test.draft("helloworld").label(VISIBILITY, "cluster-local");
    let service = test.serve(&draft).await?;
    ensure!(service.url().ends_with(LOCAL), "{}", service.url());
    let answer = test.ask(&service.url(), "/").await?;
    ensure!(answer.status == 404, "seen from outside: {}", answer.status);
    let off = |object: &mut Value| {
        let labels = at(object, "metadata.labels").as_object_mut();
        labels.expect("a map").remove(VISIBILITY);
    };
    let on =
        |object: &mut Value| at(object, "metadata.labels")[VISIBILITY] = json!("cluster-local");
    test.update(SERVICES, &name, off).await?;
    let url = url_until(&test, &name, false).await?;
    test.fetch(&url).await?;
    // At a Route of one's own.
    let test = test.also("route");
    let draft = Draft::configuration(&test.name, &test.image("helloworld"));
    test.create(CONFIGURATIONS, &draft).await?;
    test.create(ROUTES, &Draft::route(&test.name, &test.name))
        .await?;
    test.ready(ROUTES, &test.name).await?;
    for (local, change) in [(true, on as fn(&mut Value)), (false, off)] {
        test.update(ROUTES, &test.name, change).await?;
        let moved = |object: &Value| {
            is_ready(object) && text(object, "/status/url").ends_with(LOCAL) == local
        };
        test.until(ROUTES, &test.name, "moved", moved).await?;
    }
    test.delete(ROUTES, &test.name).await?;
    test.delete(CONFIGURATIONS, &test.name).await
}

/// Calls a Service of `helloworld` from another by the name that `by` makes.
async fn call(
    test: Test,
    by: fn(&str, &str) -> String,
    capacity_here: i32,
    capacity_there: i32,
) -> Result<()> {
    let there = test.also("there");
    let draft = there
        .draft("helloworld")
        .scale("target-burst-capacity", capacity_there);
    let callee = there.serve(&draft).await?;
    let target = by(&callee.name(), test.namespace);
    said_by_proxy(&test, &target, capacity_here).await
}

/// What a proxy to `target` answers is `helloworld`'s text.
async fn said_by_proxy(test: &Test, target: &str, capacity: i32) -> Result<()> {
    let here = test.also("here");
    let draft = here
        .draft("httpproxy")
        .env("TARGET_HOST", target)
        .scale("target-burst-capacity", capacity);
    let proxy = here.serve(&draft).await?;
    let body = proxy.ask("/").await?.ok()?.body;
    ensure!(body.starts_with("Hello World!"), "{target}: {body}");
    Ok(())
}

async fn to_service(test: Test) -> Result<()> {
    let there = test.also("there");
    let draft = there.draft("helloworld").label(VISIBILITY, "cluster-local");
    let callee = there.serve(&draft).await?;
    let (name, namespace) = (callee.name(), test.namespace);
    let targets = [
        format!("{name}.{namespace}{LOCAL}"),
        format!("{name}.{namespace}.svc"),
        format!("{name}.{namespace}"),
    ];
    let calls = targets.iter().map(|target| said_by_proxy(&test, target, 0));
    for outcome in futures_util::future::join_all(calls).await {
        outcome?;
    }
    let answer = test.ask(&targets[0], "/").await?;
    ensure!(answer.status == 404, "from outside: {}", answer.status);
    Ok(())
}

async fn via_activator(test: Test) -> Result<()> {
    let runs = [(-1, -1), (-1, 0), (0, -1), (0, 0)].map(|(here, there)| {
        let by = |name: &str, namespace: &str| format!("{name}.{namespace}{LOCAL}");
        call(test.clone(), by, here, there)
    });
    for outcome in futures_util::future::join_all(runs).await {
        outcome?;
    }
    Ok(())
}

/// A Service with a tag `foo`.
async fn tagged(test: &Test, draft: Draft) -> Result<Running> {
    let mut service = test.serve(&draft).await?;
    let revision = service.revision();
    service
        .update(|object| {
            let traffic = json!([target("", None, 100), target("foo", Some(&revision), 0)]);
            put(object, "spec.traffic", traffic);
        })
        .await?;
    Ok(service)
}

async fn subroute_call(test: Test) -> Result<()> {
    let there = test.also("there");
    let draft = there.draft("helloworld").label(VISIBILITY, "cluster-local");
    let service = tagged(&there, draft).await?;
    let url = service.tag_url("foo")?;
    ensure!(url.ends_with(LOCAL), "{url}");
    said_by_proxy(&test, host(&url), 0).await
}

async fn subroute(test: Test, hide: bool) -> Result<()> {
    let service = tagged(&test, test.draft("helloworld")).await?;
    let name = service.name();
    let of_tag = format!("foo-{name}");
    let set = |value: Value| {
        move |object: &mut Value| {
            at(object, "metadata.labels")[VISIBILITY] = value.clone();
        }
    };
    let is_local = |object: &Value, local: bool| {
        let targets = object["status"]["traffic"].as_array();
        let tag = targets.into_iter().flatten().find(|t| t["tag"] == "foo");
        is_ready(object) && tag.is_some_and(|tag| text(tag, "/url").ends_with(LOCAL) == local)
    };
    test.update(CORE_SERVICES, &of_tag, set(json!("cluster-local")))
        .await?;
    let hidden = test
        .until(ROUTES, &name, "hiding its tag", |object| {
            is_local(object, true)
        })
        .await?;
    ensure!(
        !text(&hidden, "/status/url").ends_with(LOCAL),
        "the Route itself stays public"
    );
    if hide {
        return Ok(());
    }
    let patch = json!({"metadata": {"labels": {VISIBILITY: null}}});
    test.cluster()
        .merge_patch(CORE_SERVICES, test.namespace, &of_tag, &patch)
        .await?;
    let shown = test
        .until(ROUTES, &name, "showing its tag", |object| {
            is_local(object, false)
        })
        .await?;
    let targets = shown["status"]["traffic"].as_array();
    let tag = targets.into_iter().flatten().find(|t| t["tag"] == "foo");
    test.fetch(&text(tag.unwrap_or(&Value::Null), "/url"))
        .await?;
    Ok(())
}

async fn conflicting(test: Test) -> Result<()> {
    let other = test.elsewhere();
    let object = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": test.name,
            "labels": {"serving.knative.dev/route": test.name},
        },
        "spec": {"ports": [{"port": 80}], "type": "ClusterIP"},
    });
    other.create(CORE_SERVICES, &Draft(object)).await?;
    let service = test.serve(&test.draft("helloworld")).await?;
    service.fetch().await?;
    other.delete(CORE_SERVICES, &test.name).await
}

async fn namespaces(test: Test) -> Result<()> {
    let other = test.elsewhere();
    let (here, there) = (test.draft("pizzaplanetv1"), other.draft("pizzaplanetv2"));
    let (here, there) = (test.serve(&here), other.serve(&there));
    let (here, there) = futures_util::future::try_join(here, there).await?;
    ensure!(here.fetch().await?.starts_with("What a"), "here");
    ensure!(there.fetch().await?.starts_with("Re-energize"), "there");
    other.delete(SERVICES, &test.name).await?;
    ensure!(here.fetch().await?.starts_with("What a"), "still here");
    Ok(())
}
