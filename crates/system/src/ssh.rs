//! An ssh server for tests: the real sshd inside an instance's network namespace, with keys of its
//! own.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::command::run;
use crate::instance::Instance;

/// It listens on this port of all addresses of the namespace.
const PORT: u16 = 2222;

/// A running sshd that lets root in with one key; ended when dropped.
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
        for name in ["host", "user", "stranger"] {
            keygen(&dir.path().join(name));
        }
        let path = |name: &str| dir.path().join(name).display().to_string();
        let config = format!(
            "Port {PORT}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM yes\n\
             StrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n\
             LogLevel ERROR\n",
            path("host"),
            path("user.pub"),
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
        Self { child, dir }
    }

    /// The URL of a directory of this machine as Pods reach it.
    pub fn url(&self, path: &Path) -> String {
        format!("ssh://root@10.42.0.1:{PORT}{}", path.display())
    }

    /// What the annotation of a Secret calls it.
    pub fn host(&self) -> String {
        format!("10.42.0.1:{PORT}")
    }

    /// The private key that opens.
    pub fn key(&self) -> String {
        self.read("user")
    }

    /// A line for `known_hosts` with the server's own key, or with another's.
    pub fn known_hosts(&self, truly: bool) -> String {
        let key = self.read(if truly { "host.pub" } else { "stranger.pub" });
        format!("[10.42.0.1]:{PORT} {key}")
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

fn keygen(path: &Path) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-f"]);
    run(command.arg(path), "").expect();
}
