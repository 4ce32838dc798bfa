//! `rekindle trigger`.

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::super::client::Verbs;
use super::super::console::{self, Console};
use super::super::output;
use super::{Listing, Named, Names, Noun, Shown, show, sink};

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

/// A verb, and where.
pub(crate) type Flags = Verbs<Verb>;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Create a Trigger.
    Create(Spec),
    /// Change a Trigger's filter or sink.
    Update(Spec),
    /// List Triggers.
    List(Listing),
    /// Show one Trigger: Broker, filter, sink, what was delivered, conditions.
    Describe {
        #[command(flatten)]
        shown: Shown,
        #[command(flatten)]
        console: Console,
    },
    /// Delete Triggers.
    Delete(Names),
}

#[derive(Args, Debug)]
pub(crate) struct Spec {
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
            let mut trigger = TRIGGER.object(&api.namespace, &spec.name);
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
        Verb::List(listing) => TRIGGER.list(&api, &listing).await,
        Verb::Describe { shown, console } => {
            let Some(trigger) = TRIGGER.shown(&api, &shown).await? else {
                return Ok(());
            };
            let metrics = console.metrics().await.unwrap_or_default();
            output::print(&describe(&trigger, &metrics))
        }
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

/// What is counted of a Trigger's events since the daemon started, but the lag.
const COUNTS: [(&str, &str); 5] = [
    ("  Delivered:", "rekindle_eventing_delivered_total"),
    ("  Dead-lettered:", "rekindle_eventing_dead_lettered_total"),
    ("  Failed:", "rekindle_eventing_given_up_total"),
    ("  Retried:", "rekindle_eventing_retried_total"),
    ("  Lag:", "rekindle_eventing_lag_events"),
];

fn delivery(trigger: &Value, metrics: &str) -> Vec<Vec<String>> {
    let (name, namespace) = (show::name(trigger), &trigger["metadata"]["namespace"]);
    let labels = [
        ("kn_trigger_name", name.as_str()),
        (
            "kn_trigger_namespace",
            namespace.as_str().unwrap_or_default(),
        ),
    ];
    let mut rows: Vec<Vec<String>> = COUNTS
        .iter()
        .filter_map(|(title, metric)| {
            let value = console::sample(metrics, metric, &labels)?;
            Some(show::row(title, value.to_owned()))
        })
        .collect();
    if !rows.is_empty() {
        rows.splice(0..0, [vec![String::new()], vec!["Delivery:".to_owned()]]);
    }
    rows
}

fn describe(trigger: &Value, metrics: &str) -> String {
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
    rows.extend(delivery(trigger, metrics));
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
        let metrics = "\
rekindle_eventing_delivered_total{kn_trigger_name=\"other\",kn_trigger_namespace=\"ns\"} 1
rekindle_eventing_delivered_total{kn_trigger_name=\"hello\",kn_trigger_namespace=\"ns\"} 12
rekindle_eventing_lag_events{kn_trigger_name=\"hello\",kn_trigger_namespace=\"ns\"} 3
";
        expect_test::expect![[r#"
            Name:          hello
            Namespace:     ns
            Age:
            Broker:        default
            Filter:
              type:        greeting

            Sink:
              Name:        hello
              Namespace:   ns
              Resource:    Service (v1)

            Delivery:
              Delivered:   12
              Lag:         3

            Conditions:
              OK TYPE                 AGE   REASON
              ++ Ready
              !! SubscriberResolved         NotFound
        "#]]
        .assert_eq(&describe(&trigger, metrics));
    }
}
