//! `rekindle build PATH|GIT_URL`: source to image by a Build on the instance, its steps shown as they
//! go on; `rekindle build logs NAME` shows them again. `service create --source` calls [`image`].

mod follow;
mod given;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use api::object::ObjectExt;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Api, Resource, Target};
use super::output;
use follow::follow;
use given::Given;

/// The image that stands for the builtin Dockerfile builder.
const BUILDER: &str = "gcr.io/kaniko-project/executor:latest";
/// The registry that is none: its images are in the node's store and nowhere else.
const LOCAL: &str = "dev.local";
/// Where the builder finds the source.
const WORKSPACE: &str = "/workspace";

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Flags {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    order: Order,
    #[command(flatten)]
    target: Target,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Show what the steps of a Build wrote; a Build that runs is followed to its end.
    Logs {
        /// The Build's name.
        name: String,
    },
}

/// What is to be built.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Order {
    /// A directory on the instance's machine, or the URL of a git repository.
    source: Option<String>,
    /// What the image is called. Default: dev.local/ and the source's name.
    #[arg(long, short)]
    image: Option<String>,
    /// The Dockerfile, relative to the source.
    #[arg(long, short, default_value = "Dockerfile")]
    file: String,
    /// A branch, a tag or a commit of the repository. Default: its HEAD.
    #[arg(long)]
    revision: Option<String>,
    /// NAME=VALUE for an ARG of the Dockerfile. May be repeated.
    #[arg(long)]
    build_arg: Vec<String>,
    /// id=ID,src=PATH or id=ID,env=NAME: what the Dockerfile's `RUN --mount=type=secret` asks for. May be
    /// repeated.
    #[arg(long)]
    secret: Vec<String>,
    /// ID or ID=SOCKET: an ssh agent for `RUN --mount=type=ssh`, by default the one at hand. May be
    /// repeated.
    #[arg(long)]
    ssh: Vec<String>,
    /// The platform to build for. Only the machine's own can be had.
    #[arg(long)]
    platform: Option<String>,
    /// The stage to build. Default: the last.
    #[arg(long)]
    target: Option<String>,
    /// Push the image to the registry its name begins with; otherwise it stays on the instance.
    #[arg(long)]
    push: bool,
    /// Whose Secrets are the credentials.
    #[arg(long)]
    service_account: Option<String>,
    /// How long the Build may take.
    #[arg(long, default_value = "10m")]
    timeout: String,
}

impl Order {
    /// The source of a Service, by the flags `service create` has.
    pub(crate) fn of(source: &str, image: String) -> Self {
        Self {
            source: Some(source.to_owned()),
            image: Some(image),
            file: "Dockerfile".to_owned(),
            timeout: "10m".to_owned(),
            ..Self::default()
        }
    }
}

pub(crate) async fn run(flags: Flags) -> Result<()> {
    let api = flags.target.connect().await?;
    match flags.verb {
        Some(Verb::Logs { name }) => follow::logs(&api, &name).await,
        None => {
            let image = image(&api, &flags.order).await?;
            output::line(&format!("Built {image}"))
        }
    }
}

/// Builds; gives the image's name.
///
/// # Errors
/// The source is neither a directory nor a repository, or the Build fails.
pub(crate) async fn image(api: &Api, order: &Order) -> Result<String> {
    let source = order
        .source
        .as_deref()
        .context("what to build is missing: a directory (`rekindle build .`) or a git URL")?;
    let source = Source::parse(source)?;
    source.check(&order.file)?;
    let image = order
        .image
        .clone()
        .unwrap_or_else(|| format!("{LOCAL}/{}", source.name()));
    let given = Given::read(order)?;
    let secret = given.store(api, &source.name()).await?;
    let build = manifest(order, &source, &image, (&given, secret.as_deref()));
    let path = builds().path(&api.namespace, None);
    let created = api.post(&path, &build).await;
    if let Some(secret) = &secret {
        match &created {
            Ok(created) => Given::bind(api, secret, created).await?,
            Err(_) => Given::drop(api, secret).await?,
        }
    }
    let created = created?;
    let name = created.name();
    output::line(&format!("Build {name}: {} to {image}", source.shown()))?;
    let build = follow(api, name).await?;
    let condition = &build["status"]["conditions"][0];
    if condition["status"] != "True" {
        bail!("{}", follow::end(&build));
    }
    Ok(image)
}

/// How Builds are served.
fn builds() -> Resource {
    Resource {
        group_version: "build.knative.dev/v1alpha1".to_owned(),
        kind: "Build".to_owned(),
        plural: "builds".to_owned(),
        namespaced: true,
    }
}

#[derive(Debug, PartialEq)]
enum Source {
    Directory(PathBuf),
    Git(String),
}

impl Source {
    fn parse(text: &str) -> Result<Self> {
        let is_url = text.contains("://") || is_scp(text);
        if is_url {
            return Ok(Self::Git(text.to_owned()));
        }
        let path = std::fs::canonicalize(text)
            .with_context(|| format!("{text}: neither a directory nor the URL of a repository"))?;
        match path.is_dir() {
            true => Ok(Self::Directory(path)),
            false => bail!("{text} is no directory; --file names the Dockerfile in one"),
        }
    }

