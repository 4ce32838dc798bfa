//! `rekindle broker`.

use anyhow::Result;
use clap::Subcommand;
use serde_json::json;

use super::super::client::Verbs;
use super::super::output;
use super::{Listing, Names, Noun, Shown, show};

const BROKER: Noun = Noun {
    title: "Broker",
    kind: "Broker",
    group_version: "eventing.knative.dev/v1",
    plural: "brokers",
    columns: &[
        ("NAME", show::name),
        ("URL", show::url),
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
    /// Create a Broker.
    Create {
        /// Its name.
        name: String,
        /// Its class. Default: what config-br-defaults says.
        #[arg(long)]
        class: Option<String>,
    },
    /// List Brokers.
    List(Listing),
    /// Show one Broker.
    Describe(Shown),
    /// Delete Brokers.
    Delete(Names),
}

pub(crate) async fn run(flags: Flags) -> Result<()> {
    let api = flags.target.connect().await?;
    match flags.verb {
        Verb::Create { name, class } => {
            let mut broker = BROKER.object(&api.namespace, &name);
            if let Some(class) = class {
                broker["metadata"]["annotations"] =
                    json!({"eventing.knative.dev/broker.class": class});
            }
            BROKER.create(&api, &broker).await
        }
        Verb::List(listing) => BROKER.list(&api, &listing).await,
        Verb::Describe(shown) => {
            let Some(broker) = BROKER.shown(&api, &shown).await? else {
                return Ok(());
            };
            let mut rows = show::head(&broker);
            rows.extend([vec![String::new()], vec!["Address:".to_owned()]]);
            rows.push(show::row("  URL:", show::url(&broker)));
            output::print(&show::page(&rows, &broker))
        }
        Verb::Delete(names) => BROKER.delete(&api, &names).await,
    }
}
