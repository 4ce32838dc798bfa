//! A node of its own for each test: own network and mount namespaces, own data directory, an
//! image built on the spot. Everything is gone when the test is.

// Each test program uses its part of this.
#![allow(dead_code)]

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, PodStatus, Secret};
use node::image::build::{Builder, Layer};
use node::image::{ImageConfig, ImageStore, Puller, Registries};
use node::{
    Answer, Builtins, Cluster, Config, News, NoBuiltins, Node, PodEvent, Token, TokenRequest,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// Nothing a test waits for takes longer, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const IMAGE: &str = "test.local/server:1";

/// ConfigMaps, Secrets and tokens as a test set them.
#[derive(Default)]
pub(crate) struct Objects {
    pub config_maps: Mutex<BTreeMap<String, ConfigMap>>,
    pub secrets: Mutex<BTreeMap<String, Secret>>,
}

impl Cluster for Objects {
    fn config_map(&self, _: &str, name: &str) -> Answer<ConfigMap> {
        let found = self.config_maps.lock().expect("lock").get(name).cloned();
        async move { Ok(found) }.boxed()
    }

    fn secret(&self, _: &str, name: &str) -> Answer<Secret> {
        let found = self.secrets.lock().expect("lock").get(name).cloned();
        async move { Ok(found) }.boxed()
    }

    fn service_account_token(&self, request: TokenRequest) -> Answer<Token> {
        let token = format!("token-of-{}", request.service_account);
        async move {
            Ok(Some(Token {
                token,
                lifetime_s: 3600,
            }))
        }
        .boxed()
    }
}

/// The static server, compiled once.
pub(crate) fn server() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let out = dir.join(format!("server-{}", std::process::id()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/server.c");
        let built = Command::new("cc")
            .args(["-O2", "-static", "-o"])
            .arg(&out)
            .arg(source)
            .status();
        assert!(built.expect("a C compiler").success());
        out
    };
    BUILT.get_or_init(build).clone()
}

pub(crate) struct World {
    pub node: Node,
    pub objects: Arc<Objects>,
    events: mpsc::UnboundedReceiver<PodEvent>,
    statuses: HashMap<String, PodStatus>,
    gone: Vec<String>,
    records: Vec<String>,
}

pub(crate) fn config(dir: &Path, objects: &Arc<Objects>, builtins: Arc<dyn Builtins>) -> Config {
    let images = ImageStore::open(&dir.join("data")).expect("image store");
    if images.get(IMAGE).expect("look up").is_none() {
        let layer = Layer::new()
            .file("/server", 0o755, std::fs::read(server()).expect("server"))
            .file(
                "/etc/passwd",
                0o644,
                "root:x:0:0::/root:/\napp:x:1000:1000::/home/app:/\n",
            );
        let config = ImageConfig {
            entrypoint: vec!["/server".into()],
            env: vec!["FROM_IMAGE=yes".into()],
            ..ImageConfig::default()
        };
        let layout = dir.join("layout");
        Builder::new(config)
            .layer(layer)
            .write_layout(&layout, IMAGE)
            .expect("layout");
        images.load(&layout, Some(IMAGE)).expect("load");
    }
    Config {
        data_dir: dir.join("data"),
        node_name: "node-1".into(),
        pod_cidr: "10.77.0.0/16".parse().expect("range"),
        service_cidr: "10.78.0.0/16".parse().expect("range"),
        bridge: "rkt0".into(),
        cluster_domain: "cluster.local".into(),
        networks_ready: 2,
        spares: 2,
        launcher: vec![env!("CARGO_BIN_EXE_node-launcher").into()],
        puller: Puller::new(images.clone(), Registries::load(dir).expect("registries")),
        images,
        builtins,
        cluster: Arc::clone(objects) as Arc<dyn Cluster>,
    }
}

/// Runs a story on a node of its own, in namespaces of its own.
pub(crate) fn run<F: Future<Output = ()>>(story: impl FnOnce(World) -> F + Send + 'static) {
    run_with(Arc::new(NoBuiltins), story);
}

pub(crate) fn run_with<F: Future<Output = ()>>(
    builtins: Arc<dyn Builtins>,
    story: impl FnOnce(World) -> F + Send + 'static,
) {
    in_namespaces(move |dir| async move {
        let world = World::start(&dir, builtins).await;
        let node = world.node.clone();
        let outcome = std::panic::AssertUnwindSafe(story(world))
            .catch_unwind()
            .await;
        let end = tokio::time::timeout(PATIENCE, node.destroy()).await;
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
        end.expect("the node ends");
    });
}

/// Runs a story in a thread with namespaces of its own and a directory that is removed after.
pub(crate) fn in_namespaces<F: Future<Output = ()>>(
    story: impl FnOnce(PathBuf) -> F + Send + 'static,
) {
    let thread = std::thread::spawn(move || {
        own_namespaces();
        let dir = tempfile::tempdir().expect("temp dir");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("runtime");
        runtime.block_on(story(dir.path().to_owned()));
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[allow(unsafe_code)]
fn own_namespaces() {
    use rustix::mount::{MountPropagationFlags, mount_change};
    use rustix::thread::UnshareFlags;
    let flags = UnshareFlags::NEWNET | UnshareFlags::NEWNS | UnshareFlags::FS;
    // SAFETY: none of the flags touches memory or descriptors.
    unsafe { rustix::thread::unshare_unsafe(flags) }.expect("root");
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .expect("root");
    // Names of network namespaces are looked up through the thread's own view.
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    assert!(up.expect("ip").success());
}

impl World {
    pub(crate) async fn start(dir: &Path, builtins: Arc<dyn Builtins>) -> Self {
        let objects = Arc::new(Objects::default());
        Self::start_again(dir, builtins, objects).await
    }

    pub(crate) async fn start_again(
        dir: &Path,
        builtins: Arc<dyn Builtins>,
        objects: Arc<Objects>,
    ) -> Self {
        let config = config(dir, &objects, builtins);
        let (node, events) = Node::start(config).await.expect("node");
        let (statuses, gone, records) = (HashMap::new(), Vec::new(), Vec::new());
        Self {
            node,
            objects,
            events,
            statuses,
            gone,
            records,
        }
    }

    /// Makes a Pod of one container called `a`, or of a whole spec, and gives it to the node.
    pub(crate) fn run(&self, name: &str, spec: Value) -> Arc<Pod> {
        let spec = match spec.get("containers") {
            Some(_) => spec,
            None => {
                let mut container = json!({"name": "a", "image": IMAGE});
                let own = spec.as_object().expect("a container").clone();
                container.as_object_mut().expect("an object").extend(own);
                json!({"containers": [container], "restartPolicy": "Never"})
            }
        };
        let meta = json!({
            "name": name, "namespace": "default", "uid": format!("uid-{name}"),
            "labels": {"app": name},
        });
        let pod = json!({"metadata": meta, "spec": spec});
        let pod: Arc<Pod> = Arc::new(serde_json::from_value(pod).expect("a Pod"));
        self.node.set_pod(Arc::clone(&pod));
        pod
    }

    pub(crate) fn delete(&self, pod: &Pod) {
        let mut pod = pod.clone();
        pod.metadata.deletion_timestamp =
            Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).expect("a time"));
        self.node.set_pod(Arc::new(pod));
    }

    async fn next(&mut self) {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        let event = match event {
            Ok(event) => event.expect("the node runs"),
            Err(_) => panic!(
                "nothing happens; last: {:#?} {:#?}",
                self.statuses, self.records
            ),
        };
        match event.news {
            News::Status(status) => drop(self.statuses.insert(event.name, *status)),
            News::Record {
                reason, message, ..
            } => self.records.push(format!("{reason}: {message}")),
            News::Gone => self.gone.push(event.name),
        }
    }

    /// Waits until the Pod's status is as wanted.
    pub(crate) async fn wait(
        &mut self,
        name: &str,
        wanted: impl Fn(&PodStatus) -> bool,
    ) -> PodStatus {
        loop {
            if let Some(status) = self.statuses.get(name).filter(|status| wanted(status)) {
                return status.clone();
            }
            self.next().await;
        }
    }

    pub(crate) async fn wait_ready(&mut self, name: &str) -> PodStatus {
        self.wait(name, |status| is(status, "Ready")).await
    }

    pub(crate) async fn wait_gone(&mut self, name: &str) {
        while !self.gone.iter().any(|gone| gone == name) {
            self.next().await;
        }
    }

    /// Runs a container `a` to its end; gives exit code, reason, message and log.
    pub(crate) async fn run_to_end(
        &mut self,
        name: &str,
        spec: Value,
    ) -> (i32, String, String, String) {
        self.run(name, spec);
        let over =
            |status: &PodStatus| matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let status = self.wait(name, over).await;
        let statuses = status.container_statuses.unwrap_or_default();
        let end = statuses[0]
            .state
            .clone()
            .unwrap_or_default()
            .terminated
            .expect("terminated");
        let log = self.log(name, "a").await;
        (
            end.exit_code,
            end.reason.unwrap_or_default(),
            end.message.unwrap_or_default(),
            log,
        )
    }

    pub(crate) async fn log(&self, name: &str, container: &str) -> String {
        let options = node::LogOptions::default();
        let Ok(mut stream) = self.node.logs(("default", name), container, options) else {
            return String::new();
        };
        let mut text = Vec::new();
        while let Some(piece) = stream.recv().await {
            text.extend_from_slice(&piece.expect("a piece"));
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Waits until a running container has said `wanted`: what it writes is in the log only a
    /// little later.
    pub(crate) async fn wait_log(&self, name: &str, container: &str, wanted: &str) {
        let options = node::LogOptions {
            follow: true,
            ..node::LogOptions::default()
        };
        let at = ("default", name);
        let mut stream = self.node.logs(at, container, options).expect("a log");
        let mut text = Vec::new();
        let said = async {
            while !text.starts_with(wanted.as_bytes()) {
                let piece = stream.recv().await.expect("the container runs");
                text.extend_from_slice(&piece.expect("a piece"));
            }
        };
        let said = tokio::time::timeout(PATIENCE, said).await;
        assert!(said.is_ok(), "{}", String::from_utf8_lossy(&text));
    }
}

pub(crate) fn is(status: &PodStatus, condition: &str) -> bool {
    let mut all = status.conditions.iter().flatten();
    all.any(|one| one.type_ == condition && one.status == "True")
}

/// One HTTP request from the machine; the body of the answer.
pub(crate) async fn get(address: &str) -> std::io::Result<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
        .unwrap_or_default())
}
