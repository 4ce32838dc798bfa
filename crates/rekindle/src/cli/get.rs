//! `rekindle get RESOURCE [NAME]`: the table the server prints, or the objects as YAML or JSON.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;

use super::client::Target;
use super::output;

/// What `-o` takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Format {
    Wide,
    Yaml,
    Json,
    Name,
}

#[derive(Args, Debug)]
pub(crate) struct Flags {
    /// A resource: plural, singular, short name, or with its group (`services.serving.knative.dev`).
    resource: String,
    /// One object's name.
    name: Option<String>,
    /// wide, yaml, json or name.
    #[arg(long, short)]
    output: Option<Format>,
    /// Only objects whose labels match.
    #[arg(long, short = 'l', default_value = "")]
    selector: String,
    /// In every namespace.
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    #[command(flatten)]
    target: Target,
}

pub(crate) async fn run(flags: Flags) -> Result<()> {
    let (word, name) = match flags.resource.split_once('/') {
        Some((word, name)) => (word, Some(name)),
        None => (flags.resource.as_str(), flags.name.as_deref()),
    };
    let api = flags.target.connect().await?;
    let resource = api.named(word).await?;
    let namespace = if flags.all_namespaces {
        ""
    } else {
        api.namespace.as_str()
    };
    let mut path = resource.path(namespace, name);
    if !flags.selector.is_empty() {
        path.push_str(&format!("?labelSelector={}", encode(&flags.selector)));
    }
    match flags.output {
        None | Some(Format::Wide) => {
            let table = api.table(&path).await?;
            let wide = flags.output.is_some();
            let rows = output::table(&table, wide, flags.all_namespaces && resource.namespaced);
            if rows.len() == 1 && name.is_none() {
                bail!("No resources found in {namespace:?} namespace.");
            }
            output::print(&output::columns(&rows))
        }
        Some(Format::Yaml) => output::print(&serde_saphyr::to_string(&api.get(&path).await?)?),
        Some(Format::Json) => output::line(&serde_json::to_string_pretty(&api.get(&path).await?)?),
        Some(Format::Name) => {
            let list = api.get(&path).await?;
            let one = [list.clone()];
            for object in list["items"].as_array().map_or(&one[..], Vec::as_slice) {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                output::line(&resource.display(name))?;
            }
            Ok(())
        }
    }
}

/// Percent-encodes what a query value may not hold.
pub(crate) fn encode(text: &str) -> String {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte: u8| {
        if safe(byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(one).collect()
}

/// The `Ready` condition of an object: its status and its message.
pub(crate) fn ready(object: &Value) -> (String, String) {
    let conditions = object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten();
    let mut ready = conditions.filter(|condition| condition["type"] == "Ready");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    ready.next().map_or_else(
        || ("Unknown".to_owned(), String::new()),
        |condition| (text(&condition["status"]), text(&condition["message"])),
    )
}
