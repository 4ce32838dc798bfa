//! Pulling: a name and a policy become an image that is here and unpacked.
//!
//! The agent calls [`Puller::pull`] for every container, the controller's digest resolution
//! [`Puller::resolve_digest`]. One name is pulled once, however many ask for it at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use super::digest::Digest;
use super::error::{Error, Fault};
use super::keyring::{Credentials, Keyring};
use super::manifest::{self, ConfigFile, Descriptor, Index, Manifest};
use super::push::Access;
use super::reference::Reference;
use super::registries::Registries;
use super::registry::{Refusal, Remote, chain};
use super::store::{Image, ImageStore, describe};

/// How many blobs come in at once, over all images.
const DOWNLOADS_MAX: usize = 6;

/// When to ask the registry (`imagePullPolicy`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum PullPolicy {
    Always,
    #[default]
    IfNotPresent,
    Never,
}

impl PullPolicy {
    /// The policy of a container: what it says, else `Always` for the tag `latest` and
    /// `IfNotPresent` for all others.
    pub fn of(policy: Option<&str>, reference: &Reference) -> Self {
        match policy {
            Some("Always") => Self::Always,
            Some("Never") => Self::Never,
            Some("IfNotPresent") => Self::IfNotPresent,
            _ if reference.tag() == Some("latest") => Self::Always,
            _ => Self::IfNotPresent,
        }
    }
}

/// How far a pull is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Progress {
    /// The name stands for this digest.
    Resolved { digest: Digest },
    /// So much of this blob is here.
    Blob {
        digest: Digest,
        bytes: u64,
        bytes_total: u64,
    },
    /// This blob is here and, if it is a layer, unpacked.
    BlobDone { digest: Digest },
}

/// Who hears of progress.
pub type OnProgress = Arc<dyn Fn(Progress) + Send + Sync>;

/// Pulls images into a store; cheap to clone.
#[derive(Clone)]
pub struct Puller(Arc<Inner>);

