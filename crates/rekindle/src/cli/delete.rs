//! `rekindle delete RESOURCE NAME` and `rekindle delete -f FILE`.

use anyhow::{Result, bail};
use api::object::ObjectExt;
use clap::Args;
use http::Method;

use super::client::{Api, Resource, Target};
use super::{apply, output};

#[derive(Args, Debug)]
pub(crate) struct Flags {
    /// A resource and names, or RESOURCE/NAME.
    words: Vec<String>,
    /// Delete what the file names.
    #[arg(long, short)]
    filename: Vec<String>,
    #[command(flatten)]
    target: Target,
}

pub(crate) async fn run(flags: Flags) -> Result<()> {
    if flags.words.is_empty() && flags.filename.is_empty() {
        bail!("name a resource and an object, or a file with -f");
    }
    let api = flags.target.connect().await?;
    for object in apply::read(&flags.filename)? {
        let resource = api.of(&object).await?;
        let namespace = match object.namespace() {
            "" => api.namespace.clone(),
            namespace => namespace.to_owned(),
        };
        delete(&api, &resource, &namespace, object.name()).await?;
    }
    let Some((first, names)) = flags.words.split_first() else {
        return Ok(());
    };
    if let Some((word, name)) = first.split_once('/') {
        let resource = api.named(word).await?;
        return delete(&api, &resource, &api.namespace, name).await;
    }
    if names.is_empty() {
        bail!("which {first}? name at least one");
    }
    let resource = api.named(first).await?;
    for name in names {
        delete(&api, &resource, &api.namespace, name).await?;
    }
    Ok(())
}

async fn delete(api: &Api, resource: &Resource, namespace: &str, name: &str) -> Result<()> {
    let path = resource.path(namespace, Some(name));
    api.request(Method::DELETE, &path, "application/json", Vec::new())
        .await?;
    output::line(&format!("{} deleted", resource.display(name)))
}
