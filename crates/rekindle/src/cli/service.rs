//! `rekindle service …`: the `kn` verbs for Knative Services.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};

use super::build;
use super::client::{Api, Resource, Target};
use super::get::ready;
use super::output;

/// How long `create` and `update` wait for Ready unless told otherwise, in seconds; as in kn.
const WAIT_SECONDS: u64 = 600;

#[derive(Args, Debug)]
pub(crate) struct Flags {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    target: Target,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Create a Service and wait until it is Ready.
    Create(Spec),
    /// Change a Service and wait until it is Ready.
    Update(Spec),
    /// List Services.
    List,
    /// Show one Service: URL, revisions, traffic, conditions.
    Describe {
        /// The Service's name.
        name: String,
    },
    /// Delete Services.
    Delete {
        /// Their names.
        #[arg(required = true)]
        names: Vec<String>,
    },
}

/// The flags of kn that shape a Service.
#[derive(Args, Debug)]
struct Spec {
    /// The Service's name.
    name: String,
    /// The image to run.
    #[arg(long)]
    image: Option<String>,
    /// A directory or a git URL with a Dockerfile: build the image from it first.
    #[arg(long, conflicts_with = "image")]
    source: Option<String>,
    /// NAME=VALUE in the environment; NAME- takes one away. May be repeated.
    #[arg(long, short)]
    env: Vec<String>,
    /// The container's port, or PROTOCOL:PORT (`h2c:8080`).
    #[arg(long, short)]
    port: Option<String>,
    /// KEY=VALUE on the revision template; KEY- takes one away. May be repeated.
    #[arg(long, short)]
    annotation: Vec<String>,
    /// Fewest Pods.
    #[arg(long)]
    scale_min: Option<u32>,
    /// Most Pods.
    #[arg(long)]
    scale_max: Option<u32>,
    /// Requests one Pod may serve at once.
    #[arg(long)]
    concurrency_limit: Option<u32>,
    /// REVISION=PERCENT; `@latest` is the newest ready one. May be repeated.
    #[arg(long)]
    traffic: Vec<String>,
    /// REVISION=TAG. May be repeated.
    #[arg(long)]
    tag: Vec<String>,
    /// Do not wait until it is Ready.
    #[arg(long)]
    no_wait: bool,
    /// How many seconds to wait.
    #[arg(long, default_value_t = WAIT_SECONDS)]
    wait_timeout: u64,
}

pub(crate) async fn run(flags: Flags) -> Result<()> {
    let api = flags.target.connect().await?;
    let resource = Resource {
        group_version: "serving.knative.dev/v1".to_owned(),
        kind: "Service".to_owned(),
        plural: "services".to_owned(),
        namespaced: true,
    };
    match flags.verb {
        Verb::Create(spec) => create(&api, &resource, &built(&api, spec).await?).await,
        Verb::Update(spec) => update(&api, &resource, &built(&api, spec).await?).await,
        Verb::List => {
            let table = api.table(&resource.path(&api.namespace, None)).await?;
            output::print(&output::columns(&output::table(&table, false, false)))
        }
        Verb::Describe { name } => {
            let path = resource.path(&api.namespace, Some(&name));
            output::print(&describe(&api.get(&path).await?))
        }
        Verb::Delete { names } => {
            for name in names {
                let path = resource.path(&api.namespace, Some(&name));
                api.request(Method::DELETE, &path, "application/json", Vec::new())
                    .await?;
                let namespace = &api.namespace;
                output::line(&format!(
                    "Service '{name}' successfully deleted in namespace '{namespace}'."
                ))?;
            }
            Ok(())
        }
    }
}

/// Builds the image if there is a source. Each build has a tag of its own: a Revision keeps the
/// image it was made for.
async fn built(api: &Api, mut spec: Spec) -> Result<Spec> {
    if let Some(source) = spec.source.take() {
        let tag = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .context("the clock is before 1970")?
            .as_millis();
        let image = format!("dev.local/{}:{tag:x}", spec.name);
        spec.image = Some(build::image(api, &build::Order::of(&source, image)).await?);
    }
    Ok(spec)
}

