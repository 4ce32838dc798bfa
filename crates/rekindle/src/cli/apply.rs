//! `rekindle apply -f FILE`: server-side apply of every object in the files.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use api::object::ObjectExt;
use clap::Args;
use http::Method;
use serde_json::Value;

use super::client::{Api, Target};
use super::output;

#[derive(Args, Debug)]
pub(crate) struct Flags {
    /// A YAML or JSON file; `-` reads standard input. May be repeated.
    #[arg(long, short, required = true)]
    filename: Vec<String>,
    /// Take fields over that another manager owns.
    #[arg(long)]
    force_conflicts: bool,
    /// Have the server check everything and change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    target: Target,
}

pub(crate) async fn run(flags: Flags) -> Result<()> {
    let objects = read(&flags.filename)?;
    let api = flags.target.connect().await?;
    let mut failed = 0;
    for object in &objects {
        if let Err(error) = apply(&api, object, &flags).await {
            failed += 1;
            let name = format!("{}/{}", object.kind().to_lowercase(), object.name());
            super::complain(&format!("{name}: {error:#}"));
        }
    }
    if failed > 0 {
        bail!("{failed} of {} objects were not applied", objects.len());
    }
    Ok(())
}

/// All objects of all files, `List` kinds taken apart.
pub(crate) fn read(files: &[String]) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    for file in files {
        let mut text = String::new();
        if file == "-" {
            std::io::stdin()
                .read_to_string(&mut text)
                .context("read standard input")?;
        } else {
            text =
                std::fs::read_to_string(Path::new(file)).with_context(|| format!("read {file}"))?;
        }
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
            .with_context(|| format!("{file} is not valid YAML"))?;
        for document in documents {
            match document["items"].as_array() {
                Some(items) if document.kind().ends_with("List") => objects.extend(items.clone()),
                _ if document.is_null() => {}
                _ => objects.push(document),
            }
        }
    }
    Ok(objects)
}

/// Fields of another manager: the server's words, and what helps.
fn with_remedy(error: anyhow::Error) -> anyhow::Error {
    match error.to_string().starts_with("Apply failed with") {
        true => anyhow!("{error:#}; --force-conflicts takes the fields over"),
        false => error,
    }
}

async fn apply(api: &Api, object: &Value, flags: &Flags) -> Result<()> {
    let resource = api.of(object).await?;
    let namespace = match object.namespace() {
        "" => api.namespace.as_str(),
        namespace => namespace,
    };
    if object.name().is_empty() {
        bail!("metadata.name is missing; `generateName` works with create, not with apply");
    }
    let path = resource.path(namespace, Some(object.name()));
    let before = api.find(&path).await?;
    let force = flags.force_conflicts;
    let dry_run = if flags.dry_run { "&dryRun=All" } else { "" };
    let query = format!("?fieldManager=rekindle&fieldValidation=Strict&force={force}{dry_run}");
    let body = serde_json::to_vec(object)?;
    let after = api
        .request(
            Method::PATCH,
            &format!("{path}{query}"),
            "application/apply-patch+yaml",
            body,
        )
        .await
        .map_err(with_remedy)?;
    let done = match before {
        None => "created",
        Some(before) if before.resource_version() == after.resource_version() => "unchanged",
        Some(_) => "configured",
    };
    let note = if flags.dry_run {
        " (server dry run)"
    } else {
        ""
    };
    output::line(&format!("{} {done}{note}", resource.display(object.name())))
}
