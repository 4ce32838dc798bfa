//! Pushing: an image of the store to a registry, blobs that are missing there first, the manifest
//! last. The builder calls [`Puller::push`].

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::HeaderValue;
use oci_client::errors::OciDistributionError;

use super::digest::Digest;
use super::error::{Error, Fault};
use super::keyring::Keyring;
use super::manifest::Descriptor;
use super::pull::{Puller, nowhere, worse};
use super::reference::Reference;
use super::registry::{Refusal, Remote, chain};
use super::store::{Image, ImageStore};

/// How many blobs go out at once.
const UPLOADS_MAX: usize = 3;
/// A blob up to this size goes in one request, a larger one in chunks: a request has to be through
/// before the client loses patience.
const WHOLE_BYTES_MAX: u64 = 8 << 20;
/// How often a blob is sent again after the network failed.
const ATTEMPTS_MAX: usize = 3;

/// How to reach the registries of one build, beside what `registries.yaml` says.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Credentials.
    pub keyring: Keyring,
    /// Registries that speak plain HTTP; `*` is every one.
    pub plain_http: Vec<String>,
    /// Registries whose certificates are not checked; `*` is every one.
    pub skip_verify: Vec<String>,
}

impl Access {
    pub(super) fn is_plain(&self, host: &str) -> bool {
        is_listed(&self.plain_http, host)
    }

    pub(super) fn skips(&self, host: &str) -> bool {
        is_listed(&self.skip_verify, host)
    }
}

fn is_listed(list: &[String], host: &str) -> bool {
    list.iter().any(|one| one == "*" || one == host)
}

impl Puller {
    /// Pushes an image under a name; `say` hears of every blob that is through.
    ///
    /// # Errors
    /// [`Error::Push`] with whose fault it is.
    pub async fn push(
        &self,
        image: &Image,
        name: &str,
        access: &Access,
        say: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Digest, Error> {
        let reference: Reference = name.parse()?;
        let (mut last, mut silent) = (None, false);
        let own = self.places(&reference, access);
        for (endpoint, credentials) in own.into_iter().filter(|(place, _)| !place.mirror) {
            if silent {
                break;
            }
            let pushed = match Remote::new(&reference, endpoint, credentials).await {
                Ok(remote) => remote.push(self.store(), image, say).await,
                Err(refusal) => Err(refusal),
            };
            match pushed {
                Ok(digest) => return Ok(digest),
                Err(refusal) => {
                    // Other credentials help only where these were not enough.
                    silent = refusal.fault != Fault::Unauthorized;
                    last = worse(last, refusal);
                }
            }
        }
        let refusal = last.unwrap_or_else(nowhere);
        Err(Error::Push {
            image: name.to_owned(),
            fault: refusal.fault,
            detail: refusal.detail,
        })
    }
}

impl Remote {
    async fn push(
        &self,
        store: &ImageStore,
        image: &Image,
        say: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Digest, Refusal> {
        let local = |error: Error| self.broken(chain(&error));
        let resolved = store.resolve(&image.digest).map_err(local)?;
        let digest = resolved.manifest_digest.clone();
        let bytes = store.blobs().read("manifest", &digest).map_err(local)?;
        let manifest = resolved.manifest;
        let mut blobs: Vec<&Descriptor> = manifest.layers.iter().collect();
        blobs.push(&manifest.config);
        blobs.sort_by(|one, other| one.digest.cmp(&other.digest));
        blobs.dedup_by(|one, other| one.digest == other.digest);
        let mut waiting = blobs.into_iter();
        let mut going = FuturesUnordered::new();
        loop {
            while going.len() < UPLOADS_MAX
                && let Some(blob) = waiting.next()
            {
                going.push(self.send_blob(store, blob, say));
            }
            match going.next().await {
                Some(outcome) => outcome?,
                None => break,
            }
        }
        let kind = HeaderValue::from_str(&manifest.media_type);
        let kind = kind.map_err(|_| self.broken("the manifest has no media type".to_owned()))?;
        let sent = self.client().push_manifest_raw(self.image(), bytes, kind);
        sent.await.map_err(|error| self.refusal("PUT", &error))?;
        Ok(digest)
    }

    async fn send_blob(
        &self,
        store: &ImageStore,
        blob: &Descriptor,
        say: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<(), Refusal> {
        let digest = blob.digest.as_str();
        let short = &blob.digest.hex()[..12];
        // Where the question is refused, the upload says why.
        if let Ok(true) = self.client().blob_exists(self.image(), digest).await {
            say(&format!("{short}: already there"));
            return Ok(());
        }
        let mut last = None;
        for _ in 0..ATTEMPTS_MAX {
            match self.upload(store, blob).await {
                Ok(()) => {
                    say(&format!("{short}: pushed {} bytes", blob.size));
                    return Ok(());
                }
                Err(refusal) if refusal.fault == Fault::Unreachable => last = Some(refusal),
                Err(refusal) => return Err(refusal),
            }
        }
        Err(last.unwrap_or_else(nowhere))
    }

    async fn upload(&self, store: &ImageStore, blob: &Descriptor) -> Result<(), Refusal> {
        let path = store.blobs().path(&blob.digest);
        let failed = |error: std::io::Error| {
            let path = path.display();
            self.broken(format!("cannot read {path}: {error}"))
        };
        let digest = blob.digest.as_str();
        if blob.size <= WHOLE_BYTES_MAX {
            let bytes = tokio::fs::read(&path).await.map_err(failed)?;
            let sent = self.client().push_blob(self.image(), bytes, digest).await;
            return sent.map(drop).map_err(|error| self.refusal("PUT", &error));
        }
        let file = tokio::fs::File::open(&path).await.map_err(failed)?;
        let stream = tokio_util::io::ReaderStream::with_capacity(file, 256 << 10)
            .map(|piece| piece.map_err(OciDistributionError::from));
        let sent = self.client().push_blob_stream_chunked(self.image(), stream);
        let sent = sent.await.map_err(|error| self.refusal("PATCH", &error))?;
        match sent.blob_digest == digest {
            true => Ok(()),
            false => Err(self.broken(format!("{digest} is damaged: sent {}", sent.blob_digest))),
        }
    }
}
