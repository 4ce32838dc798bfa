//! The controllers in a process of their own, against the API server through a kubeconfig.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use system::{App, Instance, Options};

use crate::event_support::{BROKER, display, post, ready, rolled_out, trigger};

const PATIENCE: Duration = Duration::from_secs(60);

const HELLO: &str = "
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: hello}
spec:
  template:
    metadata:
      annotations: {autoscaling.knative.dev/window: 6s}
    spec:
      containers:
        - image: example.com/hello
          env: [{name: TARGET, value: Split}]
";

/// A process of `rekindle controller`; killed when dropped.
struct Controllers<'a> {
    instance: &'a Instance,
    name: &'a str,
    child: Child,
}

impl<'a> Controllers<'a> {
    fn start(instance: &'a Instance, name: &'a str) -> Self {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(Self::file(instance, name, "log"));
        let child = instance
            .rekindle("controller")
            .args(["--log", "info", "--kubeconfig"])
            .arg(instance.kubeconfig())
            .arg("--data-dir")
            .arg(instance.data_dir())
            .arg("--ready-file")
            .arg(Self::file(instance, name, "ready"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("the directory is writable"))
            .spawn()
            .expect("start nsenter");
        Self {
            instance,
            name,
            child,
        }
    }

    fn file(instance: &Instance, name: &str, what: &str) -> PathBuf {
        instance
            .data_dir()
            .join(format!("controllers-{name}.{what}"))
    }

    fn leads(&self) -> bool {
        Self::file(self.instance, self.name, "ready").exists()
    }

    fn log(&self) -> String {
        fs::read_to_string(Self::file(self.instance, self.name, "log")).unwrap_or_default()
    }

    fn kill_9(&mut self) {
        self.child.kill().expect("the controllers run");
        self.child.wait().expect("the controllers were killed");
        let _ = fs::remove_file(Self::file(self.instance, self.name, "ready"));
    }
}

impl Drop for Controllers<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let (name, log) = (self.name, self.log());
            let _ = writeln!(
                std::io::stderr(),
                "--- the log of controllers {name}\n{log}"
            );
        }
    }
}

#[test]
fn controllers_of_their_own_come_and_go() {
    let flags = ["--only", "api,node,gateway"].map(str::to_owned);
    let instance = Instance::with(Options {
        flags: flags.into(),
        ..Options::default()
    });
    instance.load(App::Hello, "example.com/hello");
    let short = r#"{"data":{"lease-duration":"12s","renew-deadline":"10s","retry-period":"1s"}}"#;
    let patch = [
        "patch",
        "cm",
        "config-leader-election",
        "-n",
        "knative-serving",
        "-p",
        short,
    ];
    instance.kubectl_args(&patch, "").expect();
    instance.apply(HELLO).expect();
    let call = || instance.curl("hello.default.localhost", "/");
    let pods = || instance.kubectl("get pods -o name").expect();
    let ready = "get ksvc hello -o jsonpath={.status.conditions[?(@.type=='Ready')].status}";
    assert_eq!(
        instance.kubectl(ready).expect(),
        "",
        "nobody looks after it"
    );

    let mut first = Controllers::start(&instance, "first");
    instance
        .kubectl("wait ksvc/hello --for=condition=Ready --timeout=30s")
        .expect();
    assert_eq!(call().expect(), "Hello Split!\n");
    instance.eventually(PATIENCE, || pods().is_empty());
    assert_eq!(call().expect(), "Hello Split!\n", "back from zero");

    first.kill_9();
    for _ in 0..20 {
        assert_eq!(call().expect(), "Hello Split!\n", "without controllers");
    }
    let second = Controllers::start(&instance, "second");
    let third = Controllers::start(&instance, "third");
    instance.eventually(PATIENCE, || second.leads() || third.leads());
    instance.eventually(PATIENCE, || pods().is_empty());
    assert_eq!(call().expect(), "Hello Split!\n", "back from zero again");
    assert!(
        second.leads() != third.leads(),
        "one leads, the other stands by"
    );
}

#[test]
fn events_flow_with_the_controllers_elsewhere_and_without_any() {
    let flags = ["--only", "api,node,gateway"].map(str::to_owned);
    let mut instance = Instance::with(Options {
        flags: flags.into(),
        ..Options::default()
    });
    let to_display = "{ref: {apiVersion: v1, kind: Service, name: display}}";
    let ping = format!(
        "
---
apiVersion: sources.knative.dev/v1
kind: PingSource
metadata: {{name: ping}}
spec: {{schedule: '* * * * * *', data: from ping, sink: {to_display}}}
"
    );
    let manifest = [
        display("display"),
        format!("---{BROKER}"),
        trigger("all", "", to_display, "{}"),
        ping,
    ];
    let mut controllers = Controllers::start(&instance, "events");
    instance.eventually(PATIENCE, || controllers.leads());
    instance.apply(&manifest.concat()).expect();
    rolled_out(&instance, &["display"]);
    ready(&instance, "broker/default trigger/all pingsource/ping");
    assert_eq!(post(&instance, "broker default", "1", "t"), "202");
    let has = |instance: &Instance, what: &str| {
        let log = instance.kubectl("logs -l app=display --tail=-1").stdout;
        log.contains(what)
    };
    instance.eventually(PATIENCE, || {
        has(&instance, "id: 1\n") && has(&instance, "from ping")
    });
    // What was told to the broker by objects stays told without controllers, and after a crash.
    controllers.kill_9();
    drop(controllers);
    assert_eq!(post(&instance, "broker default", "2", "t"), "202");
    instance.eventually(PATIENCE, || has(&instance, "id: 2\n"));
    instance.kill_9();
    instance.restart();
    instance.eventually(PATIENCE, || {
        post(&instance, "broker default", "3", "t") == "202"
    });
    instance.eventually(PATIENCE, || has(&instance, "id: 3\n"));
}

#[test]
fn parts_that_do_not_go_together_are_refused() {
    let instance = Instance::with(Options {
        flags: ["--only", "api"].map(str::to_owned).into(),
        ..Options::default()
    });
    instance.kubectl("get namespaces").expect();
    let refused = |parts: &str, why: &str| {
        let output = instance.rekindle("up").args(["--only", parts]).output();
        let output = output.expect("start nsenter");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && text.contains(why),
            "{parts}: {text}"
        );
    };
    refused("api,broom", "no part is called \"broom\"");
    refused("controller", "rekindle controller --kubeconfig FILE");
    refused("api,gateway", "gateway needs node");
}
