//! Credentials for registries: from pull secrets (`kubernetes.io/dockerconfigjson`,
//! `kubernetes.io/dockercfg`) and from `registries.yaml`.
//!
//! Which entry is for which image follows the kubelet (`pkg/credentialprovider`): the host must
//! match, labels may be `*`, a path must be a prefix, and the longest match goes first.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;

use super::error::Error;
use super::reference::Reference;

/// How to present oneself to a registry.
#[derive(Clone, Eq, PartialEq)]
pub enum Credentials {
    Basic { username: String, password: String },
    Token(String),
}

impl fmt::Debug for Credentials {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { username, .. } => write!(f, "Basic({username})"),
            Self::Token(_) => write!(f, "Token"),
        }
    }
}

/// Credentials by registry and path.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    entries: Vec<(Pattern, Credentials)>,
}

#[derive(Clone, Debug)]
struct Pattern {
    host: String,
    path: String,
}

/// An entry of `auths`, and of `configs` in `registries.yaml`.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct AuthEntry {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    /// `username:password` in base64; counts before the two.
    #[serde(default)]
    auth: String,
    #[serde(default, alias = "registrytoken")]
    token: String,
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, AuthEntry>,
}

impl Keyring {
    /// Adds the content of a secret of type `kubernetes.io/dockerconfigjson`.
    pub fn add_docker_config_json(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let config: DockerConfig = super::manifest::parse(".dockerconfigjson", bytes)?;
        config
            .auths
            .iter()
            .for_each(|(registry, entry)| self.add(registry, entry));
        Ok(())
    }

    /// Adds the content of a secret of type `kubernetes.io/dockercfg`.
    pub fn add_docker_config(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let auths: BTreeMap<String, AuthEntry> = super::manifest::parse(".dockercfg", bytes)?;
        auths
            .iter()
            .for_each(|(registry, entry)| self.add(registry, entry));
        Ok(())
    }

    /// Adds one entry; one that holds no credentials adds nothing.
    pub(super) fn add(&mut self, registry: &str, entry: &AuthEntry) {
        if let Some(credentials) = entry.credentials() {
            self.entries.push((Pattern::parse(registry), credentials));
        }
    }

    /// What may be tried for an image, the most particular first.
    pub fn for_image(&self, reference: &Reference) -> Vec<Credentials> {
        let mut found: Vec<&(Pattern, Credentials)> = self
            .entries
            .iter()
            .filter(|(pattern, _)| pattern.matches(reference))
            .collect();
        found.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.path.len()));
        found
            .into_iter()
            .map(|(_, credentials)| credentials.clone())
            .collect()
    }
}

impl AuthEntry {
    fn credentials(&self) -> Option<Credentials> {
        if !self.token.is_empty() {
            return Some(Credentials::Token(self.token.clone()));
        }
        let encoded = self.auth.trim();
        if !encoded.is_empty() {
            let bytes = STANDARD
                .decode(encoded)
                .or_else(|_| STANDARD_NO_PAD.decode(encoded))
                .ok()?;
            let text = String::from_utf8(bytes).ok()?;
            let (username, password) = text.trim_end_matches('\0').split_once(':')?;
            let (username, password) = (username.to_owned(), password.to_owned());
            return Some(Credentials::Basic { username, password });
        }
        (!self.username.is_empty()).then(|| Credentials::Basic {
            username: self.username.clone(),
            password: self.password.clone(),
        })
    }
}

impl Pattern {
    /// `https://index.docker.io/v1/` is what Docker writes for its own registry.
    fn parse(registry: &str) -> Self {
        let bare = registry
            .split_once("://")
            .map_or(registry, |(_, rest)| rest);
        let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
        let path = path.trim_matches('/');
        let path = if path == "v1" || path == "v2" {
            ""
        } else {
            path
        };
        Self {
            host: canonical(host).to_owned(),
            path: path.to_owned(),
        }
    }

    fn matches(&self, reference: &Reference) -> bool {
        let (own, asked) = (
            self.host.split('.'),
            canonical(reference.registry()).split('.'),
        );
        let host = own.clone().count() == asked.clone().count()
            && own
                .zip(asked)
                .all(|(own, asked)| own == "*" || own == asked);
        let rest = reference.repository().strip_prefix(&self.path);
        host && rest
            .is_some_and(|rest| self.path.is_empty() || rest.is_empty() || rest.starts_with('/'))
    }
}

fn canonical(host: &str) -> &str {
    match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_particular_entry_goes_first() {
        let mut keyring = Keyring::default();
        let config = r#"{"auths":{
            "https://index.docker.io/v1/":{"auth":"aHViOnB3"},
            "registry.example":{"username":"all","password":"pw"},
            "registry.example/team":{"username":"team","password":"pw"},
            "*.cloud.example":{"username":"any","password":"pw"},
            "empty.example":{}}}"#;
        keyring
            .add_docker_config_json(config.as_bytes())
            .expect("a configuration");
        let check = |image: &str, expected: &[&str]| {
            let found = keyring.for_image(&image.parse().expect("a reference"));
            let names: Vec<String> = found.iter().map(|c| format!("{c:?}")).collect();
            assert_eq!(names, expected, "{image}");
        };
        check("nginx", &["Basic(hub)"]);
        check("registry.example/app", &["Basic(all)"]);
        check("registry.example/team/app", &["Basic(team)", "Basic(all)"]);
        check("registry.example/teammate/app", &["Basic(all)"]);
        check("eu.cloud.example/app", &["Basic(any)"]);
        check("a.eu.cloud.example/app", &[]);
        check("empty.example/app", &[]);
    }
}
