//! The end of a build: configuration and manifest, names, registries, the archive.

use serde_json::json;

use super::BuildError;
use super::walk::{Done, Walk};
use crate::image::built::{Finished, Parts};
use crate::image::{Digest, Reference};

/// Registries that are none: images with such names are only on this node. (Knative resolves no
/// tags of the first three.)
const LOCAL_REGISTRIES: [&str; 4] = ["dev.local", "kind.local", "ko.local", "rekindle.local"];

/// Makes the image and hands it out; gives its digest and its full names.
pub(super) async fn finish(
    walk: &Walk,
    mut done: Done,
) -> Result<(Digest, Vec<String>), BuildError> {
    let request = &walk.request;
    let mut names = Vec::new();
    for name in &request.names {
        names.push(name.parse::<Reference>()?);
    }
    let is_pushed =
        |name: &&Reference| request.push && !LOCAL_REGISTRIES.contains(&name.registry());
    let pushed = names.iter().any(|name| is_pushed(&name));
    let config = &mut done.plan.config;
    config.labels.extend(request.labels.clone());
    if let Some(latest) = walk.latest() {
        let time = jiff::Timestamp::from_second(latest).unwrap_or_default();
        done.created = Some(time.to_string());
    }
    let finished = Finished {
        parts: Parts {
            config: json!(config),
            layers: done.layers,
            history: done.history,
            created: done.created,
        },
        author: done.plan.author.clone(),
        gzip: pushed,
    };
    let store = walk.store().clone();
    let image = tokio::task::spawn_blocking(move || store.put_image(&finished)).await;
    let image = image.map_err(|error| BuildError::Io {
        step: "put the image together",
        source: error.into(),
    })??;
    let full: Vec<String> = names.iter().map(ToString::to_string).collect();
    if let Some(path) = &request.archive {
        walk.store().save(&image, &full, path)?;
    }
    for name in names.iter().filter(is_pushed) {
        walk.output.line(&format!("pushing {name}"));
        let output = std::sync::Arc::clone(&walk.output);
        let say = move |text: &str| output.line(&format!("  {text}"));
        let puller = &walk.shared.config.puller;
        puller
            .push(&image, &name.to_string(), &request.access, &say)
            .await?;
    }
    // What no registry has, no registry knows better.
    for (name, full) in names.iter().zip(&full) {
        let loaded = !is_pushed(&name);
        walk.store().give_name(&image, full, loaded)?;
    }
    for name in &full {
        walk.output.line(&format!("built {name}@{}", image.digest));
    }
    Ok((image.digest.clone(), full))
}
