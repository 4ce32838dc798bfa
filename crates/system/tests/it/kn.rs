//! The verbs of `kn` for Serving in the binary itself.

use std::fs;
use std::time::Duration;

use system::{App, Instance, Outcome, run};

#[test]
fn services_by_the_verbs_of_kn() {
    let instance = Instance::start();
    instance.load(App::Hello, "example.com/hello");
    let kn = |words: &str| -> Outcome { instance.verb(words) };

    assert_eq!(
        kn("service list").expect(),
        "No services found.\n",
        "nothing is there yet"
    );
    let create =
        "service create hello --image example.com/hello --env TARGET=one --scale-window 30s";
    let said = kn(create).expect();
    assert!(
        said.starts_with("Creating service 'hello' in namespace 'default':\n"),
        "{said}"
    );
    assert!(said.contains("Ready to serve."), "{said}");
    let ready = "Service 'hello' created to latest revision 'hello-00001' is available at URL:";
    assert!(said.contains(ready), "{said}");
    let again = kn("service apply hello --image example.com/hello --env TARGET=one").expect();
    assert_eq!(again, "No changes to apply to service 'hello'.\n");

    let said = kn("service update hello --env TARGET=two --tag hello-00001=old").expect();
    assert!(
        said.contains("updated to latest revision 'hello-00002'"),
        "{said}"
    );
    kn("service update hello --traffic @latest=75 --traffic hello-00001=25").expect();
    let refused = kn("service update hello --traffic @latest=50");
    assert!(!refused.ok && refused.stderr.contains("sum to 50, want 100"));

    let table = kn("service list").expect();
    let head: Vec<&str> = table
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let expected = [
        "NAME",
        "URL",
        "LATEST",
        "AGE",
        "CONDITIONS",
        "READY",
        "REASON",
    ];
    assert_eq!(head, expected);
    assert!(table.contains("3 OK / 3"), "{table}");

    let revisions = kn("revision list --service hello").expect();
    let rows: Vec<Vec<&str>> = revisions
        .lines()
        .map(|row| row.split_whitespace().collect())
        .collect();
    assert_eq!(rows[1][..4], ["hello-00002", "hello", "75%", "2"]);
    assert_eq!(rows[2][..5], ["hello-00001", "hello", "25%", "old", "1"]);
    let described = kn("service describe hello").expect();
    assert!(
        described.contains("@latest (hello-00002) [2]"),
        "{described}"
    );
    assert!(described.contains("hello-00001 #old [1]"), "{described}");
    assert!(described.contains("++ RoutesReady"), "{described}");
    let described = kn("revision describe hello-00001").expect();
    assert!(described.contains("TARGET=one"), "{described}");
    let described = kn("route describe hello").expect();
    assert!(described.contains("Traffic Targets:"), "{described}");

    formats(&instance);

    let image = "service describe hello -o jsonpath={.spec.template.spec.containers[0].image}";
    kn("service update hello --lock-to-digest --env TARGET=three").expect();
    let locked = kn(image).expect();
    assert!(locked.contains("example.com/hello@sha256:"), "{locked}");
    kn("service update hello --env TARGET=four").expect();
    assert_eq!(kn(image).expect(), locked);
    kn("service update hello --no-lock-to-digest --env TARGET=five").expect();
    assert_eq!(kn(image).expect(), "example.com/hello");

    let domain = kn("domain create hello.acme.example --ref ksvc:hello").expect();
    assert_eq!(
        domain,
        "Domain mapping 'hello.acme.example' successfully created in namespace 'default'.\n"
    );
    assert!(
        kn("domain describe hello.acme.example")
            .expect()
            .contains("Reference:")
    );

    let exported = kn("service export hello").expect();
    assert!(!exported.contains("creator"), "{exported}");
    assert!(exported.contains("kind: Export"), "{exported}");
    let file = instance.data_dir().join("exported.yaml");
    fs::write(&file, exported.replace("name: hello", "name: again")).expect("write");
    let import = format!("service import {}", file.display());
    let said = kn(&import).expect();
    assert!(
        said.contains("Service 'again' imported to latest"),
        "{said}"
    );
    let refused = kn(&import).expect_failure();
    assert!(refused.contains("the service already exists"), "{refused}");
    for words in ["service delete --all", "domain delete hello.acme.example"] {
        kn(words).expect();
    }
    instance.eventually(Duration::from_secs(60), || {
        kn("revision list").expect() == "No revisions found.\n"
    });
}

