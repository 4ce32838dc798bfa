//! Plain downloads: a file from object storage or any HTTP server.

use std::io::Read;
use std::time::Duration;

use crate::error::{Error, chain, shown};

/// Where `gs://BUCKET/OBJECT` is, for objects that everybody may read.
pub(crate) const STORAGE: &str = "https://storage.googleapis.com";
/// The environment variable that names another place, as Google's own clients have it: a URL, or
/// `HOST:PORT`.
pub const STORAGE_VARIABLE: &str = "STORAGE_EMULATOR_HOST";
/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a server may send nothing.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Fetches files over connections that are used again.
pub(crate) struct Client {
    inner: reqwest::blocking::Client,
    storage: String,
}

impl Client {
    pub(crate) fn new() -> Result<Self, Error> {
        let storage = std::env::var(STORAGE_VARIABLE).unwrap_or_else(|_| STORAGE.to_owned());
        Self::with_storage(&storage)
    }

    /// A client that finds buckets at `storage`; without a scheme it is `http`.
    pub(crate) fn with_storage(storage: &str) -> Result<Self, Error> {
        let storage = match storage.contains("://") {
            true => storage.to_owned(),
            false => format!("http://{storage}"),
        };
        let inner = reqwest::blocking::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(SILENCE_MAX)
            .build()
            .map_err(|error| Error::Http {
                url: storage.clone(),
                why: chain(&error),
            })?;
        Ok(Self { inner, storage })
    }

    /// The URL of a location.
    pub(crate) fn url(&self, location: &str) -> Result<String, Error> {
        if location.starts_with("http://") || location.starts_with("https://") {
            return Ok(location.to_owned());
        }
        let Some(object) = location.strip_prefix("gs://") else {
            return Err(Error::Location {
                location: shown(location),
                why: "the location begins with gs://, https:// or http://".to_owned(),
            });
        };
        // The generation of an object (`#123`) is a query to the server.
        let (object, generation) = object.split_once('#').unwrap_or((object, ""));
        let query = match generation {
            "" => String::new(),
            generation => format!("?generation={generation}"),
        };
        Ok(format!(
            "{}/{object}{query}",
            self.storage.trim_end_matches('/')
        ))
    }

    /// The bytes of a location as they come.
    pub(crate) fn get(&self, location: &str) -> Result<impl Read + use<>, Error> {
        let url = self.url(location)?;
        let failed = |why: String| Error::Http {
            url: shown(&url),
            why,
        };
        let answer = self.inner.get(&url).send();
        let answer = answer.map_err(|error| failed(chain(&error.without_url())))?;
        match answer.status() {
            status if status.is_success() => Ok(answer),
            status => Err(failed(format!("the server answered {status}"))),
        }
    }
}
