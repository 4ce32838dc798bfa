//! `rekindle service …`: the `kn` verbs for Knative Services. The flags are in `shape` and
//! `lock`, what is printed in `print`, work on files in `gitops`, export and import in `copy`, the wait for Ready in `waiting`.

mod copy;
mod gitops;
mod lock;
mod print;
mod shape;
mod waiting;

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::super::client::{Api, Verbs};
use super::super::{apply, build, output};
use super::{Listing, Named, Names, Noun, Shown, show};
pub(super) use print::{image, replicas};
use shape::{Spec, shape};
use waiting::Patience;

const SERVICE: Noun = Noun {
    title: "Service",
    kind: "Service",
    group_version: "serving.knative.dev/v1",
    plural: "services",
    columns: &[
        ("NAME", show::name),
        ("URL", |service| show::text(&service["status"]["url"])),
        ("LATEST", |service| {
            show::text(&service["status"]["latestReadyRevisionName"])
        }),
        ("AGE", show::age),
        ("CONDITIONS", show::conditions),
        ("READY", show::is_ready),
        ("REASON", show::reason),
    ],
};

/// A verb, and where.
pub(crate) type Flags = Verbs<Verb>;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Create a Service and wait until it is Ready.
    Create(Box<Targeted<Spec>>),
    /// Change a Service and wait until it is Ready.
    Update(Box<Targeted<Spec>>),
    /// Create a Service, or make the one of its name so, and wait until it is Ready.
    Apply(Box<Targeted<Spec>>),
    /// List Services.
    List(Targeted<Listing>),
    /// Show one Service: URL, revisions, traffic, conditions.
    Describe(Targeted<Shown>),
    /// Print a Service so that it can be created elsewhere.
    Export(copy::Export),
    /// Create what was exported.
    Import(copy::Import),
    /// Wait until a Service is Ready.
    Wait {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        patience: Patience,
    },
    /// Delete Services.
    Delete(Targeted<Names>),
}

/// Flags of a verb that works on files as well.
#[derive(Args, Debug)]
pub(crate) struct Targeted<F: Args> {
    #[command(flatten)]
    flags: F,
    /// Work on a directory, or on a YAML or JSON file, instead of the instance.
    #[arg(long = "target", value_name = "PATH")]
    files: Option<PathBuf>,
}

impl Verb {
    /// The files to work on.
    fn files(&self) -> Option<&PathBuf> {
        match self {
            Self::Create(flags) | Self::Update(flags) | Self::Apply(flags) => flags.files.as_ref(),
            Self::List(flags) => flags.files.as_ref(),
            Self::Describe(flags) => flags.files.as_ref(),
            Self::Delete(flags) => flags.files.as_ref(),
            Self::Export(_) | Self::Import(_) | Self::Wait { .. } => None,
        }
    }
}

pub(crate) async fn run(flags: Flags) -> Result<()> {
    if let Some(root) = flags.verb.files() {
        let files = gitops::Files::new(root.clone(), flags.target.stated_namespace());
        return match &flags.verb {
            Verb::Create(spec) => files.create(&spec.flags),
            Verb::Update(spec) => files.update(&spec.flags),
            Verb::Apply(spec) => files.apply(&spec.flags),
            Verb::List(listing) => files.list(&listing.flags),
            Verb::Describe(shown) => files.describe(&shown.flags),
            Verb::Delete(names) => files.delete(&names.flags),
            Verb::Export(_) | Verb::Import(_) | Verb::Wait { .. } => {
                bail!("this operation is not supported in gitops mode")
            }
        };
    }
    let api = flags.target.connect().await?;
    match flags.verb {
        Verb::Create(spec) => create(&api, &built(&api, spec.flags).await?).await,
        Verb::Update(spec) => update(&api, &built(&api, spec.flags).await?).await,
        Verb::Apply(spec) => put(&api, &built(&api, spec.flags).await?).await,
        Verb::List(listing) => SERVICE.list(&api, &listing.flags).await,
        Verb::Describe(Targeted { flags: shown, .. }) => {
            let Some(service) = SERVICE.shown(&api, &shown).await? else {
                return Ok(());
            };
            let revisions = super::revision::of_service(&api, &shown.named.name).await?;
            output::print(&print::describe(&service, &revisions))
        }
        Verb::Export(flags) => copy::export(&api, &flags).await,
        Verb::Import(flags) => copy::import(&api, &flags).await,
        Verb::Wait { named, patience } => {
            let service = SERVICE.get(&api, &named).await?;
            patience.until_ready(&api, &service).await?;
            let (name, namespace) = (&named.name, &api.namespace);
            output::line(&format!(
                "Service '{name}' is ready in namespace '{namespace}'."
            ))
        }
        Verb::Delete(names) => SERVICE.delete(&api, &names.flags).await,
    }
}

/// Where the Services of a namespace are; of all, where it is empty.
pub(super) fn path(namespace: &str) -> String {
    SERVICE.resource().path(namespace, None)
}