/// `-o`, and which objects are listed.
fn formats(instance: &Instance) {
    let said = |args: &[&str]| -> String {
        let mut command = instance.inside(&system::binary());
        command.env("REKINDLE_DATA_DIR", instance.data_dir());
        run(command.args(args), "").expect()
    };
    let names = "jsonpath={range .items[*]}{.metadata.name} {end}";
    for (args, expected) in [
        (
            &["service", "list", "-o", "name"][..],
            "service.serving.knative.dev/hello\n",
        ),
        (
            &["service", "describe", "hello", "-o", "url"],
            "http://hello.default.localhost:8080\n",
        ),
        (
            &[
                "route",
                "describe",
                "hello",
                "-o",
                "jsonpath={.spec.traffic[1].revisionName}",
            ],
            "hello-00001",
        ),
        (
            &["revision", "list", "-s", "hello", "-o", names],
            "hello-00001 hello-00002 ",
        ),
        (
            &[
                "revision",
                "list",
                "hello-00002",
                "-o",
                "jsonpath",
                "--template",
                "{.items[*].kind}",
            ],
            "Revision",
        ),
        (&["service", "list", "other"], "No services found.\n"),
    ] {
        assert_eq!(said(args), expected, "{args:?}");
    }
    let yaml = said(&["service", "describe", "hello", "-o", "yaml"]);
    assert!(yaml.contains("kind: Service\n"), "{yaml}");
    let row = said(&["service", "list", "-A", "--no-headers"]);
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(cells[..2], ["default", "hello"]);
    assert_eq!(row.lines().count(), 1);
}

#[test]
fn services_are_copied_with_their_revisions() {
    let instance = Instance::start();
    instance.load(App::Hello, "example.com/hello");
    let kn = |words: &str| -> String { instance.verb(words).expect() };
    kn("service create hello --image example.com/hello --env TARGET=one");
    kn("service update hello --env TARGET=two");
    kn("service update hello --traffic @latest=50 --traffic hello-00001=50");
    for (mode, namespace) in [("export", "first"), ("replay", "second")] {
        instance
            .kubectl(&format!("create namespace {namespace}"))
            .expect();
        let exported = kn(&format!(
            "service export hello --with-revisions --mode={mode}"
        ));
        let file = instance.data_dir().join(mode);
        fs::write(&file, exported).expect("write");
        kn(&format!("service import {} -n {namespace}", file.display()));
        kn(&format!("service wait hello -n {namespace}"));
        let table = kn(&format!("revision list -n {namespace}"));
        let rows = table.lines().skip(1).map(|row| {
            let cells: Vec<&str> = row.split_whitespace().collect();
            cells[..3].join(" ")
        });
        let mut rows: Vec<String> = rows.collect();
        rows.sort();
        let expected = ["hello-00001 hello 50%", "hello-00002 hello 50%"];
        assert_eq!(rows, expected, "{mode}: {table}");
        let host = format!("hello.{namespace}.localhost");
        for greeting in ["Hello one!", "Hello two!"] {
            instance.eventually(Duration::from_secs(60), || {
                instance.curl(&host, "/").expect().trim() == greeting
            });
        }
    }
}

#[test]
fn a_container_is_added_by_a_pipe() {
    let instance = Instance::start();
    instance.load(App::Hello, "example.com/hello");
    instance.load(App::Probe, "example.com/probe");
    let piped = |words: &str, input: &str| {
        let (verb, rest) = words.split_once(' ').expect("a noun and its verb");
        let mut command = instance.rekindle(verb);
        run(command.args(rest.split(' ')), input).expect()
    };
    let add = "container add quiet --image example.com/probe --env LISTEN=no";
    let one = piped(add, "");
    let two = piped(
        "container add mute --image example.com/probe -e LISTEN=no",
        &one,
    );
    let kubeconfig = instance.kubeconfig();
    let create = format!(
        "service create hello --image example.com/hello --containers - --port 8080 \
         --mount /room=ed:room --kubeconfig {}",
        kubeconfig.display()
    );
    piped(&create, &two);
    let ready = "get pods -l serving.knative.dev/service=hello \
                 -o jsonpath={.items[0].spec.containers[*].name}";
    let names = instance.kubectl(ready).expect();
    assert_eq!(names, "user-container-0 mute quiet queue-proxy");
    instance.curl("hello.default.localhost", "/").expect();
}
