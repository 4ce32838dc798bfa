//! `rekindle source`: all kinds in one list, and the kinds kn can make.

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::super::client::{Target, Verbs};
use super::super::output;
use super::{Listing, Names, Noun, Shown, show, sink};

macro_rules! source {
    ($title:literal, $kind:literal, $plural:literal, $what:expr) => {
        Noun {
            title: $title,
            kind: $kind,
            group_version: "sources.knative.dev/v1",
            plural: $plural,
            columns: &[
                ("NAME", show::name),
                ("WHAT", $what),
                ("SINK", |source| show::sink(&source["spec"]["sink"])),
                ("AGE", show::age),
                ("CONDITIONS", show::conditions),
                ("READY", show::is_ready),
                ("REASON", show::reason),
            ],
        }
    };
}

const PING: Noun = source!("Ping source", "PingSource", "pingsources", |source| {
    show::text(&source["spec"]["schedule"])
});
const API_SERVER: Noun = source!(
    "ApiServer source",
    "ApiServerSource",
    "apiserversources",
    |source| {
        let resources = source["spec"]["resources"].as_array().into_iter().flatten();
        let one = |r: &Value| {
            format!(
                "{}:{}",
                show::text(&r["kind"]),
                show::text(&r["apiVersion"])
            )
        };
        resources.map(one).collect::<Vec<_>>().join(",")
    }
);
const CONTAINER: Noun = source!(
    "Container source",
    "ContainerSource",
    "containersources",
    |source| { show::text(&source["spec"]["template"]["spec"]["containers"][0]["image"]) }
);
const BINDING: Noun = source!("Sink binding", "SinkBinding", "sinkbindings", |source| {
    let subject = &source["spec"]["subject"];
    format!(
        "{}:{}",
        show::text(&subject["kind"]),
        show::text(&subject["name"])
    )
});
const ALL: [&Noun; 4] = [&PING, &API_SERVER, &CONTAINER, &BINDING];

/// What a kind of source is for.
const DESCRIPTIONS: [(&str, &str); 6] = [
    (
        "ApiServerSource",
        "Watch and send Kubernetes API events to a sink",
    ),
    (
        "ContainerSource",
        "Generate events by a container image and send them to a sink",
    ),
    ("GitHubSource", "Send what GitHub posts to a sink"),
    (
        "IntegrationSource",
        "Bring events from other systems to a sink",
    ),
    ("PingSource", "Periodically send ping events to a sink"),
    (
        "SinkBinding",
        "Binding for connecting a PodSpecable to a sink",
    ),
];

/// A verb, and where.
pub(crate) type Flags = Verbs<Verb>;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// List the sources of all kinds.
    List,
    /// List the kinds of sources there are.
    ListTypes,
    /// Sources that send on a schedule.
    Ping {
        #[command(subcommand)]
        verb: Of<Ping>,
    },
    /// Sources that tell what happens to Kubernetes objects.
    Apiserver {
        #[command(subcommand)]
        verb: Of<ApiServer>,
    },
    /// Sources that are a container.
    Container {
        #[command(subcommand)]
        verb: Of<Container>,
    },
    /// Bindings that tell workloads where to send.
    Binding {
        #[command(subcommand)]
        verb: Of<Binding>,
    },
}

/// The verbs of one kind of source.
#[derive(Subcommand, Debug)]
pub(crate) enum Of<C: Args + std::fmt::Debug> {
    /// Create one.
    Create(C),
    /// List them.
    List(Listing),
    /// Show one.
    Describe(Shown),
    /// Delete some.
    Delete(Names),
}

#[derive(Args, Debug)]
pub(crate) struct Ping {
    /// Its name.
    name: String,
    /// Cron with five or six fields.
    #[arg(long, default_value = "* * * * *")]
    schedule: String,
    /// The events' data.
    #[arg(long, short)]
    data: Option<String>,
    /// Who gets the events.
    #[arg(long, short)]
    sink: String,
}

#[derive(Args, Debug)]
pub(crate) struct ApiServer {
    /// Its name.
    name: String,
    /// KIND:APIVERSION, such as Event:v1. May be repeated.
    #[arg(long, required = true)]
    resource: Vec<String>,
    /// Reference or Resource.
    #[arg(long, default_value = "Reference")]
    mode: String,
    /// Whose rights it has.
    #[arg(long, default_value = "default")]
    service_account: String,
    /// Who gets the events.
    #[arg(long, short)]
    sink: String,
}

#[derive(Args, Debug)]
pub(crate) struct Container {
    /// Its name.
    name: String,
    /// The image to run.
    #[arg(long)]
    image: String,
    /// Who gets the events.
    #[arg(long, short)]
    sink: String,
}

#[derive(Args, Debug)]
pub(crate) struct Binding {
    /// Its name.
    name: String,
    /// KIND:APIVERSION:NAME, such as Deployment:apps/v1:sender.
    #[arg(long)]
    subject: String,
    /// Who gets the events.
    #[arg(long, short)]
    sink: String,
}

/// What a kind's flags say, as its spec.
pub(crate) trait Create: Args + std::fmt::Debug {
    fn name(&self) -> &str;
    fn sink(&self) -> &str;
    fn spec(&self) -> Result<Value>;
}

