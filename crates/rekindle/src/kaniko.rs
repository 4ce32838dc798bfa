//! The built-in Dockerfile builder as a container: where a step names kaniko's image and that image
//! is not here, the node builds with kaniko's arguments. `builtins` hands it to the node; the work
//! is `node::builder`'s.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dockerfile::kaniko::{Arguments, Secret, SecretFrom};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use k8s_openapi::api::core::v1::{Container, Pod};
use node::builder::{BuildRequest, DISK_BYTES_MAX_DEFAULT, Output, TIMEOUT_DEFAULT};
use node::image::{Access, Keyring};
use node::logs::Stream;
use node::{Builtin, BuiltinEnd, BuiltinStart, Files, Node, RunningBuiltin};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Names of kaniko's executor, with any tag and digest, and our own for the same thing.
const IMAGES: [&str; 4] = [
    "gcr.io/kaniko-project/executor",
    "ghcr.io/osscontainertools/kaniko",
    "docker.io/martizih/kaniko",
    "rekindle.local/builder",
];
/// A Dockerfile or `.dockerignore` is not larger.
const TEXT_BYTES_MAX: u64 = 4 << 20;
/// Where kaniko looks for credentials, after `DOCKER_CONFIG` and `HOME`.
const KANIKO_CONFIG: &str = "/kaniko/.docker";
/// A secret is not larger; BuildKit's bound.
const SECRET_BYTES_MAX: u64 = 500 << 10;
/// What a step leaves here becomes its message.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// The node, once it runs: it is started after what it is made of, and takes Pods over before it
/// is known here.
#[derive(Clone, Default)]
pub(crate) struct LateNode(Arc<watch::Sender<Option<Node>>>);

impl LateNode {
    /// Tells whoever waits, and gives the node back.
    pub(crate) fn set(&self, node: Node) -> Node {
        self.0.send_replace(Some(node.clone()));
        node
    }

    async fn get(&self) -> Result<Node, String> {
        let mut receiver = self.0.subscribe();
        let node = receiver.wait_for(Option::is_some).await;
        let node = node.ok().and_then(|node| node.clone());
        node.ok_or_else(|| "the node has ended".to_owned())
    }
}

/// The builtin for one of kaniko's image names.
pub(crate) fn for_image(image: &str, node: &LateNode) -> Option<Kaniko> {
    let name = image.split('@').next().unwrap_or_default();
    let (path, last) = name.rsplit_once('/')?;
    let last = last.split(':').next().unwrap_or_default();
    let name = format!("{path}/{last}");
    let full = format!("docker.io/{name}");
    let known = IMAGES.iter().any(|known| *known == name || *known == full);
    known.then(|| Kaniko { node: node.clone() })
}

/// The builtin.
pub(crate) struct Kaniko {
    node: LateNode,
}

impl Builtin for Kaniko {
    fn ports(&self, _: &Pod, _: &Container, _: &[(String, String)]) -> Vec<u16> {
        Vec::new()
    }

    fn start(&self, start: BuiltinStart) -> Result<Box<dyn RunningBuiltin>, String> {
        let step = Step {
            files: Files::new(&start.mounts),
            node: self.node.clone(),
            start,
        };
        let task = tokio::spawn(step.run());
        let (sender, ready) = watch::channel(true);
        Ok(Box::new(Running {
            _sender: sender,
            ready,
            abort: task.abort_handle(),
            task: Mutex::new(Some(task)),
        }))
    }
}

struct Running {
    _sender: watch::Sender<bool>,
    ready: watch::Receiver<bool>,
    abort: AbortHandle,
    task: Mutex<Option<tokio::task::JoinHandle<BuiltinEnd>>>,
}

impl RunningBuiltin for Running {
    fn ready(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }

    fn stop(&mut self, _: Duration) -> BoxFuture<'static, ()> {
        // Dropping the build cancels it.
        self.abort.abort();
        async {}.boxed()
    }

    fn ended(&mut self) -> Option<BoxFuture<'static, BuiltinEnd>> {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        let task = task.take()?;
        let end = task.map(|outcome| match outcome {
            Ok(end) => end,
            Err(error) if error.is_cancelled() => BuiltinEnd {
                code: 143,
                message: "the build was cancelled".to_owned(),
            },
            Err(error) => BuiltinEnd {
                code: 2,
                message: error.to_string(),
            },
        });
        Some(end.boxed())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

/// One run.
struct Step {
    start: BuiltinStart,
    files: Files,
    node: LateNode,
}

impl Step {
    async fn run(self) -> BuiltinEnd {
        let log = self.start.log.clone();
        match self.build().await {
            Ok(message) => BuiltinEnd { code: 0, message },
            Err(message) => {
                log.line(Stream::Stderr, &format!("error building image: {message}"));
                BuiltinEnd { code: 1, message }
            }
        }
    }

