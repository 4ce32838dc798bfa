//! `rekindle trigger`.

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::super::client::Target;
use super::super::output;
use super::{Named, Names, Noun, show, sink};

const TRIGGER: Noun = Noun {
    title: "Trigger",
    kind: "Trigger",
    group_version: "eventing.knative.dev/v1",
    plural: "triggers",
    columns: &[
        ("NAME", show::name),
        ("BROKER", |trigger| show::text(&trigger["spec"]["broker"])),
        ("SINK", |trigger| show::sink(&trigger["spec"]["subscriber"])),
        ("AGE", show::age),
        ("CONDITIONS", show::conditions),
        ("READY", show::is_ready),
        ("REASON", show::reason),
    ],
};

#[derive(Args, Debug)]
pub(crate) struct Flags {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    target: Target,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Create a Trigger.
    Create(Spec),
    /// Change a Trigger's filter or sink.
    Update(Spec),
    /// List Triggers.
    List,
    /// Show one Trigger: Broker, filter, sink, conditions.
    Describe(Named),
    /// Delete Triggers.
    Delete(Names),
}

#[derive(Args, Debug)]
struct Spec {
    /// Its name.
    name: String,
    /// The Broker whose events it takes; `default` for a new Trigger.
    #[arg(long)]
    broker: Option<String>,
    /// ATTRIBUTE=VALUE an event must have; ATTRIBUTE- takes one away. May be repeated.
    #[arg(long)]
    filter: Vec<String>,
    /// Who gets the events: ksvc:NAME, svc:NAME, broker:NAME, channel:NAME, a URL.
    #[arg(long, short)]
    sink: Option<String>,
}

pub(crate) async fn run(flags: Flags) -> Result<()> {
    let api = flags.target.connect().await?;
    match flags.verb {
        Verb::Create(spec) => {
            if spec.sink.is_none() {
                bail!("'trigger create' requires the sink: --sink SINK");
            }
            let mut trigger = TRIGGER.object(&api, &spec.name);
            trigger["spec"]["broker"] = json!(spec.broker.as_deref().unwrap_or("default"));
            shape(&mut trigger, &spec, &api.namespace)?;
            TRIGGER.create(&api, &trigger).await
        }
        Verb::Update(spec) => {
            let named = Named {
                name: spec.name.clone(),
            };
            let mut trigger = TRIGGER.get(&api, &named).await?;
            shape(&mut trigger, &spec, &api.namespace)?;
            TRIGGER.update(&api, &trigger).await
        }
        Verb::List => TRIGGER.list(&api).await,
        Verb::Describe(named) => output::print(&describe(&TRIGGER.get(&api, &named).await?)),
        Verb::Delete(names) => TRIGGER.delete(&api, &names).await,
    }
}

/// Writes the flags into the object.
fn shape(trigger: &mut Value, spec: &Spec, namespace: &str) -> Result<()> {
    if let Some(to) = &spec.sink {
        trigger["spec"]["subscriber"] = sink::parse(to, namespace)?;
    }
    let attributes = &mut trigger["spec"]["filter"]["attributes"];
    if !spec.filter.is_empty() && !attributes.is_object() {
        *attributes = json!({});
    }
    for word in &spec.filter {
        match (word.split_once('='), word.strip_suffix('-')) {
            (Some((name, value)), _) => attributes[name] = json!(value),
            (None, Some(name)) => {
                let map = attributes.as_object_mut();
                map.context("made an object above")?.remove(name);
            }
            (None, None) => bail!("--filter {word}: ATTRIBUTE=VALUE or ATTRIBUTE-"),
        }
    }
    if trigger["spec"]["filter"]["attributes"].is_null() {
        trigger["spec"]["filter"] = json!({});
    }
    Ok(())
}

fn describe(trigger: &Value) -> String {
    let spec = &trigger["spec"];
    let mut rows = show::head(trigger);
    rows.push(show::row("Broker:", show::text(&spec["broker"])));
    let attributes = spec["filter"]["attributes"].as_object();
    let filters = spec["filters"].as_array().filter(|list| !list.is_empty());
    if let Some(filters) = filters {
        rows.push(vec!["Filter (experimental):".to_owned()]);
        for filter in filters {
            rows.push(vec![format!("  {filter}")]);
        }
    } else if let Some(attributes) = attributes.filter(|map| !map.is_empty()) {
        rows.push(vec!["Filter:".to_owned()]);
        for (name, value) in attributes {
            rows.push(show::row(&format!("  {name}:"), show::text(value)));
        }
    }
    rows.extend(show::destination("Sink:", &spec["subscriber"]));
    show::page(&rows, trigger)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_reads_as_kns() {
        let trigger = json!({
            "metadata": {"name": "hello", "namespace": "ns"},
            "spec": {
                "broker": "default",
                "filter": {"attributes": {"type": "greeting"}},
                "subscriber": {"ref": {"apiVersion": "v1", "kind": "Service", "name": "hello", "namespace": "ns"}},
            },
            "status": {"conditions": [
                {"type": "Ready", "status": "True"},
                {"type": "SubscriberResolved", "status": "False", "reason": "NotFound"},
            ]},
        });
        expect_test::expect![[r#"
            Name:            hello
            Namespace:       ns
            Age:
            Broker:          default
            Filter:
              type:          greeting

            Sink:
              Name:          hello
              Namespace:     ns
              Resource:      Service (v1)

            Conditions:
              OK TYPE                 AGE   REASON
              ++ Ready
              !! SubscriberResolved         NotFound
        "#]]
        .assert_eq(&describe(&trigger));
    }
}
