//! `rekindle revision`.

use anyhow::{Result, bail};
use clap::Subcommand;
use serde_json::Value;

use super::super::client::{Api, Verbs};
use super::super::output;
use super::service::{image, replicas};
use super::{Named, Names, Noun, show};

const SERVICE: &str = "serving.knative.dev/service";
const GENERATION: &str = "serving.knative.dev/configurationGeneration";

const REVISION: Noun = Noun {
    title: "Revision",
    kind: "Revision",
    group_version: "serving.knative.dev/v1",
    plural: "revisions",
    columns: &[
        ("NAME", show::name),
        ("SERVICE", |revision| label(revision, SERVICE)),
        ("TRAFFIC", |revision| show::text(&revision["traffic"])),
        ("TAGS", |revision| show::text(&revision["tags"])),
        ("GENERATION", |revision| label(revision, GENERATION)),
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
    /// List Revisions, those of a Service together, the newest first.
    List {
        /// Of one Service.
        #[arg(long, short)]
        service: Option<String>,
    },
    /// Show one Revision.
    Describe(Named),
    /// Delete Revisions.
    Delete {
        /// Their names.
        names: Vec<String>,
        /// All of a Service that have no traffic and no tag.
        #[arg(long)]
        prune: Option<String>,
    },
}

pub(crate) async fn run(flags: Flags) -> Result<()> {
    let api = flags.target.connect().await?;
    match flags.verb {
        Verb::List { service } => {
            let mut revisions = all(&api).await?;
            if let Some(service) = &service {
                revisions.retain(|revision| label(revision, SERVICE) == *service);
            }
            REVISION.show(&revisions)
        }
        Verb::Describe(named) => {
            let revision = REVISION.get(&api, &named).await?;
            output::print(&describe(&revision))
        }
        Verb::Delete { names, prune } => {
            let names = match prune {
                Some(service) => unused(&api, &service).await?,
                None if names.is_empty() => bail!("name a revision, or --prune SERVICE"),
                None => names,
            };
            REVISION.delete(&api, &Names { names }).await
        }
    }
}

fn label(revision: &Value, key: &str) -> String {
    show::text(&revision["metadata"]["labels"][key])
}

/// The generation of the Configuration it was made of.
pub(super) fn generation(revision: &Value) -> i64 {
    label(revision, GENERATION).parse().unwrap_or(0)
}

/// Where the Revisions of the namespace are.
pub(super) fn path(api: &Api) -> String {
    REVISION.path(api, None)
}

/// The Revisions of a Service, the newest first.
pub(super) async fn of_service(api: &Api, service: &str) -> Result<Vec<Value>> {
    let mut revisions = all(api).await?;
    revisions.retain(|revision| label(revision, SERVICE) == service);
    Ok(revisions)
}

/// All Revisions, each with its share and tags by the Services' status.
async fn all(api: &Api) -> Result<Vec<Value>> {
    let items = |list: Value| list["items"].as_array().cloned().unwrap_or_default();
    let mut revisions = items(api.get(&REVISION.path(api, None)).await?);
    let services = items(api.get(&super::service::path(api)).await?);
    let targets: Vec<&Value> = services
        .iter()
        .filter_map(|service| service["status"]["traffic"].as_array())
        .flatten()
        .collect();
    for revision in &mut revisions {
        mark(revision, &targets);
    }
    revisions.sort_by_key(|revision| {
        let service = label(revision, SERVICE);
        (service, std::cmp::Reverse(generation(revision)))
    });
    Ok(revisions)
}

/// Notes share and tags, for the list.
fn mark(revision: &mut Value, targets: &[&Value]) {
    let own = targets
        .iter()
        .filter(|target| target["revisionName"] == revision["metadata"]["name"]);
    let (mut percent, mut tags) = (0, Vec::new());
    for target in own {
        percent += target["percent"].as_i64().unwrap_or(0);
        tags.extend(target["tag"].as_str());
    }
    let tags = tags.join(",");
    if percent > 0 {
        revision["traffic"] = format!("{percent}%").into();
    }
    revision["tags"] = tags.into();
}

/// The names of a Service's Revisions without traffic and tag, but for the newest.
async fn unused(api: &Api, service: &str) -> Result<Vec<String>> {
    let revisions = of_service(api, service).await?;
    let idle = revisions.iter().skip(1).filter(|revision| {
        show::text(&revision["traffic"]).is_empty() && show::text(&revision["tags"]).is_empty()
    });
    let names: Vec<String> = idle.map(show::name).collect();
    if names.is_empty() {
        bail!("service '{service}' has no revision without traffic and tag");
    }
    Ok(names)
}

fn describe(revision: &Value) -> String {
    let mut rows = show::head(revision);
    rows.push(show::row("Image:", image(revision)));
    rows.push(show::row("Replicas:", replicas(revision)));
    let container = &revision["spec"]["containers"][0];
    let env = container["env"].as_array().into_iter().flatten();
    let env = env.map(|entry| {
        format!(
            "{}={}",
            show::text(&entry["name"]),
            show::text(&entry["value"])
        )
    });
    let env: Vec<String> = env.collect();
    if !env.is_empty() {
        rows.push(show::row("Env:", env.join(", ")));
    }
    if let Some(limit) = revision["spec"]["containerConcurrency"]
        .as_i64()
        .filter(|limit| *limit > 0)
    {
        rows.push(show::row("Concurrency:", limit.to_string()));
    }
    rows.push(show::row("Service:", label(revision, SERVICE)));
    show::page(&rows, revision)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn shares_and_tags_add_up() {
        let mut revision = json!({"metadata": {"name": "a"}});
        let targets = json!([
            {"revisionName": "a", "percent": 20, "tag": "old"},
            {"revisionName": "a", "percent": 5},
            {"revisionName": "b", "percent": 75},
        ]);
        let targets: Vec<&Value> = targets.as_array().unwrap().iter().collect();
        mark(&mut revision, &targets);
        assert_eq!(revision["traffic"], "25%");
        assert_eq!(revision["tags"], "old");
    }
}
