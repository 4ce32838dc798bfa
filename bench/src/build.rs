//! A Dockerfile to an image, beside Debian's `buildah` on the same files: without anything of an
//! earlier build (`cold`), and again with nothing changed (`cached`). Ours is a Pod with kaniko's
//! image, from its creation to its end; theirs is the program alone.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kube::api::{Api, DeleteParams, DynamicObject, PostParams};
use serde_json::json;
use system::{App, Image, Instance, Options, run};

use crate::client;
use crate::sample::Sample;

const BASE: &str = "dev.local/debian-flask:1";
const BUILD_MAX: Duration = Duration::from_secs(300);

/// What is built: a name and the files of a context.
struct Job {
    name: &'static str,
    dockerfile: &'static str,
}

const JOBS: [Job; 3] = [
    Job {
        name: "flask",
        dockerfile: "FROM dev.local/debian-flask:1\nWORKDIR /app\nCOPY app.py .\n\
                     RUN python3 -m compileall -q /usr/lib/python3/dist-packages /app\n\
                     ENV PORT=8080\nCMD [\"python3\", \"app.py\"]\n",
    },
    Job {
        name: "files",
        dockerfile: "FROM dev.local/debian-flask:1\nRUN cp -a /usr/lib /opt/lib\nCOPY src /src\n\
                     RUN rm -r /opt/lib/python3 && chmod -R a+rX /src\n",
    },
    Job {
        name: "static, two stages",
        dockerfile: "FROM dev.local/debian-flask:1 AS build\nCOPY hello /src/hello\n\
                     RUN install -D -m 755 /src/hello /out/server\nFROM scratch\n\
                     COPY --from=build /out/server /server\nENTRYPOINT [\"/server\"]\n",
    },
];

pub(crate) async fn run_all(rounds: usize) -> Result<()> {
    let instance = Instance::with(Options {
        shared_netns: true,
        ..Options::default()
    });
    let scratch = tempfile::tempdir()?;
    let archive = scratch.path().join("base.tar");
    let base = Image::debian(BASE)?;
    base.write(&archive)?;
    instance.load_image(&base);
    let peer = Buildah::new(&scratch.path().join("buildah"), &archive)?;
    let pods = client::pods(&instance).await?;
    for job in &JOBS {
        let context = scratch.path().join("context");
        let _ = fs::remove_dir_all(&context);
        write_context(&context, job)?;
        let mut times: [Sample; 4] = Default::default();
        for round in 0..rounds {
            for (at, cached) in [(0, false), (2, true)] {
                let name = format!("build-{}-{round}-{at}", job.name.len());
                times[at].push(ours(&pods, &name, &context, cached).await?);
                times[at + 1].push(peer.build(&context, cached)?);
            }
        }
        let [cold, peer_cold, cached, peer_cached] = times;
        println!("{}", job.name);
        println!("  cold, rekindle:   {cold}");
        println!("  cold, buildah:    {peer_cold}");
        println!("  cached, rekindle: {cached}");
        println!("  cached, buildah:  {peer_cached}");
    }
    Ok(())
}

fn write_context(context: &Path, job: &Job) -> Result<()> {
    fs::create_dir_all(context.join("src"))?;
    fs::write(context.join("Dockerfile"), job.dockerfile)?;
    fs::write(context.join("app.py"), "import flask\nprint(flask)\n")?;
    fs::copy(App::Hello.build()?, context.join("hello"))?;
    for number in 0..2000 {
        let text = format!("{number}\n").repeat(100);
        fs::write(context.join(format!("src/{number}.txt")), text)?;
    }
    Ok(())
}

/// From the Pod's creation to its end, with and without layers of earlier builds.
async fn ours(
    pods: &Api<DynamicObject>,
    name: &str,
    context: &Path,
    cached: bool,
) -> Result<Duration> {
    let pod = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{
                "name": "step", "image": "gcr.io/kaniko-project/executor",
                "args": [
                    "--no-push", "--destination=dev.local/built:1", format!("--cache={cached}"),
                ],
                "volumeMounts": [{"name": "workspace", "mountPath": "/workspace"}],
            }],
            "volumes": [{"name": "workspace", "hostPath": {"path": context}}],
        },
    }))?;
    let start = Instant::now();
    pods.create(&PostParams::default(), &pod).await?;
    loop {
        let pod = pods.get(name).await?;
        match pod.data["status"]["phase"].as_str() {
            Some("Succeeded") => break,
            Some("Failed") => anyhow::bail!("the build failed: {}", pod.data["status"]),
            _ => ensure!(start.elapsed() < BUILD_MAX, "no end of {name}"),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let took = start.elapsed();
    pods.delete(name, &DeleteParams::default()).await?;
    Ok(took)
}

/// Debian's buildah with a storage of its own.
struct Buildah {
    root: std::path::PathBuf,
}

impl Buildah {
    fn new(root: &Path, base: &Path) -> Result<Self> {
        let peer = Self {
            root: root.to_path_buf(),
        };
        let from = format!("docker-archive:{}", base.display());
        let mut pull = peer.command("pull");
        run(pull.arg("--quiet").arg(from), "").expect();
        Ok(peer)
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new("buildah");
        let (root, state) = (self.root.join("root"), self.root.join("run"));
        command.arg("--root").arg(root).arg("--runroot").arg(state);
        command.args(["--storage-driver", "overlay", verb]);
        command
    }

    fn build(&self, context: &Path, cached: bool) -> Result<Duration> {
        let mut command = self.command("build");
        // Containers without a network bridge, which it would have to be given first.
        command.args(["--layers", "--isolation", "chroot", "--network", "host"]);
        command.args(["--pull-never", "--quiet", "--tag", "dev.local/built:1"]);
        if !cached {
            command.arg("--no-cache");
        }
        let start = Instant::now();
        let output = command.arg(context).output();
        let output = output.context("start buildah: apt-get install buildah")?;
        let took = start.elapsed();
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "buildah: {said}");
        Ok(took)
    }
}

impl Drop for Buildah {
    fn drop(&mut self) {
        // What it has mounted would keep the directory.
        run(self.command("rm").arg("--all"), "");
        run(self.command("rmi").args(["--all", "--force"]), "");
        run(
            Command::new("umount").arg(self.root.join("root/overlay")),
            "",
        );
    }
}
