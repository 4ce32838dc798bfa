//! The embedded Kubernetes API as people use it: kubectl's own commands, once with every kubectl
//! there is (`system::kubectls`), each in a namespace of its own.

use std::fs;
use std::time::Duration;

use system::{Image, Instance, Outcome, kubectls, run};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const POD: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: box
  labels: {app: box}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: talk
      image: example.com/busybox
      args: [-c, 'i=0; while true; do echo line $i; i=$((i+1)); sleep 1; done']
    - name: web
      image: example.com/busybox
      args: [-c, 'mkdir -p /tmp/w; echo from the web > /tmp/w/index.html; exec httpd -f -p 8080 -h /tmp/w']
";

pub(crate) const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: example.com/busybox
          args: [-c, 'exec httpd -f -p 8080']
";

const WIDGETS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, shortNames: [wd]}
  versions:
    - name: v1
      served: true
      storage: true
      subresources:
        scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}
      additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              required: [size]
              properties:
                size: {type: integer, minimum: 1}
                color: {type: string, default: red, enum: [red, blue]}
                replicas: {type: integer}
";

/// One kubectl in its own namespace.
pub(crate) struct Client<'a> {
    pub(crate) instance: &'a Instance,
    pub(crate) program: String,
    pub(crate) namespace: String,
}

impl Client<'_> {
    /// Runs kubectl with words split at spaces.
    pub(crate) fn k(&self, words: &str) -> Outcome {
        let words: Vec<&str> = words.split_whitespace().collect();
        self.args(&words, "")
    }

    pub(crate) fn args(&self, args: &[&str], input: &str) -> Outcome {
        let mut command = self.instance.client(&self.program);
        run(command.args(["-n", &self.namespace]).args(args), input)
    }

    /// Runs `kubectl words -f -` with `manifest`.
    pub(crate) fn send(&self, words: &str, manifest: &str) -> Outcome {
        let words = words.split_whitespace().chain(["-f", "-"]);
        self.args(&words.collect::<Vec<_>>(), manifest)
    }

    #[track_caller]
    pub(crate) fn check(&self, words: &str, expected: &str) {
        assert_eq!(self.k(words).expect(), expected, "kubectl {words}");
    }
}

