//! An ssh server for tests: the real sshd inside an instance's network namespace, with keys of its
//! own.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::command::run;
use crate::instance::Instance;

/// It listens on this port of all addresses of the namespace.
const PORT: u16 = 2222;
/// How long it may take to answer.
const START_MAX: Duration = Duration::from_secs(60);

/// The address of the node as Pods reach it.
const HOST: &str = "10.42.0.1";

/// A running sshd that lets root in with two keys; ended when dropped.
#[derive(Debug)]
pub struct SshServer {
    child: Child,
    /// Keys and configuration.
    dir: TempDir,
}

impl SshServer {
    /// Starts it.
    pub fn start(instance: &Instance) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let ed25519 = ["-t", "ed25519"];
        // The kind and form of most keys of 2018.
        let rsa = ["-t", "rsa", "-b", "2048", "-m", "PEM"];
        keygen(&dir.path().join("host"), &ed25519);
        keygen(&dir.path().join("stranger"), &ed25519);
        keygen(&dir.path().join("ed25519"), &ed25519);
        keygen(&dir.path().join("rsa"), &rsa);
        let path = |name: &str| dir.path().join(name).display().to_string();
        let users = [path("ed25519.pub"), path("rsa.pub")].join(" ");
        let config = format!(
            "Port {PORT}\nHostKey {}\nAuthorizedKeysFile {users}\nPidFile none\nUsePAM yes\n\
             StrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n\
             LogLevel ERROR\n",
            path("host"),
        );
        fs::write(dir.path().join("config"), config).expect("the directory is writable");
        // Where sshd puts aside its rights.
        fs::create_dir_all("/run/sshd").expect("root may");
        let log = fs::File::create(dir.path().join("log")).expect("the directory is writable");
        let child = instance
            .inside("/usr/sbin/sshd")
            .args(["-D", "-e", "-f", &path("config")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("start sshd");
        instance.eventually(START_MAX, || {
            let mut probe = instance.inside("ssh-keyscan");
            run(probe.args(["-p", &PORT.to_string(), HOST]), "").ok
        });
        Self { child, dir }
    }

    /// The URL of a directory of this machine as Pods reach it.
    pub fn url(&self, path: &Path) -> String {
        format!("ssh://root@{HOST}:{PORT}{}", path.display())
    }

    /// The same in the short form, which has no room for the port.
    pub fn short_url(&self, path: &Path) -> String {
        format!("root@{HOST}:{}", path.display())
    }

    /// What the annotation of a Secret calls it.
    pub fn host(&self) -> String {
        format!("{HOST}:{PORT}")
    }

    /// A private key that opens, `ed25519` or `rsa`.
    pub fn key(&self, kind: &str) -> String {
        self.read(kind)
    }

    /// A line for `known_hosts` with the server's own key, or with another's.
    pub fn known_hosts(&self, truly: bool) -> String {
        let key = self.read(if truly { "host.pub" } else { "stranger.pub" });
        format!("[{HOST}]:{PORT} {key}")
    }

    /// What it complained of.
    pub fn log(&self) -> String {
        self.read("log")
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).expect("made at the start")
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keygen(path: &Path, kind: &[&str]) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-N", ""]).args(kind);
    run(command.arg("-f").arg(path), "").expect();
}
