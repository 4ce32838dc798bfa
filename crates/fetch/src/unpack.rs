//! Archives into a directory: tar, tar in gzip, zip; told apart by their first bytes. Nothing is
//! written outside the directory.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;

use crate::error::Error;

/// Unpacks `archive`, a file called `what` in errors.
pub(crate) fn unpack(archive: &Path, what: &str, directory: &Path) -> Result<(), Error> {
    let file = File::open(archive).map_err(Error::file("open", archive))?;
    let mut reader = BufReader::new(file);
    let head = reader.fill_buf().map_err(Error::file("read", archive))?;
    let head = head.get(..4).unwrap_or_default().to_vec();
    let done = match head.as_slice() {
        [0x1f, 0x8b, ..] => tar(flate2::bufread::MultiGzDecoder::new(reader), directory),
        [b'P', b'K', ..] => zip(reader, directory),
        _ => tar(reader, directory),
    };
    done.map_err(|error| Error::Content {
        what: what.to_owned(),
        why: format!("neither tar, tar.gz nor zip that can be unpacked here: {error}"),
    })
}

fn tar(reader: impl Read, directory: &Path) -> io::Result<()> {
    let mut archive = tar::Archive::new(reader);
    archive.set_preserve_mtime(true);
    // Refuses paths that lead out of the directory.
    archive.unpack(directory)
}

fn zip(reader: impl Read + Seek, directory: &Path) -> io::Result<()> {
    let mut archive = zip::ZipArchive::new(reader).map_err(io::Error::other)?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(io::Error::other)?;
        let Some(path) = entry.enclosed_name() else {
            let text = format!("{:?} leads out of the directory", entry.name());
            return Err(io::Error::other(text));
        };
        let path = directory.join(path);
        if entry.is_dir() {
            fs::create_dir_all(&path)?;
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mode = entry.unix_mode();
        io::copy(&mut entry, &mut File::create(&path)?)?;
        if let Some(mode) = mode.filter(|mode| mode & 0o777 != 0) {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode & 0o777))?;
        }
    }
    Ok(())
}
