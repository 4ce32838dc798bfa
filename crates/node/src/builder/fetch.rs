//! `ADD` of something on the web: fetched into a file before anything else of the step happens.

use std::io::{Seek, Write};
use std::path::Path;
use std::time::Duration;

use super::room::Room;

const CONNECT_MAX: Duration = Duration::from_secs(10);
/// A download that stands still for so long is broken.
const READ_MAX: Duration = Duration::from_secs(30);

/// Something fetched.
pub(super) struct Fetched {
    /// The last part of its address.
    pub(super) name: String,
    /// Its content, at the beginning.
    pub(super) file: std::fs::File,
    /// SHA-256 of it in hexadecimal digits.
    pub(super) sha256: String,
    /// Its length.
    pub(super) bytes: u64,
    /// When it was changed, seconds; 0 where the server does not say.
    pub(super) mtime: i64,
}

/// Fetches an address into a file in `directory`, as long as there is room.
pub(super) async fn fetch(address: &str, directory: &Path, room: Room) -> Result<Fetched, String> {
    let failed = |error: reqwest::Error| format!("cannot fetch {address}: {}", chain(&error));
    // Whoever comes first decides for the process; everybody in it means ring.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_MAX)
        .read_timeout(READ_MAX)
        .user_agent("rekindle")
        .build()
        .map_err(failed)?;
    let asked = client.get(address).send().await;
    let mut answer = asked
        .and_then(reqwest::Response::error_for_status)
        .map_err(failed)?;
    let name = answer.url().path().rsplit('/').next().unwrap_or_default();
    let name = name.to_owned();
    let changed = answer.headers().get(http::header::LAST_MODIFIED);
    let changed = changed.and_then(|text| text.to_str().ok());
    let changed = changed.and_then(|text| jiff::fmt::rfc2822::parse(text).ok());
    let local = |error: std::io::Error| format!("cannot keep {address}: {error}");
    let path = directory.join(uuid::Uuid::new_v4().simple().to_string());
    let mut file = std::fs::File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(local)?;
    let mut length = 0;
    while let Some(piece) = answer.chunk().await.map_err(failed)? {
        length += piece.len() as u64;
        room.check(length)
            .map_err(|why| format!("cannot fetch {address}: {why}"))?;
        file.write_all(&piece).map_err(local)?;
    }
    file.rewind().map_err(local)?;
    let sha256 = super::context::hash(&mut file).map_err(local)?;
    file.rewind().map_err(local)?;
    Ok(Fetched {
        name,
        file,
        sha256,
        bytes: length,
        mtime: changed.map_or(0, |time| time.timestamp().as_second()),
    })
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}
