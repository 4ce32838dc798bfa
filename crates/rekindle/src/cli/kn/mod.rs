//! `rekindle service|revision|route|domain|container` and `broker|trigger|channel|subscription|source`: the
//! `kn` verbs.
//!
//! One noun is a [`Noun`]: its resource, kn's words for it and the columns of its list. The files
//! beside this one hold what is peculiar to a noun: the flags of `create`, the lines of `describe`.

pub(crate) mod broker;
pub(crate) mod channel;
pub(crate) mod container;
pub(crate) mod domain;
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

/// The names of some objects.
#[derive(Args, Debug)]
pub(crate) struct Names {
    /// Their names.
    #[arg(required = true)]
    names: Vec<String>,
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
    fn object(&self, api: &Api, name: &str) -> Value {
        json!({
            "apiVersion": self.group_version,
            "kind": self.kind,
            "metadata": {"name": name, "namespace": api.namespace},
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

    async fn list(&self, api: &Api) -> Result<()> {
        let list = api.get(&self.path(api, None)).await?;
        self.show(list["items"].as_array().map_or(&[][..], Vec::as_slice))
    }

    /// Prints objects as a list.
    fn show(&self, items: &[Value]) -> Result<()> {
        if items.is_empty() {
            return output::line(&format!("No {} found.", self.plural));
        }
        let head = self.columns.iter().map(|(head, _)| (*head).to_owned());
        let mut rows = vec![head.collect()];
        let row = |item: &Value| self.columns.iter().map(|(_, cell)| cell(item)).collect();
        rows.extend(items.iter().map(row));
        output::print(&output::columns(&rows))
    }

    async fn delete(&self, api: &Api, names: &Names) -> Result<()> {
        for name in &names.names {
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
