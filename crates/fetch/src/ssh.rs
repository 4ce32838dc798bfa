//! Git over ssh, in process: no ssh program is started. What a user would have in `~/.ssh` is used:
//! `config` (Host, HostName, Port, User, IdentityFile), the keys it names or else all `id_*`, and
//! `known_hosts`. A server that `known_hosts` does not name is believed and noted there; one whose
//! key has changed is refused.
//!
//! The connection lives on a thread of its own; git reads and writes it through a bridge, blocking.

use std::borrow::Cow;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gix::Url;
use gix::protocol::transport::Protocol;
use gix::protocol::transport::client::blocking_io::Transport;
use gix::protocol::transport::client::git::ConnectMode;
use gix::protocol::transport::client::git::blocking_io::Connection;
use russh::client::{self, Handle};
use russh::keys::known_hosts::{
    check_known_hosts_path, known_host_keys_path, learn_known_hosts_path,
};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, load_secret_key};
use russh::{Channel, Preferred, client::Msg};
use tokio::io::ReadHalf;
use tokio_util::io::SyncIoBridge;

use crate::error::{Error, chain, shown};

const PORT: u16 = 22;
/// Who logs in where neither the URL nor the configuration says.
const USER: &str = "git";
/// How long a server may take to accept the connection and the key.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a server may be silent before it is asked whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Opens the conversation with `git-upload-pack` on the server of `url`.
pub(crate) fn connect(
    url: &Url,
    version: Protocol,
    home: &Path,
) -> Result<Box<dyn Transport + Send>, Error> {
    let place = Place::of(url, home);
    let failed = |why: String| Error::Git {
        step: "connect to",
        url: shown(&url.to_bstring().to_string()),
        why,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(Error::file("start a thread for", home))?;
    let opening = tokio::time::timeout(CONNECT_TIMEOUT, place.open());
    let (handle, channel) = runtime
        .block_on(async { opening.await })
        .map_err(|_| failed(format!("no connection within {CONNECT_TIMEOUT:?}")))?
        .map_err(failed)?;
    let (read, write) = tokio::io::split(channel.into_stream());
    let write = SyncIoBridge::new_with_handle(write, runtime.handle().clone());
    let reader = Reader {
        bridge: SyncIoBridge::new_with_handle(read, runtime.handle().clone()),
        _handle: handle,
        _runtime: runtime,
    };
    let path = url.path.clone();
    let connection = Connection::new(
        reader,
        write,
        version,
        path,
        None::<(String, Option<u16>)>,
        ConnectMode::Process,
        false,
    );
    Ok(Box::new(connection.custom_url(Some(url.to_bstring()))))
}

/// What the server says; holds the connection and its thread.
struct Reader {
    bridge: SyncIoBridge<ReadHalf<russh::ChannelStream<Msg>>>,
    _handle: Handle<Server>,
    _runtime: tokio::runtime::Runtime,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.bridge.read(buffer)
    }
}

/// Whom to ask for what, and how.
struct Place {
    host: String,
    port: u16,
    user: String,
    command: String,
    keys: Vec<PathBuf>,
    known_hosts: PathBuf,
}

impl Place {
    fn of(url: &Url, home: &Path) -> Self {
        let ssh = home.join(".ssh");
        let asked = url.host.clone().unwrap_or_default();
        let text = std::fs::read_to_string(ssh.join("config")).unwrap_or_default();
        let config = Settings::find(&text, &asked);
        // `ssh://host/~user/x` means a path that begins at a home.
        let path = url.path.to_string();
        let path = path
            .strip_prefix("/~")
            .map(|rest| format!("~{rest}"))
            .unwrap_or(path);
        let quoted = path.replace('\'', "'\\''");
        let keys = match config.keys.is_empty() {
            true => all_keys(&ssh),
            false => config.keys,
        };
        Self {
            host: config.host.unwrap_or(asked),
            port: url.port.or(config.port).unwrap_or(PORT),
            user: url
                .user
                .clone()
                .or(config.user)
                .unwrap_or_else(|| USER.to_owned()),
            command: format!("git-upload-pack '{quoted}'"),
            keys,
            known_hosts: ssh.join("known_hosts"),
        }
    }

    async fn open(&self) -> Result<(Handle<Server>, Channel<Msg>), String> {
        let failed =
            |step: &'static str| move |error: russh::Error| format!("{step}: {}", chain(&error));
        let server = Server {
            host: self.host.clone(),
            port: self.port,
            known_hosts: self.known_hosts.clone(),
        };
        let config = Arc::new(self.config());
        let address = (self.host.as_str(), self.port);
        let mut handle = client::connect(config, address, server)
            .await
            .map_err(|refusal| refusal.0)?;
        self.log_in(&mut handle).await?;
        let channel = handle.channel_open_session().await;
        let channel = channel.map_err(failed("open a channel"))?;
        // A server that does not let it pass speaks the older protocol.
        let version = channel.set_env(false, "GIT_PROTOCOL", "version=2").await;
        version.map_err(failed("set the protocol"))?;
        let started = channel.exec(true, self.command.as_str()).await;
        started.map_err(failed("start git-upload-pack"))?;
        Ok((handle, channel))
    }

    /// A server is asked for a key of a kind that is known of it.
    fn config(&self) -> client::Config {
        let mut preferred = Preferred::default();
        let known = self.known();
        if !known.is_empty() {
            let mut kinds = Vec::new();
            for kind in preferred.key.iter() {
                let fits = |key: &russh::keys::PublicKey| same_kind(kind, &key.algorithm());
                if known.iter().any(fits) {
                    kinds.push(kind.clone());
                }
            }
            preferred.key = Cow::Owned(kinds);
        }
        client::Config {
            preferred,
            keepalive_interval: Some(KEEPALIVE),
            nodelay: true,
            ..client::Config::default()
        }
    }