pub(crate) fn with_every_kubectl(story: impl Fn(&Client<'_>)) {
    with(&kubectls(), story);
}

/// The same with one of them, for stories whose subject is something else.
pub(crate) fn with_kubectl(story: impl Fn(&Client<'_>)) {
    with(&kubectls()[..1], story);
}

fn with(programs: &[String], story: impl Fn(&Client<'_>)) {
    let instance = Instance::start();
    instance.load_image(&Image::busybox("example.com/busybox").expect("make the image"));
    for (number, program) in programs.iter().enumerate() {
        let namespace = format!("client-{number}");
        let client = Client {
            instance: &instance,
            program: program.clone(),
            namespace: namespace.clone(),
        };
        client.k(&format!("create namespace {namespace}")).expect();
        story(&client);
        let deleted = client.k(&format!("delete namespace {namespace}")).expect();
        assert_eq!(deleted, format!("namespace \"{namespace}\" deleted\n"));
    }
}

fn config_map(value: &str) -> String {
    format!(
        "{{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {{\"name\": \"cm\"}}, \"data\": {{\"k\": \"{value}\"}}}}"
    )
}

#[test]
fn objects_are_written_in_every_way() {
    with_every_kubectl(|client| {
        let apply = |words: &str, value: &str| client.send(words, &config_map(value));
        assert_eq!(apply("apply", "1").expect(), "configmap/cm created\n");
        assert_eq!(apply("apply", "1").expect(), "configmap/cm unchanged\n");
        let dry = apply("apply --dry-run=server", "2").expect();
        assert_eq!(dry, "configmap/cm configured (server dry run)\n");
        let diff = apply("diff", "2");
        assert!(!diff.ok && diff.stdout.contains("+  k: \"2\""), "{diff:?}");
        let value = "get cm cm -o jsonpath={.data.k}";
        client.check(value, "1");
        let conflict = apply("apply --server-side --field-manager=other", "3").expect_failure();
        assert!(conflict.contains("conflict with \"kubectl"), "{conflict}");
        let forced = "apply --server-side --force-conflicts --field-manager=other";
        apply(forced, "3").expect();
        client.check(value, "3");

        for (kind, patch) in [
            ("strategic", r#"{"data":{"k":"4"}}"#),
            ("merge", r#"{"data":{"k":"4","gone":null}}"#),
            ("json", r#"[{"op":"replace","path":"/data/k","value":"4"}]"#),
        ] {
            client
                .k("patch cm cm --type=merge -p {\"data\":{\"k\":\"0\"}}")
                .expect();
            client
                .k(&format!("patch cm cm --type={kind} -p {patch}"))
                .expect();
            client.check(value, "4");
        }
        let mut edit = client.instance.client(&client.program);
        edit.args(["-n", &client.namespace, "edit", "cm", "cm"]);
        edit.env("KUBE_EDITOR", "sed -i 's/k: \"4\"/k: edited/'");
        assert_eq!(run(&mut edit, "").expect(), "configmap/cm edited\n");
        client.check(value, "edited");
        client.send("replace", &config_map("5")).expect();
        client.check(value, "5");

        client.k("label cm cm colour=red").expect();
        client.k("label cm cm colour=blue").expect_failure();
        client.k("label cm cm colour=blue --overwrite").expect();
        client.k("annotate cm cm note=yes").expect();
        client.check("get cm -l colour=blue -o name", "configmap/cm\n");
        client.check(
            "get cm --field-selector metadata.name=cm -o name",
            "configmap/cm\n",
        );
        client.check(
            "get cm -l colour=blue -o custom-columns=K:.data.k --no-headers",
            "5\n",
        );

        client
            .k("patch cm cm --type=merge -p {\"metadata\":{\"finalizers\":[\"example.com/hold\"]}}")
            .expect();
        client.k("delete cm cm --wait=false").expect();
        client.check("get cm cm -o name", "configmap/cm\n");
        client
            .k("patch cm cm --type=merge -p {\"metadata\":{\"finalizers\":null}}")
            .expect();
        let gone = client.k("get cm cm").expect_failure();
        assert!(gone.contains("configmaps \"cm\" not found"), "{gone}");
    });
}

#[test]
fn workloads_roll_out_and_are_looked_at() {
    with_every_kubectl(|client| {
        client.send("apply", DEPLOYMENT).expect();
        let rolled_out = || client.k("rollout status deploy/web --timeout=60s").expect();
        rolled_out();
        client.k("scale deploy/web --replicas=2").expect();
        client.k("set env deploy/web COLOUR=red").expect();
        rolled_out();
        client.k("rollout restart deploy/web").expect();
        rolled_out();
        let history = client.k("rollout history deploy/web").expect();
        assert!(history.contains("\n3 "), "{history}");
        client.k("rollout undo deploy/web --to-revision=1").expect();
        rolled_out();
        let env = "get deploy web -o jsonpath={.spec.template.spec.containers[0].env}";
        client.check(env, "");
        client.check("get deploy web -o jsonpath={.status.readyReplicas}", "2");
        client
            .k("expose deploy/web --port=80 --target-port=8080")
            .expect();
        let address = || {
            let path = "jsonpath={.subsets[0].addresses[1].ip}";
            client.k(&format!("get endpoints web -o {path}")).stdout
        };
        client
            .instance
            .eventually(PATIENCE, || !address().is_empty());

        client
            .k("create job once --image=example.com/busybox -- sh -c true")
            .expect();
        client
            .k("wait job/once --for=condition=complete --timeout=60s")
            .expect();
        for what in ["deploy/web", "svc/web", "job/once", "sa/default", "pods"] {
            let told = client.k(&format!("describe {what}")).expect();
            assert!(told.starts_with("Name:"), "describe {what}: {told}");
        }
        client.check("auth can-i create pods", "yes\n");
        client
            .k("auth can-i create pods --as=nobody")
            .expect_failure();
        client.k("top pod").expect();
        client.k("top node").expect();
        let told = client.k("explain deployment.spec.replicas").expect();
        assert!(told.contains("Number of desired pods"), "{told}");
        assert!(client.k("api-resources").expect().contains("ksvc"));
        assert!(client.k("api-versions").expect().contains("apps/v1\n"));

        client.k("delete deploy web --cascade=orphan").expect();
        assert!(
            client
                .k("get rs -o name")
                .expect()
                .contains("replicaset.apps/web-")
        );
        client.k("delete rs --all").expect();
        let pods = || client.k("get pods -l app=web -o name").expect();
        client.instance.eventually(PATIENCE, || pods().is_empty());
    });
}

#[test]
fn containers_are_reached() {
    with_every_kubectl(|client| {
        client.send("apply", POD).expect();
        client
            .k("wait pod/box --for=condition=Ready --timeout=60s")
            .expect();
        let logs = || client.k("logs -l app=box -c talk").expect();
        client
            .instance
            .eventually(PATIENCE, || logs().contains("line 1\n"));
        assert_eq!(
            client
                .k("logs box -c talk --tail=1")
                .expect()
                .lines()
                .count(),
            1
        );

        let exec = |script: &str, input: &str| {
            let args = ["exec", "-i", "box", "-c", "web", "--", "sh", "-c", script];
            client.args(&args, input)
        };
        let said = exec("cat; echo err >&2; exit 7", "input\n");
        assert_eq!(said.stdout, "input\n");
        assert!(said.stderr.starts_with("err\n"), "{said:?}");
        assert!(said.stderr.contains("exit code 7"), "{said:?}");
        let missing = client.k("exec box -c web -- nosuch").expect_failure();
        assert!(missing.contains("\"nosuch\""), "{missing}");
        let terminal = format!(
            "{} -n {} exec -it box -c web -- sh -c 'test -t 0 && echo a terminal && tty'",
            client.program, client.namespace
        );
        let mut script = client.instance.client("script");
        script.env("KUBECONFIG", client.instance.kubeconfig());
        let said = run(script.args(["-qec", &terminal, "/dev/null"]), "").expect();
        assert!(said.contains("a terminal"), "{said}");
        assert!(said.contains("/dev/pts/"), "{said}");

        let scratch = tempfile::tempdir().expect("temp directory");
        let (there, back) = (scratch.path().join("there"), scratch.path().join("back"));
        fs::write(&there, "carried\n").expect("write");
        client
            .args(
                &[
                    "cp",
                    &there.display().to_string(),
                    "box:/tmp/file",
                    "-c",
                    "web",
                ],
                "",
            )
            .expect();
        client
            .args(
                &[
                    "cp",
                    "box:/tmp/file",
                    &back.display().to_string(),
                    "-c",
                    "web",
                ],
                "",
            )
            .expect();
        assert_eq!(fs::read_to_string(&back).expect("copied back"), "carried\n");

        let mut forward = client.instance.client(&client.program);
        forward.args([
            "-n",
            &client.namespace,
            "port-forward",
            "pod/box",
            "18080:8080",
        ]);
        let mut forward = forward
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("kubectl");
        let fetch = || {
            let mut curl = client.instance.inside("curl");
            run(
                curl.args(["-s", "--max-time", "5", "http://127.0.0.1:18080/"]),
                "",
            )
            .stdout
        };
        client
            .instance
            .eventually(PATIENCE, || fetch() == "from the web\n");
        forward.kill().expect("it runs");
        forward.wait().expect("it was killed");
    });
}

#[test]
fn custom_resources_are_validated_defaulted_and_pruned() {
    with_every_kubectl(|client| {
        client.send("apply", WIDGETS).expect();
        client
            .k("wait crd/widgets.example.com --for=condition=Established --timeout=30s")
            .expect();
        let widget = |spec: &str| {
            let manifest = format!(
                "apiVersion: example.com/v1\nkind: Widget\nmetadata: {{name: w}}\nspec: {{{spec}}}\n"
            );
            client.send("apply --validate=false", &manifest)
        };
        let refused = widget("size: 0, color: green").expect_failure();
        assert!(
            refused.contains("spec.size") && refused.contains("spec.color"),
            "{refused}"
        );
        widget("size: 3, surplus: 1, replicas: 1").expect();
        client.check("get wd w -o jsonpath={.spec.color},{.spec.surplus}", "red,");
        let table = client.k("get wd").expect();
        assert!(table.starts_with("NAME   SIZE"), "{table}");
        client.k("scale wd/w --replicas=4").expect();
        client.check("get wd w -o jsonpath={.spec.replicas}", "4");
        client.k("delete crd widgets.example.com").expect();
    });
}