    /// What is in a directory can be seen before anything is begun.
    fn check(&self, dockerfile: &str) -> Result<()> {
        let Self::Directory(path) = self else {
            return Ok(());
        };
        let file = path.join(dockerfile);
        match file.is_file() {
            true => Ok(()),
            false => bail!(
                "{} is not there: an image is built by a Dockerfile; write one, or run `rekindle build {} --file NAME` if it has another name",
                file.display(),
                path.display()
            ),
        }
    }

    /// The last part, as a name for an image.
    fn name(&self) -> String {
        let text = match self {
            Self::Directory(path) => path.file_name().unwrap_or_default().to_string_lossy(),
            Self::Git(url) => url.trim_end_matches('/').trim_end_matches(".git").into(),
        };
        let last = text.rsplit(['/', ':']).next().unwrap_or_default();
        let plain = |c: char| match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() => c,
            _ => '-',
        };
        let name: String = last.chars().map(plain).collect();
        match name.trim_matches('-') {
            "" => "app".to_owned(),
            name => name.chars().take(40).collect(),
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Directory(path) => path.display().to_string(),
            Self::Git(url) => fetch::shown(url),
        }
    }
}

/// `git@host:path`, unless there is a directory of that name.
fn is_scp(text: &str) -> bool {
    let host = text.split_once(':').map(|(host, _)| host);
    host.is_some_and(|host| !host.contains('/')) && !Path::new(text).exists()
}

fn manifest(
    order: &Order,
    source: &Source,
    image: &str,
    (given, secret): (&Given, Option<&str>),
) -> Value {
    let mut args = vec![
        format!("--dockerfile={}", order.file),
        format!("--context=dir://{WORKSPACE}"),
        format!("--destination={image}"),
    ];
    args.extend((!order.push).then(|| "--no-push".to_owned()));
    args.extend(order.target.iter().map(|stage| format!("--target={stage}")));
    args.extend(
        order
            .build_arg
            .iter()
            .map(|one| format!("--build-arg={one}")),
    );
    let platform = order.platform.iter();
    args.extend(platform.map(|name| format!("--custom-platform={name}")));
    let mut step = json!({"name": "build", "image": BUILDER, "args": args});
    let mut spec = json!({"timeout": order.timeout});
    match source {
        // The builder reads the directory where it is.
        Source::Directory(path) => {
            spec["volumes"] = json!([
                {"name": "source", "hostPath": {"path": path, "type": "Directory"}},
            ]);
            step["volumeMounts"] = json!([
                {"name": "source", "mountPath": WORKSPACE, "readOnly": true},
            ]);
        }
        Source::Git(url) => {
            let revision = order.revision.as_deref().unwrap_or("HEAD");
            spec["source"] = json!({"git": {"url": url, "revision": revision}});
        }
    }
    given.add(secret, &mut spec, &mut step);
    spec["steps"] = json!([step]);
    if let Some(account) = &order.service_account {
        spec["serviceAccountName"] = json!(account);
    }
    json!({
        "apiVersion": "build.knative.dev/v1alpha1",
        "kind": "Build",
        "metadata": {"generateName": format!("{}-", source.name())},
        "spec": spec,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_and_their_names() {
        for (text, name) in [
            ("https://github.com/a/Hello_Python.git", "hello-python"),
            ("git@github.com:a/b.git", "b"),
            ("ssh://git@h/x/", "x"),
        ] {
            let source = Source::parse(text).unwrap();
            assert_eq!(source, Source::Git(text.to_owned()));
            assert_eq!(source.name(), name);
        }
        let here = Source::parse(env!("CARGO_MANIFEST_DIR")).unwrap();
        assert_eq!(here.name(), "rekindle");
        for (text, said) in [("/none", "neither a directory"), (file!(), "neither")] {
            let error = Source::parse(text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn an_order_becomes_a_build() {
        let mut order = Order::of("x", "dev.local/x".to_owned());
        order.build_arg = vec!["A=b".to_owned()];
        let none = Given::default();
        let here = Source::Directory("/src".into());
        let here = manifest(&order, &here, "dev.local/x", (&none, None));
        let step = &here["spec"]["steps"][0];
        let args = [
            "--dockerfile=Dockerfile",
            "--context=dir:///workspace",
            "--destination=dev.local/x",
            "--no-push",
            "--build-arg=A=b",
        ];
        assert_eq!(step["args"], json!(args));
        assert_eq!(step["volumeMounts"][0]["mountPath"], "/workspace");
        assert_eq!(here["spec"]["volumes"][0]["hostPath"]["path"], "/src");
        order.push = true;
        let git = Source::Git("u".to_owned());
        let git = manifest(&order, &git, "r.example/x", (&none, None));
        assert_eq!(
            git["spec"]["source"]["git"],
            json!({"url": "u", "revision": "HEAD"})
        );
        let args = git["spec"]["steps"][0]["args"].as_array().unwrap();
        assert!(!args.contains(&json!("--no-push")));
    }
}
