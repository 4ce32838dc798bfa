//! Sources that come by git over ssh: keys, both forms of the URL, and servers that are known or not.

use serde_json::json;
use system::{GitServer, SshServer};

use super::builds::{check, ended, logs, start};

/// A Secret for ssh with one key, a ServiceAccount that has it and a Build that uses it, all called
/// `name`.
fn manifest(server: &SshServer, name: &str, url: &str, key: &str, known_hosts: &str) -> String {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/ssh-auth",
        "metadata": {"name": name, "annotations": {"build.knative.dev/git-0": server.host()}},
        "stringData": {"ssh-privatekey": server.key(key), "known_hosts": known_hosts},
    });
    format!(
        "---
{secret}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {name}}}
secrets: [{{name: {name}}}]
---
apiVersion: build.knative.dev/v1alpha1
kind: Build
metadata: {{name: {name}}}
spec:
  serviceAccountName: {name}
  source: {{git: {{url: '{url}', revision: master}}}}
  steps: [{{name: show, image: example.com/shell, args: [-c, cat f]}}]
"
    )
}

#[test]
fn git_over_ssh() {
    let instance = start();
    let repositories = GitServer::start(&instance, None);
    repositories.commit("app.git", &[("f", "by ssh\n")]);
    let server = SshServer::start(&instance);
    let path = repositories.path("app.git");
    let (url, short) = (server.url(&path), server.short_url(&path));
    let nothing = server.url(&repositories.path("nothing.git"));
    let (right, wrong) = (server.known_hosts(true), server.known_hosts(false));
    let elsewhere = right.replace("10.42", "10.43");
    let mut all = String::new();
    for (name, url, key, known_hosts) in [
        ("known", &url, "ed25519", right.as_str()),
        ("unknown", &short, "rsa", ""),
        ("changed", &url, "ed25519", &wrong),
        ("unnamed", &url, "ed25519", &elsewhere),
        ("stranger", &url, "stranger", &right),
        ("nothing", &nothing, "ed25519", &right),
    ] {
        all += &manifest(&server, name, url, key, known_hosts);
    }
    all += &format!(
        "---
apiVersion: build.knative.dev/v1alpha1
kind: Build
metadata: {{name: keyless}}
spec:
  source: {{git: {{url: '{url}', revision: master}}}}
  steps: [{{image: example.com/shell}}]
"
    );
    instance.apply(&all).expect();

    for name in ["known", "unknown"] {
        let build = ended(&instance, name);
        let status = &build["status"]["conditions"][0]["status"];
        assert_eq!(status, "True", "{build:#} {}", server.log());
        assert_eq!(logs(&instance, &build, "build-step-show"), "by ssh\n");
    }
    for (name, text) in [
        ("changed", "the server's key is not the one known_hosts has"),
        ("unnamed", "known_hosts has no line for 10.42.0.1 port 2222"),
        ("stranger", "id_stranger was not accepted"),
        ("nothing", "nothing.git"),
        ("keyless", "no key: give the ServiceAccount a Secret"),
    ] {
        let build = ended(&instance, name);
        check(&build, "False", "BuildExecuteFailed");
        let message = build["status"]["conditions"][0]["message"].as_str();
        let message = message.expect("a message");
        assert!(message.contains(text), "{name}: {message}");
    }

    // The keys are nowhere to be read.
    let mut written = instance.log();
    for name in ["known", "unknown", "stranger"] {
        let build = ended(&instance, name);
        for step in ["credential-initializer", "git-source-0"] {
            written += &logs(&instance, &build, &format!("build-step-{step}"));
        }
    }
    assert!(written.contains("Wrote /builder/home/.ssh/id_known"));
    for kind in ["ed25519", "rsa", "stranger"] {
        let key = server.key(kind);
        for line in key.lines().filter(|line| !line.is_empty()) {
            assert!(!written.contains(line), "{line}");
        }
    }
}
