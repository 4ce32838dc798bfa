//! Git over ssh, in process: no ssh program is started. What a user would have in `~/.ssh` is used:
//! `config` (Host, HostName, Port, User, IdentityFile, StrictHostKeyChecking), the keys it names or
//! else all `id_*`, and `known_hosts`. A server that `known_hosts` does not name is refused, or
//! believed and noted there where the configuration says `accept-new`; one whose key is another
//! than the noted one is always refused.
//!
//! The connection lives on a thread of its own; git reads and writes it blocking. Called by `git`.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gix::Url;
use gix::protocol::transport::Protocol;
use gix::protocol::transport::client::blocking_io::Transport;
use gix::protocol::transport::client::git::ConnectMode;
use gix::protocol::transport::client::git::blocking_io::Connection;
use russh::client::{self, Handle};
use russh::keys::known_hosts::{known_host_keys_path, learn_known_hosts_path};
use russh::keys::{
    Algorithm, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate, load_secret_key,
};
use russh::{Channel, ChannelMsg, ChannelReadHalf, Preferred, client::Msg};
use tokio::runtime::Runtime;
use tokio_util::io::SyncIoBridge;

use crate::error::{Error, chain, shown};

const PORT: u16 = 22;
/// Who logs in where neither the URL nor the configuration says.
const USER: &str = "git";
/// How long a server may take to accept the connection and the key.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of what a server complains of is shown.
const COMPLAINT_BYTES_MAX: usize = 1024;
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
    let (handle, channel) = runtime
        .block_on(async { tokio::time::timeout(CONNECT_TIMEOUT, place.open()).await })
        .map_err(|_| failed(format!("no connection within {CONNECT_TIMEOUT:?}")))?
        .map_err(failed)?;
    let (read, write) = channel.split();
    let write = SyncIoBridge::new_with_handle(write.make_writer(), runtime.handle().clone());
    let reader = Reader {
        channel: read,
        data: VecDeque::new(),
        complaint: String::new(),
        _handle: handle,
        runtime,
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
    channel: ChannelReadHalf,
    /// What came and was not read yet.
    data: VecDeque<u8>,
    /// What the server wrote to its standard error, at most [`COMPLAINT_BYTES_MAX`].
    complaint: String,
    _handle: Handle<Server>,
    runtime: Runtime,
}

impl Read for Reader {
    /// # Errors
    /// The server ended the conversation with a complaint and nothing else.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.data.is_empty() {
            match self.runtime.block_on(self.channel.wait()) {
                Some(ChannelMsg::Data { data }) => self.data.extend(data.iter()),
                Some(ChannelMsg::ExtendedData { data, .. }) => {
                    let room = COMPLAINT_BYTES_MAX.saturating_sub(self.complaint.len());
                    let data = &data[..data.len().min(room)];
                    self.complaint += &String::from_utf8_lossy(data);
                }
                Some(_) => {}
                None => {
                    return match self.complaint.trim() {
                        "" => Ok(0),
                        said => Err(io::Error::other(format!("the server says {said:?}"))),
                    };
                }
            }
        }
        self.data.read(buffer)
    }
}

/// Whom to ask for what, and how.
struct Place {
    user: String,
    command: String,
    keys: Vec<PathBuf>,
    server: Server,
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
        let server = Server {
            host: config.host.unwrap_or(asked),
            port: url.port.or(config.port).unwrap_or(PORT),
            known_hosts: ssh.join("known_hosts"),
            accept_new: config.accept_new.unwrap_or(false),
        };
        Self {
            server,
            user: url
                .user
                .clone()
                .or(config.user)
                .unwrap_or_else(|| USER.to_owned()),
            command: format!("git-upload-pack '{quoted}'"),
            keys,
        }
    }

    async fn open(&self) -> Result<(Handle<Server>, Channel<Msg>), String> {
        let failed =
            |step: &'static str| move |error: russh::Error| format!("{step}: {}", chain(&error));
        if self.keys.is_empty() {
            let text = "no key: give the ServiceAccount a Secret of type kubernetes.io/ssh-auth";
            return Err(format!("log in as {}: {text}", self.user));
        }
        let server = &self.server;
        let config = Arc::new(server.config()?);
        let address = (server.host.as_str(), server.port);
        let mut handle = client::connect(config, address, server.clone())
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
        Err(format!("log in as {}: {}", self.user, tried.join(", ")))
    }
}

