//! `rekindle logs POD` and `rekindle logs ksvc/NAME`: what the containers wrote.

use anyhow::{Result, bail};
use clap::Args;
use futures_util::io::AsyncReadExt;
use futures_util::pin_mut;

use super::client::{Api, Target};
use super::get::encode;
use super::output;

#[derive(Args, Debug)]
pub(crate) struct Flags {
    /// A Pod's name, or ksvc/NAME for the Pods of a Knative Service.
    subject: String,
    /// The container; a Knative Service's is `user-container`.
    #[arg(long, short)]
    container: Option<String>,
    /// Go on until interrupted.
    #[arg(long, short)]
    follow: bool,
    /// Only so many of the last lines.
    #[arg(long)]
    tail: Option<u32>,
    #[command(flatten)]
    target: Target,
}

pub(crate) async fn run(flags: Flags) -> Result<()> {
    let api = flags.target.connect().await?;
    let (pods, container) = match flags.subject.split_once('/') {
        Some(("ksvc" | "service.serving.knative.dev", name)) => {
            let container = flags
                .container
                .clone()
                .or_else(|| Some("user-container".to_owned()));
            (pods_of(&api, name).await?, container)
        }
        Some((_, name)) => (vec![name.to_owned()], flags.container.clone()),
        None => (vec![flags.subject.clone()], flags.container.clone()),
    };
    for pod in &pods {
        let mut path = format!(
            "/api/v1/namespaces/{}/pods/{pod}/log?follow={}",
            api.namespace, flags.follow
        );
        if let Some(container) = &container {
            path.push_str(&format!("&container={}", encode(container)));
        }
        if let Some(tail) = flags.tail {
            path.push_str(&format!("&tailLines={tail}"));
        }
        copy(&api, &path).await?;
    }
    Ok(())
}

async fn copy(api: &Api, path: &str) -> Result<()> {
    let stream = api.stream(path).await?;
    pin_mut!(stream);
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        output::print(&String::from_utf8_lossy(&buffer[..count]))?;
    }
}

async fn pods_of(api: &Api, service: &str) -> Result<Vec<String>> {
    let selector = encode(&format!("serving.knative.dev/service={service}"));
    let path = format!(
        "/api/v1/namespaces/{}/pods?labelSelector={selector}",
        api.namespace
    );
    let list = api.get(&path).await?;
    let items = list["items"].as_array().into_iter().flatten();
    let names: Vec<String> = items
        .filter_map(|pod| pod["metadata"]["name"].as_str())
        .map(str::to_owned)
        .collect();
    if names.is_empty() {
        bail!("Service {service:?} has no Pods now: it is at zero, or it does not exist");
    }
    Ok(names)
}