    fn known(&self) -> Vec<russh::keys::PublicKey> {
        let known = known_host_keys_path(&self.host, self.port, &self.known_hosts);
        let known = known.unwrap_or_default();
        known.into_iter().map(|(_, key)| key).collect()
    }

    async fn log_in(&self, handle: &mut Handle<Server>) -> Result<(), String> {
        let mut tried = Vec::new();
        for path in &self.keys {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let key = match load_secret_key(path, None) {
                Ok(key) => Arc::new(key),
                // Its words could quote the key.
                Err(_) => {
                    tried.push(format!("{name} is no private key without a password"));
                    continue;
                }
            };
            let hash = handle
                .best_supported_rsa_hash()
                .await
                .ok()
                .flatten()
                .flatten();
            let key = PrivateKeyWithHashAlg::new(key, hash);
            let answer = handle.authenticate_publickey(self.user.as_str(), key).await;
            match answer {
                Ok(answer) if answer.success() => return Ok(()),
                Ok(_) => tried.push(format!("{name} was not accepted")),
                Err(error) => return Err(format!("log in: {}", chain(&error))),
            }
        }
        if tried.is_empty() {
            let text = "no key: give the ServiceAccount a Secret of type kubernetes.io/ssh-auth";
            return Err(format!("log in as {}: {text}", self.user));
        }
        Err(format!("log in as {}: {}", self.user, tried.join(", ")))
    }
}

/// RSA keys are of one kind whatever they are hashed with.
fn same_kind(a: &russh::keys::Algorithm, b: &russh::keys::Algorithm) -> bool {
    a == b || a.clone().is_rsa() && b.clone().is_rsa()
}

fn all_keys(ssh: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(ssh).into_iter().flatten().flatten();
    let mut keys: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("id_") && !name.ends_with(".pub")
        })
        .collect();
    keys.sort();
    keys
}

/// What `~/.ssh/config` says of a host.
#[derive(Debug, Default, PartialEq)]
struct Settings {
    host: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    keys: Vec<PathBuf>,
}

impl Settings {
    /// The first word on each matter counts, as with ssh; keys add up.
    fn find(text: &str, host: &str) -> Self {
        let mut found = Self::default();
        let mut applies = true;
        for line in text.lines() {
            let line = line.trim();
            let (key, value) = line.split_once([' ', '\t', '=']).unwrap_or((line, ""));
            let value = value.trim();
            match key.to_lowercase().as_str() {
                "host" => {
                    applies = value
                        .split_whitespace()
                        .any(|word| word == host || word == "*")
                }
                "hostname" if applies => drop(found.host.get_or_insert(value.to_owned())),
                "user" if applies => drop(found.user.get_or_insert(value.to_owned())),
                "port" if applies => found.port = found.port.or(value.parse().ok()),
                "identityfile" if applies => found.keys.push(PathBuf::from(value)),
                _ => {}
            }
        }
        found
    }
}

/// The server as it shows itself.
struct Server {
    host: String,
    port: u16,
    known_hosts: PathBuf,
}

/// Why there is no connection.
#[derive(Debug)]
struct Refusal(String);

impl From<russh::Error> for Refusal {
    fn from(error: russh::Error) -> Self {
        Self(chain(&error))
    }
}

impl client::Handler for Server {
    type Error = Refusal;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Refusal> {
        let key = shown.public_key();
        let Self {
            host,
            port,
            known_hosts,
        } = self;
        let known = known_host_keys_path(host, *port, &*known_hosts).unwrap_or_default();
        if known.is_empty() {
            // As with `ssh-keyscan`: who gives no known_hosts believes what is there.
            let noted = learn_known_hosts_path(host, *port, &key, &*known_hosts);
            return match noted {
                Ok(()) => Ok(true),
                Err(error) => Err(Refusal(format!("note the server's key: {}", chain(&error)))),
            };
        }
        match check_known_hosts_path(host, *port, &key, &*known_hosts) {
            Ok(true) => Ok(true),
            _ => Err(Refusal(format!(
                "the server's key is not the one known_hosts has for {host}: somebody may listen, or the server has a new key"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_a_host() {
        let text = "Host a.example\n    HostName a.internal\n    Port 2222\n    IdentityFile /k/a\nHost *\n User u\n IdentityFile /k/b\n";
        let found = Settings::find(text, "a.example");
        let want = Settings {
            host: Some("a.internal".to_owned()),
            port: Some(2222),
            user: Some("u".to_owned()),
            keys: vec!["/k/a".into(), "/k/b".into()],
        };
        assert_eq!(found, want);
        assert_eq!(
            Settings::find(text, "b.example").keys,
            [PathBuf::from("/k/b")]
        );
    }

    #[test]
    fn urls() {
        let home = tempfile::tempdir().unwrap();
        for (url, want) in [
            (
                "ssh://git@h:2222/a/b.git",
                "git h 2222 git-upload-pack '/a/b.git'",
            ),
            ("git@h:a/b.git", "git h 22 git-upload-pack 'a/b.git'"),
            (
                "ssh://me@h/~you/it's",
                "me h 22 git-upload-pack '~you/it'\\''s'",
            ),
        ] {
            let url = gix::url::parse(url.into()).unwrap();
            let place = Place::of(&url, home.path());
            let Place {
                host,
                port,
                user,
                command,
                ..
            } = place;
            assert_eq!(format!("{user} {host} {port} {command}"), want);
        }
    }
}
