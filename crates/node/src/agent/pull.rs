//! A container's image: from the store, or fetched into it, by the Pod's pull policy and with
//! its pull secrets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Container, Pod};

use super::step::LaunchFailure;
use crate::image::{self, Image, Keyring, PullPolicy, Reference};
use crate::node::Shared;

/// Keys of the two kinds of pull secrets.
const DOCKER_CONFIG_JSON: &str = ".dockerconfigjson";
const DOCKER_CONFIG: &str = ".dockercfg";

/// How an image came to be here.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pulled {
    /// How long it took to fetch it; none when it was here.
    pub(crate) took: Option<Duration>,
    /// Bytes of its compressed content.
    pub(crate) size: u64,
}

/// Gets the image of a container. `pulling` is called when a registry has to be asked.
pub(super) async fn image(
    shared: &Shared,
    pod: &Pod,
    container: &Container,
    pulling: &(dyn Fn() + Send + Sync),
) -> Result<(Arc<Image>, Pulled), LaunchFailure> {
    let name = container.image.as_deref().unwrap_or_default();
    let failed = |error: &image::Error| {
        let reason = match error {
            image::Error::Reference { .. } => "InvalidImageName",
            image::Error::NeverPull { .. } => "ErrImageNeverPull",
            _ => "ErrImagePull",
        };
        let message = sentence(name, error);
        LaunchFailure::Image { reason, message }
    };
    let reference: Reference = name.parse().map_err(|error| failed(&error))?;
    let policy = PullPolicy::of(container.image_pull_policy.as_deref(), &reference);
    if policy != PullPolicy::Always
        && let Some(found) = shared
            .config
            .images
            .get(name)
            .map_err(|error| failed(&error))?
    {
        return Ok((found, Pulled::default()));
    }
    let begun = Instant::now();
    if policy != PullPolicy::Never {
        pulling();
    }
    let keyring = keyring(shared, pod).await;
    let pulled = shared
        .config
        .puller
        .pull(name, &keyring, policy, Arc::new(|_| {}))
        .await;
    let image = pulled.map_err(|error| failed(&error))?;
    let took = (policy != PullPolicy::Never).then(|| begun.elapsed());
    let size = image.size;
    Ok((image, Pulled { took, size }))
}

/// What the Pod's pull secrets hold. A secret that is missing or unreadable opens nothing, as on
/// any kubelet; the registry's refusal then says the rest.
async fn keyring(shared: &Shared, pod: &Pod) -> Keyring {
    let mut keyring = Keyring::default();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let secrets = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.image_pull_secrets.as_ref());
    for wanted in secrets.into_iter().flatten() {
        let Ok(Some(secret)) = shared.config.cluster.secret(namespace, &wanted.name).await else {
            continue;
        };
        let data = secret.data.unwrap_or_default();
        let added = match (data.get(DOCKER_CONFIG_JSON), data.get(DOCKER_CONFIG)) {
            (Some(json), _) => keyring.add_docker_config_json(&json.0),
            (None, Some(old)) => keyring.add_docker_config(&old.0),
            (None, None) => Ok(()),
        };
        if let Err(error) = added {
            tracing::warn!(%error, namespace, secret = wanted.name, "a pull secret is unreadable");
        }
    }
    keyring
}

/// An error with its causes, as one sentence.
/// The error as Events and statuses have it; some errors of images are whole sentences already.
fn sentence(name: &str, error: &image::Error) -> String {
    match error {
        image::Error::Pull { .. } | image::Error::NeverPull { .. } => chain(error),
        _ => format!("Failed to pull image \"{name}\": {}", chain(error)),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_pull_is_said_once() {
        let image = "a.example/b".to_owned();
        let missing = image::Error::Pull {
            image: image.clone(),
            fault: image::Fault::NotFound,
            detail: "not found".to_owned(),
        };
        let check = |error: &image::Error, expected: &str| {
            assert_eq!(sentence(&image, error), expected);
        };
        check(&missing, "Failed to pull image \"a.example/b\": not found");
        let unread = image::Error::NotFound {
            reference: image.clone(),
        };
        check(
            &unread,
            "Failed to pull image \"a.example/b\": image a.example/b not found",
        );
    }
}
