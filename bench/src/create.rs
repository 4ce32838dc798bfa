//! From `create` of a new Service to Ready and answering, image present.

use std::time::Instant;

use anyhow::Result;
use serde_json::json;
use system::{App, Instance, Options};

use crate::client;
use crate::sample::Sample;

pub(crate) async fn run(count: usize) -> Result<()> {
    let instance = Instance::with(Options {
        shared_netns: true,
        ..Options::default()
    });
    instance.load(App::Hello, client::IMAGE);
    let services = client::services(&instance).await?;
    let gateway = instance.address("http");
    let (mut ready, mut answered) = (Sample::default(), Sample::default());
    for n in 0..count {
        let name = format!("new-{n}");
        let start = Instant::now();
        client::create(&services, &name, client::IMAGE, json!({})).await?;
        client::await_ready(&services, &name).await?;
        ready.push(start.elapsed());
        client::first_byte(&gateway, &format!("{name}.default.localhost"))?;
        answered.push(start.elapsed());
    }
    println!("create to Ready:     {ready}");
    println!("create to answering: {answered}");
    println!("answers other than 200: 0 of {count}");
    Ok(())
}
