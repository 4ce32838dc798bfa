//! What a build is given besides its source: secrets, as a Secret that goes with the Build, and the
//! sockets of ssh agents of this machine.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use api::object::ObjectExt;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dockerfile::kaniko::{self, Secret, SecretFrom};
use http::Method;
use serde_json::{Map, Value, json};

use super::Order;
use crate::cli::client::Api;

/// Where the step finds all of it.
const PLACE: &str = "/run/rekindle/given";
/// Where ssh's programs find their agent.
const AGENT_VARIABLE: &str = "SSH_AUTH_SOCK";

/// Read, and not yet handed over.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// By id.
    secrets: Vec<(String, Vec<u8>)>,
    /// By id.
    agents: Vec<(String, PathBuf)>,
}

impl Given {
    /// Reads what the flags name.
    pub(super) fn read(order: &Order) -> Result<Self> {
        let mut given = Self::default();
        for text in &order.secret {
            let secret = Secret::parse(text).map_err(anyhow::Error::msg)?;
            given.secrets.push((secret.id.clone(), content(&secret)?));
        }
        for text in &order.ssh {
            let (id, path) = kaniko::agent(text).map_err(anyhow::Error::msg)?;
            given.agents.push((id, agent(path)?));
        }
        Ok(given)
    }

    /// Makes the Secret, if there is anything secret; gives its name.
    pub(super) async fn store(&self, api: &Api, name: &str) -> Result<Option<String>> {
        if self.secrets.is_empty() {
            return Ok(None);
        }
        let numbered = self.secrets.iter().enumerate();
        let data: Map<String, Value> = numbered
            .map(|(number, (_, bytes))| (number.to_string(), json!(STANDARD.encode(bytes))))
            .collect();
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"generateName": format!("{name}-build-")},
            "data": data,
        });
        let created = api.post(&path(api, ""), &secret).await?;
        Ok(Some(created.name().to_owned()))
    }

    /// The Secret goes when the Build goes.
    pub(super) async fn bind(api: &Api, secret: &str, build: &Value) -> Result<()> {
        let owner = json!({
            "apiVersion": build["apiVersion"],
            "kind": build["kind"],
            "name": build["metadata"]["name"],
            "uid": build["metadata"]["uid"],
        });
        let patch = json!({"metadata": {"ownerReferences": [owner]}});
        let kind = "application/merge-patch+json";
        let (path, body) = (path(api, secret), serde_json::to_vec(&patch)?);
        let done = api.request(Method::PATCH, &path, kind, body);
        done.await.map(drop)
    }

    /// There is no Build it could go with.
    pub(super) async fn drop(api: &Api, secret: &str) -> Result<()> {
        let path = path(api, secret);
        let done = api.request(Method::DELETE, &path, "application/json", Vec::new());
        done.await.map(drop)
    }

    /// Adds it to the Build.
    pub(super) fn add(&self, secret: Option<&str>, spec: &mut Value, step: &mut Value) {
        let mut add = |flag: String, volume: Value| {
            push(&mut step["args"], json!(flag));
            if let Some((volume, mount)) = volume.as_array().and_then(|pair| pair.split_first()) {
                push(&mut spec["volumes"], volume.clone());
                push(&mut step["volumeMounts"], mount[0].clone());
            }
        };
        for (number, (id, _)) in self.secrets.iter().enumerate() {
            // One volume has them all.
            let volume = match number {
                0 => json!([
                    {"name": "secrets", "secret": {"secretName": secret}},
                    {"name": "secrets", "mountPath": format!("{PLACE}/secrets"), "readOnly": true},
                ]),
                _ => Value::Null,
            };
            add(
                format!("--secret=id={id},src={PLACE}/secrets/{number}"),
                volume,
            );
        }
        for (number, (id, socket)) in self.agents.iter().enumerate() {
            let name = format!("agent-{number}");
            let target = format!("{PLACE}/{name}");
            let volume = json!([
                {"name": name, "hostPath": {"path": socket, "type": "Socket"}},
                {"name": name, "mountPath": target},
            ]);
            add(format!("--ssh={id}={target}"), volume);
        }
    }
}

