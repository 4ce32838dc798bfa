//! Many Services at zero: memory, and whether the next one is as fast as the first.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::json;
use system::{App, Instance, Options};

use crate::client;
use crate::footprint::resident_mib;
use crate::sample::Sample;

/// The controllers have caught up with what they put off while Services were made.
const SETTLED: Duration = Duration::from_secs(5);
/// Requests and updates of the last Service.
const WARM: usize = 200;
const UPDATES: usize = 10;
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn run(count: usize) -> Result<()> {
    let instance = Instance::with(Options {
        shared_netns: true,
        ..Options::default()
    });
    instance.load(App::Hello, client::IMAGE);
    let patch = r#"{"data":{"allow-zero-initial-scale":"true"}}"#;
    instance
        .kubectl_args(
            &[
                "-n",
                "knative-serving",
                "patch",
                "cm",
                "config-autoscaler",
                "--type=merge",
                "-p",
                patch,
            ],
            "",
        )
        .expect();
    let services = client::services(&instance).await?;
    let at_zero = json!({"autoscaling.knative.dev/initial-scale": "0"});
    tokio::time::sleep(SETTLED).await;
    let idle = resident_mib(&instance)?;
    let first = one(&services, "first", at_zero.clone()).await?;
    let start = Instant::now();
    for n in 0..count {
        client::create(
            &services,
            &format!("zero-{n}"),
            client::IMAGE,
            at_zero.clone(),
        )
        .await?;
    }
    for n in 0..count {
        client::await_ready(&services, &format!("zero-{n}")).await?;
    }
    let all = start.elapsed();
    let next = one(&services, "next", at_zero.clone()).await?;
    tokio::time::sleep(SETTLED).await;
    let last = one(&services, "last", at_zero).await?;
    let full = resident_mib(&instance)?;
    println!(
        "{count} Services at zero, created and Ready in {:.1} s",
        all.as_secs_f64()
    );
    println!("memory: idle {idle:.1} MiB, with all {full:.1} MiB");
    println!(
        "per Service: {:.1} KiB",
        (full - idle) * 1024.0 / count as f64
    );
    println!(
        "to Ready: the first {first:.1} ms, the one after all {last:.1} ms; one made before the \
         controllers had caught up {next:.1} ms"
    );
    the_last(&services, &instance.address("http")).await
}

/// What the last Service notices of the others.
async fn the_last(services: &Api<DynamicObject>, gateway: &str) -> Result<()> {
    let cold = client::first_byte(gateway, "last.default.localhost")?;
    println!(
        "cold start of the last one: {:.1} ms",
        cold.as_secs_f64() * 1e3
    );
    let mut warm = Sample::default();
    for _ in 0..WARM {
        warm.push(client::first_byte(gateway, "last.default.localhost")?);
    }
    println!("its requests, warm, new connection: {warm}");
    let mut rules = Sample::default();
    for n in 0..UPDATES {
        rules.push(rule(services, gateway, &format!("t{n}")).await?);
    }
    println!("a new tag of it, from the update to the gateway's first answer: {rules}");
    Ok(())
}

/// Gives the running revision of Service `last` a tag; how long until its host is answered.
async fn rule(services: &Api<DynamicObject>, gateway: &str, tag: &str) -> Result<Duration> {
    let patch = json!({"spec": {"traffic": [
        {"latestRevision": true, "percent": 100},
        {"revisionName": "last-00001", "tag": tag},
    ]}});
    let host = format!("{tag}-last.default.localhost");
    let start = Instant::now();
    services
        .patch("last", &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    while client::first_byte(gateway, &host).is_err() {
        ensure!(start.elapsed() < PATIENCE, "{host} is never answered");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(start.elapsed())
}

async fn one(
    services: &Api<DynamicObject>,
    name: &str,
    annotations: serde_json::Value,
) -> Result<f64> {
    let start = Instant::now();
    client::create(services, name, client::IMAGE, annotations).await?;
    client::await_ready(services, name).await?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}
