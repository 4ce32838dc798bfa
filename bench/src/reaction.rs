//! From a step in load to the autoscaler's decision and to the Pods, beside what its own formula
//! asks for at that moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::TryStreamExt;
use kube::api::{Api, DynamicObject, WatchEvent, WatchParams};
use serde_json::json;
use system::{App, Instance};

use crate::client;
use crate::coldstart;
use crate::sample::Sample;

/// Requests at a time after the step.
const CLIENTS: usize = 50;
/// `containerConcurrency`; a Pod is to be used to 70 % of it, Knative's default.
const CONCURRENCY: usize = 10;
const PER_POD: f64 = CONCURRENCY as f64 * 0.7;
/// The Pods that many clients need.
const WANTED: u64 = 8;
/// How long the application takes to answer at the step from zero.
const WORK: Duration = Duration::from_secs(2);
/// A tenth of the stable window of 60 s, both Knative's defaults.
const PANIC_WINDOW: Duration = Duration::from_secs(6);
/// Between the starts of two Services under load.
const SETTLED: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(60);

/// A Deployment's replicas as they were asked for and as they were ready, and when that was seen.
struct Seen {
    at: Instant,
    asked: u64,
    ready: u64,
}

pub(crate) async fn run(rounds: usize) -> Result<()> {
    let instance = coldstart::start();
    instance.load(App::Probe, client::IMAGE);
    from_zero(&instance, rounds).await?;
    from_one(&instance, rounds.div_ceil(3)).await
}

/// Many requests at once for a Service at zero.
async fn from_zero(instance: &Instance, rounds: usize) -> Result<()> {
    let [mut decided, mut ready, mut waited, mut alone] = [const { Sample::new() }; 4];
    for n in 0..rounds {
        let name = format!("zero-{n}");
        create(instance, &name, json!({})).await?;
        coldstart::await_no_pods(instance).await;
        let host = format!("{name}.default.localhost");
        alone.push(client::first_byte(&instance.address("http"), &host)?);
        coldstart::await_no_pods(instance).await;

        let watch = tokio::spawn(watch(client::deployments(instance).await?, name.clone()));
        let start = Instant::now();
        let path = format!("/sleep?ms={}", WORK.as_millis());
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (address, host, path) = (instance.address("http"), host.clone(), path.clone());
                thread::spawn(move || client::first_byte_of(&address, &host, &path))
            })
            .collect();
        let seen = watch.await??;
        let after = |what: &dyn Fn(&Seen) -> bool| {
            let found = seen.iter().find(|seen| what(seen));
            found.map(|seen| seen.at - start).context("never seen")
        };
        decided.push(after(&|seen| seen.asked >= WANTED)?);
        ready.push(after(&|seen| seen.ready >= WANTED)?);
        let mut longest = Duration::ZERO;
        for client in clients {
            let took = client.join().expect("a client does not panic")?;
            longest = longest.max(took.saturating_sub(WORK));
        }
        waited.push(longest);
    }
    println!("{CLIENTS} requests at once for a Service at zero, {CONCURRENCY} at a time in a Pod:");
    println!("  decided for {WANTED} Pods:      {decided}");
    println!("  {WANTED} Pods ready:            {ready}");
    println!("  longest wait of a request: {waited}");
    println!("  one request alone:         {alone}");
    Ok(())
}

/// The same step for a Service that has had one idle Pod for longer than the panic window: its
/// average grows with the time, and so does the number of Pods the formula asks for.
async fn from_one(instance: &Instance, rounds: usize) -> Result<()> {
    let mut late = Sample::new();
    for n in 0..rounds {
        let name = format!("one-{n}");
        let annotations = json!({
            "autoscaling.knative.dev/min-scale": "1",
            "autoscaling.knative.dev/window": "60s",
        });
        create(instance, &name, annotations).await?;
        tokio::time::sleep(PANIC_WINDOW + SETTLED).await;
        let watch = tokio::spawn(watch(client::deployments(instance).await?, name.clone()));
        let over = Arc::new(AtomicBool::new(false));
        let host = format!("{name}.default.localhost");
        let start = Instant::now();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (address, host) = (instance.address("http"), host.clone());
                let over = Arc::clone(&over);
                thread::spawn(move || -> Result<()> {
                    while !over.load(Ordering::Relaxed) {
                        client::first_byte_of(&address, &host, "/sleep?ms=500")?;
                    }
                    Ok(())
                })
            })
            .collect();
        let seen = watch.await;
        over.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().expect("a client does not panic")?;
        }
        let seen = seen??;
        for pods in 2..=WANTED {
            // The average over the panic window exceeds what one Pod fewer may have.
            let share = PER_POD * (pods - 1) as f64 / CLIENTS as f64;
            let asked_at = PANIC_WINDOW.mul_f64(share);
            let decided = seen.iter().find(|seen| seen.asked >= pods);
            let decided = decided.context("never decided")?.at - start;
            late.push(decided.saturating_sub(asked_at));
        }
    }
    println!("{CLIENTS} requests at a time for a Service with one idle Pod:");
    println!("  decided after the formula: {late}");
    Ok(())
}

async fn create(instance: &Instance, name: &str, annotations: serde_json::Value) -> Result<()> {
    let services = client::services(instance).await?;
    let service = json!({
        "apiVersion": "serving.knative.dev/v1", "kind": "Service",
        "metadata": {"name": name},
        "spec": {"template": {
            "metadata": {"annotations": annotations},
            "spec": {
                "containerConcurrency": CONCURRENCY,
                "containers": [{"image": client::IMAGE}],
            },
        }},
    });
    client::post(&services, service).await?;
    client::await_ready(&services, name).await
}

/// What happens to the Deployment of Service `name` until as many Pods as wanted are ready.
async fn watch(deployments: Api<DynamicObject>, name: String) -> Result<Vec<Seen>> {
    let of = format!("serving.knative.dev/service={name}");
    let end = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    let params = WatchParams::default().labels(&of);
    let mut events = std::pin::pin!(deployments.watch(&params, "0").await?);
    while let Some(event) = tokio::time::timeout_at(end.into(), events.try_next()).await?? {
        let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = event else {
            continue;
        };
        let count = |pointer| object.data.pointer(pointer).and_then(|n| n.as_u64());
        let asked = count("/spec/replicas").unwrap_or_default();
        let ready = count("/status/readyReplicas").unwrap_or_default();
        let at = Instant::now();
        seen.push(Seen { at, asked, ready });
        if ready >= WANTED {
            return Ok(seen);
        }
    }
    ensure!(false, "the watch of {name} ended");
    Ok(seen)
}
