//! Cold start: first byte through the gateway for a Service at zero, the full object chain.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use system::{App, Instance, Options};

use crate::client;
use crate::sample::Sample;

/// Rounds over all services; each needs them all back at zero first.
const ROUNDS: usize = 2;

pub(crate) async fn run(count: usize) -> Result<()> {
    let instance = Instance::with(Options {
        shared_netns: true,
        ..Options::default()
    });
    instance.load(App::Hello, client::IMAGE);
    let patch = r#"{"data":{"scale-to-zero-grace-period":"1s","stable-window":"6s"}}"#;
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
    for n in 0..count {
        client::create(&services, &format!("cold-{n}"), json!({})).await?;
    }
    for n in 0..count {
        client::await_ready(&services, &format!("cold-{n}")).await?;
    }
    let gateway = instance.address("http");
    let mut times = Sample::default();
    for _ in 0..ROUNDS {
        instance.eventually(Duration::from_secs(120), || {
            instance.kubectl("get pods -o name").expect().is_empty()
        });
        // Let the network namespaces of the last round be torn down.
        tokio::time::sleep(Duration::from_secs(3)).await;
        for n in 0..count {
            times.push(client::first_byte(
                &gateway,
                &format!("cold-{n}.default.localhost"),
            )?);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    println!("cold start, first byte: {times}");
    let mut warm = Sample::default();
    for _ in 0..200 {
        warm.push(client::first_byte(&gateway, "cold-0.default.localhost")?);
    }
    println!("warm, new connection:   {warm}");
    Ok(())
}
