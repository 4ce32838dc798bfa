//! Images from files: an OCI layout (directory or archive) or an archive of `docker save`, plain or
//! compressed.
//!
//! Only what this machine needs is read: of a multi-platform image the index, and the manifest,
//! configuration and layers of this platform.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::digest::Digest;
use super::error::Error;
use super::manifest::{self, Descriptor, Index, Manifest, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};
use super::reference::Reference;
use super::store::{ImageStore, describe};
use super::table::REF_NAME;
use super::unpack::decompress;

/// The annotation of containerd and Docker with the full name.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

impl ImageStore {
    /// Brings in every image of a file or directory and returns their full names. `name` names the
    /// one image of a source that does not say what it is called, or overrides what it says.
    pub fn load(&self, path: &Path, name: Option<&str>) -> Result<Vec<String>, Error> {
        let name = name.map(|name| name.parse::<Reference>()).transpose()?;
        let _held = self.hold()?;
        let mut source = Source::open(path, self.blobs().ingest_directory())?;
        let found = if let Some(bytes) = source.read("index.json")? {
            self.load_layout(&mut source, &bytes)?
        } else if let Some(bytes) = source.read("manifest.json")? {
            self.load_docker(&mut source, &bytes)?
        } else {
            return Err(Error::NotAnImage {
                path: path.to_owned(),
            });
        };
        let count = found.len();
        let mut loaded = Vec::new();
        for mut image in found {
            if let Some(name) = &name {
                if count > 1 {
                    return Err(Error::ManyImages {
                        path: path.to_owned(),
                        count,
                    });
                }
                image.names = vec![name.to_string()];
            }
            if image.names.is_empty() {
                return Err(Error::Unnamed {
                    path: path.to_owned(),
                });
            }
            self.publish(&image.names, image.target, true)?;
            loaded.extend(image.names);
        }
        if loaded.is_empty() {
            return Err(Error::NotAnImage {
                path: path.to_owned(),
            });
        }
        Ok(loaded)
    }

    fn load_layout(&self, source: &mut Source, index: &[u8]) -> Result<Vec<Found>, Error> {
        let index: Index = manifest::parse("index.json", index)?;
        let tags = docker_tags(source)?;
        let mut found: Vec<Found> = Vec::new();
        for descriptor in index.manifests {
            let bytes = self.copy_document(source, &descriptor.digest)?;
            let target = describe(descriptor.digest.clone(), &bytes)?;
            let config = self.copy_image(source, &target, &bytes)?;
            let mut names = names(&descriptor);
            if names.is_empty() {
                names = tags.get(config.hex()).cloned().unwrap_or_default();
            }
            // An image with several tags is listed once for each.
            match found
                .iter_mut()
                .find(|other| other.target.digest == target.digest)
            {
                Some(other) => other.names.extend(names),
                None => found.push(Found { target, names }),
            }
        }
        Ok(found)
    }

    /// Copies a manifest or index into the store and returns it.
    fn copy_document(&self, source: &mut Source, digest: &Digest) -> Result<Vec<u8>, Error> {
        let missing = || Error::Missing {
            what: "manifest",
            digest: digest.to_string(),
        };
        let bytes = source.read(&blob_name(digest))?.ok_or_else(missing)?;
        let found = Digest::of(&bytes);
        if found != *digest {
            return Err(Error::DigestMismatch {
                expected: digest.clone(),
                found,
            });
        }
        self.blobs().put(&bytes)?;
        Ok(bytes)
    }

    /// Copies what a manifest or index leads to; returns the configuration's digest.
    fn copy_image(
        &self,
        source: &mut Source,
        target: &Descriptor,
        bytes: &[u8],
    ) -> Result<Digest, Error> {
        if target.is_index() {
            let index: Index = manifest::parse("index", bytes)?;
            let picked = manifest::pick(&index)?;
            let bytes = self.copy_document(source, &picked.digest)?;
            let picked = describe(picked.digest.clone(), &bytes)?;
            if picked.is_index() {
                let digest = picked.digest.to_string();
                return Err(Error::Missing {
                    what: "manifest in the index of an index",
                    digest,
                });
            }
            return self.copy_image(source, &picked, &bytes);
        }
        let manifest: Manifest = manifest::parse("manifest", bytes)?;
        for descriptor in std::iter::once(&manifest.config).chain(&manifest.layers) {
            if self.blobs().contains(&descriptor.digest) {
                continue;
            }
            let Some(reader) = source.open_file(&blob_name(&descriptor.digest))? else {
                let digest = descriptor.digest.to_string();
                return Err(Error::Missing {
                    what: "content",
                    digest,
                });
            };
            self.blobs().copy_in(reader, Some(&descriptor.digest))?;
        }
        Ok(manifest.config.digest)
    }

    fn load_docker(&self, source: &mut Source, list: &[u8]) -> Result<Vec<Found>, Error> {
        let list: Vec<DockerImage> = manifest::parse("manifest.json", list)?;
        list.into_iter()
            .map(|image| self.load_docker_image(source, image))
            .collect()
    }

    /// Docker's archive has no manifest of its own; one is written that says the same.
    fn load_docker_image(&self, source: &mut Source, image: DockerImage) -> Result<Found, Error> {
        let config = self.copy_docker_file(source, &image.config, OCI_CONFIG)?;
        let layers = image.layers.iter();
        let layers = layers.map(|layer| self.copy_docker_file(source, layer, OCI_LAYER));
        let manifest = Manifest {
            schema_version: 2,
            media_type: OCI_MANIFEST.to_owned(),
            config,
            layers: layers.collect::<Result<_, _>>()?,
        };
        let bytes = serde_json::to_vec(&manifest).map_err(|source| Error::Json {
            what: "manifest",
            source,
        })?;
        let target = describe(self.blobs().put(&bytes)?, &bytes)?;
        Ok(Found {
            target,
            names: full_names(image.repo_tags.unwrap_or_default()),
        })
    }

