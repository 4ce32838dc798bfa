//! `rekindle demo`: the main job on an instance of its own, from a YAML file to a URL, to zero and
//! back, saying what it does and how long each step took. Nothing of it stays behind.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use http::Method;
use node::image::ImageConfig;
use node::image::build::{Builder, Layer};
use serde_json::{Value, json};

use super::client::{Api, Target};
use super::get::ready;
use super::output::{line, print};

/// The demo's application, built by `build.rs`.
const HELLO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello"));
const IMAGE: &str = "demo.local/hello";
/// Longest wait for any step.
const STEP_MAX: Duration = Duration::from_secs(90);
const SERVICES: &str = "/apis/serving.knative.dev/v1/namespaces/default/services";

pub(crate) async fn run() -> Result<()> {
    ensure!(
        !HELLO.is_empty(),
        "this binary was built without the demo's application"
    );
    let instance = Instance::start()?;
    let api = Target::of(&instance.data_dir()).connect().await?;
    let demo = Demo { instance, api };
    demo.load()?;
    demo.deploy().await?;
    demo.scale_to_zero().await?;
    demo.split().await?;
    line("\nThat is all: stopping the instance and removing what it made.")?;
    demo.instance.stop()
}

struct Demo {
    instance: Instance,
    api: Api,
}

impl Demo {
    fn load(&self) -> Result<()> {
        step("Load an image: a static HTTP server of 50 lines")?;
        let start = Instant::now();
        let archive = self.instance.dir.join("hello.tar");
        let config = ImageConfig {
            entrypoint: vec!["/app/hello".to_owned()],
            ..ImageConfig::default()
        };
        Builder::new(config)
            .layer(Layer::new().file("app/hello", 0o755, HELLO))
            .write_archive(&archive, IMAGE)
            .context("write the image")?;
        let status = Command::new(std::env::current_exe()?)
            .args(["image", "load"])
            .arg(&archive)
            .arg("--data-dir")
            .arg(self.instance.data_dir())
            .stdout(Stdio::null())
            .status()?;
        ensure!(status.success(), "the image was not loaded");
        took(start, "rekindle image load hello.tar")
    }

    async fn deploy(&self) -> Result<()> {
        step("Deploy a Knative Service")?;
        let start = Instant::now();
        self.api.post(SERVICES, &service("Knative")).await?;
        self.await_ready(1).await?;
        took(start, "applied, Ready")?;
        self.call("answered")
    }

