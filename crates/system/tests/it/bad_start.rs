//! `rekindle up` where it cannot run: one line names the thing and the remedy, nothing is left
//! behind, and the instance beside it goes on. And verbs of the client that find no instance.

use std::fs;
use std::path::Path;
use std::process::Command;

use system::{App, Instance, Outcome, assert_nothing_left, binary, run};

/// Runs `rekindle up` with a data directory below `dir` in the instance's network namespace.
fn up(instance: &Instance, dir: &Path, before: &[&str], words: &str) -> Outcome {
    let mut command = instance.inside("timeout");
    command.arg("30").args(before).arg(binary()).arg("up");
    command.arg("--data-dir").arg(dir.join("data"));
    run(command.args(words.split_whitespace()), "")
}

/// What a start that must fail says, on one line.
#[track_caller]
fn refused(outcome: Outcome) -> String {
    let said = outcome.expect_failure();
    let lines: Vec<&str> = said
        .lines()
        .filter(|l| l.starts_with("rekindle: "))
        .collect();
    assert_eq!(lines.len(), 1, "{said}");
    lines[0].to_owned()
}

#[track_caller]
fn assert_says(said: &str, wanted: &[&str]) {
    for word in wanted {
        assert!(said.contains(word), "{word:?} is not in\n{said}");
    }
}

/// Ports, a bridge and ranges that nobody else has.
const APART: &str = "--api-listen 127.0.0.1:0 --http-listen 127.0.0.1:0 \
                     --https-listen 127.0.0.1:0 --console-listen 127.0.0.1:0 \
                     --bridge apart0 --pod-cidr 10.52.0.0/16 --service-cidr 10.53.0.0/16";

/// `APART` with one flag's value changed.
fn with(flag: &str, value: &str) -> String {
    let (before, after) = APART
        .split_once(&format!("{flag} "))
        .expect("one of those flags");
    let after = after.split_once(' ').map_or("", |(_, after)| after);
    format!("{before}{flag} {value} {after}")
}

#[test]
fn what_another_has_is_refused_and_the_other_goes_on() {
    let instance = Instance::start();
    instance.load(App::Hello, "example.com/hello");
    let create = "service create hello --image example.com/hello --scale-min 1";
    instance.verb(create).expect();
    let addresses = ["api", "http", "https", "console"].map(|which| instance.address(which));
    let [api, http, https, console] = addresses.each_ref().map(String::as_str);
    for (flag, value, wanted) in [
        ("--api-listen", api, "another port"),
        ("--http-listen", http, "another port"),
        ("--https-listen", https, "another port"),
        ("--console-listen", console, "another port"),
        ("--api-listen", "192.0.2.1:1", "cannot listen there"),
        ("--bridge", "rekindle0", "another instance"),
        ("--bridge", "lo", "no bridge"),
        ("--bridge", "a-name-that-is-too-long", "1 to 15"),
        (
            "--pod-cidr",
            "10.42.128.0/24",
            "instance with the bridge rekindle0",
        ),
        (
            "--pod-cidr",
            "10.53.1.0/24",
            "--service-cidr 10.53.0.0/16 overlap",
        ),
        ("--pod-cidr", "127.0.0.0/8", "interface lo"),
        ("--pod-cidr", "10.52.0.0", "/prefix is missing"),
        ("--pod-cidr", "10.52.0.0/31", "between 8 and 30"),
        ("--pod-cidr", "10.52.0.1/16", "behind the prefix"),
        (
            "--service-cidr",
            "10.0.0.0/8",
            "--service-cidr 10.0.0.0/8 overlap",
        ),
        ("--service-cidr", "banana", "--service-cidr"),
    ] {
        let scratch = tempfile::tempdir().expect("a directory");
        let said = refused(up(&instance, scratch.path(), &[], &with(flag, value)));
        assert_says(&said, &[value, wanted]);
        assert_nothing_left(scratch.path());
    }
    let scratch = tempfile::tempdir().expect("a directory");
    let own = format!("{APART} --data-dir {}", instance.data_dir().display());
    let mut second = instance.inside(&binary());
    let said = refused(run(second.arg("up").args(own.split_whitespace()), ""));
    assert_says(&said, &["is in use by another process", "--data-dir"]);
    assert_nothing_left(scratch.path());

    let answer = instance.curl("hello.default.localhost", "/").expect();
    assert_eq!(answer, "Hello World!\n");
    // Pods reach names and Services as before, and new ones start.
    let pod = instance.kubectl("get pods -o name").expect();
    instance
        .kubectl(&format!("delete {} --wait=false", pod.trim()))
        .expect();
    let answer = instance.curl("hello.default.localhost", "/").expect();
    assert_eq!(answer, "Hello World!\n");
}

