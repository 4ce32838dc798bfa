//! Writing images: from files or a directory and a configuration to an OCI layout or archive.
//!
//! For `rekindle image build-self` and for tests. The same input gives the same bytes: entries are
//! sorted, times are the epoch, owners are root.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tar::{EntryType, Header};

use super::blobs::Blobs;
use super::digest::Digest;
use super::error::Error;
use super::manifest::{
    ARCHITECTURE, ConfigFile, Descriptor, ImageConfig, Index, Manifest, OCI_CONFIG, OCI_INDEX,
    OCI_LAYER, OCI_LAYER_GZIP, OCI_MANIFEST, Platform, RootFs,
};
use super::table::REF_NAME;

/// How layers are stored.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Compression {
    #[default]
    None,
    Gzip,
    Zstd,
}

/// What an entry of a layer is.
#[derive(Clone, Debug)]
pub enum Content {
    File(Vec<u8>),
    Directory,
    Symlink(String),
    /// To another entry of the same layer.
    HardLink(String),
}

/// One layer under construction: paths relative to the root.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    entries: BTreeMap<String, (u32, Content)>,
}

impl Layer {
    /// An empty layer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a regular file.
    #[must_use]
    pub fn file(self, path: &str, mode: u32, bytes: impl Into<Vec<u8>>) -> Self {
        self.entry(path, mode, Content::File(bytes.into()))
    }

    /// Adds an entry; a later one of the same path replaces it.
    #[must_use]
    pub fn entry(mut self, path: &str, mode: u32, content: Content) -> Self {
        self.entries
            .insert(path.trim_matches('/').to_owned(), (mode, content));
        self
    }

    /// Everything below a directory: regular files, directories and symbolic links.
    pub fn of_directory(directory: &Path) -> Result<Self, Error> {
        let mut layer = Self::new();
        layer.add_directory(directory, Path::new(""))?;
        Ok(layer)
    }

    fn add_directory(&mut self, directory: &Path, below: &Path) -> Result<(), Error> {
        let listed = fs::read_dir(directory).map_err(Error::file("list", directory))?;
        for entry in listed {
            let path = entry.map_err(Error::file("list", directory))?.path();
            let found = path
                .symlink_metadata()
                .map_err(Error::file("look at", &path))?;
            let name = below.join(path.file_name().unwrap_or_default());
            let content = if found.is_dir() {
                self.add_directory(&path, &name)?;
                Content::Directory
            } else if found.is_symlink() {
                let target = fs::read_link(&path).map_err(Error::file("read", &path))?;
                Content::Symlink(target.to_string_lossy().into_owned())
            } else if found.is_file() {
                Content::File(fs::read(&path).map_err(Error::file("read", &path))?)
            } else {
                continue;
            };
            let mode = found.permissions().mode() & 0o7777;
            self.entries
                .insert(name.to_string_lossy().into_owned(), (mode, content));
        }
        Ok(())
    }

    fn tar(&self) -> io::Result<Vec<u8>> {
        let mut builder = tar::Builder::new(Vec::new());
        let links = |content: &Content| matches!(content, Content::HardLink(_));
        // Links come behind what they point to.
        let (last, first): (Vec<_>, Vec<_>) = self.entries.iter().partition(|(_, e)| links(&e.1));
        for (path, (mode, content)) in first.into_iter().chain(last) {
            let mut header = Header::new_gnu();
            header.set_mode(*mode);
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            header.set_size(0);
            match content {
                Content::File(bytes) => {
                    header.set_size(bytes.len() as u64);
                    builder.append_data(&mut header, path, bytes.as_slice())?;
                }
                Content::Directory => {
                    header.set_entry_type(EntryType::Directory);
                    builder.append_data(&mut header, path, io::empty())?;
                }
                Content::Symlink(target) => {
                    header.set_entry_type(EntryType::Symlink);
                    builder.append_link(&mut header, path, target)?;
                }
                Content::HardLink(target) => {
                    header.set_entry_type(EntryType::Link);
                    builder.append_link(&mut header, path, target)?;
                }
            }
        }
        builder.into_inner()
    }
}

/// An image under construction.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    config: ImageConfig,
    layers: Vec<Layer>,
    compression: Compression,
}

