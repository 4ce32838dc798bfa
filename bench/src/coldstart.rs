//! Cold start: first byte through the gateway for a Service at zero, the full object chain; of a
//! static binary, and of a Flask application beside that application's own boot.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use system::{App, Image, Instance, Options};

use crate::boot;
use crate::client;
use crate::processor::Processor;
use crate::sample::Sample;

/// Rounds over all services; each needs them all back at zero first.
const ROUNDS: usize = 2;
/// Between one cold start and the next: what follows the answer (statuses, refill of what is kept
/// ready) is over by then, and counted.
const PAUSE: Duration = Duration::from_millis(50);
const FLASK_IMAGE: &str = "example.com/flask";
/// The first process of a container gets no signal it does not ask for.
const FLASK_APP: &str = "\
import os, signal
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
from flask import Flask
app = Flask(__name__)
@app.route('/')
def hello():
    return 'Hello!\\n'
app.run(host='0.0.0.0', port=int(os.environ.get('PORT', 8080)))
";

pub(crate) async fn run(count: usize) -> Result<()> {
    let instance = start();
    instance.load(App::Hello, client::IMAGE);
    measure(&instance, client::IMAGE, count, PAUSE).await?;
    let gateway = instance.address("http");
    let mut warm = Sample::default();
    for _ in 0..200 {
        warm.push(client::first_byte(&gateway, "cold-0.default.localhost")?);
    }
    println!("warm, new connection:    {warm}");
    Ok(())
}

/// The same for Flask, which needs an image from Debian's packages.
pub(crate) async fn flask(count: usize) -> Result<()> {
    let image = Image::flask(FLASK_APP, FLASK_IMAGE)?;
    let direct = boot::Directory::of(&image)?;
    let mut boots = Sample::default();
    // The first one reads the files into memory.
    direct.boot()?;
    for _ in 0..count {
        boots.push(direct.boot()?);
    }
    let instance = start();
    instance.load_image(&image);
    let cold = measure(&instance, FLASK_IMAGE, count, PAUSE * 10).await?;
    for _ in 0..count {
        boots.push(direct.boot()?);
    }
    println!("the application alone:   {boots}");
    println!(
        "added to it, p50:        {:.2} ms",
        cold.p50() - boots.p50()
    );
    Ok(())
}

/// An instance that lets an idle Service go to zero after seconds.
pub(crate) fn start() -> Instance {
    let instance = Instance::with(Options {
        shared_netns: true,
        ..Options::default()
    });
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
    instance
}

/// Waits until every Pod is gone and what it left is torn down.
pub(crate) async fn await_no_pods(instance: &Instance) {
    instance.eventually(Duration::from_secs(120), || {
        instance.kubectl("get pods -o name").expect().is_empty()
    });
    tokio::time::sleep(Duration::from_secs(3)).await;
}

async fn measure(
    instance: &Instance,
    image: &str,
    count: usize,
    pause: Duration,
) -> Result<Sample> {
    let services = client::services(instance).await?;
    for n in 0..count {
        client::create(&services, &format!("cold-{n}"), image, json!({})).await?;
    }
    for n in 0..count {
        client::await_ready(&services, &format!("cold-{n}")).await?;
    }
    let gateway = instance.address("http");
    let (mut times, mut processor) = (Sample::default(), 0.0);
    for _ in 0..ROUNDS {
        await_no_pods(instance).await;
        let before = Processor::of(instance.pid())?;
        for n in 0..count {
            // Ends the run unless it is answered with 200.
            times.push(client::first_byte(
                &gateway,
                &format!("cold-{n}.default.localhost"),
            )?);
            tokio::time::sleep(pause).await;
        }
        processor += Processor::of(instance.pid())?.millis_since(&before);
    }
    println!("cold start, first byte:  {times}");
    let each = processor / times.len() as f64;
    println!(
        "processor time for each: {each:.1} ms, of daemon and launcher, all that follows included"
    );
    println!("answers other than 200:  0 of {}", times.len());
    Ok(times)
}
