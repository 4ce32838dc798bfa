//! Source that is no repository: an archive, or a manifest that lists files and where each is. The
//! flags are those of Google's `gcs-fetcher`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::Say;
use crate::error::{Error, shown};
use crate::http::Client;
use crate::unpack::unpack;

/// Longest list of files.
const MANIFEST_BYTES_MAX: u64 = 64 << 20;
/// Where a download waits until it is whole, in the directory it is for.
const PARTIAL: &str = ".rekindle-download";

/// What is at the location.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// tar, tar.gz or zip.
    Archive,
    /// A JSON object: path → URL and checksum.
    Manifest,
}

impl Kind {
    /// By its name in `spec.source.gcs.type`, or one of gcs-fetcher's own.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "Archive" | "ZipArchive" | "TarGzArchive" => Some(Self::Archive),
            "Manifest" => Some(Self::Manifest),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    #[serde(alias = "SourceURL", alias = "sourceURL")]
    source_url: String,
    #[serde(default, alias = "Sha1Sum", alias = "sha1sum")]
    sha1_sum: String,
    #[serde(default)]
    file_mode: Option<u32>,
}

/// Brings what is at `location` into `directory`.
///
/// # Errors
/// The server does not give it, it is damaged, or it would be written outside the directory.
pub fn fetch(kind: Kind, location: &str, directory: &Path, say: Say<'_>) -> Result<(), Error> {
    with(&Client::new()?, kind, location, directory, say)
}

fn with(
    client: &Client,
    kind: Kind,
    location: &str,
    directory: &Path,
    say: Say<'_>,
) -> Result<(), Error> {
    fs::create_dir_all(directory).map_err(Error::file("make", directory))?;
    say(&format!("Fetching {}", shown(location)));
    match kind {
        Kind::Archive => {
            let partial = directory.join(PARTIAL);
            download(client, location, &partial, "")?;
            let done = unpack(&partial, &shown(location), directory);
            fs::remove_file(&partial).map_err(Error::file("remove", &partial))?;
            done
        }
        Kind::Manifest => manifest(client, location, directory, say),
    }
}

fn manifest(client: &Client, location: &str, directory: &Path, say: Say<'_>) -> Result<(), Error> {
    let what = shown(location);
    let text = client.get(location)?.take(MANIFEST_BYTES_MAX);
    let items: Result<BTreeMap<String, Item>, _> = serde_json::from_reader(BufReader::new(text));
    let items = items.map_err(|error| Error::Content {
        what: what.clone(),
        why: format!("not a manifest (path → sourceUrl, sha1Sum): {error}"),
    })?;
    say(&format!("{} files", items.len()));
    for (name, item) in &items {
        let path = within(directory, name).ok_or_else(|| Error::Content {
            what: what.clone(),
            why: format!("{name:?} leads out of the directory"),
        })?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::file("make", parent))?;
        }
        download(client, &item.source_url, &path, &item.sha1_sum)?;
        if let Some(mode) = item.file_mode {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::Permissions::from_mode(mode & 0o777);
            fs::set_permissions(&path, mode).map_err(Error::file("set the mode of", &path))?;
        }
    }
    Ok(())
}

/// The path below `directory`, if it is below.
fn within(directory: &Path, name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    path.components().all(plain).then(|| directory.join(path))
}

/// Downloads a file; an empty checksum is not checked.
fn download(client: &Client, location: &str, to: &Path, sha1: &str) -> Result<(), Error> {
    let mut from = client.get(location)?;
    let mut file = File::create(to).map_err(Error::file("create", to))?;
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(Error::Http {
                    url: shown(location),
                    why: crate::error::chain(&error),
                });
            }
        };
        hasher.update(&buffer[..read]);
        let written = file.write_all(&buffer[..read]);
        written.map_err(Error::file("write", to))?;
    }
    let found = hasher.try_finalize().map(|id| id.to_string());
    if !sha1.is_empty() && !found.is_ok_and(|found| found.eq_ignore_ascii_case(sha1)) {
        return Err(Error::Content {
            what: shown(location),
            why: format!("its SHA-1 is not {sha1}"),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server of files by path, one answer per connection, until the process ends.
    fn serve(files: Vec<(&'static str, Vec<u8>)>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let found = files.iter().find(|(name, _)| *name == path);
                let (status, body) = match found {
                    Some((_, body)) => ("200 OK", body.clone()),
                    None => ("404 Not Found", Vec::new()),
                };
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
                );
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(&body).unwrap();
            }
        });
        address
    }

    fn tar_of(path: &str) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(2);
        header.set_mode(0o755);
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        builder.append(&header, b"hi".as_slice()).unwrap();
        builder.into_inner().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zip_of(path: &str) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
        writer.start_file(path, options).unwrap();
        writer.write_all(b"hi").unwrap();
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn archives_and_manifests() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let sum = "c22b5f9178342609428d6f51b2c5af4c0bde6a42";
        let list = |sum: &str, path: &str| {
            format!(r#"{{"{path}": {{"sourceUrl": "gs://bucket/object", "sha1Sum": "{sum}"}}}}"#)
        };
        let address = serve(vec![
            ("/bucket/a.tar", tar_of("d/f")),
            ("/bucket/a.tgz", gzip(&tar_of("d/f"))),
            ("/bucket/a.zip", zip_of("d/f")),
            ("/bucket/evil.zip", zip_of("../f")),
            ("/bucket/object", b"hi".to_vec()),
            ("/bucket/m", list(sum, "d/f").into()),
            ("/bucket/wrong", list("00", "d/f").into()),
            ("/bucket/evil", list(sum, "../f").into()),
        ]);
        let client = Client::with_storage(&address).unwrap();
        for (kind, location, want) in [
            (Kind::Archive, "gs://bucket/a.tar", None),
            (Kind::Archive, "gs://bucket/a.tgz", None),
            (Kind::Archive, "gs://bucket/a.zip", None),
            (Kind::Manifest, "gs://bucket/m", None),
            (Kind::Archive, "gs://bucket/evil.zip", Some("leads out")),
            (Kind::Manifest, "gs://bucket/wrong", Some("SHA-1")),
            (Kind::Manifest, "gs://bucket/evil", Some("leads out")),
            (Kind::Manifest, "gs://bucket/object", Some("not a manifest")),
            (Kind::Archive, "gs://bucket/none", Some("404")),
            (Kind::Archive, "s3://bucket/none", Some("begins with gs://")),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let done = with(&client, kind, location, directory.path(), &mut |_| {});
            let file = fs::read(directory.path().join("d/f")).ok();
            match want {
                None => {
                    done.unwrap_or_else(|error| panic!("{location}: {error}"));
                    assert_eq!(file.as_deref(), Some(b"hi".as_slice()), "{location}");
                }
                Some(text) => {
                    let said = done.expect_err(location).to_string();
                    assert!(said.contains(text), "{location}: {said}");
                }
            }
            assert!(!directory.path().join(PARTIAL).exists());
        }
    }
}
