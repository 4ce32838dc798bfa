//! Where registries really are: mirrors, plain HTTP, certificates, credentials of the node.
//!
//! The file is `registries.yaml` in the data directory, in the format of k3s.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::Error;
use super::keyring::{AuthEntry, Keyring};

/// Name of the file in the data directory.
const FILE: &str = "registries.yaml";

/// How to reach registries.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Registries {
    #[serde(default)]
    mirrors: BTreeMap<String, Mirror>,
    #[serde(default)]
    configs: BTreeMap<String, Config>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Mirror {
    /// `http://mirror:5000`; asked in this order, before the registry itself.
    #[serde(default)]
    endpoint: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Config {
    #[serde(default)]
    auth: Option<AuthEntry>,
    #[serde(default)]
    tls: Tls,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Tls {
    #[serde(default)]
    ca_file: Option<PathBuf>,
    #[serde(default)]
    insecure_skip_verify: bool,
}

/// One place to ask.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Endpoint {
    /// Host and port.
    pub(super) host: String,
    pub(super) plain_http: bool,
    /// Not the registry itself.
    pub(super) mirror: bool,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) skip_verify: bool,
}

impl Registries {
    /// Reads the file of this data directory; without one there are no mirrors.
    pub fn load(data_dir: &Path) -> Result<Self, Error> {
        let path = data_dir.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(Error::file("read", &path)(error)),
        };
        serde_saphyr::from_str(&text).map_err(|error| Error::Registries {
            path,
            reason: error.to_string(),
        })
    }

    /// Adds registries that speak plain HTTP (flags of the command line).
    #[must_use]
    pub fn with_plain_http(mut self, hosts: &[String]) -> Self {
        for host in hosts {
            let mirror = self.mirrors.entry(host.clone()).or_default();
            mirror.endpoint.push(format!("http://{host}"));
        }
        self
    }

    /// The node's own credentials.
    pub(super) fn keyring(&self) -> Keyring {
        let mut keyring = Keyring::default();
        for (host, config) in &self.configs {
            if let Some(auth) = &config.auth {
                keyring.add(host, auth);
            }
        }
        keyring
    }

    /// Where to ask for images of this registry, in this order; the registry itself is last.
    pub(super) fn endpoints(&self, registry: &str) -> Vec<Endpoint> {
        let mirror = self.mirrors.get(registry).or_else(|| self.mirrors.get("*"));
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for url in mirror.iter().flat_map(|mirror| &mirror.endpoint) {
            let endpoint = self.endpoint(url, registry);
            if !endpoints.iter().any(|other| other.host == endpoint.host) {
                endpoints.push(endpoint);
            }
        }
        if !endpoints.iter().any(|endpoint| endpoint.host == registry) {
            endpoints.push(self.endpoint(registry, registry));
        }
        endpoints
    }

    fn endpoint(&self, url: &str, registry: &str) -> Endpoint {
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, url),
        };
        let host = rest.split('/').next().unwrap_or_default().to_owned();
        let tls = self
            .configs
            .get(&host)
            .map(|config| config.tls.clone())
            .unwrap_or_default();
        Endpoint {
            plain_http: scheme.map_or_else(|| is_loopback(&host), |scheme| scheme == "http"),
            mirror: host != registry,
            ca_file: tls.ca_file,
            skip_verify: tls.insecure_skip_verify,
            host,
        }
    }
}

/// A registry on this machine speaks plain HTTP, unless the file says otherwise.
fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
    name == "localhost" || name.ends_with(".localhost") || address.is_ok_and(|a| a.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_go_before_the_registry() {
        let directory = tempfile::tempdir().expect("a directory");
        let text = "mirrors:\n  docker.io:\n    endpoint: [\"http://mirror:5000\"]\n  \
                    plain.example:\n    endpoint: [\"http://plain.example\"]\n\
                    configs:\n  \"mirror:5000\":\n    auth: {username: u, password: p}\n";
        std::fs::write(directory.path().join(FILE), text).expect("write");
        let registries = Registries::load(directory.path()).expect("a configuration");
        let check = |registry: &str, expected: &[(&str, bool)]| {
            let found = registries.endpoints(registry);
            let found: Vec<_> = found
                .iter()
                .map(|e| (e.host.as_str(), e.plain_http))
                .collect();
            assert_eq!(found, expected, "{registry}");
        };
        check("docker.io", &[("mirror:5000", true), ("docker.io", false)]);
        check("plain.example", &[("plain.example", true)]);
        check("localhost:5000", &[("localhost:5000", true)]);
        check("127.0.0.1:5000", &[("127.0.0.1:5000", true)]);
        check("ghcr.io", &[("ghcr.io", false)]);
    }
}
