//! How the client verbs find the instance and name its resources.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Subcommand};
use http::{Method, Request, header};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;

use super::up::default_data_dir;

/// Which instance, and which namespace.
#[derive(Args, Clone, Debug)]
pub(crate) struct Target {
    /// The data directory of the instance; its kubeconfig is used.
    #[arg(long, env = "REKINDLE_DATA_DIR", global = true)]
    pub(crate) data_dir: Option<PathBuf>,
    /// A kubeconfig, when no data directory is given. Default: $KUBECONFIG.
    #[arg(long, global = true)]
    kubeconfig: Option<PathBuf>,
    /// The namespace. Default: the kubeconfig's, else `default`.
    #[arg(long, short, global = true)]
    namespace: Option<String>,
}

/// The flags of a noun of which there are verbs.
#[derive(Args, Debug)]
pub(crate) struct Verbs<V: Subcommand> {
    #[command(subcommand)]
    pub(crate) verb: V,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// A connection to the API server.
pub(crate) struct Api {
    client: Client,
    /// The namespace verbs act in.
    pub(crate) namespace: String,
}

/// One resource as discovery lists it.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    /// `v1` or `GROUP/VERSION`.
    pub(crate) group_version: String,
    /// CamelCase.
    pub(crate) kind: String,
    /// The name in URLs.
    pub(crate) plural: String,
    /// Whether its objects live in a namespace.
    pub(crate) namespaced: bool,
}

impl Resource {
    /// `kind.group/name`, as kubectl prints it after a change.
    pub(crate) fn display(&self, name: &str) -> String {
        let kind = self.kind.to_lowercase();
        match self.group_version.split_once('/') {
            Some((group, _)) => format!("{kind}.{group}/{name}"),
            None => format!("{kind}/{name}"),
        }
    }

    /// The URL path of the collection, or of one object.
    pub(crate) fn path(&self, namespace: &str, name: Option<&str>) -> String {
        let root = if self.group_version.contains('/') {
            "/apis"
        } else {
            "/api"
        };
        let scope = match namespace {
            namespace if self.namespaced && !namespace.is_empty() => {
                format!("/namespaces/{namespace}")
            }
            _ => String::new(),
        };
        let name = name.map(|name| format!("/{name}")).unwrap_or_default();
        format!("{root}/{}{scope}/{}{name}", self.group_version, self.plural)
    }
}

impl Target {
    /// The instance that keeps its state in `data_dir`.
    pub(crate) fn of(data_dir: &Path) -> Self {
        Self {
            data_dir: Some(data_dir.to_owned()),
            kubeconfig: None,
            namespace: None,
        }
    }

    /// The data directory verbs that need the machine itself work in: the one whose kubeconfig
    /// [`Target::connect`] uses.
    pub(crate) fn data_dir(&self) -> Result<PathBuf> {
        if let Some(dir) = &self.data_dir {
            return Ok(dir.clone());
        }
        let path = self.kubeconfig();
        let parent = path.parent().map(Path::to_owned).unwrap_or_default();
        if parent == default_data_dir() || parent.join("store").is_dir() {
            return Ok(parent);
        }
        bail!(
            "{} is in no instance's data directory; --data-dir names the instance",
            path.display()
        )
    }

    /// By `--data-dir`, else `--kubeconfig`, else `$KUBECONFIG`, else in the default data
    /// directory.
    fn kubeconfig(&self) -> PathBuf {
        let from_env = || std::env::var_os("KUBECONFIG").map(PathBuf::from);
        match (&self.data_dir, &self.kubeconfig) {
            (Some(dir), _) => dir.join("kubeconfig"),
            (None, Some(path)) => path.clone(),
            (None, None) => from_env().unwrap_or_else(|| default_data_dir().join("kubeconfig")),
        }
    }

    /// The namespace of the flag, else of the kubeconfig if there is one, else `default`.
    pub(crate) fn stated_namespace(&self) -> String {
        let of_file = || {
            let file = Kubeconfig::read_from(self.kubeconfig()).ok()?;
            let current = file.current_context.as_deref()?;
            let mut contexts = file.contexts.iter();
            let context = contexts.find(|context| context.name == current)?;
            context.context.as_ref()?.namespace.clone()
        };
        let stated = self.namespace.clone().or_else(of_file);
        stated.unwrap_or_else(|| "default".to_owned())
    }

    /// Connects to the instance that the flags and the environment name.
    pub(crate) async fn connect(&self) -> Result<Api> {
        let path = self.kubeconfig();
        std::fs::File::open(&path).with_context(|| {
            format!(
                "cannot read {}: is `rekindle up` running? --data-dir names another",
                path.display()
            )
        })?;
        let unusable = || {
            format!(
                "{} is no usable kubeconfig; --data-dir or --kubeconfig names another",
                path.display()
            )
        };
        let kubeconfig = Kubeconfig::read_from(&path).with_context(unusable)?;
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        let config = config.with_context(unusable)?;
        let namespace = self
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone());
        Ok(Api {
            client: Client::try_from(config)?,
            namespace,
        })
    }
}

/// What the server takes the manager of fields from.
const USER_AGENT: &str = concat!("rekindle/", env!("CARGO_PKG_VERSION"));

