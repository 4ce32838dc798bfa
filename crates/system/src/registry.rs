//! An image registry for tests: Debian's docker-registry inside an instance's network namespace,
//! with one user, `user` with the password `secret`.

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::command::run;
use crate::instance::Instance;

/// What `htpasswd -Bbn user secret` prints.
const HTPASSWD: &str = "user:$2y$05$xJ9w6iLnpRZQBBRYGQl6k.GN3CojjOZHP9nr9tYC4rEc0eKEit4Ae\n";
/// How long it may take to listen.
const START_MAX: Duration = Duration::from_secs(60);

/// A running registry; ended when dropped.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    _dir: TempDir,
}

impl Registry {
    /// Where it listens, and what names of its images begin with.
    pub const ADDRESS: &str = "127.0.0.1:5000";

    /// Starts it and waits until it answers.
    pub fn start(instance: &Instance) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let passwords = dir.path().join("htpasswd");
        fs::write(&passwords, HTPASSWD).expect("the directory is writable");
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: \"{}\"}}\nauth: {{htpasswd: {{realm: test, path: {}}}}}\n",
            dir.path().join("content").display(),
            Self::ADDRESS,
            passwords.display(),
        );
        let path = dir.path().join("config.yaml");
        fs::write(&path, config).expect("the directory is writable");
        let child = instance
            .inside("/usr/bin/docker-registry")
            .arg("serve")
            .arg(path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start docker-registry");
        let registry = Self { child, _dir: dir };
        instance.eventually(START_MAX, || registry.get(instance, "").is_some());
        registry
    }

    /// What it answers for a path below `/v2/`; nothing when it refuses.
    pub fn get(&self, instance: &Instance, path: &str) -> Option<String> {
        let url = format!("http://{}/v2/{path}", Self::ADDRESS);
        let mut curl = instance.inside("curl");
        let answer = run(curl.args(["-s", "-f", "-u", "user:secret", &url]), "");
        answer.ok.then_some(answer.stdout)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