struct Inner {
    store: ImageStore,
    registries: Registries,
    own_keyring: Keyring,
    downloads: Semaphore,
    /// One lock per name being pulled.
    pulling: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Puller {
    /// A puller for this store.
    pub fn new(store: ImageStore, registries: Registries) -> Self {
        let own_keyring = registries.keyring();
        let downloads = Semaphore::new(DOWNLOADS_MAX);
        let pulling = Mutex::default();
        Self(Arc::new(Inner {
            store,
            registries,
            own_keyring,
            downloads,
            pulling,
        }))
    }

    /// The image of this name, pulled if the policy wants it.
    ///
    /// An image brought by hand (`rekindle image load`) counts as current whatever the policy says:
    /// no registry knows it better.
    pub async fn pull(
        &self,
        image: &str,
        keyring: &Keyring,
        policy: PullPolicy,
        progress: OnProgress,
    ) -> Result<Arc<Image>, Error> {
        let access = Access {
            keyring: keyring.clone(),
            ..Access::default()
        };
        self.pull_with(image, &access, policy, progress).await
    }

    /// The same with everything a build may say about registries.
    pub(crate) async fn pull_with(
        &self,
        image: &str,
        access: &Access,
        policy: PullPolicy,
        progress: OnProgress,
    ) -> Result<Arc<Image>, Error> {
        let reference: Reference = image.parse()?;
        let here = || self.0.store.get(image);
        if policy != PullPolicy::Always || self.is_loaded(&reference)? {
            if let Some(found) = here()? {
                return Ok(found);
            }
            if policy == PullPolicy::Never {
                return Err(Error::NeverPull {
                    image: image.to_owned(),
                });
            }
        }
        let lock = self.lock_of(&reference);
        let alone = lock.lock().await;
        let found = match (policy, here()?) {
            // Somebody else pulled it while we waited.
            (PullPolicy::IfNotPresent, Some(found)) => Ok(found),
            _ => self.pull_from_anywhere(&reference, access, &progress).await,
        };
        drop(alone);
        self.unlock(&reference, lock);
        found.map_err(|refusal| Error::Pull {
            image: image.to_owned(),
            fault: refusal.fault,
            detail: refusal.detail,
        })
    }

    /// The same repository pinned to the digest its tag stands for now. Asks the registry, unless
    /// the image was brought by hand; when the registry cannot be reached, the digest that is here
    /// counts.
    pub async fn resolve_digest(&self, image: &str, keyring: &Keyring) -> Result<Reference, Error> {
        let reference: Reference = image.parse()?;
        if reference.digest().is_some() {
            return Ok(reference);
        }
        let here = self.0.store.find(&reference)?;
        if let Some(named) = here.as_ref().filter(|named| named.loaded) {
            return Ok(reference.with_digest(named.target.digest.clone()));
        }
        let (mut last, mut silent) = (None, None);
        let access = Access {
            keyring: keyring.clone(),
            ..Access::default()
        };
        for (endpoint, credentials) in self.places(&reference, &access) {
            if silent.as_ref() == Some(&endpoint.host) {
                continue;
            }
            let host = endpoint.host.clone();
            let found = match Remote::new(&reference, endpoint, credentials).await {
                Ok(remote) => remote.digest().await,
                Err(refusal) => Err(refusal),
            };
            match found {
                Ok(digest) => return Ok(reference.with_digest(digest)),
                Err(refusal) => {
                    // Other credentials do not bring a registry closer.
                    silent = (refusal.fault == Fault::Unreachable).then_some(host);
                    last = worse(last, refusal);
                }
            }
        }
        let refusal = last.unwrap_or_else(nowhere);
        match here {
            Some(named) if refusal.fault == Fault::Unreachable => {
                tracing::info!(%reference, reason = refusal.detail, "the digest here is taken");
                Ok(reference.with_digest(named.target.digest))
            }
            _ => Err(Error::Resolve {
                image: image.to_owned(),
                fault: refusal.fault,
                detail: refusal.detail,
            }),
        }
    }

    pub(super) fn store(&self) -> &ImageStore {
        &self.0.store
    }

    fn is_loaded(&self, reference: &Reference) -> Result<bool, Error> {
        Ok(self
            .0
            .store
            .find(reference)?
            .is_some_and(|named| named.loaded))
    }

    /// Every place to ask with every set of credentials for it; without any last.
    pub(super) fn places(
        &self,
        reference: &Reference,
        access: &Access,
    ) -> Vec<(super::registries::Endpoint, Option<Credentials>)> {
        let mut places = Vec::new();
        for mut endpoint in self.0.registries.endpoints(reference.registry()) {
            endpoint.plain_http |= access.is_plain(&endpoint.host);
            endpoint.skip_verify |= access.skips(&endpoint.host);
            let mut credentials = Vec::new();
            if endpoint.mirror {
                // A secret for the registry is none of its mirror's business.
                let name = format!("{}/{}", endpoint.host, reference.repository());
                if let Ok(mirrored) = name.parse::<Reference>() {
                    credentials = self.0.own_keyring.for_image(&mirrored);
                }
            } else {
                credentials.extend(access.keyring.for_image(reference));
                credentials.extend(self.0.own_keyring.for_image(reference));
            }
            places.extend(credentials.into_iter().map(|c| (endpoint.clone(), Some(c))));
            places.push((endpoint, None));
        }
        places
    }

    async fn pull_from_anywhere(
        &self,
        reference: &Reference,
        access: &Access,
        progress: &OnProgress,
    ) -> Result<Arc<Image>, Refusal> {
        let (mut last, mut silent) = (None, None);
        for (endpoint, credentials) in self.places(reference, access) {
            if silent.as_ref() == Some(&endpoint.host) {
                continue;
            }
            let host = endpoint.host.clone();
            let found = match Remote::new(reference, endpoint, credentials).await {
                Ok(remote) => self.pull_from(Arc::new(remote), reference, progress).await,
                Err(refusal) => Err(refusal),
            };
            match found {
                Ok(image) => return Ok(image),
                Err(refusal) => {
                    // Other credentials do not bring a registry closer.
                    silent = (refusal.fault == Fault::Unreachable).then_some(host);
                    last = worse(last, refusal);
                }
            }
        }
        Err(last.unwrap_or_else(nowhere))
    }

    async fn pull_from(
        &self,
        remote: Arc<Remote>,
        reference: &Reference,
        progress: &OnProgress,
    ) -> Result<Arc<Image>, Refusal> {
        let failed = |refusal: Refusal| Refusal {
            detail: format!(
                "failed to resolve reference \"{reference}\": {}",
                refusal.detail
            ),
            ..refusal
        };
        let store = self.0.store.clone();
        let held = blocking(move || store.hold()).await?;
        let bytes = remote.manifest().await.map_err(failed)?;
        let target = self.keep_manifest(bytes.clone()).await?;
        if let Some(expected) = reference
            .digest()
            .filter(|digest| **digest != target.digest)
        {
            let detail = format!("content has digest {}, expected {expected}", target.digest);
            return Err(Refusal {
                fault: Fault::Content,
                detail,
            });
        }
        progress(Progress::Resolved {
            digest: target.digest.clone(),
        });
        let bytes = if target.is_index() {
            let index: Index = manifest::parse("index", &bytes).map_err(|e| local(&e))?;
            let picked = manifest::pick(&index)
                .map_err(|error| local(&error))?
                .digest
                .clone();
            let bytes = remote.manifest_by_digest(&picked).await.map_err(failed)?;
            self.keep_manifest(bytes.clone()).await?;
            bytes
        } else {
            bytes
        };
        let manifest: Manifest = manifest::parse("manifest", &bytes).map_err(|e| local(&e))?;
        self.fetch_content(&remote, manifest, progress).await?;
        let (store, name) = (self.0.store.clone(), reference.to_string());
        let image = blocking(move || store.publish(&[name], target, false)).await?;
        drop(held);
        Ok(image)
    }

    async fn keep_manifest(&self, bytes: Vec<u8>) -> Result<Descriptor, Refusal> {
        let store = self.0.store.clone();
        blocking(move || describe(store.blobs().put(&bytes)?, &bytes)).await
    }

    /// The configuration first, because it says what the layers unpack to; then the layers side by
    /// side, each unpacked as soon as it is here.
    async fn fetch_content(
        &self,
        remote: &Arc<Remote>,
        manifest: Manifest,
        progress: &OnProgress,
    ) -> Result<(), Refusal> {
        self.fetch_blob(remote, &manifest.config, progress).await?;
        let (store, config) = (self.0.store.clone(), manifest.config.digest.clone());
        let config = blocking(move || store.blobs().read("configuration", &config)).await?;
        let diff_ids = serde_json::from_slice::<ConfigFile>(&config)
            .map(|file| file.rootfs.diff_ids)
            .unwrap_or_default();
        let mut tasks = JoinSet::new();
        for (at, layer) in manifest.layers.into_iter().enumerate() {
            let (puller, remote) = (self.clone(), Arc::clone(remote));
            let (progress, diff_id) = (Arc::clone(progress), diff_ids.get(at).cloned());
            tasks.spawn(async move {
                puller.fetch_blob(&remote, &layer, &progress).await?;
                if let Some(diff_id) = diff_id.filter(|_| !layer.is_wasm()) {
                    let (store, blob) = (puller.0.store.clone(), layer.digest.clone());
                    blocking(move || store.unpack_layer(&diff_id, &blob)).await?;
                }
                progress(Progress::BlobDone {
                    digest: layer.digest,
                });
                Ok(())
            });
        }
        while let Some(outcome) = tasks.join_next().await {
            outcome.unwrap_or_else(|error| Err(joined(error)))?;
        }
        Ok(())
    }

    async fn fetch_blob(
        &self,
        remote: &Remote,
        blob: &Descriptor,
        progress: &OnProgress,
    ) -> Result<(), Refusal> {
        if self.0.store.blobs().contains(&blob.digest) {
            return Ok(());
        }
        let _turn = self.0.downloads.acquire().await;
        let tell = |bytes| {
            progress(Progress::Blob {
                digest: blob.digest.clone(),
                bytes,
                bytes_total: blob.size,
            });
        };
        remote.blob(&self.0.store, blob, &tell).await
    }

    fn lock_of(&self, reference: &Reference) -> Arc<tokio::sync::Mutex<()>> {
        let mut pulling = self
            .0
            .pulling
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(pulling.entry(reference.to_string()).or_default())
    }

    /// Forgets the lock when nobody else waits for it.
    fn unlock(&self, reference: &Reference, lock: Arc<tokio::sync::Mutex<()>>) {
        let mut pulling = self
            .0
            .pulling
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        drop(lock);
        let name = reference.to_string();
        if pulling
            .get(&name)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            pulling.remove(&name);
        }
    }
}

/// Of two refusals the one that tells the user more: that of a registry that answered over that of
/// one that did not; else the later, which is nearer to the registry itself.
pub(super) fn worse(last: Option<Refusal>, new: Refusal) -> Option<Refusal> {
    let weight = |refusal: &Refusal| u8::from(refusal.fault != Fault::Unreachable);
    match last {
        Some(last) if weight(&last) > weight(&new) => Some(last),
        _ => Some(new),
    }
}

pub(super) fn nowhere() -> Refusal {
    Refusal {
        fault: Fault::Unreachable,
        detail: "there is no registry to ask".to_owned(),
    }
}

fn local(error: &Error) -> Refusal {
    Refusal {
        fault: Fault::Content,
        detail: chain(error),
    }
}

fn joined(error: tokio::task::JoinError) -> Refusal {
    Refusal {
        fault: Fault::Content,
        detail: error.to_string(),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Refusal> {
    let task: JoinHandle<Result<T, Error>> = tokio::task::spawn_blocking(work);
    match task.await {
        Ok(outcome) => outcome.map_err(|error| local(&error)),
        Err(error) => Err(joined(error)),
    }
}