impl Api {
    /// Sends a request whose answer is JSON.
    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<Value> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::CONTENT_TYPE, content_type)
            .body(body)?;
        self.client.request(request).await.map_err(plain)
    }

    /// GET of a JSON answer.
    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        self.request(Method::GET, path, "application/json", Vec::new())
            .await
    }

    /// POST of a new object.
    pub(crate) async fn post(&self, path: &str, object: &Value) -> Result<Value> {
        self.request(
            Method::POST,
            path,
            "application/json",
            serde_json::to_vec(object)?,
        )
        .await
    }

    /// GET of one object; `None` when it does not exist.
    pub(crate) async fn find(&self, path: &str) -> Result<Option<Value>> {
        let request = Request::get(path).body(Vec::new())?;
        match self.client.request(request).await {
            Ok(object) => Ok(Some(object)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(plain(error)),
        }
    }

    /// GET of a list as the table the server would print.
    pub(crate) async fn table(&self, path: &str) -> Result<Value> {
        let accept = "application/json;as=Table;g=meta.k8s.io;v=v1,application/json";
        let request = Request::get(path)
            .header(header::ACCEPT, accept)
            .body(Vec::new())?;
        self.client.request(request).await.map_err(plain)
    }

    /// GET of a stream of bytes, for logs and watches.
    pub(crate) async fn stream(
        &self,
        path: &str,
    ) -> Result<impl futures_util::AsyncBufRead + use<>> {
        self.client
            .request_stream(Request::get(path).body(Vec::new())?)
            .await
            .map_err(plain)
    }

    /// Every resource the server lists, preferred versions first.
    async fn resources(&self) -> Result<Vec<(Resource, Vec<String>)>> {
        let mut versions = vec!["/api/v1".to_owned()];
        let groups = self.get("/apis").await?;
        for group in groups["groups"].as_array().into_iter().flatten() {
            let preferred = group["preferredVersion"]["groupVersion"]
                .as_str()
                .unwrap_or_default();
            versions.push(format!("/apis/{preferred}"));
            let all = group["versions"].as_array().into_iter().flatten();
            let all = all.filter_map(|version| version["groupVersion"].as_str());
            versions.extend(
                all.filter(|v| *v != preferred)
                    .map(|v| format!("/apis/{v}")),
            );
        }
        let mut resources = Vec::new();
        for path in versions {
            let list = self.get(&path).await?;
            resources.extend(
                list["resources"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|row| {
                        resource(row, list["groupVersion"].as_str().unwrap_or_default())
                    }),
            );
        }
        Ok(resources)
    }

    /// The resource a person means by `word`: plural, singular, short name or kind, optionally
    /// with `.GROUP` behind it. Knative's kinds win over Kubernetes' own of the same name only
    /// by their short names or when the group is given, as with kubectl.
    pub(crate) async fn named(&self, word: &str) -> Result<Resource> {
        let (name, group) = word.split_once('.').unwrap_or((word, ""));
        let name = name.to_lowercase();
        let resources = self.resources().await?;
        let found = resources.into_iter().find(|(resource, names)| {
            let in_group = group.is_empty() || resource.group_version.starts_with(group);
            in_group && names.contains(&name)
        });
        found.map(|(resource, _)| resource).ok_or_else(|| {
            anyhow!("the server doesn't have a resource type {word:?}; see `kubectl api-resources`")
        })
    }

    /// The resource of an object's `apiVersion` and `kind`.
    pub(crate) async fn of(&self, object: &Value) -> Result<Resource> {
        let (Some(version), Some(kind)) = (object["apiVersion"].as_str(), object["kind"].as_str())
        else {
            bail!("an object needs apiVersion and kind");
        };
        let root = if version.contains('/') {
            "/apis"
        } else {
            "/api"
        };
        let list = self
            .find(&format!("{root}/{version}"))
            .await?
            .unwrap_or_default();
        let rows = list["resources"].as_array().into_iter().flatten();
        let mut resources = rows
            .filter_map(|row| resource(row, version))
            .map(|(row, _)| row);
        resources
            .find(|resource| resource.kind == kind)
            .ok_or_else(|| anyhow!("no matches for kind {kind:?} in version {version:?}"))
    }
}

fn resource(row: &Value, group_version: &str) -> Option<(Resource, Vec<String>)> {
    let plural = row["name"].as_str()?;
    if plural.contains('/') {
        return None;
    }
    let kind = row["kind"].as_str()?;
    let mut names = vec![plural.to_owned(), kind.to_lowercase()];
    names.extend(row["singularName"].as_str().map(str::to_owned));
    let short = row["shortNames"].as_array().into_iter().flatten();
    names.extend(short.filter_map(|name| name.as_str()).map(str::to_owned));
    let resource = Resource {
        group_version: group_version.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        namespaced: row["namespaced"] == Value::Bool(true),
    };
    Some((resource, names))
}

/// The server's own sentence, without the client library's words around it.
fn plain(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) => anyhow!("{}", status.message),
        other => anyhow::Error::new(other)
            .context("the API server cannot be reached: is `rekindle up` running?"),
    }
}