/// RSA keys are of one kind whatever they are hashed with.
fn same_kind(a: &Algorithm, b: &Algorithm) -> bool {
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
    accept_new: Option<bool>,
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
            let key = key.to_lowercase();
            if key == "host" {
                let named = |word: &str| word == host || word == "*";
                applies = value.split_whitespace().any(named);
            } else if applies {
                found.take(&key, value);
            }
        }
        found
    }

    fn take(&mut self, key: &str, value: &str) {
        let text = || value.to_owned();
        match key {
            "hostname" => drop(self.host.get_or_insert_with(text)),
            "user" => drop(self.user.get_or_insert_with(text)),
            "port" => self.port = self.port.or_else(|| value.parse().ok()),
            "identityfile" => self.keys.push(PathBuf::from(value)),
            "stricthostkeychecking" => {
                let lax = matches!(value, "accept-new" | "no" | "off");
                self.accept_new.get_or_insert(lax);
            }
            _ => {}
        }
    }
}

/// A server, and how it is known.
#[derive(Clone)]
struct Server {
    host: String,
    port: u16,
    known_hosts: PathBuf,
    /// Whether one that is not known is believed.
    accept_new: bool,
}

impl Server {
    /// A server is asked for a key of a kind that is known of it.
    fn config(&self) -> Result<client::Config, String> {
        let mut preferred = Preferred::default();
        let known = self.known()?;
        if !known.is_empty() {
            let fits = |kind: &Algorithm| known.iter().any(|key| same_kind(kind, &key.algorithm()));
            let kinds = preferred.key.iter().filter(|kind| fits(kind));
            preferred.key = Cow::Owned(kinds.cloned().collect());
        }
        Ok(client::Config {
            preferred,
            keepalive_interval: Some(KEEPALIVE),
            nodelay: true,
            ..client::Config::default()
        })
    }

    fn known(&self) -> Result<Vec<PublicKey>, String> {
        let known = known_host_keys_path(&self.host, self.port, &self.known_hosts);
        let known = known.map_err(|error| format!("read known_hosts: {}", chain(&error)))?;
        Ok(known.into_iter().map(|(_, key)| key).collect())
    }

    /// Whether this key is the server's.
    fn check(&self, key: &PublicKey) -> Result<(), String> {
        let known = self.known()?;
        let host = &self.host;
        if known.iter().any(|known| known.key_data() == key.key_data()) {
            return Ok(());
        }
        if !known.is_empty() {
            return Err(format!(
                "the server's key is not the one known_hosts has for {host}: somebody may listen, or the server has a new key"
            ));
        }
        if !self.accept_new {
            return Err(format!(
                "known_hosts has no line for {host} port {}: add the server's key (ssh-keyscan shows it) to the Secret's known_hosts",
                self.port
            ));
        }
        let noted = learn_known_hosts_path(host, self.port, key, &self.known_hosts);
        noted.map_err(|error| format!("note the server's key: {}", chain(&error)))
    }
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
        let checked = self.check(&shown.public_key());
        checked.map(|()| true).map_err(Refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_a_host() {
        let text = "Host a.example\n    HostName a.internal\n    Port 2222\n    IdentityFile /k/a\n    StrictHostKeyChecking accept-new\nHost *\n User u\n IdentityFile /k/b\n";
        let found = Settings::find(text, "a.example");
        let want = Settings {
            host: Some("a.internal".to_owned()),
            port: Some(2222),
            user: Some("u".to_owned()),
            keys: vec!["/k/a".into(), "/k/b".into()],
            accept_new: Some(true),
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
            let url = crate::git::parse(url).unwrap();
            let place = Place::of(&url, home.path());
            let Place {
                server,
                user,
                command,
                ..
            } = place;
            let (host, port) = (server.host, server.port);
            assert_eq!(format!("{user} {host} {port} {command}"), want);
        }
    }

    #[test]
    fn servers_that_are_known_or_not() {
        const KEY: &str =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
        const OTHER: &str =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";
        let home = tempfile::tempdir().unwrap();
        let known_hosts = home.path().join("known_hosts");
        let key = PublicKey::from_openssh(KEY).unwrap();
        for (line, accept_new, want) in [
            (format!("h {KEY} of the machine room"), false, ""),
            (format!("h {OTHER}"), true, "is not the one known_hosts has"),
            (format!("other {KEY}"), false, "no line for h port 22"),
            (format!("[h]:2222 {KEY}"), false, "no line for h port 22"),
            (
                "h ssh-ed25519 nonsense".to_owned(),
                true,
                "read known_hosts",
            ),
            (String::new(), false, "no line for h port 22"),
            (format!("other {OTHER}"), true, ""),
        ] {
            std::fs::write(&known_hosts, &line).unwrap();
            let server = Server {
                host: "h".to_owned(),
                port: PORT,
                known_hosts: known_hosts.clone(),
                accept_new,
            };
            let said = server.check(&key).err().unwrap_or_default();
            assert!(
                said.contains(want) && said.is_empty() == want.is_empty(),
                "{line}: {said}"
            );
        }
        // The last one was believed: it is known from now on.
        let noted = std::fs::read_to_string(&known_hosts).unwrap();
        assert!(noted.contains(&format!("h {KEY}")), "{noted}");
    }
}