impl Builder {
    /// An image without layers.
    pub fn new(config: ImageConfig) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }

    /// Adds a layer on top.
    #[must_use]
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// Layers are stored plain unless told otherwise.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Writes an OCI layout into a directory, made if need be; returns the manifest's digest.
    pub fn write_layout(&self, directory: &Path, name: &str) -> Result<Digest, Error> {
        fs::create_dir_all(directory).map_err(Error::file("create", directory))?;
        let blobs = Blobs::open(directory)?;
        let manifest = self.write_blobs(&blobs)?;
        let digest = manifest.digest.clone();
        let index = Index {
            schema_version: 2,
            media_type: OCI_INDEX.to_owned(),
            manifests: vec![Descriptor {
                annotations: BTreeMap::from([(REF_NAME.to_owned(), name.to_owned())]),
                ..manifest
            }],
        };
        for (file, bytes) in [
            ("index.json", json("index.json", &index)?),
            ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ] {
            let path = directory.join(file);
            fs::write(&path, bytes).map_err(Error::file("write", &path))?;
        }
        let ingest = blobs.ingest_directory();
        fs::remove_dir(ingest).map_err(Error::file("remove", ingest))?;
        Ok(digest)
    }

    /// Writes an OCI archive, which `docker load`, `podman load` and [`super::ImageStore::load`]
    /// read; returns the manifest's digest.
    pub fn write_archive(&self, path: &Path, name: &str) -> Result<Digest, Error> {
        let scratch = Scratch(path.with_extension(format!("tmp-{}", uuid::Uuid::new_v4())));
        let digest = self.write_layout(&scratch.0, name)?;
        let layer = Layer::of_directory(&scratch.0)?;
        let bytes = layer.tar().map_err(Error::file("write", path))?;
        let mut file = File::create(path).map_err(Error::file("create", path))?;
        file.write_all(&bytes).map_err(Error::file("write", path))?;
        Ok(digest)
    }

    fn write_blobs(&self, blobs: &Blobs) -> Result<Descriptor, Error> {
        let mut diff_ids = Vec::new();
        let mut layers = Vec::new();
        for layer in &self.layers {
            let failed = Error::file("write a layer to", blobs.ingest_directory());
            let tar = layer.tar().map_err(failed)?;
            diff_ids.push(Digest::of(&tar));
            let (media_type, bytes) = compress(tar, self.compression).map_err(Error::file(
                "compress a layer for",
                blobs.ingest_directory(),
            ))?;
            layers.push(descriptor(media_type, blobs.put(&bytes)?, bytes.len()));
        }
        let config = json(
            "configuration",
            &ConfigFile {
                architecture: ARCHITECTURE.to_owned(),
                os: "linux".to_owned(),
                config: Some(self.config.clone()),
                rootfs: RootFs {
                    kind: "layers".to_owned(),
                    diff_ids,
                },
                created: None,
            },
        )?;
        let manifest = json(
            "manifest",
            &Manifest {
                schema_version: 2,
                media_type: OCI_MANIFEST.to_owned(),
                config: descriptor(OCI_CONFIG, blobs.put(&config)?, config.len()),
                layers,
            },
        )?;
        let platform = Platform {
            architecture: ARCHITECTURE.to_owned(),
            os: "linux".to_owned(),
            variant: None,
        };
        let descriptor = descriptor(OCI_MANIFEST, blobs.put(&manifest)?, manifest.len());
        Ok(Descriptor {
            platform: Some(platform),
            ..descriptor
        })
    }
}

fn descriptor(media_type: &str, digest: Digest, size: usize) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size: size as u64,
        platform: None,
        annotations: BTreeMap::new(),
    }
}

fn json<T: serde::Serialize>(what: &'static str, value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|source| Error::Json { what, source })
}

fn compress(tar: Vec<u8>, compression: Compression) -> io::Result<(&'static str, Vec<u8>)> {
    Ok(match compression {
        Compression::None => (OCI_LAYER, tar),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            encoder.write_all(&tar)?;
            (OCI_LAYER_GZIP, encoder.finish()?)
        }
        Compression::Zstd => {
            let media_type = "application/vnd.oci.image.layer.v1.tar+zstd";
            (
                media_type,
                zstd::encode_all(tar.as_slice(), zstd::DEFAULT_COMPRESSION_LEVEL)?,
            )
        }
    })
}

/// A directory that goes when the archive is written.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
