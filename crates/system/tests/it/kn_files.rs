//! The words of kn that need no instance: Services in files, completion, version, plugins.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use system::{Outcome, binary, run};

/// Runs the program where there is no instance.
fn kn(home: &Path, args: &[&str]) -> Outcome {
    let mut command = Command::new(binary());
    command
        .env_remove("KUBECONFIG")
        .env("REKINDLE_DATA_DIR", home.join("no instance"))
        .env("HOME", home)
        .env_remove("XDG_CONFIG_HOME")
        .env("PATH", home)
        .args(args);
    run(&mut command, "")
}

#[test]
fn services_are_kept_in_files() {
    let home = tempfile::tempdir().expect("a directory");
    let root = home.path().join("repository");
    let target = root.display().to_string();
    let verb = |words: &str| {
        let mut args: Vec<&str> = words.split(' ').collect();
        args.extend(["--target", &target]);
        kn(home.path(), &args)
    };
    let said = verb("service create hello --image example.com/hello --env A=1 -n team").expect();
    assert_eq!(said, "Service 'hello' created in namespace 'team'.\n");
    let file = root.join("team/ksvc/hello.yaml");
    let text = fs::read_to_string(&file).expect("the file");
    assert!(text.contains("image: example.com/hello"), "{text}");
    let refused = verb("service create hello --image example.com/other -n team").expect_failure();
    assert!(refused.contains("already exists"), "{refused}");
    let refused = verb("service create ../out --image example.com/hello").expect_failure();
    assert!(refused.contains("metadata.name"), "{refused}");

    let said = verb("service update hello --env B=2 --scale-min 1 -n team").expect();
    assert_eq!(said, "Service 'hello' updated in namespace 'team'.\n");
    let template = "go-template={{range .spec.template.spec.containers}}{{range .env}}{{.name}}={{.value}};{{end}}{{end}}";
    let shown = kn(
        home.path(),
        &[
            "service", "describe", "hello", "-n", "team", "--target", &target, "-o", template,
        ],
    );
    assert_eq!(shown.expect(), "A=1;B=2;");
    let said = verb("service apply hello --image example.com/hello:2 -n team").expect();
    assert_eq!(said, "Service 'hello' applied in namespace 'team'.\n");

    verb("service create there --image example.com/there").expect();
    let list = verb("service list").expect();
    assert!(list.contains("there") && !list.contains("hello"), "{list}");
    let names = verb("service list -A -o jsonpath={.items[*].metadata.name}").expect();
    assert_eq!(names, "there hello");
    let refused = verb("service update none --env A=1").expect_failure();
    assert!(refused.contains("\"none\" not found"), "{refused}");
    verb("service delete hello -n team").expect();
    assert!(!file.exists());
    assert_eq!(
        verb("service list -n team").expect(),
        "No services found.\n"
    );

    let one = home.path().join("one.json").display().to_string();
    let create = [
        "service",
        "create",
        "one",
        "--image",
        "example.com/one",
        "--target",
        &one,
    ];
    kn(home.path(), &create).expect();
    let text = fs::read_to_string(&one).expect("the file");
    let service: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(service["metadata"]["name"], "one");
}

#[test]
fn completion_version_and_plugins() {
    let home = tempfile::tempdir().expect("a directory");
    for (shell, sign) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef rekindle"),
        ("fish", "complete -c rekindle"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let script = kn(home.path(), &["completion", shell]).expect();
        assert!(script.contains(sign), "{shell}");
        assert!(script.contains("service"), "{shell}");
    }
    let script = kn(home.path(), &["completion", "bash"]).expect();
    run(Command::new("bash").arg("-n"), &script).expect();

    let version = kn(home.path(), &["version"]).expect();
    assert!(
        version.contains("  - serving.knative.dev/v1 (knative-serving v"),
        "{version}"
    );
    let version = kn(home.path(), &["version", "-o", "json"]).expect();
    let version: Value = serde_json::from_str(&version).expect("JSON");
    let apis = version["SupportedAPIs"]["eventing"].as_array();
    assert_eq!(apis.map(Vec::len), Some(2));

    let none = kn(home.path(), &["plugin", "list"]).expect();
    assert_eq!(none, "No plugins found.\n");
    let plugin = home.path().join("kn-greet");
    fs::write(&plugin, "").expect("a file");
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).expect("executable");
    let list = kn(home.path(), &["plugin", "list"]).expect();
    assert_eq!(list, "- kn-greet\n");
    let list = kn(home.path(), &["plugin", "list", "--verbose"]).expect();
    assert!(
        list.contains(&format!("- kn-greet  ({})", plugin.display())),
        "{list}"
    );
}

#[test]
fn who_has_read_enough_is_not_told_of_it() {
    let script = format!("{} completion bash | :", binary());
    let said = run(Command::new("sh").args(["-c", &script]), "");
    assert_eq!((said.ok, &*said.stderr), (true, ""));
}
