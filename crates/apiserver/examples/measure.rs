//! What writes, reads and objects cost: `cargo run --release -p apiserver --example measure`.
//! Numbers are for one task over the in-process service, in a fresh data directory.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::{Duration, Instant};

use apiserver::{ApiServer, ApiService, Config};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

const OBJECTS: usize = 20_000;
const ROUNDS: usize = 2_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("apiserver-measure-{}", std::process::id()));
    let started = Instant::now();
    let server = ApiServer::open(Config::new(&dir)).await?;
    println!("open, fresh directory: {:.1} ms", millis(started.elapsed()));
    let service = server.service();
    latencies(&service).await?;
    memory(&server, &service).await?;
    drop((service, server));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let started = Instant::now();
    let server = ApiServer::open(Config::new(&dir)).await?;
    println!(
        "open, {OBJECTS} objects: {:.1} ms",
        millis(started.elapsed())
    );
    drop(server);
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

async fn latencies(service: &ApiService) -> Result<(), Box<dyn Error>> {
    let pods = "/api/v1/namespaces/default/pods";
    let mut took = Vec::new();
    for n in 0..ROUNDS {
        let started = Instant::now();
        send(service, Method::POST, pods, Some(pod(n))).await?;
        took.push(started.elapsed());
    }
    report("create Pod", took);
    let mut took = Vec::new();
    for n in 0..ROUNDS {
        let path = format!("{pods}/p{n}");
        let mut object = send(service, Method::GET, &path, None).await?;
        object["status"]["phase"] = "Running".into();
        object["status"]["podIP"] = "10.42.0.7".into();
        let started = Instant::now();
        send(
            service,
            Method::PUT,
            &format!("{path}/status"),
            Some(object),
        )
        .await?;
        took.push(started.elapsed());
    }
    report("update Pod status", took);
    let mut took = Vec::new();
    for n in 0..ROUNDS {
        let started = Instant::now();
        send(service, Method::GET, &format!("{pods}/p{n}"), None).await?;
        took.push(started.elapsed());
    }
    report("get Pod and parse", took);
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    send(service, Method::POST, deployments, Some(deployment())).await?;
    let mut took = Vec::new();
    for n in 0..ROUNDS {
        let path = format!("{deployments}/d/scale");
        let patch = json!({"spec": {"replicas": n % 2}});
        let started = Instant::now();
        send(service, Method::PATCH, &path, Some(patch)).await?;
        took.push(started.elapsed());
    }
    report("patch scale", took);
    Ok(())
}

async fn memory(server: &ApiServer, service: &ApiService) -> Result<(), Box<dyn Error>> {
    let maps = "/api/v1/namespaces/default/configmaps";
    // The history of events is full before the count begins.
    let before = resident();
    let mut bytes = 0;
    for n in 0..OBJECTS {
        let map = json!({"metadata": {"name": format!("m{n}")}, "data": {"k": "v".repeat(1000)}});
        bytes += send(service, Method::POST, maps, Some(map))
            .await?
            .to_string()
            .len();
    }
    let grown = resident() - before;
    println!(
        "memory: {} bytes per object of {} bytes ({} objects, revision {})",
        grown / OBJECTS,
        bytes / OBJECTS,
        OBJECTS,
        server.store().revision()
    );
    let started = Instant::now();
    let list = send(service, Method::GET, maps, None).await?;
    let count = list["items"].as_array().map_or(0, Vec::len);
    println!(
        "list and parse {count}: {:.1} ms",
        millis(started.elapsed())
    );
    Ok(())
}

async fn send(
    service: &ApiService,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<Value, Box<dyn Error>> {
    let media = match method {
        Method::PATCH => "application/merge-patch+json",
        _ => "application/json",
    };
    let body = body.map_or_else(String::new, |body| body.to_string());
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", media);
    let response = service.answer(request.body(Full::from(body))?).await;
    let status = response.status();
    let bytes = response.into_body().collect().await?.to_bytes();
    let value: Value = serde_json::from_slice(&bytes)?;
    if status.is_success() {
        Ok(value)
    } else {
        Err(value.to_string().into())
    }
}

fn pod(n: usize) -> Value {
    json!({
        "metadata": {"name": format!("p{n}"), "labels": {"app": "web"}},
        "spec": spec(),
    })
}

fn spec() -> Value {
    let container = |name: &str| {
        json!({
            "name": name,
            "image": "registry.example/app@sha256:0123456789",
            "ports": [{"containerPort": 8080, "name": "user-port"}],
            "env": [{"name": "PORT", "value": "8080"}, {"name": "K_SERVICE", "value": "hello"}],
            "resources": {"requests": {"cpu": "25m"}},
            "readinessProbe": {"httpGet": {"port": 8012}, "periodSeconds": 1},
        })
    };
    json!({"containers": [container("user-container"), container("queue-proxy")]})
}

fn deployment() -> Value {
    let labels = json!({"app": "web"});
    json!({
        "metadata": {"name": "d"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec()},
        },
    })
}

fn report(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let at = |share: usize| took[took.len() * share / 100].as_secs_f64() * 1e6;
    println!(
        "{what}: p50 {:.1} us, p90 {:.1} us, p99 {:.1} us",
        at(50),
        at(90),
        at(99)
    );
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Resident memory in bytes, 0 where it cannot be read.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap_or_default();
    let kib = line
        .split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse::<usize>().ok());
    kib.unwrap_or_default() * 1024
}