async fn create(api: &Api, resource: &Resource, spec: &Spec) -> Result<()> {
    if spec.image.is_none() {
        bail!(
            "'service create' requires the image to run: --image IMAGE, or --source DIRECTORY to build it"
        );
    }
    let mut service = json!({
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": spec.name, "namespace": api.namespace},
        "spec": {"template": {"spec": {"containers": [{}]}}},
    });
    shape(&mut service, spec)?;
    let path = resource.path(&api.namespace, None);
    let body = serde_json::to_vec(&service)?;
    let created = api
        .request(Method::POST, &path, "application/json", body)
        .await?;
    let doing = format!(
        "Creating service '{}' in namespace '{}':",
        spec.name, api.namespace
    );
    settle(api, resource, spec, &created, &doing).await
}

async fn update(api: &Api, resource: &Resource, spec: &Spec) -> Result<()> {
    let path = resource.path(&api.namespace, Some(&spec.name));
    let mut service = api.get(&path).await?;
    // A template that still carries the last revision's own name could not change.
    if let Some(metadata) = service["spec"]["template"]["metadata"].as_object_mut() {
        metadata.remove("name");
    }
    shape(&mut service, spec)?;
    let body = serde_json::to_vec(&service)?;
    let updated = api
        .request(Method::PUT, &path, "application/json", body)
        .await?;
    let doing = format!(
        "Updating Service '{}' in namespace '{}':",
        spec.name, api.namespace
    );
    settle(api, resource, spec, &updated, &doing).await
}

