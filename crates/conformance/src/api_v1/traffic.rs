//! Routes and the traffic they split.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{CONFIGURATIONS, REVISIONS, ROUTES, SERVICES};
use crate::draft::{Draft, put};
use crate::row::Rows;
use crate::test::{Running, Test, target, text};

/// What the two editions of the pizza planet say.
pub(crate) const ONE: &str = "What a spaceport!";
pub(crate) const TWO: &str = "Re-energize yourself with a slice of pepperoni!";
const IMAGE: &str = "spec.template.spec.containers.0.image";

pub(super) fn add(rows: Rows) -> Rows {
    rows.test(
        "TestBlueGreenRoute",
        "two revisions at 50 % each and a tag for either: each tag's URL answers one text only, the \
         main URL each at least a quarter of the time, and all 600 requests 200",
        blue_green,
    )
    .test(
        "TestServiceWithTrafficSplit",
        "five steps with tags current, candidate and latest, percent 0, a split and a roll back: \
         status.traffic says what was asked, every tag's URL answers its revision",
        split,
    )
    .test(
        "TestRouteCreation",
        "a Configuration and a Route of one's own; switching the image by JSON patch loses no \
         request; labels lead from revision to configuration and back",
        route_creation,
    )
    .test(
        "TestRouteGetAndList",
        "a Route can be got and is in the list",
        |test| get_and_list(test, |_| ROUTES),
    )
    .test(
        "TestConfigurationGetAndList",
        "a Configuration can be got and is in the list",
        |test| get_and_list(test, |_| CONFIGURATIONS),
    )
    .test(
        "TestRevisionGetAndList",
        "a Revision can be got and is in the list",
        revision_get_and_list,
    )
    .test(
        "TestSingleConcurrency",
        "containerConcurrency 1: five clients at an application that refuses company, never refused",
        single_concurrency,
    )
}

async fn blue_green(test: Test) -> Result<()> {
    let mut service = test.serve(&test.draft("pizzaplanetv1")).await?;
    let blue = service.revision();
    let image = test.image("pizzaplanetv2");
    service
        .update(|object| put(object, IMAGE, json!(image)))
        .await?;
    let green = service.revision();
    service
        .update(|object| {
            let traffic = json!([
                target("blue", Some(&blue), 50),
                target("green", Some(&green), 50),
            ]);
            put(object, "spec.traffic", traffic);
        })
        .await?;
    for (tag, text) in [("blue", ONE), ("green", TWO)] {
        let tally = test.tally(&service.tag_url(tag)?, 200, 50).await?;
        ensure!(tally.get(text) == Some(&200), "{tag}: {tally:?}");
    }
    both(&test, &service, 200).await
}

/// Both texts come back from the main URL, each at least a quarter of the time.
pub(crate) async fn both(test: &Test, service: &Running, count: usize) -> Result<()> {
    let tally = test.tally(&service.url(), count, 50).await?;
    for text in [ONE, TWO] {
        let times = tally.get(text).copied().unwrap_or(0);
        ensure!(times >= count / 4, "{tally:?}");
    }
    ensure!(tally.len() == 2, "{tally:?}");
    Ok(())
}

/// `status.traffic` without URLs and with what was asked in full.
fn traffic_of(service: &Running) -> Vec<(String, String, u64, bool)> {
    let targets = service.service["status"]["traffic"].as_array();
    let row = |target: &Value| {
        (
            text(target, "/tag"),
            text(target, "/revisionName"),
            target["percent"].as_u64().unwrap_or(0),
            target["latestRevision"] == json!(true),
        )
    };
    targets.into_iter().flatten().map(row).collect()
}

