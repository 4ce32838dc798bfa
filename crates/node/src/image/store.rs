//! The images of this machine: blobs, unpacked layers and names under one directory.
//!
//! The agent asks for an image by name and gets what it needs to start a container; `load` and
//! `pull` bring images in; `gc` makes room. The store is an OCI layout other tools can read.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

use super::blobs::Blobs;
use super::digest::Digest;
use super::error::Error;
use super::layers::Layers;
use super::manifest::{self, ConfigFile, Descriptor, ImageConfig, Index, Manifest};
use super::reference::Reference;
use super::table::{Named, Names, Table};

/// How many layers are unpacked at once.
const UNPACK_PARALLEL_MAX: usize = 4;

/// An image ready to run. As long as somebody holds it, nothing of it is removed.
#[derive(Debug)]
pub struct Image {
    /// What the registry calls it: the digest of the index, where there is one, else of the
    /// manifest.
    pub digest: Digest,
    pub config: ImageConfig,
    /// Lower directories for an overlay mount, topmost first. Empty for WebAssembly.
    pub layers: Vec<PathBuf>,
    /// The component's file, if this is no container image but a WebAssembly component.
    pub wasm: Option<PathBuf>,
    /// Bytes of the compressed content.
    pub size: u64,
    diff_ids: Vec<Digest>,
}

impl Image {
    /// An image of nothing but a configuration; `name` makes its digest.
    pub(crate) fn empty(name: &str, config: ImageConfig) -> Self {
        Self {
            digest: Digest::of(name.as_bytes()),
            config,
            layers: Vec::new(),
            wasm: None,
            size: 0,
            diff_ids: Vec::new(),
        }
    }

    /// The layers, lowest first, by the digests of their archives.
    pub(crate) fn diff_ids(&self) -> &[Digest] {
        &self.diff_ids
    }
}

/// A line of the list of images.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Summary {
    pub reference: String,
    pub digest: Digest,
    /// Bytes of the compressed content.
    pub size: u64,
    /// Brought by hand rather than pulled.
    pub loaded: bool,
}

/// A handle on the store; cheap to clone. Its methods block on the disk: `get` for microseconds,
/// the others long enough for a blocking thread.
#[derive(Clone)]
pub struct ImageStore(Arc<Inner>);

struct Inner {
    root: PathBuf,
    blobs: Blobs,
    layers: Layers,
    table: Table,
    /// By the digest of the target.
    images: Mutex<HashMap<Digest, Arc<Image>>>,
    /// When an image was last asked for, by the digest of the target; for all others that was
    /// before `opened`.
    used: Mutex<HashMap<Digest, Instant>>,
    opened: Instant,
}

/// A manifest that has been found and read.
pub(super) struct Resolved {
    pub(super) manifest: Manifest,
    pub(super) manifest_digest: Digest,
    pub(super) size: u64,
}

impl ImageStore {
    /// Opens or makes the store `images` in this data directory.
    pub fn open(data_dir: &Path) -> Result<Self, Error> {
        let root = data_dir.join("images");
        std::fs::create_dir_all(&root).map_err(Error::file("create", &root))?;
        let blobs = Blobs::open(&root)?;
        let layers = Layers::open(&root, blobs.clone())?;
        let table = Table::open(&root)?;
        Ok(Self(Arc::new(Inner {
            root,
            blobs,
            layers,
            table,
            images: Mutex::default(),
            used: Mutex::default(),
            opened: Instant::now(),
        })))
    }

