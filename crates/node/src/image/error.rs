//! What can go wrong with images.

use std::io;
use std::path::{Path, PathBuf};

use super::digest::Digest;

/// A failed step with images. The texts go into Events and conditions as they are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not the name of an image; the user's to correct (the kubelet's `InvalidImageName`).
    #[error("couldn't parse image name {given:?}: {reason}")]
    Reference { given: String, reason: &'static str },
    /// A file of the store or of what is loaded.
    #[error("cannot {step} {}", path.display())]
    File {
        step: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// Content that is not what its digest says: damaged or forged.
    #[error("content has digest {found}, expected {expected}")]
    DigestMismatch { expected: Digest, found: Digest },
    /// Content the manifest names is not there.
    #[error("{what} {digest} is missing")]
    Missing { what: &'static str, digest: String },
    /// A manifest, index or configuration that cannot be read.
    #[error("cannot read the image's {what}")]
    Json {
        what: &'static str,
        source: serde_json::Error,
    },
    /// Neither an OCI layout nor an archive of `docker save`.
    #[error("{} is neither an OCI layout nor an OCI or docker archive", path.display())]
    NotAnImage { path: PathBuf },
    /// What is loaded has no full name.
    #[error("{} does not say what the image is called; give --name REFERENCE", path.display())]
    Unnamed { path: PathBuf },
    /// A name given for a file that holds several images.
    #[error("{} holds {count} images, so --name cannot name them", path.display())]
    ManyImages { path: PathBuf, count: usize },
    /// None of the manifests of a multi-platform image is for this machine.
    #[error("no match for platform linux/{architecture} in manifest")]
    NoPlatform { architecture: &'static str },
    /// A layer that cannot be unpacked; `entry` is the path in it, empty for the archive itself.
    #[error("cannot unpack layer {layer} at {entry:?}")]
    Unpack {
        layer: Digest,
        entry: String,
        source: io::Error,
    },
    /// `registries.yaml` cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Registries { path: PathBuf, reason: String },
    /// The policy forbids to pull what is not here (the kubelet's `ErrImageNeverPull`).
    #[error("Container image \"{image}\" is not present with pull policy of Never")]
    NeverPull { image: String },
    /// No registry gave the image (the kubelet's `ErrImagePull`).
    #[error("Failed to pull image \"{image}\": {detail}")]
    Pull {
        image: String,
        fault: Fault,
        detail: String,
    },
    /// The registry did not take the image.
    #[error("Failed to push image \"{image}\": {detail}")]
    Push {
        image: String,
        fault: Fault,
        detail: String,
    },
    /// No registry said what the tag stands for.
    #[error("failed to resolve image to digest: {detail}")]
    Resolve {
        image: String,
        fault: Fault,
        detail: String,
    },
    /// An image that a Pod uses is not removed.
    #[error("image {reference} is in use")]
    InUse { reference: String },
    /// No such image here.
    #[error("image {reference} not found")]
    NotFound { reference: String },
}

/// Whose fault it is that an image did not come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The user's: there is no such image. Trying again helps once somebody pushes it.
    NotFound,
    /// The user's: credentials are missing or wrong.
    Unauthorized,
    /// The network's: trying again may help.
    Unreachable,
    /// The registry's: it answered with an error of its own. Trying again may help.
    Refused,
    /// The content is damaged or this machine could not keep it.
    Content,
}

impl Error {
    pub(super) fn file(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { step, path, source }
    }
}