impl Create for Ping {
    fn name(&self) -> &str {
        &self.name
    }

    fn sink(&self) -> &str {
        &self.sink
    }

    fn spec(&self) -> Result<Value> {
        let mut spec = json!({"schedule": self.schedule});
        if let Some(data) = &self.data {
            spec["data"] = json!(data);
            if serde_json::from_str::<Value>(data).is_ok() {
                spec["contentType"] = json!("application/json");
            }
        }
        Ok(spec)
    }
}

impl Create for ApiServer {
    fn name(&self) -> &str {
        &self.name
    }

    fn sink(&self) -> &str {
        &self.sink
    }

    fn spec(&self) -> Result<Value> {
        let mut resources = Vec::new();
        for word in &self.resource {
            let Some((kind, version)) = word.split_once(':') else {
                bail!("--resource {word}: KIND:APIVERSION");
            };
            resources.push(json!({"apiVersion": version, "kind": kind}));
        }
        Ok(json!({
            "resources": resources,
            "mode": self.mode,
            "serviceAccountName": self.service_account,
        }))
    }
}

impl Create for Container {
    fn name(&self) -> &str {
        &self.name
    }

    fn sink(&self) -> &str {
        &self.sink
    }

    fn spec(&self) -> Result<Value> {
        let container = json!({"name": self.name, "image": self.image});
        Ok(json!({"template": {"spec": {"containers": [container]}}}))
    }
}

impl Create for Binding {
    fn name(&self) -> &str {
        &self.name
    }

    fn sink(&self) -> &str {
        &self.sink
    }

    fn spec(&self) -> Result<Value> {
        let mut parts = self.subject.splitn(3, ':');
        let (Some(kind), Some(version), Some(name)) = (parts.next(), parts.next(), parts.next())
        else {
            bail!("--subject {}: KIND:APIVERSION:NAME", self.subject);
        };
        Ok(json!({"subject": {"apiVersion": version, "kind": kind, "name": name}}))
    }
}

pub(crate) async fn run(flags: Flags) -> Result<()> {
    match flags.verb {
        Verb::List => list(&flags.target).await,
        Verb::ListTypes => list_types(&flags.target).await,
        Verb::Ping { verb } => of(&PING, &flags.target, verb).await,
        Verb::Apiserver { verb } => of(&API_SERVER, &flags.target, verb).await,
        Verb::Container { verb } => of(&CONTAINER, &flags.target, verb).await,
        Verb::Binding { verb } => of(&BINDING, &flags.target, verb).await,
    }
}

async fn of<C: Create>(noun: &Noun, target: &Target, verb: Of<C>) -> Result<()> {
    let api = target.connect().await?;
    match verb {
        Of::Create(flags) => {
            let mut source = noun.object(&api.namespace, flags.name());
            source["spec"] = flags.spec()?;
            source["spec"]["sink"] = sink::parse(flags.sink(), &api.namespace)?;
            noun.create(&api, &source).await
        }
        Of::List(listing) => noun.list(&api, &listing).await,
        Of::Describe(shown) => {
            let Some(source) = noun.shown(&api, &shown).await? else {
                return Ok(());
            };
            let what = noun.columns[1].1(&source);
            let mut rows = show::head(&source);
            rows.push(show::row("What:", what));
            rows.extend(show::destination("Sink:", &source["spec"]["sink"]));
            output::print(&show::page(&rows, &source))
        }
        Of::Delete(names) => noun.delete(&api, &names).await,
    }
}

/// The kinds of sources are the definitions that say so.
async fn list_types(target: &Target) -> Result<()> {
    const TYPES: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?labelSelector=duck.knative.dev%2Fsource%3Dtrue";
    let api = target.connect().await?;
    let list = api.get(TYPES).await?;
    let items = list["items"].as_array().into_iter().flatten();
    let mut rows: Vec<_> = items
        .map(|definition| {
            let kind = show::text(&definition["spec"]["names"]["kind"]);
            let about = DESCRIPTIONS.iter().find(|(known, _)| *known == kind);
            let about = about.map_or("", |(_, about)| about).to_owned();
            vec![kind, show::name(definition), about]
        })
        .collect();
    if rows.is_empty() {
        return output::line("No source types found.");
    }
    rows.sort();
    rows.insert(
        0,
        ["TYPE", "NAME", "DESCRIPTION"].map(str::to_owned).to_vec(),
    );
    output::print(&output::columns(&rows))
}

async fn list(target: &Target) -> Result<()> {
    let api = target.connect().await?;
    let head = ["NAME", "TYPE", "RESOURCE", "SINK", "READY"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for noun in ALL {
        let list = api.get(&noun.path(&api, None)).await?;
        let items = list["items"].as_array().into_iter().flatten();
        rows.extend(items.map(|source| {
            vec![
                show::name(source),
                noun.kind.to_owned(),
                format!("{}.sources.knative.dev", noun.plural),
                show::sink(&source["spec"]["sink"]),
                show::is_ready(source),
            ]
        }));
    }
    if rows.len() == 1 {
        return output::line("No sources found.");
    }
    output::print(&output::columns(&rows))
}