/// Waits until the generation just written is Ready, and says what is happening meanwhile.
async fn settle(
    api: &Api,
    resource: &Resource,
    spec: &Spec,
    written: &Value,
    doing: &str,
) -> Result<()> {
    if spec.no_wait {
        return output::line(&format!("{doing} not waiting for it to be ready"));
    }
    output::line(&format!("{doing}\n"))?;
    let start = Instant::now();
    let path = resource.path(&api.namespace, Some(&spec.name));
    let mut last = String::new();
    loop {
        let service = api.get(&path).await?;
        let seen = service["status"]["observedGeneration"].as_i64();
        if seen >= written["metadata"]["generation"].as_i64() {
            let (status, message) = ready(&service);
            if message != last && !message.is_empty() {
                output::line(&format!("{:7.3}s {message}", start.elapsed().as_secs_f64()))?;
                last = message.clone();
            }
            match status.as_str() {
                "True" => {
                    output::line(&format!(
                        "{:7.3}s Ready to serve.\n",
                        start.elapsed().as_secs_f64()
                    ))?;
                    let latest = service["status"]["latestReadyRevisionName"].as_str();
                    let url = service["status"]["url"].as_str().unwrap_or_default();
                    return output::line(&format!(
                        "Service '{}' is ready at revision '{}' with URL:\n{url}",
                        spec.name,
                        latest.unwrap_or_default(),
                    ));
                }
                "False" => bail!("{message}"),
                _ => {}
            }
        }
        if start.elapsed() > Duration::from_secs(spec.wait_timeout) {
            bail!(
                "Service '{}' is not ready after {} seconds: {last}",
                spec.name,
                spec.wait_timeout
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Writes the flags into the object.
fn shape(service: &mut Value, spec: &Spec) -> Result<()> {
    let template = &mut service["spec"]["template"];
    let mut annotations: Vec<String> = spec.annotation.clone();
    let mut scale = |key: &str, value: Option<u32>| {
        annotations.extend(value.map(|value| format!("autoscaling.knative.dev/{key}={value}")));
    };
    scale("min-scale", spec.scale_min);
    scale("max-scale", spec.scale_max);
    for word in &annotations {
        let map = object(&mut template["metadata"]["annotations"]);
        match split(word)? {
            (key, Some(value)) => drop(map.insert(key.to_owned(), json!(value))),
            (key, None) => drop(map.remove(key)),
        }
    }
    if let Some(limit) = spec.concurrency_limit {
        template["spec"]["containerConcurrency"] = json!(limit);
    }
    let container = &mut template["spec"]["containers"][0];
    if let Some(image) = &spec.image {
        container["image"] = json!(image);
    }
    if let Some(port) = &spec.port {
        let (name, number) = port.split_once(':').unwrap_or(("", port));
        let number: u16 = number.parse().with_context(|| format!("--port {port}"))?;
        container["ports"] = json!([{"name": name, "containerPort": number}]);
    }
    for word in &spec.env {
        set_env(container, split(word)?);
    }
    if !spec.traffic.is_empty() || !spec.tag.is_empty() {
        service["spec"]["traffic"] = traffic(&service["spec"]["traffic"], spec)?;
    }
    Ok(())
}

/// `KEY=VALUE`, or `KEY-` for taking away.
fn split(word: &str) -> Result<(&str, Option<&str>)> {
    match (word.split_once('='), word.strip_suffix('-')) {
        (Some((key, value)), _) => Ok((key, Some(value))),
        (None, Some(key)) => Ok((key, None)),
        (None, None) => bail!("{word:?} is neither NAME=VALUE nor NAME-"),
    }
}

fn object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("made an object above")
}

fn set_env(container: &mut Value, (name, value): (&str, Option<&str>)) {
    let mut env = container["env"].as_array().cloned().unwrap_or_default();
    env.retain(|entry| entry["name"] != name);
    env.extend(value.map(|value| json!({"name": name, "value": value})));
    container["env"] = Value::Array(env);
}

fn traffic(current: &Value, spec: &Spec) -> Result<Value> {
    let mut targets: Vec<Value> = current.as_array().cloned().unwrap_or_default();
    let same = |target: &Value, revision: &str| match revision {
        "@latest" => target["latestRevision"] == true,
        name => target["revisionName"] == name,
    };
    let of = |revision: &str| match revision {
        "@latest" => json!({"latestRevision": true}),
        name => json!({"revisionName": name, "latestRevision": false}),
    };
    if !spec.traffic.is_empty() {
        targets
            .iter_mut()
            .for_each(|target| target["percent"] = json!(0));
    }
    let mut set = |word: &str, key: &str, value: Value| {
        let at = targets.iter().position(|target| same(target, word));
        let at = at.unwrap_or_else(|| {
            targets.push(of(word));
            targets.len() - 1
        });
        targets[at][key] = value;
    };
    for word in &spec.traffic {
        let (revision, percent) = word
            .split_once('=')
            .with_context(|| format!("--traffic {word}: REVISION=PERCENT"))?;
        let percent: u8 = percent
            .parse()
            .with_context(|| format!("--traffic {word}"))?;
        set(revision, "percent", json!(percent));
    }
    for word in &spec.tag {
        let (revision, tag) = word
            .split_once('=')
            .with_context(|| format!("--tag {word}: REVISION=TAG"))?;
        set(revision, "tag", json!(tag));
    }
    targets.retain(|target| target["percent"] != 0 || target["tag"].is_string());
    Ok(Value::Array(targets))
}

fn describe(service: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut rows = vec![
        vec!["Name:".to_owned(), text(&service["metadata"]["name"])],
        vec![
            "Namespace:".to_owned(),
            text(&service["metadata"]["namespace"]),
        ],
        vec!["URL:".to_owned(), text(&service["status"]["url"])],
        vec![
            "Address:".to_owned(),
            text(&service["status"]["address"]["url"]),
        ],
    ];
    rows.push(vec![String::new()]);
    rows.push(vec!["Revisions:".to_owned()]);
    for target in service["status"]["traffic"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let percent = target["percent"].as_i64().unwrap_or(0);
        let tag = target["tag"]
            .as_str()
            .map(|tag| format!("#{tag}"))
            .unwrap_or_default();
        let latest = if target["latestRevision"] == true {
            "@latest"
        } else {
            ""
        };
        rows.push(vec![
            format!("  {percent}%"),
            format!("{latest} {}", text(&target["revisionName"]))
                .trim()
                .to_owned(),
            tag,
        ]);
    }
    rows.push(vec![String::new()]);
    rows.push(
        ["Conditions:", "STATUS", "REASON", "MESSAGE"]
            .map(str::to_owned)
            .to_vec(),
    );
    for condition in service["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let cell = |key: &str| text(&condition[key]);
        rows.push(vec![
            format!("  {}", cell("type")),
            cell("status"),
            cell("reason"),
            cell("message"),
        ]);
    }
    output::columns(&rows)
}