/// Builds the image if there is a source. Each build has a tag of its own: a Revision keeps the
/// image it was made for.
async fn built(api: &Api, mut spec: Spec) -> Result<Spec> {
    if let Some(source) = spec.source.take() {
        let tag = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .context("the clock is before 1970")?
            .as_millis();
        let name = spec.name.as_deref().unwrap_or("service");
        let image = format!("dev.local/{name}:{tag:x}");
        spec.container.image = Some(build::image(api, &build::Order::of(&source, image)).await?);
    }
    Ok(spec)
}

/// The Service the flags ask for: of the file, or a new one.
fn wanted(namespace: &str, spec: &Spec, verb: &str) -> Result<Value> {
    let mut service = match &spec.filename {
        Some(file) => {
            let mut objects = apply::read(std::slice::from_ref(file))?;
            let service = objects.pop().with_context(|| format!("{file} is empty"))?;
            if !objects.is_empty() || service["kind"] != "Service" {
                bail!("{file} must hold one Service and nothing else");
            }
            service
        }
        None if spec.container.image.is_none() => {
            bail!(
                "'service {verb}' requires the image to run: --image IMAGE, --source DIRECTORY to build it, or --filename FILE"
            )
        }
        None => {
            let mut service = SERVICE.object(namespace, "");
            service["spec"] = json!({"template": {"spec": {"containers": [{}]}}});
            service
        }
    };
    if let Some(name) = &spec.name {
        service["metadata"]["name"] = json!(name);
    }
    if service["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .is_empty()
    {
        bail!("'service {verb}' requires the service name given as single argument");
    }
    service["metadata"]["namespace"] = json!(namespace);
    shape(&mut service, spec)?;
    lock::lock(&mut service, &Value::Null, spec);
    Ok(service)
}

/// kn's sentence on what is being done.
fn doing(api: &Api, word: &str, service: &Value) -> String {
    let name = show::name(service);
    format!("{word} service '{name}' in namespace '{}':", api.namespace)
}

async fn create(api: &Api, spec: &Spec) -> Result<()> {
    let service = wanted(&api.namespace, spec, "create")?;
    let path = SERVICE.path(api, Some(&show::name(&service)));
    if spec.force
        && let Some(have) = api.find(&path).await?
    {
        return replace(api, spec, service, &have, "Replacing", "replaced with").await;
    }
    let created = api.post(&SERVICE.path(api, None), &service).await?;
    let doing = doing(api, "Creating", &created);
    spec.waiting
        .settle(api, &created, &doing, "created to")
        .await
}

async fn update(api: &Api, spec: &Spec) -> Result<()> {
    let name = spec.name.clone();
    let name =
        name.context("'service update' requires the service name given as single argument")?;
    let have = api.get(&SERVICE.path(api, Some(&name))).await?;
    let mut service = have.clone();
    // A template that still carries the last revision's own name could not change.
    if let Some(metadata) = service["spec"]["template"]["metadata"].as_object_mut() {
        metadata.remove("name");
    }
    shape(&mut service, spec)?;
    let last = show::text(&have["status"]["latestCreatedRevisionName"]);
    let path = format!("{}/{last}", super::revision::path(api));
    let revision = match last.is_empty() {
        true => None,
        false => api.find(&path).await?,
    };
    lock::lock(&mut service, &revision.unwrap_or_default(), spec);
    replace(api, spec, service, &have, "Updating", "updated to").await
}

/// `apply`: created, changed, or left as it is.
async fn put(api: &Api, spec: &Spec) -> Result<()> {
    let service = wanted(&api.namespace, spec, "apply")?;
    let name = show::name(&service);
    let path = SERVICE.path(api, Some(&name));
    let Some(have) = api.find(&path).await? else {
        let created = api.post(&SERVICE.path(api, None), &service).await?;
        let doing = doing(api, "Creating", &created);
        return spec
            .waiting
            .settle(api, &created, &doing, "created to")
            .await;
    };
    let applied = api
        .request(
            Method::PATCH,
            &format!("{path}?fieldManager=rekindle-service&force=true"),
            "application/apply-patch+yaml",
            serde_json::to_vec(&service)?,
        )
        .await?;
    if applied["metadata"]["generation"] == have["metadata"]["generation"] {
        return output::line(&format!("No changes to apply to service '{name}'."));
    }
    let doing = doing(api, "Applying", &applied);
    spec.waiting
        .settle(api, &applied, &doing, "applied to")
        .await
}

async fn replace(
    api: &Api,
    spec: &Spec,
    mut service: Value,
    have: &Value,
    word: &str,
    done: &str,
) -> Result<()> {
    let path = SERVICE.path(api, Some(&show::name(&service)));
    service["metadata"]["resourceVersion"] = have["metadata"]["resourceVersion"].clone();
    let body = serde_json::to_vec(&service)?;
    let written = api
        .request(Method::PUT, &path, "application/json", body)
        .await?;
    let doing = doing(api, word, &written);
    spec.waiting.settle(api, &written, &doing, done).await
}