async fn split(test: Test) -> Result<()> {
    let mut service = test.serve(&test.draft("pizzaplanetv1")).await?;
    service.says(ONE).await?;
    let first = service.revision();
    // 1: pin what there is.
    let pinned = |candidate: Option<&str>, percents: (u64, u64)| match candidate {
        None => json!([
            target("current", Some(&first), 100),
            target("latest", None, 0)
        ]),
        Some(second) => json!([
            target("current", Some(&first), percents.0),
            target("candidate", Some(second), percents.1),
            target("latest", None, 0),
        ]),
    };
    let traffic = pinned(None, (100, 0));
    service
        .update(|object| put(object, "spec.traffic", traffic.clone()))
        .await?;
    let expected = vec![
        ("current".to_owned(), first.clone(), 100, false),
        ("latest".to_owned(), first.clone(), 0, true),
    ];
    ensure!(
        traffic_of(&service) == expected,
        "{:?}",
        traffic_of(&service)
    );
    // 2: a second edition gets no requests but by the tag.
    let image = test.image("pizzaplanetv2");
    service
        .update(|object| put(object, IMAGE, json!(image)))
        .await?;
    let second = service.revision();
    ensure!(second != first, "no new revision");
    service.says(ONE).await?;
    ensure!(
        test.fetch(&service.tag_url("latest")?).await? == TWO,
        "latest"
    );
    // 3: half and half.
    let traffic = pinned(Some(&second), (50, 50));
    service
        .update(|object| put(object, "spec.traffic", traffic.clone()))
        .await?;
    both(&test, &service, 200).await?;
    for (tag, said) in [("current", ONE), ("candidate", TWO), ("latest", TWO)] {
        ensure!(test.fetch(&service.tag_url(tag)?).await? == said, "{tag}");
    }
    // 4: a third edition changes nothing but the latest.
    let image = test.image("pizzaplanetv1");
    service
        .update(|object| put(object, IMAGE, json!(image)))
        .await?;
    let third = service.revision();
    let row = traffic_of(&service);
    ensure!(
        row.last() == Some(&("latest".to_owned(), third.clone(), 0, true)),
        "{row:?}"
    );
    // 5: the latest, whatever it is, and nothing else.
    service
        .update(|object| put(object, "spec.traffic", json!([target("", None, 100)])))
        .await?;
    let expected = vec![(String::new(), third, 100, true)];
    ensure!(
        traffic_of(&service) == expected,
        "{:?}",
        traffic_of(&service)
    );
    service.says(ONE).await
}

async fn route_creation(test: Test) -> Result<()> {
    let name = test.name.clone();
    let configuration = Draft::configuration(&name, &test.image("pizzaplanetv1"));
    test.create(CONFIGURATIONS, &configuration).await?;
    test.create(ROUTES, &Draft::route(&name, &name)).await?;
    let route = test.ready(ROUTES, &name).await?;
    let url = text(&route, "/status/url");
    ensure!(test.fetch(&url).await? == ONE, "the first edition");
    let first = text(
        &test.ready(CONFIGURATIONS, &name).await?,
        "/status/latestReadyRevisionName",
    );
    let patch = json!([{
        "op": "replace", "path": "/spec/template/spec/containers/0/image",
        "value": test.image("pizzaplanetv2"),
    }]);
    let second = test
        .while_asked(&url, async {
            test.patch(CONFIGURATIONS, &name, patch).await?;
            let now = test
                .until(CONFIGURATIONS, &name, "at a second revision", |object| {
                    let ready = text(object, "/status/latestReadyRevisionName");
                    !ready.is_empty() && ready != first
                })
                .await?;
            test.eventually("the second edition answers", || async {
                Ok(test.fetch(&url).await? == TWO)
            })
            .await?;
            Ok(text(&now, "/status/latestReadyRevisionName"))
        })
        .await?;
    let revision = test.get(REVISIONS, &second).await?;
    let labels = &revision["metadata"]["labels"];
    ensure!(
        labels["serving.knative.dev/configuration"] == name,
        "{labels}"
    );
    ensure!(
        labels["serving.knative.dev/configurationGeneration"] == "2",
        "{labels}"
    );
    let routes = &revision["metadata"]["annotations"]["serving.knative.dev/routes"];
    ensure!(*routes == name, "the revision names its routes: {routes}");
    test.delete(ROUTES, &name).await?;
    test.delete(CONFIGURATIONS, &name).await
}

async fn get_and_list(test: Test, kind: fn(&Test) -> crate::cluster::Resource) -> Result<()> {
    let service = test.serve(&test.draft("helloworld")).await?;
    let kind = kind(&test);
    let got = test.get(kind, &service.name()).await?;
    let list = test.list(kind, "").await?;
    let same = |object: &&Value| object["metadata"]["uid"] == got["metadata"]["uid"];
    ensure!(list.iter().filter(same).count() == 1, "it is not listed");
    test.delete(SERVICES, &service.name()).await
}

async fn revision_get_and_list(test: Test) -> Result<()> {
    let service = test.serve(&test.draft("helloworld")).await?;
    let got = service.latest().await?;
    let list = test.list(REVISIONS, "").await?;
    let same = |object: &&Value| object["metadata"]["uid"] == got["metadata"]["uid"];
    ensure!(list.iter().filter(same).count() == 1, "it is not listed");
    Ok(())
}

async fn single_concurrency(test: Test) -> Result<()> {
    let draft = test
        .draft("singlethreaded")
        .revision("containerConcurrency", json!(1));
    let service = test.serve(&draft).await?;
    let url = service.url();
    let client = || async {
        for _ in 0..5 {
            test.ask(&url, "/").await?.ok()?;
        }
        Ok::<_, anyhow::Error>(())
    };
    for outcome in futures_util::future::join_all((0..5).map(|_| client())).await {
        outcome?;
    }
    Ok(())
}
