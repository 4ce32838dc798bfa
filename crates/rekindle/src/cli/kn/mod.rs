//! `rekindle service|revision|route|domain|container` and `broker|trigger|channel|subscription|source`: the
//! `kn` verbs.
//!
//! One noun is a [`Noun`]: its resource, kn's words for it and the columns of its list. The files
//! beside this one hold what is peculiar to a noun: the flags of `create`, the lines of `describe`.

pub(crate) mod broker;
pub(crate) mod channel;
pub(crate) mod container;
pub(crate) mod domain;
mod format;
pub(crate) mod revision;
pub(crate) mod route;
pub(crate) mod service;
mod show;
mod sink;
pub(crate) mod source;
pub(crate) mod subscription;
pub(crate) mod trigger;

use anyhow::Result;
use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::client::{Api, Resource};
use super::output;
use format::Format;

/// One noun of kn.
struct Noun {
    /// How a message starts: `Trigger`, `Ping source`.
    title: &'static str,
    kind: &'static str,
    group_version: &'static str,
    plural: &'static str,
    /// The list's columns.
    columns: &'static [Column],
}

/// A header, and the cell of an object.
type Column = (&'static str, fn(&Value) -> String);

/// The name of one object.
#[derive(Args, Debug)]
pub(crate) struct Named {
    /// Its name.
    name: String,
}

/// One object to be shown, and how.
#[derive(Args, Debug)]
pub(crate) struct Shown {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    format: Format,
}

/// Which objects are listed, and how.
#[derive(Args, Debug, Default)]
pub(crate) struct Listing {
    /// One alone.
    name: Option<String>,
    /// Those of all namespaces.
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Without the line of headers.
    #[arg(long)]
    no_headers: bool,
    #[command(flatten)]
    format: Format,
}

/// The names of some objects.
#[derive(Args, Debug)]
pub(crate) struct Names {
    /// Their names.
    #[arg(required_unless_present = "all")]
    names: Vec<String>,
    /// All of the namespace.
    #[arg(long, conflicts_with = "names")]
    all: bool,
}

impl Names {
    /// These and no others.
    const fn of(names: Vec<String>) -> Self {
        Self { names, all: false }
    }
}

impl Noun {
    fn resource(&self) -> Resource {
        Resource {
            group_version: self.group_version.to_owned(),
            kind: self.kind.to_owned(),
            plural: self.plural.to_owned(),
            namespaced: true,
        }
    }

    fn path(&self, api: &Api, name: Option<&str>) -> String {
        self.resource().path(&api.namespace, name)
    }

    /// An object without spec, to be filled and given to [`Self::create`].
    fn object(&self, namespace: &str, name: &str) -> Value {
        json!({
            "apiVersion": self.group_version,
            "kind": self.kind,
            "metadata": {"name": name, "namespace": namespace},
            "spec": {},
        })
    }

    async fn create(&self, api: &Api, object: &Value) -> Result<()> {
        api.post(&self.path(api, None), object).await?;
        self.say(api, &object["metadata"]["name"], "created")
    }

    async fn update(&self, api: &Api, object: &Value) -> Result<()> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let path = self.path(api, Some(name));
        let body = serde_json::to_vec(object)?;
        api.request(Method::PUT, &path, "application/json", body)
            .await?;
        self.say(api, &object["metadata"]["name"], "updated")
    }

    async fn get(&self, api: &Api, named: &Named) -> Result<Value> {
        api.get(&self.path(api, Some(&named.name))).await
    }

    /// The object `describe` is asked for; nothing if it is printed in a format of the user's.
    async fn shown(&self, api: &Api, shown: &Shown) -> Result<Option<Value>> {
        let object = self.get(api, &shown.named).await?;
        Ok((!shown.format.print(&object)?).then_some(object))
    }

    async fn list(&self, api: &Api, listing: &Listing) -> Result<()> {
        let list = self.listed(api, listing).await?;
        if listing.format.print(&list)? {
            return Ok(());
        }
        let items = list["items"].as_array();
        self.show(items.map_or(&[][..], Vec::as_slice), listing)
    }

    /// The objects that are meant, as a list.
    async fn listed(&self, api: &Api, listing: &Listing) -> Result<Value> {
        let namespace = match listing.all_namespaces {
            true => "",
            false => &api.namespace,
        };
        let mut list = api.get(&self.resource().path(namespace, None)).await?;
        if let (Some(name), Some(items)) = (&listing.name, list["items"].as_array_mut()) {
            items.retain(|item| item["metadata"]["name"] == **name);
        }
        // Those of a list do not say what they are.
        for item in list["items"].as_array_mut().into_iter().flatten() {
            item["apiVersion"] = json!(self.group_version);
            item["kind"] = json!(self.kind);
        }
        Ok(list)
    }

    /// Prints objects as a table.
    fn show(&self, items: &[Value], listing: &Listing) -> Result<()> {
        if items.is_empty() {
            return output::line(&format!("No {} found.", self.plural));
        }
        let namespace: &[Column] = match listing.all_namespaces {
            true => &[("NAMESPACE", show::namespace)],
            false => &[],
        };
        let columns = || namespace.iter().chain(self.columns);
        let mut rows = Vec::new();
        if !listing.no_headers {
            rows.push(columns().map(|(head, _)| (*head).to_owned()).collect());
        }
        let row = |item: &Value| columns().map(|(_, cell)| cell(item)).collect();
        rows.extend(items.iter().map(row));
        output::print(&output::columns(&rows))
    }

    async fn delete(&self, api: &Api, names: &Names) -> Result<()> {
        let mut all = names.names.clone();
        if names.all {
            let list = api.get(&self.path(api, None)).await?;
            all.extend(
                list["items"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(show::name),
            );
            if all.is_empty() {
                return output::line(&format!("No {} found.", self.plural));
            }
        }
        for name in &all {
            let path = self.path(api, Some(name));
            api.request(Method::DELETE, &path, "application/json", Vec::new())
                .await?;
            self.say(api, &json!(name), "deleted")?;
        }
        Ok(())
    }

    fn say(&self, api: &Api, name: &Value, done: &str) -> Result<()> {
        output::line(&format!(
            "{} '{}' successfully {done} in namespace '{}'.",
            self.title,
            name.as_str().unwrap_or_default(),
            api.namespace
        ))
    }
}
