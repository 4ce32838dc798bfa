//! Content by digest: `blobs/sha256/<hex>`, as in an OCI layout.
//!
//! A blob appears whole and verified or not at all: it is written to a temporary file, synced and
//! renamed.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use sha2::{Digest as _, Sha256};

use super::digest::Digest;
use super::error::Error;

const COPY_BYTES: usize = 256 * 1024;

/// The directory of blobs.
#[derive(Clone, Debug)]
pub(super) struct Blobs {
    directory: PathBuf,
    /// Where downloads in progress and temporary files are.
    ingest: PathBuf,
}

impl Blobs {
    pub(super) fn open(root: &Path) -> Result<Self, Error> {
        let directory = root.join("blobs/sha256");
        let ingest = root.join("ingest");
        for path in [&directory, &ingest] {
            fs::create_dir_all(path).map_err(Error::file("create", path))?;
        }
        Ok(Self { directory, ingest })
    }

    pub(super) fn path(&self, digest: &Digest) -> PathBuf {
        self.directory.join(digest.hex())
    }

    pub(super) fn ingest_directory(&self) -> &Path {
        &self.ingest
    }

    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).exists()
    }

    /// The whole content of a small blob.
    pub(super) fn read(&self, what: &'static str, digest: &Digest) -> Result<Vec<u8>, Error> {
        let path = self.path(digest);
        match fs::read(&path) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::Missing {
                what,
                digest: digest.to_string(),
            }),
            Err(source) => Err(Error::File {
                step: "read",
                path,
                source,
            }),
        }
    }

    pub(super) fn open_blob(&self, digest: &Digest) -> Result<File, Error> {
        let path = self.path(digest);
        File::open(&path).map_err(Error::file("open", &path))
    }

    /// Stores these bytes and returns their digest.
    pub(super) fn put(&self, bytes: &[u8]) -> Result<Digest, Error> {
        let digest = Digest::of(bytes);
        if !self.contains(&digest) {
            self.copy_in(bytes, Some(&digest))?;
        }
        Ok(digest)
    }

    /// Stores everything a reader yields; with `expected`, only if it is what it should be.
    pub(super) fn copy_in(
        &self,
        mut source: impl Read,
        expected: Option<&Digest>,
    ) -> Result<(Digest, u64), Error> {
        let mut ingest = self.ingest()?;
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            let length = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::file("read the source of", &ingest.path)(error)),
            };
            ingest.write(&buffer[..length])?;
        }
        ingest.commit(expected)
    }

    /// A new temporary file.
    pub(super) fn ingest(&self) -> Result<Ingest, Error> {
        let path = self
            .ingest
            .join(format!("new-{}", uuid::Uuid::new_v4().simple()));
        let file = File::create_new(&path).map_err(Error::file("create", &path))?;
        Ok(Ingest {
            blobs: self.clone(),
            path,
            file,
            hasher: Sha256::new(),
            size: 0,
            keep: false,
        })
    }

    /// A download that can be taken up again: what is there already is hashed first. The second
    /// value is its length. Where somebody else is at it, a download of its own.
    pub(super) fn resume(&self, expected: &Digest) -> Result<(Ingest, u64), Error> {
        let path = self.ingest.join(format!("part-{}", expected.hex()));
        let mut options = File::options();
        let file = options.read(true).append(true).create(true).open(&path);
        let mut file = file.map_err(Error::file("open", &path))?;
        let alone = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        // Between opening and locking the other may have finished and renamed it.
        let same = || Some(fs::metadata(&path).ok()?.ino() == file.metadata().ok()?.ino());
        if !alone || same() != Some(true) {
            return Ok((self.ingest()?, 0));
        }
        let mut hasher = Sha256::new();
        let size = io::copy(&mut file, &mut hasher).map_err(Error::file("read", &path))?;
        let ingest = Ingest {
            blobs: self.clone(),
            path,
            file,
            hasher,
            size,
            keep: true,
        };
        Ok((ingest, size))
    }

    pub(super) fn remove(&self, digest: &Digest) {
        let _ = fs::remove_file(self.path(digest));
    }

    /// Every blob there is.
    pub(super) fn list(&self) -> Vec<Digest> {
        let entries = fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten();
        entries
            .filter_map(|entry| {
                format!("sha256:{}", entry.file_name().display())
                    .parse()
                    .ok()
            })
            .collect()
    }
}

/// A blob on its way in.
pub(super) struct Ingest {
    blobs: Blobs,
    path: PathBuf,
    file: File,
    hasher: Sha256,
    size: u64,
    /// Whether an unfinished file stays for the next attempt.
    keep: bool,
}

impl Ingest {
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file
            .write_all(bytes)
            .map_err(Error::file("write", &self.path))?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Starts over: what was kept from an earlier attempt is of no use.
    pub(super) fn restart(&mut self) -> Result<(), Error> {
        self.file
            .set_len(0)
            .map_err(Error::file("truncate", &self.path))?;
        self.hasher = Sha256::new();
        self.size = 0;
        Ok(())
    }

    /// Makes the blob appear, if it is what it should be.
    pub(super) fn commit(self, expected: Option<&Digest>) -> Result<(Digest, u64), Error> {
        self.finish(expected, true)
    }

    /// Makes the blob appear without waiting for the disk: who calls it keeps a note of that.
    pub(super) fn commit_unsynced(self) -> Result<(Digest, u64), Error> {
        self.finish(None, false)
    }

    fn finish(mut self, expected: Option<&Digest>, synced: bool) -> Result<(Digest, u64), Error> {
        let found = Digest::finish(std::mem::take(&mut self.hasher));
        self.keep = false;
        if let Some(expected) = expected.filter(|expected| **expected != found) {
            return Err(Error::DigestMismatch {
                expected: expected.clone(),
                found,
            });
        }
        if synced {
            let done = self.file.sync_data();
            done.map_err(Error::file("sync", &self.path))?;
        }
        let target = self.blobs.path(&found);
        fs::rename(&self.path, &target).map_err(Error::file("create", &target))?;
        Ok((found, self.size))
    }
}

impl Write for Ingest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        if !self.keep {
            let _ = fs::remove_file(&self.path);
        }
    }
}