    fn copy_docker_file(
        &self,
        source: &mut Source,
        name: &str,
        media_type: &str,
    ) -> Result<Descriptor, Error> {
        let missing = || Error::Missing {
            what: "file",
            digest: name.to_owned(),
        };
        let reader = source.open_file(name)?.ok_or_else(missing)?;
        let (digest, size) = self.blobs().copy_in(reader, None)?;
        Ok(Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
        })
    }
}

/// An image whose content is in the store.
struct Found {
    target: Descriptor,
    names: Vec<String>,
}

/// An entry of Docker's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// The names a layout's entry carries. `ref.name` is often a bare tag, which names nothing.
fn names(descriptor: &Descriptor) -> Vec<String> {
    let annotation = |key| descriptor.annotations.get(key).cloned();
    let full = |name: &String| name.contains(['/', ':']);
    let name = annotation(CONTAINERD_NAME).or_else(|| annotation(REF_NAME).filter(full));
    full_names(name)
}

fn full_names(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let parsed = names
        .into_iter()
        .filter_map(|name| name.parse::<Reference>().ok());
    parsed.map(|reference| reference.to_string()).collect()
}

/// The tags by the hexadecimal digest of the configuration, from the `manifest.json` that newer
/// Dockers write beside the layout.
fn docker_tags(source: &mut Source) -> Result<BTreeMap<String, Vec<String>>, Error> {
    let Some(bytes) = source.read("manifest.json")? else {
        return Ok(BTreeMap::new());
    };
    let Ok(list) = serde_json::from_slice::<Vec<DockerImage>>(&bytes) else {
        return Ok(BTreeMap::new());
    };
    let tags = list.into_iter().map(|image| {
        let file = image.config.rsplit('/').next().unwrap_or_default();
        let hex = file.trim_end_matches(".json").to_owned();
        (hex, full_names(image.repo_tags.unwrap_or_default()))
    });
    Ok(tags.collect())
}

/// Where files are read from by name.
enum Source {
    Directory(PathBuf),
    /// An uncompressed archive: where each file starts and how long it is.
    Archive {
        file: File,
        path: PathBuf,
        entries: BTreeMap<String, (u64, u64)>,
    },
}

impl Source {
    /// `scratch` is for the uncompressed copy of a compressed archive.
    fn open(path: &Path, scratch: &Path) -> Result<Self, Error> {
        if path.is_dir() {
            return Ok(Self::Directory(path.to_owned()));
        }
        let file = plain(path, scratch).map_err(Error::file("read", path))?;
        let entries = entries(&file).map_err(|_| Error::NotAnImage {
            path: path.to_owned(),
        })?;
        Ok(Self::Archive {
            file,
            path: path.to_owned(),
            entries,
        })
    }

    fn read(&mut self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(mut reader) = self.open_file(name)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        reader
            .read_to_end(&mut bytes)
            .map_err(Error::file("read", Path::new(name)))?;
        Ok(Some(bytes))
    }

    fn open_file(&mut self, name: &str) -> Result<Option<Box<dyn Read + '_>>, Error> {
        match self {
            Self::Directory(directory) => {
                let leads_out = Path::new(name)
                    .components()
                    .any(|part| !matches!(part, std::path::Component::Normal(_)));
                let path = directory.join(name);
                match File::open(&path) {
                    _ if leads_out => Ok(None),
                    Ok(file) => Ok(Some(Box::new(file))),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(Error::file("open", &path)(error)),
                }
            }
            Self::Archive {
                file,
                path,
                entries,
            } => {
                let Some((start, length)) = entries.get(name) else {
                    return Ok(None);
                };
                file.seek(SeekFrom::Start(*start))
                    .map_err(Error::file("read", path))?;
                Ok(Some(Box::new(file.take(*length))))
            }
        }
    }
}

/// The archive itself, or an uncompressed copy that vanishes when it is closed.
fn plain(path: &Path, scratch: &Path) -> io::Result<File> {
    let mut magic = [0; 4];
    let length = File::open(path)?.read(&mut magic)?;
    let compressed = magic[..length].starts_with(&[0x1f, 0x8b])
        || magic[..length].starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    if !compressed {
        return File::open(path);
    }
    let copy = scratch.join(format!("archive-{}", uuid::Uuid::new_v4().simple()));
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&copy)?;
    fs::remove_file(&copy)?;
    io::copy(&mut decompress(File::open(path)?)?, &mut file)?;
    Ok(file)
}

fn entries(file: &File) -> io::Result<BTreeMap<String, (u64, u64)>> {
    let mut reader = BufReader::new(file);
    reader.seek(SeekFrom::Start(0))?;
    let mut archive = tar::Archive::new(reader);
    let mut entries = BTreeMap::new();
    let mut links = Vec::new();
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let name = entry
            .path()?
            .to_string_lossy()
            .trim_start_matches("./")
            .to_owned();
        let kind = entry.header().entry_type();
        if kind.is_file() {
            entries.insert(name, (entry.raw_file_position(), entry.size()));
        } else if let (true, Some(target)) = (kind.is_symlink(), entry.link_name()?) {
            links.push((name, target.to_string_lossy().into_owned()));
        }
    }
    // Older Dockers write a repeated layer as a link to its first occurrence.
    for (name, target) in links {
        let target = target.trim_start_matches("../").to_owned();
        if let Some(place) = entries.get(&target).copied() {
            entries.insert(name, place);
        }
    }
    Ok(entries)
}
