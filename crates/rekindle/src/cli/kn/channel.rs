//! `rekindle channel`.

use anyhow::{Context, Result};
use clap::Subcommand;
use serde_json::json;

use super::super::client::Verbs;
use super::super::output;
use super::{Listing, Names, Noun, Shown, show};

const CHANNEL: Noun = Noun {
    title: "Channel",
    kind: "Channel",
    group_version: "messaging.knative.dev/v1",
    plural: "channels",
    columns: &[
        ("NAME", show::name),
        ("TYPE", |channel| {
            show::text(&channel["spec"]["channelTemplate"]["kind"])
        }),
        ("URL", show::url),
        ("AGE", show::age),
        ("READY", show::is_ready),
        ("REASON", show::reason),
    ],
};

/// A verb, and where.
pub(crate) type Flags = Verbs<Verb>;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Create a Channel.
    Create {
        /// Its name.
        name: String,
        /// GROUP:VERSION:KIND of what is behind it. Default: what default-ch-webhook says.
        #[arg(long)]
        r#type: Option<String>,
    },
    /// List Channels.
    List(Listing),
    /// Show one Channel.
    Describe(Shown),
    /// Delete Channels.
    Delete(Names),
}

pub(crate) async fn run(flags: Flags) -> Result<()> {
    let api = flags.target.connect().await?;
    match flags.verb {
        Verb::Create { name, r#type } => {
            let mut channel = CHANNEL.object(&api.namespace, &name);
            if let Some(kind) = r#type {
                let mut parts = kind.splitn(3, ':');
                let mut part = || parts.next().context("--type: GROUP:VERSION:KIND");
                let (group, version, kind) = (part()?, part()?, part()?);
                channel["spec"]["channelTemplate"] =
                    json!({"apiVersion": format!("{group}/{version}"), "kind": kind});
            }
            CHANNEL.create(&api, &channel).await
        }
        Verb::List(listing) => CHANNEL.list(&api, &listing).await,
        Verb::Describe(shown) => {
            let Some(channel) = CHANNEL.shown(&api, &shown).await? else {
                return Ok(());
            };
            let template = &channel["spec"]["channelTemplate"];
            let kind = format!(
                "{} ({})",
                show::text(&template["kind"]),
                show::text(&template["apiVersion"])
            );
            let mut rows = show::head(&channel);
            rows.push(show::row("Type:", kind));
            rows.push(show::row("URL:", show::url(&channel)));
            output::print(&show::page(&rows, &channel))
        }
        Verb::Delete(names) => CHANNEL.delete(&api, &names).await,
    }
}
