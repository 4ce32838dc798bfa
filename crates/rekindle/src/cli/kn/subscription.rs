//! `rekindle subscription`.

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::super::client::Verbs;
use super::super::output;
use super::{Listing, Named, Names, Noun, Shown, show, sink};

const SUBSCRIPTION: Noun = Noun {
    title: "Subscription",
    kind: "Subscription",
    group_version: "messaging.knative.dev/v1",
    plural: "subscriptions",
    columns: &[
        ("NAME", show::name),
        ("CHANNEL", |subscription| {
            let channel = &subscription["spec"]["channel"];
            format!(
                "{}:{}",
                show::text(&channel["kind"]),
                show::text(&channel["name"])
            )
        }),
        ("SUBSCRIBER", |subscription| {
            show::sink(&subscription["spec"]["subscriber"])
        }),
        ("REPLY", |subscription| {
            show::sink(&subscription["spec"]["reply"])
        }),
        ("DEAD LETTER SINK", |subscription| {
            show::sink(&subscription["spec"]["delivery"]["deadLetterSink"])
        }),
        ("READY", show::is_ready),
        ("REASON", show::reason),
    ],
};

/// A verb, and where.
pub(crate) type Flags = Verbs<Verb>;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Create a Subscription.
    Create(Spec),
    /// Change a Subscription's sinks.
    Update(Spec),
    /// List Subscriptions.
    List(Listing),
    /// Show one Subscription.
    Describe(Shown),
    /// Delete Subscriptions.
    Delete(Names),
}

#[derive(Args, Debug)]
pub(crate) struct Spec {
    /// Its name.
    name: String,
    /// The channel: NAME, or GROUP:VERSION:KIND:NAME.
    #[arg(long)]
    channel: Option<String>,
    /// Who gets the events.
    #[arg(long, short)]
    sink: Option<String>,
    /// Who gets the answers.
    #[arg(long)]
    sink_reply: Option<String>,
    /// Who gets what could not be delivered.
    #[arg(long)]
    sink_dead_letter: Option<String>,
}

pub(crate) async fn run(flags: Flags) -> Result<()> {
    let api = flags.target.connect().await?;
    match flags.verb {
        Verb::Create(spec) => {
            let Some(channel) = &spec.channel else {
                bail!("'subscription create' requires the channel: --channel CHANNEL");
            };
            let mut subscription = SUBSCRIPTION.object(&api.namespace, &spec.name);
            subscription["spec"]["channel"] = reference(channel)?;
            shape(&mut subscription, &spec, &api.namespace)?;
            SUBSCRIPTION.create(&api, &subscription).await
        }
        Verb::Update(spec) => {
            let named = Named {
                name: spec.name.clone(),
            };
            let mut subscription = SUBSCRIPTION.get(&api, &named).await?;
            shape(&mut subscription, &spec, &api.namespace)?;
            SUBSCRIPTION.update(&api, &subscription).await
        }
        Verb::List(listing) => SUBSCRIPTION.list(&api, &listing).await,
        Verb::Describe(shown) => {
            let Some(subscription) = SUBSCRIPTION.shown(&api, &shown).await? else {
                return Ok(());
            };
            let spec = &subscription["spec"];
            let channel = &spec["channel"];
            let channel = format!(
                "{}:{} ({})",
                show::text(&channel["kind"]),
                show::text(&channel["name"]),
                show::text(&channel["apiVersion"])
            );
            let mut rows = show::head(&subscription);
            rows.push(show::row("Channel:", channel));
            rows.extend(show::destination("Subscriber:", &spec["subscriber"]));
            for (title, to) in [
                ("Reply:", &spec["reply"]),
                ("DeadLetterSink:", &spec["delivery"]["deadLetterSink"]),
            ] {
                if !to.is_null() {
                    rows.extend(show::destination(title, to));
                }
            }
            output::print(&show::page(&rows, &subscription))
        }
        Verb::Delete(names) => SUBSCRIPTION.delete(&api, &names).await,
    }
}

/// Writes the flags into the object.
fn shape(subscription: &mut Value, spec: &Spec, namespace: &str) -> Result<()> {
    let to = &mut subscription["spec"];
    if let Some(sink) = &spec.sink {
        to["subscriber"] = sink::parse(sink, namespace)?;
    }
    if let Some(sink) = &spec.sink_reply {
        to["reply"] = sink::parse(sink, namespace)?;
    }
    if let Some(sink) = &spec.sink_dead_letter {
        to["delivery"]["deadLetterSink"] = sink::parse(sink, namespace)?;
    }
    Ok(())
}

fn reference(channel: &str) -> Result<Value> {
    let parts: Vec<&str> = channel.split(':').collect();
    match parts.as_slice() {
        [name] => Some(("messaging.knative.dev/v1".to_owned(), "Channel", name)),
        [group, version, kind, name] => Some((format!("{group}/{version}"), *kind, name)),
        _ => None,
    }
    .map(|(version, kind, name)| json!({"apiVersion": version, "kind": kind, "name": name}))
    .context("--channel: NAME or GROUP:VERSION:KIND:NAME")
}