    /// The image of this name, if it is here and whole.
    pub fn get(&self, reference: &str) -> Result<Option<Arc<Image>>, Error> {
        let reference: Reference = reference.parse()?;
        let Some(named) = self.find(&reference)? else {
            return Ok(None);
        };
        match self.image(&named.target.digest) {
            Ok(image) => {
                self.used().insert(named.target.digest, Instant::now());
                Ok(Some(image))
            }
            Err(Error::Missing { what, digest }) => {
                tracing::info!(%reference, what, digest, "the image is not whole");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Every name and what it stands for, sorted by name.
    pub fn list(&self) -> Result<Vec<Summary>, Error> {
        let summary = |(reference, named): (String, Named)| {
            let digest = named.target.digest;
            let size = self.image(&digest).map_or(0, |image| image.size);
            Summary {
                reference,
                digest,
                size,
                loaded: named.loaded,
            }
        };
        Ok(self.0.table.all()?.into_iter().map(summary).collect())
    }

    /// Takes a name away, and the content that no other name needs. An image in use stays.
    pub fn remove(&self, reference: &str) -> Result<(), Error> {
        let reference = reference.parse::<Reference>()?.to_string();
        let Some(named) = self.0.table.find(&reference)? else {
            return Err(Error::NotFound { reference });
        };
        let others = self
            .0
            .table
            .all()?
            .values()
            .filter(|n| n.target.digest == named.target.digest)
            .count();
        if others == 1 && self.in_use().contains(&named.target.digest) {
            return Err(Error::InUse { reference });
        }
        self.0.table.change(|names| names.remove(&reference))?;
        self.prune()
    }

    /// Removes content that no name and nobody's [`Image`] needs. Does nothing while another
    /// process or task brings an image in.
    pub fn prune(&self) -> Result<(), Error> {
        let lock = self.open_lock()?;
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(());
        }
        let mut needed = Needed::default();
        let named = self.0.table.all()?;
        let used = self.in_use();
        for target in named
            .values()
            .map(|named| &named.target.digest)
            .chain(&used)
        {
            self.mark(target, &mut needed);
        }
        self.images()
            .retain(|digest, _| needed.blobs.contains(digest));
        self.used()
            .retain(|digest, _| needed.blobs.contains(digest));
        for layer in self.cached_layers() {
            if let Some(twin) = self.twin(&layer) {
                needed.blobs.insert(twin.digest);
            }
            // The archive of a layer that was built here has its DiffID for a digest.
            needed.blobs.insert(layer.clone());
            needed.layers.insert(layer);
        }
        for blob in self.0.blobs.list() {
            if !needed.blobs.contains(&blob) {
                self.0.blobs.remove(&blob);
            }
        }
        for layer in self.0.layers.list() {
            if !needed.layers.contains(&layer) {
                self.0.layers.remove(&layer)?;
                self.forget_twin(&layer);
            }
        }
        self.0.layers.remove_scratch();
        Ok(())
    }

    /// Removes what programs of builds have cached, unless a build goes on.
    pub(super) fn drop_cache_mounts(&self) -> Result<(), Error> {
        let lock = self.open_lock()?;
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            self.remove_cache_mounts();
        }
        Ok(())
    }

    /// What a name stands for. A digest is found whatever name its content came by.
    pub(super) fn find(&self, reference: &Reference) -> Result<Option<Named>, Error> {
        if let Some(named) = self.0.table.find(&reference.to_string())? {
            return Ok(Some(named));
        }
        let Some(digest) = reference.digest() else {
            return Ok(None);
        };
        if !self.0.blobs.contains(digest) {
            return Ok(None);
        }
        let bytes = self.0.blobs.read("manifest", digest)?;
        let target = describe(digest.clone(), &bytes)?;
        let loaded = self
            .0
            .table
            .all()?
            .values()
            .any(|n| n.loaded && n.target.digest == *digest);
        Ok(Some(Named { target, loaded }))
    }

    /// Unpacks what a target needs and gives it its names. The content must be there.
    pub(super) fn publish(
        &self,
        references: &[String],
        target: Descriptor,
        loaded: bool,
    ) -> Result<Arc<Image>, Error> {
        self.unpack(&target.digest)?;
        let image = self.image(&target.digest)?;
        self.0.table.change(|names| {
            for reference in references {
                names.insert(
                    reference.clone(),
                    Named {
                        target: target.clone(),
                        loaded,
                    },
                );
            }
        })?;
        Ok(image)
    }

    /// The manifest for this machine that a target (index or manifest) leads to.
    pub(super) fn resolve(&self, target: &Digest) -> Result<Resolved, Error> {
        let bytes = self.0.blobs.read("manifest", target)?;
        let mut size = bytes.len() as u64;
        let (manifest_digest, bytes) = if describe(target.clone(), &bytes)?.is_index() {
            let index: Index = manifest::parse("index", &bytes)?;
            let picked = manifest::pick(&index)?.digest.clone();
            let bytes = self.0.blobs.read("manifest", &picked)?;
            size += bytes.len() as u64;
            (picked, bytes)
        } else {
            (target.clone(), bytes)
        };
        let manifest: Manifest = manifest::parse("manifest", &bytes)?;
        size += manifest.config.size + manifest.layers.iter().map(|layer| layer.size).sum::<u64>();
        Ok(Resolved {
            manifest,
            manifest_digest,
            size,
        })
    }

    pub(super) fn blobs(&self) -> &Blobs {
        &self.0.blobs
    }

    /// Held while content comes in that no name needs yet, so that `prune` leaves it alone.
    pub(crate) fn hold(&self) -> Result<File, Error> {
        let lock = self.open_lock()?;
        rustix::fs::flock(&lock, FlockOperation::LockShared)
            .map_err(|error| Error::file("lock", &self.0.root)(error.into()))?;
        Ok(lock)
    }

    /// Targets somebody holds an [`Image`] of.
    pub(super) fn in_use(&self) -> BTreeSet<Digest> {
        let images = self.images();
        let used = images
            .iter()
            .filter(|(_, image)| Arc::strong_count(image) > 1);
        used.map(|(digest, _)| digest.clone()).collect()
    }

    pub(super) fn root(&self) -> &Path {
        &self.0.root
    }

    pub(super) fn names(&self) -> Result<Names, Error> {
        self.0.table.all()
    }

    /// How long nobody has asked for an image.
    pub(super) fn idle(&self, target: &Digest) -> Duration {
        self.used().get(target).unwrap_or(&self.0.opened).elapsed()
    }

    /// Takes every name of a target away; its content stays until `prune`.
    pub(super) fn forget(&self, target: &Digest) -> Result<Vec<String>, Error> {
        self.0.table.change(|names| {
            let (gone, stay): (Names, Names) = std::mem::take(names)
                .into_iter()
                .partition(|(_, n)| n.target.digest == *target);
            *names = stay;
            gone.into_keys().collect()
        })
    }

    fn used(&self) -> MutexGuard<'_, HashMap<Digest, Instant>> {
        self.0.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_lock(&self) -> Result<File, Error> {
        let path = self.0.root.join("content.lock");
        let options = File::options().create(true).append(true).open(&path);
        options.map_err(Error::file("open", &path))
    }

    fn images(&self) -> MutexGuard<'_, HashMap<Digest, Arc<Image>>> {
        // Insertions and removals only: a panic elsewhere leaves the map whole.
        self.0.images.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The image behind a target; `Missing` if a part of it is.
    pub(super) fn image(&self, target: &Digest) -> Result<Arc<Image>, Error> {
        if let Some(image) = self.images().get(target) {
            return Ok(Arc::clone(image));
        }
        let image = Arc::new(self.read(target)?);
        Ok(Arc::clone(
            self.images().entry(target.clone()).or_insert(image),
        ))
    }

    fn read(&self, target: &Digest) -> Result<Image, Error> {
        let resolved = self.resolve(target)?;
        let mut image = Image {
            digest: target.clone(),
            config: ImageConfig::default(),
            layers: Vec::new(),
            wasm: None,
            size: resolved.size,
            diff_ids: Vec::new(),
        };
        if let Some(component) = wasm_layer(&resolved.manifest) {
            let path = self.0.blobs.path(&component.digest);
            if !path.exists() {
                let digest = component.digest.to_string();
                return Err(Error::Missing {
                    what: "component",
                    digest,
                });
            }
            // The configuration of an artifact is often empty; where it is one, it counts.
            if let Ok(bytes) = self
                .0
                .blobs
                .read("configuration", &resolved.manifest.config.digest)
                && let Ok(file) = serde_json::from_slice::<ConfigFile>(&bytes)
            {
                image.config = file.config.unwrap_or_default();
            }
            image.wasm = Some(path);
            return Ok(image);
        }
        let file = self.config_file(&resolved.manifest)?;
        image.diff_ids = file.rootfs.diff_ids;
        image.config = file.config.unwrap_or_default();
        for diff_id in image.diff_ids.iter().rev() {
            if !self.0.layers.contains(diff_id) {
                return Err(Error::Missing {
                    what: "layer",
                    digest: diff_id.to_string(),
                });
            }
            // The kernel refuses the same directory twice; its upper place says all.
            let path = self.0.layers.path(diff_id);
            if !image.layers.contains(&path) {
                image.layers.push(path);
            }
        }
        Ok(image)
    }

    fn config_file(&self, manifest: &Manifest) -> Result<ConfigFile, Error> {
        let bytes = self
            .0
            .blobs
            .read("configuration", &manifest.config.digest)?;
        let file: ConfigFile = manifest::parse("configuration", &bytes)?;
        if file.rootfs.diff_ids.len() != manifest.layers.len() {
            let digest = manifest.config.digest.to_string();
            return Err(Error::Missing {
                what: "list of DiffIDs matching the layers in",
                digest,
            });
        }
        Ok(file)
    }

    /// Unpacks the layers of a target that are not unpacked yet, some at a time.
    pub(super) fn unpack(&self, target: &Digest) -> Result<(), Error> {
        let resolved = self.resolve(target)?;
        if wasm_layer(&resolved.manifest).is_some() {
            return Ok(());
        }
        let file = self.config_file(&resolved.manifest)?;
        let pairs: Vec<(&Digest, &Digest)> = file
            .rootfs
            .diff_ids
            .iter()
            .zip(resolved.manifest.layers.iter().map(|l| &l.digest))
            .collect();
        let todo = Mutex::new(pairs.into_iter());
        let next = || todo.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || {
            while let Some((diff_id, blob)) = next() {
                self.0.layers.ensure(diff_id, blob)?;
            }
            Ok(())
        };
        let workers = file.rootfs.diff_ids.len().min(UNPACK_PARALLEL_MAX);
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
            let mut outcome = work();
            for other in others {
                let other = other
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                outcome = outcome.and(other);
            }
            outcome
        })
    }

    pub(super) fn layer_is_here(&self, diff_id: &Digest) -> bool {
        self.0.layers.contains(diff_id)
    }

    pub(super) fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.0.layers.path(diff_id)
    }

    /// Takes a directory as the layer it is.
    pub(super) fn install_layer(&self, diff_id: &Digest, directory: &Path) -> Result<(), Error> {
        self.0.layers.install(diff_id, directory)
    }

    /// Unpacks one layer whose blob is here.
    pub(super) fn unpack_layer(&self, diff_id: &Digest, blob: &Digest) -> Result<(), Error> {
        self.0.layers.ensure(diff_id, blob)
    }

    /// Adds everything a target needs. What cannot be read needs nothing.
    fn mark(&self, target: &Digest, needed: &mut Needed) {
        needed.blobs.insert(target.clone());
        let Ok(resolved) = self.resolve(target) else {
            return;
        };
        needed.blobs.insert(resolved.manifest_digest);
        needed.blobs.insert(resolved.manifest.config.digest.clone());
        needed.blobs.extend(
            resolved
                .manifest
                .layers
                .iter()
                .map(|layer| layer.digest.clone()),
        );
        if let Ok(file) = self.config_file(&resolved.manifest) {
            needed.layers.extend(file.rootfs.diff_ids);
        }
    }
}

#[derive(Default)]
struct Needed {
    blobs: BTreeSet<Digest>,
    layers: BTreeSet<Digest>,
}

fn wasm_layer(manifest: &Manifest) -> Option<&Descriptor> {
    manifest.layers.iter().find(|layer| layer.is_wasm())
}

/// A descriptor of a manifest or index from its bytes. Documents of the OCI need not say what they
/// are; an index is what lists manifests.
pub(super) fn describe(digest: Digest, bytes: &[u8]) -> Result<Descriptor, Error> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Probe {
        #[serde(default)]
        media_type: Option<String>,
        #[serde(default)]
        manifests: Option<serde::de::IgnoredAny>,
    }
    let probe: Probe = manifest::parse("manifest", bytes)?;
    let media_type = probe.media_type.unwrap_or_else(|| {
        let guess = if probe.manifests.is_some() {
            manifest::OCI_INDEX
        } else {
            manifest::OCI_MANIFEST
        };
        guess.to_owned()
    });
    let size = bytes.len() as u64;
    Ok(Descriptor {
        media_type,
        digest,
        size,
        platform: None,
        annotations: Default::default(),
    })
}
