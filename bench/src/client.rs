//! A Kubernetes client and a plain HTTP client for the measurements.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kube::api::{Api, DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Config};
use serde_json::json;
use system::Instance;

/// The image measurements deploy.
pub(crate) const IMAGE: &str = "example.com/hello";

/// Knative Services in `default`, through the instance's API.
pub(crate) async fn services(instance: &Instance) -> Result<Api<DynamicObject>> {
    objects(
        instance,
        &GroupVersionKind::gvk("serving.knative.dev", "v1", "Service"),
    )
    .await
}

/// Deployments in `default`.
pub(crate) async fn deployments(instance: &Instance) -> Result<Api<DynamicObject>> {
    objects(instance, &GroupVersionKind::gvk("apps", "v1", "Deployment")).await
}

/// Pods in `default`.
pub(crate) async fn pods(instance: &Instance) -> Result<Api<DynamicObject>> {
    objects(instance, &GroupVersionKind::gvk("", "v1", "Pod")).await
}

async fn objects(instance: &Instance, kind: &GroupVersionKind) -> Result<Api<DynamicObject>> {
    let kubeconfig = kube::config::Kubeconfig::read_from(instance.kubeconfig())?;
    let options = kube::config::KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    let client = Client::try_from(config)?;
    Ok(Api::namespaced_with(
        client,
        "default",
        &ApiResource::from_gvk(kind),
    ))
}

/// Creates Service `name` that runs `image` and whose template carries `annotations`.
pub(crate) async fn create(
    services: &Api<DynamicObject>,
    name: &str,
    image: &str,
    annotations: serde_json::Value,
) -> Result<()> {
    let service = json!({
        "apiVersion": "serving.knative.dev/v1", "kind": "Service",
        "metadata": {"name": name},
        "spec": {"template": {
            "metadata": {"annotations": annotations},
            "spec": {"containers": [{"image": image}]},
        }},
    });
    post(services, service).await
}

/// Creates a Service as it is written.
pub(crate) async fn post(services: &Api<DynamicObject>, service: serde_json::Value) -> Result<()> {
    let service = serde_json::from_value(service)?;
    services
        .create(&PostParams::default(), &service)
        .await
        .context("create the Service")?;
    Ok(())
}

/// Whether the object's `Ready` condition is True.
pub(crate) fn is_ready(object: &DynamicObject) -> bool {
    let conditions = object.data["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// Waits until Service `name` is Ready.
pub(crate) async fn await_ready(services: &Api<DynamicObject>, name: &str) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(600);
    while !is_ready(&services.get(name).await?) {
        ensure!(
            Instant::now() < end,
            "{name} is not Ready within 10 minutes"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// One GET of `/` on a fresh connection: the time from before the connect to the first byte.
pub(crate) fn first_byte(address: &str, host: &str) -> Result<Duration> {
    first_byte_of(address, host, "/")
}

/// The same for a path.
pub(crate) fn first_byte_of(address: &str, host: &str, path: &str) -> Result<Duration> {
    let start = Instant::now();
    let mut stream = TcpStream::connect(address).context("connect to the gateway")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut first = [0; 1];
    stream.read_exact(&mut first).context("no answer")?;
    let time = start.elapsed();
    let mut rest = String::new();
    stream.read_to_string(&mut rest)?;
    ensure!(
        rest.starts_with("TTP/1.1 200"),
        "not a 200: {first:?}{rest}"
    );
    Ok(time)
}