    async fn scale_to_zero(&self) -> Result<()> {
        step("Scale to zero: no request for the window of 6 s")?;
        let start = Instant::now();
        while self.pods().await? > 0 {
            ensure!(
                start.elapsed() < STEP_MAX,
                "the Pod is still there after {STEP_MAX:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        took(start, "the Pod is gone")?;
        step("Cold start: the next request brings it back")?;
        self.call("answered from zero")?;
        self.call("answered again, warm")
    }

    async fn split(&self) -> Result<()> {
        step("A second revision, half of the traffic for each")?;
        let start = Instant::now();
        let path = format!("{SERVICES}/hello");
        let mut object = self.api.get(&path).await?;
        object["spec"]["template"] = service("Rekindle")["spec"]["template"].clone();
        object["spec"]["traffic"] = json!([
            {"revisionName": "hello-00001", "percent": 50},
            {"latestRevision": true, "percent": 50, "tag": "new"},
        ]);
        self.api
            .request(
                Method::PUT,
                &path,
                "application/json",
                serde_json::to_vec(&object)?,
            )
            .await?;
        self.await_ready(2).await?;
        took(start, "updated, Ready")?;
        let mut answers = BTreeMap::new();
        for _ in 0..200 {
            let (answer, _) = get(&self.instance.http, "hello.default.localhost")?;
            *answers.entry(answer.trim().to_owned()).or_insert(0) += 1;
        }
        for (answer, count) in &answers {
            line(&format!("          {count:3} of 200: {answer}"))?;
        }
        ensure!(answers.len() == 2, "both revisions should have answered");
        let (answer, time) = get(&self.instance.http, "new-hello.default.localhost")?;
        shown(time, &format!("the tag's own URL: {}", answer.trim()))
    }

    fn call(&self, what: &str) -> Result<()> {
        let (answer, time) = get(&self.instance.http, "hello.default.localhost")?;
        shown(time, &format!("{what}: {}", answer.trim()))
    }

    async fn await_ready(&self, generation: i64) -> Result<()> {
        let start = Instant::now();
        loop {
            let object = self.api.get(&format!("{SERVICES}/hello")).await?;
            let (status, message) = ready(&object);
            if status == "True" && object["status"]["observedGeneration"] == generation {
                return Ok(());
            }
            ensure!(status != "False", "the Service failed: {message}");
            ensure!(
                start.elapsed() < STEP_MAX,
                "not Ready after {STEP_MAX:?}: {message}"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn pods(&self) -> Result<usize> {
        let list = self.api.get("/api/v1/namespaces/default/pods").await?;
        Ok(list["items"].as_array().map_or(0, Vec::len))
    }
}

fn service(target: &str) -> Value {
    json!({
        "apiVersion": "serving.knative.dev/v1", "kind": "Service",
        "metadata": {"name": "hello", "namespace": "default"},
        "spec": {"template": {
            "metadata": {"annotations": {"autoscaling.knative.dev/window": "6s"}},
            "spec": {"containers": [{
                "image": IMAGE, "env": [{"name": "TARGET", "value": target}],
            }]},
        }},
    })
}

/// A `rekindle up` on free ports with a data directory of its own.
struct Instance {
    dir: PathBuf,
    child: Child,
    http: String,
}

impl Instance {
    fn start() -> Result<Self> {
        step("Start an instance of its own")?;
        let start = Instant::now();
        let dir = std::env::temp_dir().join(format!("rekindle-demo-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        let ready_file = dir.join("ready.json");
        let any = "127.0.0.1:0";
        let flags = [
            ["--api-listen", any],
            ["--http-listen", any],
            ["--https-listen", any],
            ["--console-listen", any],
            ["--pod-cidr", "10.202.0.0/16"],
            ["--service-cidr", "10.203.0.0/16"],
            ["--bridge", "rkdemo0"],
        ];
        let mut child = Command::new(std::env::current_exe()?)
            .arg("up")
            .args(flags.as_flattened())
            .arg("--data-dir")
            .arg(dir.join("data"))
            .arg("--ready-file")
            .arg(&ready_file)
            .stdout(Stdio::null())
            .spawn()
            .context("start rekindle up")?;
        let ready = loop {
            if let Ok(text) = std::fs::read(&ready_file) {
                break serde_json::from_slice::<Value>(&text)?;
            }
            if let Some(status) = child.try_wait()? {
                bail!("rekindle up ended: {status}");
            }
            ensure!(
                start.elapsed() < STEP_MAX,
                "rekindle up is not ready after {STEP_MAX:?}"
            );
            std::thread::sleep(Duration::from_millis(2));
        };
        let http = ready["http"].as_str().unwrap_or_default().to_owned();
        took(start, "rekindle up")?;
        Ok(Self { dir, child, http })
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn stop(mut self) -> Result<()> {
        terminate(&self.child);
        let status = self.child.wait()?;
        remove(&self.dir)?;
        ensure!(status.success(), "rekindle up ended with {status}");
        Ok(())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            terminate(&self.child);
            // On the way out of a failed demo: the first error is the one to report.
            drop(self.child.wait());
            drop(remove(&self.dir));
        }
    }
}

fn terminate(child: &Child) {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // An error means that it has ended already.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

fn remove(dir: &Path) -> Result<()> {
    std::fs::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()))
}

fn step(what: &str) -> Result<()> {
    line(&format!("\n{what}"))
}

fn took(start: Instant, what: &str) -> Result<()> {
    shown(start.elapsed(), what)
}

fn shown(time: Duration, what: &str) -> Result<()> {
    print(&format!("{:>8.1} ms  {what}\n", time.as_secs_f64() * 1e3))
}

/// One GET on a fresh connection: the body and the time to its first byte.
fn get(address: &str, host: &str) -> Result<(String, Duration)> {
    let start = Instant::now();
    let mut stream = TcpStream::connect(address).context("connect to the gateway")?;
    stream.set_read_timeout(Some(STEP_MAX))?;
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut first = [0];
    stream
        .read_exact(&mut first)
        .context("no answer from the gateway")?;
    let time = start.elapsed();
    let mut rest = String::new();
    stream.read_to_string(&mut rest)?;
    let (head, body) = rest.split_once("\r\n\r\n").context("not an HTTP answer")?;
    ensure!(head.starts_with("TTP/1.1 200"), "{host} answered {head}");
    Ok((body.to_owned(), time))
}