    /// Builds and leaves what was asked for; gives the termination message.
    async fn build(&self) -> Result<String, String> {
        let arguments = Arguments::parse(&self.start.args)?;
        let request = self.request(&arguments)?;
        let output: Arc<dyn Output> = Arc::new(self.start.log.clone());
        let builder = self.node.get().await?.builder();
        let built = builder.build(request, output).await;
        let built = built.map_err(|error| error.to_string())?;
        let digest = built.digest.as_str();
        let named = built.names.iter().map(|name| format!("{name}@{digest}\n"));
        let with_tags: String = named.collect();
        let bare = |name: &String| match name.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => format!("{path}@{digest}\n"),
            _ => format!("{name}@{digest}\n"),
        };
        let without_tags: String = built.names.iter().map(bare).collect();
        let mut message = String::new();
        for (path, text) in [
            (&arguments.digest_file, digest),
            (&arguments.image_name_with_digest_file, &without_tags),
            (&arguments.image_name_tag_with_digest_file, &with_tags),
        ] {
            let Some(path) = path else { continue };
            if path == TERMINATION_LOG {
                message = text.to_owned();
                continue;
            }
            self.files
                .write(path, text.as_bytes())
                .map_err(|error| format!("cannot write {path}: {error}"))?;
        }
        Ok(message)
    }

    fn request(&self, arguments: &Arguments) -> Result<BuildRequest, String> {
        let context = self.context(arguments)?;
        let (dockerfile, ignore) = self.texts(&arguments.dockerfile, &context)?;
        let directory = self.open_dir(&context)?;
        if let Some(platform) = &arguments.platform {
            let own = own_platform();
            if *platform != own {
                return Err(format!(
                    "--custom-platform={platform}: this node builds for {own}"
                ));
            }
        }
        let archive = arguments.tar_path.as_deref().map(|path| {
            // Made first: it is a path of this machine only when it is there.
            self.files.write(path, b"")?;
            self.files.host_path(path)
        });
        let archive = archive
            .transpose()
            .map_err(|error| format!("--tar-path: {error}"))?;
        let namespace = self.start.pod.metadata.namespace.clone();
        Ok(BuildRequest {
            dockerfile,
            ignore,
            context: directory,
            build_args: self.build_args(arguments),
            target: arguments.target.clone(),
            labels: arguments.labels.clone(),
            names: arguments.destinations.clone(),
            push: !arguments.no_push,
            access: Access {
                keyring: self.keyring()?,
                plain_http: arguments.insecure.clone(),
                skip_verify: arguments.skip_tls_verify.clone(),
            },
            cache: arguments.cache,
            reproducible: arguments.reproducible,
            archive,
            git: crate::steps::program(build::images::GIT_INIT),
            secrets: self.secrets(arguments)?,
            agents: self.agents(arguments)?,
            network: Some(self.start.dialer.clone()),
            namespace: namespace.unwrap_or_else(|| "default".to_owned()),
            limits: self.start.limits.clone(),
            timeout: TIMEOUT_DEFAULT,
            disk_bytes_max: self.disk_bytes_max(),
        })
    }

    /// The step's own limit, if it has one.
    fn disk_bytes_max(&self) -> u64 {
        let own = self.start.storage_bytes.unwrap_or(u64::MAX);
        own.min(DISK_BYTES_MAX_DEFAULT)
    }

    /// The context's directory as the step sees it.
    fn context(&self, arguments: &Arguments) -> Result<String, String> {
        let given = &arguments.context;
        let path = match given.split_once("://") {
            Some(("dir", path)) => path,
            None => given,
            Some((scheme, _)) => {
                return Err(format!(
                    "--context={given}: contexts of {scheme}:// are not fetched here; let the \
                     Build's source bring it and give its directory"
                ));
            }
        };
        let mut path = self.absolute(path);
        if !arguments.context_sub_path.is_empty() {
            path = format!("{path}/{}", arguments.context_sub_path);
        }
        Ok(path)
    }

    fn absolute(&self, path: &str) -> String {
        let cwd = self.start.container.working_dir.as_deref();
        match path.starts_with('/') {
            true => path.to_owned(),
            false => format!("{}/{path}", cwd.unwrap_or("/workspace")),
        }
    }

    /// The Dockerfile, as it is given or below the context, and what it wants ignored.
    fn texts(&self, given: &str, context: &str) -> Result<(String, String), String> {
        let mut places = vec![format!("{context}/{given}")];
        if given.starts_with('/') {
            places.insert(0, given.to_owned());
        } else {
            places.push(self.absolute(given));
        }
        places.dedup();
        let read = |path: &String| {
            let bytes = self.files.read(path, TEXT_BYTES_MAX).ok()?;
            Some((path.clone(), String::from_utf8_lossy(&bytes).into_owned()))
        };
        let found = places.iter().find_map(read);
        let (path, text) = found.ok_or_else(|| {
            format!(
                "Dockerfile {given} was not found; looked for {}",
                places.join(", ")
            )
        })?;
        let own = format!("{path}.dockerignore");
        let ignore = [own, format!("{context}/.dockerignore")];
        let ignore = ignore.iter().find_map(read).map(|(_, text)| text);
        Ok((text, ignore.unwrap_or_default()))
    }

    fn open_dir(&self, path: &str) -> Result<OwnedFd, String> {
        let opened = || -> io::Result<OwnedFd> {
            let place = self.files.open(path)?;
            let file = File::open(format!("/proc/self/fd/{}", place.as_raw_fd()))?;
            match file.metadata()?.is_dir() {
                true => Ok(file.into()),
                false => Err(io::ErrorKind::NotADirectory.into()),
            }
        };
        opened().map_err(|error| format!("the context {path}: {error}"))
    }

    /// A variable of the step.
    fn env(&self, name: &str) -> Option<String> {
        let pairs = self.start.env.iter().rev();
        let mut named = pairs.filter(|(have, _)| have == name);
        named.next().map(|(_, value)| value.clone())
    }

    fn build_args(&self, arguments: &Arguments) -> BTreeMap<String, String> {
        let pair = |(name, value): &(String, Option<String>)| {
            let value = value.clone().or_else(|| self.env(name))?;
            Some((name.clone(), value))
        };
        arguments.build_args.iter().filter_map(pair).collect()
    }

    /// What is secret, from the step's volumes and variables.
    fn secrets(&self, arguments: &Arguments) -> Result<BTreeMap<String, Vec<u8>>, String> {
        let file = |path: &str| {
            let path = self.absolute(path);
            let bytes = self.files.read(&path, SECRET_BYTES_MAX + 1);
            let bytes = bytes.map_err(|error| format!("{path}: {error}"))?;
            match bytes.len() as u64 > SECRET_BYTES_MAX {
                true => Err(format!("{path} is larger than {SECRET_BYTES_MAX} bytes")),
                false => Ok(bytes),
            }
        };
        let read = |secret: &Secret| {
            let found = match &secret.from {
                SecretFrom::File(path) => file(path),
                SecretFrom::Env(name) => self
                    .env(name)
                    .map(String::into_bytes)
                    .ok_or_else(|| format!("the step has no variable {name}")),
                SecretFrom::Name => match self.env(&secret.id) {
                    Some(value) => Ok(value.into_bytes()),
                    None => file(&secret.id),
                },
            };
            let bytes = found.map_err(|why| format!("--secret id={}: {why}", secret.id))?;
            Ok((secret.id.clone(), bytes))
        };
        arguments.secrets.iter().map(read).collect()
    }

    /// Agents' sockets, which are in the step's volumes.
    fn agents(&self, arguments: &Arguments) -> Result<BTreeMap<String, PathBuf>, String> {
        let find = |(id, path): (&String, &String)| {
            let failed = |why: String| format!("--ssh {id}={path}: {why}");
            let socket = self.files.host_path(&self.absolute(path));
            let socket = socket.map_err(|error| failed(error.to_string()))?;
            let kind = std::fs::metadata(&socket).map(|found| found.file_type());
            match kind.is_ok_and(|kind| kind.is_socket()) {
                true => Ok((id.clone(), socket)),
                false => Err(failed("this is no agent's socket".to_owned())),
            }
        };
        arguments.agents.iter().map(find).collect()
    }

    /// Credentials the step finds in its volumes.
    fn keyring(&self) -> Result<Keyring, String> {
        let home = self.env("HOME").map(|home| format!("{home}/.docker"));
        let own = self.env("DOCKER_CONFIG");
        let places = [own, home, Some(KANIKO_CONFIG.to_owned())];
        let mut keyring = Keyring::default();
        for place in places.into_iter().flatten() {
            for name in ["config.json", ".dockerconfigjson"] {
                let path = format!("{place}/{name}");
                if let Ok(bytes) = self.files.read(&path, TEXT_BYTES_MAX) {
                    let added = keyring.add_docker_config_json(&bytes);
                    added.map_err(|error| format!("{path}: {error}"))?;
                }
            }
        }
        Ok(keyring)
    }
}

fn own_platform() -> String {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("linux/{arch}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_builder() {
        for (image, expected) in [
            ("gcr.io/kaniko-project/executor", true),
            ("gcr.io/kaniko-project/executor:v1.23.2-debug", true),
            ("gcr.io/kaniko-project/executor@sha256:aa", true),
            ("martizih/kaniko:latest", true),
            ("gcr.io/kaniko-project/warmer", false),
            ("executor", false),
        ] {
            let found = for_image(image, &LateNode::default());
            assert_eq!(found.is_some(), expected, "{image}");
        }
    }
}