fn push(list: &mut Value, item: Value) {
    match list.as_array_mut() {
        Some(list) => list.push(item),
        None => *list = json!([item]),
    }
}

fn path(api: &Api, name: &str) -> String {
    let all = format!("/api/v1/namespaces/{}/secrets", api.namespace);
    match name {
        "" => all,
        name => format!("{all}/{name}"),
    }
}

fn content(secret: &Secret) -> Result<Vec<u8>> {
    let id = &secret.id;
    let file = |path: &str| {
        std::fs::read(path).with_context(|| format!("--secret id={id}: cannot read {path}"))
    };
    let variable = |name: &str| std::env::var(name).map(String::into_bytes);
    match &secret.from {
        SecretFrom::File(path) => file(path),
        SecretFrom::Env(name) => {
            variable(name).with_context(|| format!("--secret id={id}: the variable {name}"))
        }
        SecretFrom::Name => variable(id).or_else(|_| file(id)),
    }
}

/// The socket that is named, or that of the agent at hand.
fn agent(named: Option<String>) -> Result<PathBuf> {
    let path = match named {
        Some(path) => path,
        None => std::env::var(AGENT_VARIABLE).ok().context(
            "--ssh: no agent is at hand (SSH_AUTH_SOCK is not set); start one by `eval $(ssh-agent)`",
        )?,
    };
    let found = std::fs::canonicalize(Path::new(&path));
    let found = found.with_context(|| format!("--ssh: {path}"))?;
    let kind = found.metadata().map(|meta| meta.file_type());
    match kind.is_ok_and(|kind| kind.is_socket()) {
        true => Ok(found),
        false => bail!(
            "--ssh: {path} is no agent's socket; a key is given to an agent by `ssh-add {path}`"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_becomes_volumes_and_flags() {
        let given = Given {
            secrets: vec![("a".to_owned(), vec![1]), ("b".to_owned(), vec![2])],
            agents: vec![("default".to_owned(), "/tmp/agent".into())],
        };
        let (mut spec, mut step) = (json!({}), json!({"args": ["x"]}));
        given.add(Some("s-1"), &mut spec, &mut step);
        let args = [
            "x",
            "--secret=id=a,src=/run/rekindle/given/secrets/0",
            "--secret=id=b,src=/run/rekindle/given/secrets/1",
            "--ssh=default=/run/rekindle/given/agent-0",
        ];
        assert_eq!(step["args"], json!(args));
        let volumes = json!([
            {"name": "secrets", "secret": {"secretName": "s-1"}},
            {"name": "agent-0", "hostPath": {"path": "/tmp/agent", "type": "Socket"}},
        ]);
        assert_eq!(spec["volumes"], volumes);
        let mounts = step["volumeMounts"].as_array().map(Vec::len);
        assert_eq!(mounts, Some(2));
    }

    #[test]
    fn what_cannot_be_given_is_told() {
        let read = |secret: &[&str], ssh: &[&str]| {
            let all = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
            let order = Order {
                secret: all(secret),
                ssh: all(ssh),
                ..Order::default()
            };
            Given::read(&order).map(|_| ()).unwrap_err().to_string()
        };
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let cases = [
            (read(&["src=/x"], &[]), "no id"),
            (read(&["id=a,src=/none"], &[]), "cannot read /none"),
            (read(&["id=a,env=NOT_THERE"], &[]), "the variable NOT_THERE"),
            (read(&[], &["default=/none"]), "--ssh: /none"),
            (read(&[], &[&format!("k={file}")]), "no agent's socket"),
        ];
        for (error, expected) in cases {
            assert!(error.contains(expected), "{error}");
        }
    }
}