#[test]
fn values_that_make_no_sense_are_refused() {
    let instance = Instance::start();
    for (words, wanted) in [
        ("--http-listen nonsense", "'--http-listen <HTTP_LISTEN>'"),
        ("--log rekindle=loud", "--log"),
        ("--no-such-flag", "'--no-such-flag'"),
    ] {
        let scratch = tempfile::tempdir().expect("a directory");
        let said = up(&instance, scratch.path(), &[], words).expect_failure();
        assert_says(&said, &[wanted]);
    }
}

#[test]
fn a_data_directory_that_cannot_be_used_is_named() {
    let instance = Instance::start();
    let scratch = tempfile::tempdir().expect("a directory");
    let data = scratch.path().join("data");
    let start = || refused(up(&instance, scratch.path(), &[], APART));

    fs::write(&data, "").expect("a file");
    assert_says(&start(), &["--data-dir", "is no directory"]);
    fs::remove_file(&data).expect("the file");

    for (text, wanted) in [("mirrors: [\n", "line 1"), ("mirrors: 3\n", "line 1")] {
        fs::create_dir_all(&data).expect("a directory");
        fs::write(data.join("registries.yaml"), text).expect("a file");
        assert_says(&start(), &["registries.yaml", wanted]);
    }
    fs::remove_dir_all(&data).expect("the directory");

    // A store that a later version wrote: the number behind the magic is its format.
    fs::create_dir_all(data.join("store")).expect("a directory");
    let journal = data.join("store/journal-00000000000000000001");
    fs::write(&journal, b"RKSTORE\n\x63\0\0\0").expect("a file");
    let said = start();
    let journal = journal.display().to_string();
    assert_says(
        &said,
        &[
            &journal,
            "format 99",
            "the version that wrote it",
            "--data-dir",
        ],
    );
    fs::write(&journal, b"something else altogether").expect("a file");
    assert_says(&start(), &[&journal, "not a file of the store"]);
    assert_nothing_left(scratch.path());
}

#[test]
fn missing_rights_are_named() {
    let instance = Instance::start();
    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    let without = |capability| ["setpriv", "--bounding-set", capability];
    let [no_admin, no_net] = [without("-sys_admin"), without("-net_admin")];
    for (before, wanted) in [
        (&nobody[..], "needs root"),
        (&nobody[..], "SYS_ADMIN, NET_ADMIN"),
        (&no_admin[..], "missing SYS_ADMIN"),
        (&no_net[..], "missing NET_ADMIN"),
    ] {
        let scratch = tempfile::tempdir().expect("a directory");
        let said = refused(up(&instance, scratch.path(), before, APART));
        assert_says(&said, &[wanted]);
        assert_nothing_left(scratch.path());
    }
}

#[test]
fn client_verbs_say_what_they_miss() {
    let scratch = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = scratch.path().join(name);
        fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let missing = scratch.path().join("missing").display().to_string();
    let malformed = file("malformed", "clusters: [\n");
    let empty = file("empty", "apiVersion: v1\nkind: Config\n");
    let nobody = file(
        "nobody",
        "{apiVersion: v1, kind: Config, current-context: c,
          contexts: [{name: c, context: {cluster: k, user: u}}],
          clusters: [{name: k, cluster: {server: 'http://127.0.0.1:1'}}],
          users: [{name: u, user: {}}]}",
    );
    for (words, wanted) in [
        (
            format!("get pods --kubeconfig {missing}"),
            ["cannot read", "rekindle up"],
        ),
        (
            format!("get pods --data-dir {missing}"),
            [&missing, "--data-dir"],
        ),
        (
            format!("get pods --kubeconfig {malformed}"),
            [&malformed, "line 1"],
        ),
        (
            format!("get pods --kubeconfig {empty}"),
            [&empty, "context"],
        ),
        (
            format!("get pods --kubeconfig {nobody}"),
            ["cannot be reached", "rekindle up"],
        ),
        (
            format!("apply -f {missing} --kubeconfig {nobody}"),
            [&missing, "No such file"],
        ),
        (
            format!("apply -f {malformed} --kubeconfig {nobody}"),
            [&malformed, "YAML"],
        ),
        (
            format!("image load {missing} --data-dir {missing}-2"),
            [&missing, "No such file"],
        ),
    ] {
        let mut command = Command::new(binary());
        command
            .env_remove("KUBECONFIG")
            .args(words.split_whitespace());
        let said = run(&mut command, "").expect_failure();
        assert!(said.starts_with("rekindle: "), "{said}");
        assert_says(&said, &wanted);
    }
}
