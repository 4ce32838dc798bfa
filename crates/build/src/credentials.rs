//! Credentials of a Build: Secrets of its ServiceAccount that say by annotation for which registry
//! (`build.knative.dev/docker-N`) or git server (`build.knative.dev/git-N`) they are.
//!
//! The plan turns them into arguments of the step that writes files, which names Secrets and URLs
//! only; that step reads the Secrets from where they are mounted and asks [`files`] what to write.

use std::collections::BTreeMap;

use api::object::ObjectExt;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// Where each Secret is mounted, in a directory of its name.
pub const SECRETS_DIR: &str = "/var/build-secrets";

const DOCKER: &str = "build.knative.dev/docker-";
const GIT: &str = "build.knative.dev/git-";
/// Docker Hub's name without the path under which its credentials are looked for.
const INCOMPLETE_HUB: &str = "index.docker.io";

/// A Secret cannot be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bad(pub String);

/// The arguments that say what one Secret is for; none where it is for nothing.
pub(crate) fn arguments(secret: &Value) -> Vec<String> {
    let name = secret.name();
    let of = |prefix: &'static str| annotated(secret, prefix);
    let flag = |flag: &str, url: &str| format!("-{flag}={name}={url}");
    let all = |kind: &str, prefix| of(prefix).map(|url| flag(kind, url)).collect();
    match secret["type"].as_str().unwrap_or_default() {
        "kubernetes.io/basic-auth" => {
            let mut both: Vec<String> = all("basic-docker", DOCKER);
            both.extend(all("basic-git", GIT));
            both
        }
        "kubernetes.io/ssh-auth" => all("ssh-git", GIT),
        "kubernetes.io/dockerconfigjson" => vec![format!("-docker-config={name}")],
        "kubernetes.io/dockercfg" => vec![format!("-docker-cfg={name}")],
        _ => Vec::new(),
    }
}

fn annotated<'a>(secret: &'a Value, prefix: &'static str) -> impl Iterator<Item = &'a str> {
    let all = secret["metadata"]["annotations"].as_object();
    all.into_iter()
        .flatten()
        .filter(move |(key, _)| key.starts_with(prefix))
        .filter_map(|(_, url)| url.as_str())
}

/// Refuses annotations that would not do what they seem to say.
pub(crate) fn check(secret: &Value) -> Result<(), Bad> {
    let all = secret["metadata"]["annotations"].as_object();
    for (key, value) in all.into_iter().flatten() {
        if key.starts_with(DOCKER) && value == INCOMPLETE_HUB {
            return Err(Bad(format!(
                "Secret {:?} has incorrect annotation {key:?} / {value}, value should be \"https://index.docker.io/v1/\"",
                secret.name()
            )));
        }
    }
    Ok(())
}

/// A file of the home directory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct File {
    /// Relative to the home directory.
    pub path: String,
    /// Its content, secrets and all; readable by its owner alone.
    pub content: String,
}

/// What the arguments of [`arguments`] become. `read` gives a key of a mounted Secret.
///
/// # Errors
/// An argument nobody makes, or a Secret without the keys its type has.
pub fn files(
    arguments: &[String],
    home: &str,
    read: &dyn Fn(&str, &str) -> Option<String>,
) -> Result<Vec<File>, Bad> {
    let mut writer = Writer {
        read,
        auths: Map::new(),
        git: BTreeMap::new(),
        ssh: Vec::new(),
    };
    for argument in arguments {
        writer.take(argument)?;
    }
    Ok(writer.finish(home))
}

struct Writer<'a> {
    read: &'a dyn Fn(&str, &str) -> Option<String>,
    /// `auths` of Docker's configuration.
    auths: Map<String, Value>,
    /// User and password by URL.
    git: BTreeMap<String, (String, String)>,
    ssh: Vec<Key>,
}

struct Key {
    secret: String,
    host: String,
    private: String,
    known_hosts: String,
}

