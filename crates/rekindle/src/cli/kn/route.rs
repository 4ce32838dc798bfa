//! `rekindle route`.

use anyhow::Result;
use clap::Subcommand;

use super::super::client::Verbs;
use super::super::output;
use super::{Listing, Noun, Shown, show};

const ROUTE: Noun = Noun {
    title: "Route",
    kind: "Route",
    group_version: "serving.knative.dev/v1",
    plural: "routes",
    columns: &[
        ("NAME", show::name),
        ("URL", |route| show::text(&route["status"]["url"])),
        ("READY", show::is_ready),
    ],
};

/// A verb, and where.
pub(crate) type Flags = Verbs<Verb>;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// List Routes.
    List(Listing),
    /// Show one Route.
    Describe(Shown),
}

pub(crate) async fn run(flags: Flags) -> Result<()> {
    let api = flags.target.connect().await?;
    let shown = match flags.verb {
        Verb::List(listing) => return ROUTE.list(&api, &listing).await,
        Verb::Describe(shown) => shown,
    };
    let Some(route) = ROUTE.shown(&api, &shown).await? else {
        return Ok(());
    };
    let mut rows = show::head(&route);
    rows.push(show::row("URL:", show::text(&route["status"]["url"])));
    rows.push(vec![String::new()]);
    rows.push(vec!["Traffic Targets:".to_owned()]);
    let targets = route["status"]["traffic"].as_array().into_iter().flatten();
    for target in targets {
        let percent = target["percent"].as_i64().unwrap_or(0);
        let name = show::text(&target["revisionName"]);
        let mut title = match target["latestRevision"] == true {
            true => format!("@latest ({name})"),
            false => name,
        };
        if let Some(tag) = target["tag"].as_str() {
            title = format!("{title} #{tag}");
        }
        rows.push(show::row(&format!("  {percent}%"), title));
    }
    output::print(&show::page(&rows, &route))
}
