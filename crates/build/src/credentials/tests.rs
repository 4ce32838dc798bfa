//! From Secrets to arguments to files.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;

fn secret(kind: &str, annotations: Value) -> Value {
    json!({"metadata": {"name": "s", "annotations": annotations}, "type": format!("kubernetes.io/{kind}")})
}

#[test]
fn annotations_become_arguments() {
    let both = json!({
        "build.knative.dev/docker-0": "https://index.docker.io/v1/",
        "build.knative.dev/git-0": "https://github.com",
        "build.knative.dev/git-1": "https://gitlab.com",
        "other": "x",
    });
    for (kind, want) in [
        (
            "basic-auth",
            &[
                "-basic-docker=s=https://index.docker.io/v1/",
                "-basic-git=s=https://github.com",
                "-basic-git=s=https://gitlab.com",
            ][..],
        ),
        (
            "ssh-auth",
            &[
                "-ssh-git=s=https://github.com",
                "-ssh-git=s=https://gitlab.com",
            ],
        ),
        ("dockerconfigjson", &["-docker-config=s"]),
        ("dockercfg", &["-docker-cfg=s"]),
        ("service-account-token", &[]),
    ] {
        assert_eq!(arguments(&secret(kind, both.clone())), want, "{kind}");
    }
}

#[test]
fn a_registry_that_would_never_be_found_is_told() {
    let check = |url: &str| {
        let annotations = json!({"build.knative.dev/docker-0": url});
        super::check(&secret("basic-auth", annotations)).map_err(|bad| bad.0)
    };
    assert_eq!(check("https://index.docker.io/v1/"), Ok(()));
    let said = check("index.docker.io").unwrap_err();
    assert_eq!(
        said,
        "Secret \"s\" has incorrect annotation \"build.knative.dev/docker-0\" / \"index.docker.io\", value should be \"https://index.docker.io/v1/\""
    );
}

/// Checks the files that arguments become, with these keys in every Secret.
fn check(arguments: &[&str], keys: Value, expect: Expect) {
    let arguments: Vec<String> = arguments.iter().map(|one| (*one).to_owned()).collect();
    let read = |_: &str, key: &str| keys[key].as_str().map(str::to_owned);
    let text = match files(&arguments, "/builder/home", &read) {
        Ok(files) => files
            .iter()
            .map(|file| format!("-- {}\n{}\n", file.path, file.content.trim_end()))
            .collect(),
        Err(bad) => bad.0,
    };
    expect.assert_eq(&text);
}

#[test]
fn arguments_become_files() {
    let basic = json!({"username": "me", "password": "a@b"});
    check(
        &[
            "-basic-docker=s=https://r.example",
            "-basic-git=s=https://g.example",
        ],
        basic,
        expect![[r#"
            -- .docker/config.json
            {"auths":{"https://r.example":{"auth":"bWU6YUBi","email":"not@val.id","password":"a@b","username":"me"}}}
            -- .gitconfig
            [credential]
            	helper = store
            [credential "https://g.example"]
            	username = me
            -- .git-credentials
            https://me:a%40b@g.example
        "#]],
    );
    check(
        &["-docker-config=s"],
        json!({".dockerconfigjson": "{\"auths\": {\"r.example\": {\"auth\": \"x\"}}}"}),
        expect![[r#"
            -- .docker/config.json
            {"auths":{"r.example":{"auth":"x"}}}
        "#]],
    );
    check(
        &["-ssh-git=s=git.example:2222"],
        json!({"ssh-privatekey": "KEY", "known_hosts": "git.example ssh-ed25519 A"}),
        expect![[r#"
            -- .ssh/id_s
            KEY
            -- .ssh/config
            Host git.example
                HostName git.example
                Port 2222
                IdentityFile /builder/home/.ssh/id_s
            -- .ssh/known_hosts
            git.example ssh-ed25519 A
        "#]],
    );
    check(
        &["-ssh-git=s=ssh://git@git.example/"],
        json!({"ssh-privatekey": "KEY"}),
        expect![[r#"
            -- .ssh/id_s
            KEY
            -- .ssh/config
            Host git.example
                HostName git.example
                IdentityFile /builder/home/.ssh/id_s
                StrictHostKeyChecking accept-new
            -- .ssh/known_hosts

        "#]],
    );
    check(
        &["-basic-git=s=u"],
        json!({"username": "me"}),
        expect![[r#"Secret "s" has no key "password""#]],
    );
    check(
        &["-docker-config=s"],
        json!({".dockerconfigjson": "{secret"}),
        expect![[r#"Secret "s" holds no JSON"#]],
    );
    check(&[], json!({}), expect![""]);
}
