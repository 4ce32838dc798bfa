//! Images that are built here: taking an image apart to stand on it, a directory as a new layer,
//! configuration and manifest, the archive of `docker load`. The builder calls it; none of it asks
//! a registry (`push` does).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::cache::Twin;
use super::digest::Digest;
use super::error::Error;
use super::manifest::{
    self, ARCHITECTURE, DOCKER_LAYER_GZIP, Descriptor, Manifest, OCI_CONFIG, OCI_LAYER,
    OCI_LAYER_GZIP, OCI_MANIFEST,
};
use super::pack;
use super::store::{Image, ImageStore, describe};

/// A layer of an image that is being built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    /// Digest of the archive, not compressed.
    pub(crate) diff_id: Digest,
    blob: Descriptor,
}

impl Layer {
    /// A layer that this store has made: its blob is its archive.
    pub(crate) fn own(diff_id: Digest, size: u64) -> Self {
        let blob = descriptor(OCI_LAYER, diff_id.clone(), size);
        Self { diff_id, blob }
    }

    /// Bytes of the blob.
    pub(crate) const fn size(&self) -> u64 {
        self.blob.size
    }

    fn is_plain(&self) -> bool {
        self.blob.media_type == OCI_LAYER
    }
}

/// An image taken apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    /// The `config` of its configuration.
    pub(crate) config: Value,
    /// From the lowest.
    pub(crate) layers: Vec<Layer>,
    /// What made it, as it is written.
    pub(crate) history: Vec<Value>,
    pub(crate) created: Option<String>,
}

/// Everything an image is made of.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    pub(crate) parts: Parts,
    pub(crate) author: Option<String>,
    /// Layers are stored compressed: a registry wants them.
    pub(crate) gzip: bool,
}

impl ImageStore {
    /// Takes an image apart.
    pub(crate) fn parts(&self, image: &Image) -> Result<Parts, Error> {
        let resolved = self.resolve(&image.digest)?;
        let digest = &resolved.manifest.config.digest;
        let bytes = self.blobs().read("configuration", digest)?;
        let file: Value = manifest::parse("configuration", &bytes)?;
        let pairs = image.diff_ids().iter().zip(resolved.manifest.layers);
        let layers = pairs.map(|(diff_id, mut blob)| {
            // One manifest has one family of types; the bytes are the same.
            if blob.media_type == DOCKER_LAYER_GZIP {
                OCI_LAYER_GZIP.clone_into(&mut blob.media_type);
            }
            Layer {
                diff_id: diff_id.clone(),
                blob,
            }
        });
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        Ok(Parts {
            layers: layers.collect(),
            history: list(&file["history"]),
            created: file["created"].as_str().map(str::to_owned),
            config: file["config"].clone(),
        })
    }

    /// Lower directories for these layers, topmost first.
    pub(crate) fn directories(&self, layers: &[Layer]) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = Vec::new();
        for layer in layers.iter().rev() {
            let path = self.layer_path(&layer.diff_id);
            // The kernel refuses the same directory twice; its upper place says all.
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        paths
    }

    /// Makes a layer of a directory nobody writes to any more; none if it is empty. The directory
    /// is the store's from then on. No time in it is later than `latest`, seconds.
    pub(crate) fn add_layer(
        &self,
        directory: &Path,
        latest: Option<i64>,
    ) -> Result<Option<Layer>, Error> {
        let mut entries = fs::read_dir(directory).map_err(Error::file("list", directory))?;
        if entries.next().is_none() {
            return Ok(None);
        }
        let mut ingest = self.blobs().ingest()?;
        pack::pack(directory, &mut ingest, latest).map_err(Error::file("pack", directory))?;
        // Not synced: the layer's own note of doubt speaks for its archive too.
        let (diff_id, size) = ingest.commit_unsynced()?;
        self.install_layer(&diff_id, directory)?;
        Ok(Some(Layer::own(diff_id, size)))
    }

    /// Puts configuration and manifest together. The image has no name yet.
    pub(crate) fn put_image(&self, finished: &Finished) -> Result<Arc<Image>, Error> {
        let mut layers = finished.parts.layers.clone();
        if finished.gzip {
            self.compress(&mut layers)?;
        }
        let config = configuration(finished);
        let config = serde_json::to_vec(&config).map_err(|source| Error::Json {
            what: "configuration",
            source,
        })?;
        let size = config.len() as u64;
        let manifest = Manifest {
            schema_version: 2,
            media_type: OCI_MANIFEST.to_owned(),
            config: descriptor(OCI_CONFIG, self.blobs().put(&config)?, size),
            layers: layers.into_iter().map(|layer| layer.blob).collect(),
        };
        let bytes = serde_json::to_vec(&manifest).map_err(|source| Error::Json {
            what: "manifest",
            source,
        })?;
        let target = describe(self.blobs().put(&bytes)?, &bytes)?;
        self.publish(&[], target, true)
    }

