//! `rekindle revision`.

use anyhow::{Result, bail};
use clap::Subcommand;
use serde_json::Value;

use super::super::client::{Api, Verbs};
use super::super::output;
use super::service::{image, replicas};
use super::{Listing, Names, Noun, Shown, show};

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
        #[command(flatten)]
        listing: Listing,
    },
    /// Show one Revision.
    Describe(Shown),
    /// Delete Revisions.
    Delete {
        /// Their names.
        names: Vec<String>,
        /// All of a Service that have no traffic and no tag.
        #[arg(long)]
        prune: Option<String>,
        /// All that have no traffic and no tag.
        #[arg(long)]
        prune_all: bool,
    },
}

pub(crate) async fn run(flags: Flags) -> Result<()> {
    let api = flags.target.connect().await?;
    match flags.verb {
        Verb::List { service, listing } => list(&api, service.as_deref(), &listing).await,
        Verb::Describe(shown) => {
            let Some(revision) = REVISION.shown(&api, &shown).await? else {
                return Ok(());
            };
            output::print(&describe(&revision))
        }
        Verb::Delete {
            names,
            prune,
            prune_all,
        } => {
            let names = match prune {
                Some(service) => unused(&api, Some(&service)).await?,
                None if prune_all => unused(&api, None).await?,
                None if names.is_empty() => {
                    bail!("name a revision, or --prune SERVICE, or --prune-all")
                }
                None => names,
            };
            REVISION.delete(&api, &Names::of(names)).await
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

/// The Revisions that are meant, as the user wants them.
async fn list(api: &Api, service: Option<&str>, listing: &Listing) -> Result<()> {
    let is_of = |revision: &Value| service.is_none_or(|one| label(revision, SERVICE) == one);
    let mut list = REVISION.listed(api, listing).await?;
    if let Some(items) = list["items"].as_array_mut() {
        items.retain(is_of);
    }
    if listing.format.print(&list)? {
        return Ok(());
    }
    let namespace = match listing.all_namespaces {
        true => "",
        false => &api.namespace,
    };
    let mut revisions = list["items"].as_array().cloned().unwrap_or_default();
    complete(api, namespace, &mut revisions).await?;
    REVISION.show(&revisions, listing)
}

/// The Revisions of a Service, the newest first.
pub(super) async fn of_service(api: &Api, service: &str) -> Result<Vec<Value>> {
    let mut revisions = all(api).await?;
    revisions.retain(|revision| label(revision, SERVICE) == service);
    Ok(revisions)
}

/// All Revisions of the namespace, see [`complete`].
async fn all(api: &Api) -> Result<Vec<Value>> {
    let list = api.get(&REVISION.path(api, None)).await?;
    let mut revisions = list["items"].as_array().cloned().unwrap_or_default();
    complete(api, &api.namespace, &mut revisions).await?;
    Ok(revisions)
}

/// Notes the share and the tags of each Revision, by the status of the namespace's Services (of all,
/// where it is empty), and puts them in the order of lists.
async fn complete(api: &Api, namespace: &str, revisions: &mut [Value]) -> Result<()> {
    let services = api.get(&super::service::path(namespace)).await?;
    let services = services["items"].as_array().map_or(&[][..], Vec::as_slice);
    for revision in revisions.iter_mut() {
        let namespace = show::namespace(revision);
        let targets: Vec<&Value> = services
            .iter()
            .filter(|service| show::namespace(service) == namespace)
            .filter_map(|service| service["status"]["traffic"].as_array())
            .flatten()
            .collect();
        mark(revision, &targets);
    }
    revisions.sort_by_key(|revision| {
        let place = (show::namespace(revision), label(revision, SERVICE));
        (place, std::cmp::Reverse(generation(revision)))
    });
    Ok(())
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

/// The names of Revisions without traffic and tag, but for each Service's newest: of one Service, or
/// of all.
async fn unused(api: &Api, service: Option<&str>) -> Result<Vec<String>> {
    let revisions = match service {
        Some(service) => of_service(api, service).await?,
        None => all(api).await?,
    };
    let is_newest = |at: usize| {
        let service = |at: usize| label(&revisions[at], SERVICE);
        at == 0 || service(at) != service(at - 1)
    };
    let is_idle = |revision: &Value| {
        show::text(&revision["traffic"]).is_empty() && show::text(&revision["tags"]).is_empty()
    };
    let idle = revisions.iter().enumerate();
    let idle = idle.filter(|(at, revision)| !is_newest(*at) && is_idle(revision));
    let names: Vec<String> = idle.map(|(_, revision)| show::name(revision)).collect();
    match (names.is_empty(), service) {
        (false, _) => Ok(names),
        (true, Some(service)) => {
            bail!("service '{service}' has no revision without traffic and tag")
        }
        (true, None) => bail!("no revision is without traffic and tag"),
    }
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