impl Writer<'_> {
    fn take(&mut self, argument: &str) -> Result<(), Bad> {
        let strange = || {
            Bad(format!(
                "argument {argument:?} is none of -basic-docker, -docker-config, -docker-cfg, -basic-git, -ssh-git"
            ))
        };
        let (flag, rest) = argument
            .trim_start_matches('-')
            .split_once('=')
            .ok_or_else(strange)?;
        let (secret, url) = rest.split_once('=').unwrap_or((rest, ""));
        match flag {
            "basic-docker" => self.basic_docker(secret, url),
            "docker-config" => {
                let text = self.key(secret, ".dockerconfigjson")?;
                let config: Value = parse(secret, &text)?;
                self.merge(&config["auths"]);
                Ok(())
            }
            "docker-cfg" => {
                let text = self.key(secret, ".dockercfg")?;
                let config = parse(secret, &text)?;
                self.merge(&config);
                Ok(())
            }
            "basic-git" => {
                let pair = (self.key(secret, "username")?, self.key(secret, "password")?);
                self.git.insert(url.to_owned(), pair);
                Ok(())
            }
            "ssh-git" => self.ssh(secret, url),
            _ => Err(strange()),
        }
    }

    fn key(&self, secret: &str, key: &str) -> Result<String, Bad> {
        (self.read)(secret, key).ok_or_else(|| Bad(format!("Secret {secret:?} has no key {key:?}")))
    }

    fn basic_docker(&mut self, secret: &str, url: &str) -> Result<(), Bad> {
        let username = self.key(secret, "username")?;
        let password = self.key(secret, "password")?;
        let auth = STANDARD.encode(format!("{username}:{password}"));
        let entry = json!({
            "username": username, "password": password, "auth": auth, "email": "not@val.id",
        });
        self.auths.insert(url.to_owned(), entry);
        Ok(())
    }

    /// What an annotation says of a registry stands above what a whole configuration says.
    fn merge(&mut self, auths: &Value) {
        for (registry, auth) in auths.as_object().into_iter().flatten() {
            self.auths
                .entry(registry.clone())
                .or_insert_with(|| auth.clone());
        }
    }

    fn ssh(&mut self, secret: &str, url: &str) -> Result<(), Bad> {
        let private = self.key(secret, "ssh-privatekey")?;
        let known_hosts = (self.read)(secret, "known_hosts").unwrap_or_default();
        let without_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
        let host = without_scheme.split('/').next().unwrap_or_default();
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        self.ssh.push(Key {
            secret: secret.to_owned(),
            host: host.to_owned(),
            private: with_newline(private),
            known_hosts,
        });
        Ok(())
    }

    fn finish(self, home: &str) -> Vec<File> {
        let mut files = Vec::new();
        let mut add = |path: &str, content: String| {
            files.push(File {
                path: path.to_owned(),
                content,
            });
        };
        if !self.auths.is_empty() {
            let config = json!({"auths": self.auths});
            add(".docker/config.json", config.to_string());
        }
        if !self.git.is_empty() {
            let mut config = "[credential]\n\thelper = store\n".to_owned();
            let mut store = String::new();
            for (url, (user, password)) in &self.git {
                config += &format!("[credential \"{url}\"]\n\tusername = {user}\n");
                let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
                let (user, password) = (encode(user), encode(password));
                store += &format!("{scheme}://{user}:{password}@{rest}\n");
            }
            add(".gitconfig", config);
            add(".git-credentials", store);
        }
        if !self.ssh.is_empty() {
            let (mut config, mut known) = (String::new(), String::new());
            for key in self.ssh {
                let path = format!(".ssh/id_{}", key.secret);
                let (name, port) = key.host.split_once(':').unwrap_or((&key.host, ""));
                config += &format!("Host {name}\n    HostName {name}\n");
                if !port.is_empty() {
                    config += &format!("    Port {port}\n");
                }
                config += &format!("    IdentityFile {home}/{path}\n");
                match key.known_hosts.as_str() {
                    // What `ssh-keyscan` would find is believed.
                    "" => config += "    StrictHostKeyChecking accept-new\n",
                    _ => known += &with_newline(key.known_hosts),
                }
                add(&path, key.private);
            }
            add(".ssh/config", config);
            add(".ssh/known_hosts", known);
        }
        files
    }
}

fn parse(secret: &str, text: &str) -> Result<Value, Bad> {
    // The parser's words could show the secret.
    serde_json::from_str(text).map_err(|_| Bad(format!("Secret {secret:?} holds no JSON")))
}

fn with_newline(mut text: String) -> String {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// Percent-encodes what has a meaning in a URL.
fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests;