    /// Gives an image a name. `loaded` says that no registry knows it better.
    pub(crate) fn give_name(&self, image: &Image, name: &str, loaded: bool) -> Result<(), Error> {
        let bytes = self.blobs().read("manifest", &image.digest)?;
        let target = describe(image.digest.clone(), &bytes)?;
        self.publish(&[name.to_owned()], target, loaded).map(drop)
    }

    /// Puts the gzip form in the place of plain layers, two at a time.
    fn compress(&self, layers: &mut [Layer]) -> Result<(), Error> {
        let mut plain: Vec<&mut Layer> = layers.iter_mut().filter(|l| l.is_plain()).collect();
        let middle = plain.len() / 2;
        let (one, other) = plain.split_at_mut(middle);
        let each = |half: &mut [&mut Layer]| {
            half.iter_mut().try_for_each(|layer| {
                let twin = self.gzip(&layer.diff_id)?;
                layer.blob = descriptor(OCI_LAYER_GZIP, twin.digest, twin.size);
                Ok(())
            })
        };
        std::thread::scope(|scope| {
            let beside = scope.spawn(|| each(other));
            let own = each(one);
            let beside = beside
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            own.and(beside)
        })
    }

    fn gzip(&self, layer: &Digest) -> Result<Twin, Error> {
        if let Some(twin) = self.twin(layer) {
            return Ok(twin);
        }
        let mut source = self.blobs().open_blob(layer)?;
        let ingest = self.blobs().ingest()?;
        let path = self.blobs().path(layer);
        let failed = || Error::file("compress", &path);
        let mut encoder = flate2::write::GzEncoder::new(ingest, GZIP_LEVEL);
        io::copy(&mut source, &mut encoder).map_err(failed())?;
        let ingest = encoder.finish().map_err(failed())?;
        let (digest, size) = ingest.commit(None)?;
        let twin = Twin { digest, size };
        self.note_twin(layer, &twin)?;
        Ok(twin)
    }

    /// Writes an image as an archive that `docker load` reads.
    pub(crate) fn save(&self, image: &Image, names: &[String], out: &Path) -> Result<(), Error> {
        let failed = || Error::file("write", out);
        let resolved = self.resolve(&image.digest)?;
        let file = File::create(out).map_err(failed())?;
        let mut archive = tar::Builder::new(io::BufWriter::new(file));
        let config = format!("{}.json", resolved.manifest.config.digest.hex());
        let mut layers: BTreeMap<String, &Digest> = BTreeMap::new();
        let mut names_of_layers = Vec::new();
        for layer in &resolved.manifest.layers {
            let name = format!("{}.tar.gz", layer.digest.hex());
            layers.insert(name.clone(), &layer.digest);
            names_of_layers.push(name);
        }
        layers.insert(config.clone(), &resolved.manifest.config.digest);
        for (name, digest) in layers {
            let mut blob = self.blobs().open_blob(digest)?;
            let size = blob.metadata().map_err(failed())?.len();
            append(&mut archive, &name, size, &mut blob).map_err(failed())?;
        }
        let list = json!([{"Config": config, "RepoTags": names, "Layers": names_of_layers}]);
        let bytes = list.to_string();
        let size = bytes.len() as u64;
        append(&mut archive, "manifest.json", size, &mut bytes.as_bytes()).map_err(failed())?;
        let done = archive.into_inner().and_then(|mut file| file.flush());
        done.map_err(failed())
    }
}

/// Speed counts more than the last percent: images are pushed more often than kept.
const GZIP_LEVEL: flate2::Compression = flate2::Compression::new(4);

fn append(
    archive: &mut tar::Builder<impl Write>,
    name: &str,
    size: u64,
    content: &mut dyn io::Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(size);
    header.set_mtime(0);
    archive.append_data(&mut header, name, content)
}

fn configuration(finished: &Finished) -> Value {
    let parts = &finished.parts;
    let diff_ids: Vec<&str> = parts.layers.iter().map(|l| l.diff_id.as_str()).collect();
    let mut file = json!({
        "architecture": ARCHITECTURE,
        "os": "linux",
        "config": parts.config,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": parts.history,
    });
    if let Some(created) = &parts.created {
        file["created"] = json!(created);
    }
    if let Some(author) = &finished.author {
        file["author"] = json!(author);
    }
    file
}

fn descriptor(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        platform: None,
        annotations: BTreeMap::new(),
    }
}
