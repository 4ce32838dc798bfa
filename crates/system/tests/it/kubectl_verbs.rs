//! kubectl's verbs beside those of `kubectl.rs`: looking, deleting, applying, containers and
//! rollouts, each with what it says or leaves.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

use system::{Image, Instance, run};

use crate::kubectl::{Client, DEPLOYMENT, PATIENCE, with_every_kubectl};

/// A kubectl that goes on until it is dropped; what it says goes to a file.
struct Going {
    child: Child,
    said: tempfile::NamedTempFile,
}

impl Going {
    fn start(client: &Client<'_>, words: &str) -> Self {
        let said = tempfile::NamedTempFile::new().expect("a file");
        let mut command = client.instance.client(&client.program);
        command
            .args(["-n", &client.namespace])
            .args(words.split(' '));
        let out = File::create(said.path()).expect("a file");
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .spawn()
            .expect("kubectl");
        Self { child, said }
    }

    fn said(&self) -> String {
        fs::read_to_string(self.said.path()).expect("the file")
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config_map(name: &str, more: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {{set: one}}}}\ndata: {{k: v{more}}}\n"
    )
}

fn pod(name: &str, spec: &str, script: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  terminationGracePeriodSeconds: 1
  {spec}
  containers:
    - {{name: main, image: example.com/busybox, args: [-c, '{script}'], stdin: true, tty: true}}
"
    )
}

/// Whether this kubectl has a flag or verb that came after 1.20.
fn has(client: &Client<'_>, words: &str, wanted: &str) -> bool {
    let help = client.k(&format!("{words} --help"));
    help.stdout.contains(wanted) || help.stderr.contains(wanted)
}

#[test]
fn lists_are_narrowed_shaped_and_followed() {
    with_every_kubectl(|client| {
        client.send("create", &config_map("before", "")).expect();
        let watching = Going::start(
            client,
            "get cm -w --output-watch-events --no-headers -o custom-columns=T:.type,N:.object.metadata.name,K:.object.data.k",
        );
        // It has begun once it shows what there is.
        client
            .instance
            .eventually(PATIENCE, || !watching.said().is_empty());
        client.send("create", &config_map("seen", "")).expect();
        client
            .k("patch cm seen -p {\"data\":{\"k\":\"w\"}}")
            .expect();
        client.k("delete cm seen").expect();
        let rows = || {
            let said = watching.said();
            let rows = said.lines().filter(|row| row.contains("seen"));
            let rows = rows.map(|row| row.split_whitespace().collect::<Vec<_>>().join(" "));
            rows.collect::<Vec<_>>()
        };
        client.instance.eventually(PATIENCE, || rows().len() >= 3);
        assert_eq!(
            rows(),
            ["ADDED seen v", "MODIFIED seen w", "DELETED seen w"]
        );
        drop(watching);

        let (name, space) = (format!("in-{}", client.namespace), &client.namespace);
        client.send("create", &config_map(&name, "")).expect();
        client.k("delete cm before").expect();
        let all = format!("get cm -A --field-selector metadata.name={name} --no-headers");
        let row = client.k(&all).expect();
        let row: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(row[..3], [space.as_str(), name.as_str(), "1"]);
        client.check(
            "get cm -l set=one --sort-by=.metadata.name -o jsonpath={.items[*].metadata.name}",
            &name,
        );
        client.check(
            &format!("get cm {name} -o go-template={{{{.data.k}}}}"),
            "v",
        );
        client.check("get cm -l set!=one,set -o name", "");
        let said = client.k("get cm -l set=two").expect();
        assert_eq!(said, "");
        let refused = client.k("get cm --field-selector spec.colour=red");
        let refused = refused.expect_failure();
        assert!(refused.contains("spec.colour"), "{refused}");

        client
            .send("create", &pod("ends", "restartPolicy: Never", "exit 0"))
            .expect();
        client
            .send("create", &pod("stays", "", "sleep 600"))
            .expect();
        client
            .k("wait pod/stays --for=condition=Ready --timeout=60s")
            .expect();
        let ended = "get pods --field-selector status.phase=Succeeded -o name";
        let ended = || client.k(ended).expect() == "pod/ends\n";
        client.instance.eventually(PATIENCE, ended);
        let top = client.k("top pod --no-headers").expect();
        assert!(
            top.starts_with("stays ") && top.lines().count() == 1,
            "{top}"
        );
        let top = client.k("top pod stays --containers --no-headers").expect();
        assert!(top.contains(" main "), "{top}");
        client.k("delete pods --all --now").expect();
    });
}

#[test]
fn documentation_rights_and_configuration_are_shown() {
    with_every_kubectl(|client| {
        for (what, wanted) in [
            ("pods.spec.containers.resources", "Compute Resources"),
            ("deployment.spec.strategy", "RollingUpdate"),
            ("ksvc.spec.template", "serving.knative.dev"),
        ] {
            let told = client.k(&format!("explain {what}")).expect();
            assert!(
                told.contains(wanted) && told.contains("KIND:"),
                "explain {what}: {told}"
            );
        }
        let told = client.k("explain cronjob.spec --recursive").expect();
        assert!(told.contains("jobTemplate"), "{told}");

        client.check("auth can-i delete ksvc", "yes\n");
        client.k("create serviceaccount reader").expect();
        let reader = format!("--as=system:serviceaccount:{}:reader", client.namespace);
        let asked = client.k(&format!("auth can-i list pods {reader}"));
        assert_eq!((asked.code, asked.stdout.trim()), (Some(1), "no"));
        let space = &client.namespace;
        client
            .k("create role reads-pods --verb=get,list --resource=pods,pods/log")
            .expect();
        client
            .k(&format!(
                "create rolebinding reads-pods --role=reads-pods --serviceaccount={space}:reader"
            ))
            .expect();
        client.check(&format!("auth can-i list pods {reader}"), "yes\n");
        let refused = client.k(&format!("get secrets {reader}")).expect_failure();
        let wanted = format!(
            "User \"system:serviceaccount:{space}:reader\" cannot list resource \"secrets\" in API \
             group \"\" in the namespace \"{space}\""
        );
        assert!(refused.contains(&wanted), "{refused}");
        let listed = client.k(&format!("auth can-i --list {reader}")).expect();
        assert!(listed.contains("pods/log"), "{listed}");

        if has(client, "create token", "--duration") {
            let token = client.k("create token reader").expect();
            let url = format!(
                "https://{}/api/v1/namespaces/{space}",
                client.instance.address("api")
            );
            let get = |what: &str| {
                let mut curl = client.instance.inside("curl");
                let header = format!("Authorization: Bearer {}", token.trim());
                run(
                    curl.args(["-sk", "-H", &header, &format!("{url}/{what}")]),
                    "",
                )
                .expect()
            };
            assert!(get("pods").contains("PodList"));
            assert!(get("secrets").contains("cannot list resource"));
        }

        let scratch = tempfile::tempdir().expect("a directory");
        let copy = scratch.path().join("kubeconfig");
        fs::copy(client.instance.kubeconfig(), &copy).expect("copy");
        let config = |words: &str| {
            let mut command = client.instance.client(&client.program);
            run(command.env("KUBECONFIG", &copy).args(words.split(' ')), "").expect()
        };
        let current = config("config current-context");
        assert!(config("config get-contexts").contains(current.trim()));
        assert!(config("config view").contains(&client.instance.address("api")));
        config(&format!("config set-context --current --namespace={space}"));
        assert_eq!(
            config("get serviceaccount reader -o name"),
            "serviceaccount/reader\n"
        );
        assert!(config("cluster-info").contains("is running at"));
        assert!(config("version").contains("Server Version"));
    });
}

#[test]
fn deleting_follows_owners_finalizers_and_files() {
    with_every_kubectl(|client| {
        let left = || client.k("get deploy,rs,pods -l app=web -o name").expect();
        let roll_out = || {
            let labelled = DEPLOYMENT.replace("{name: web}", "{name: web, labels: {app: web}}");
            client.send("apply", &labelled).expect();
            client.k("rollout status deploy/web --timeout=60s").expect();
        };
        roll_out();
        // In the foreground: when it returns, all that it owned is gone.
        client.k("delete deploy web --cascade=foreground").expect();
        assert_eq!(left(), "");
        roll_out();
        client.k("delete deploy web --cascade=background").expect();
        client.instance.eventually(PATIENCE, || left().is_empty());
        roll_out();
        client.k("delete deploy web --cascade=orphan").expect();
        assert!(left().starts_with("replicaset.apps/web-") && left().contains("pod/web-"));
        // Who comes again finds its own.
        let before = left();
        roll_out();
        assert_eq!(left(), format!("deployment.apps/web\n{before}"));
        client.k("delete deploy web").expect();

        let held = config_map("held", "")
            .replace("{set: one}", "{set: one}, finalizers: [example.com/hold]");
        client.send("create", &held).expect();
        client.k("delete cm held --wait=false").expect();
        let going = "get cm held -o jsonpath={.metadata.deletionTimestamp}";
        assert!(!client.k(going).expect().is_empty());
        let late = client.k("delete cm held --timeout=1s").expect_failure();
        assert!(late.contains("timed out"), "{late}");
        client.k("patch cm held --type=json -p [{\"op\":\"remove\",\"path\":\"/metadata/finalizers\"}]").expect();
        client.k("wait cm/held --for=delete --timeout=30s");
        assert!(
            client
                .k("get cm held")
                .expect_failure()
                .contains("not found")
        );

        let both = config_map("a", "") + &config_map("b", "");
        client.send("apply", &both).expect();
        let gone = client.send("delete", &both).expect();
        assert_eq!(gone.lines().count(), 2, "{gone}");
        let missing = client.send("delete", &both).expect_failure();
        assert!(missing.contains("configmaps \"a\" not found"), "{missing}");
        client.send("delete --ignore-not-found", &both).expect();
        client.send("apply", &both).expect();
        client.k("delete cm -l set=one").expect();
        client.check("get cm -l set=one -o name", "");
    });
}

#[test]
fn applying_prunes_replaces_compares_and_conflicts() {
    with_every_kubectl(|client| {
        let (one, other) = (config_map("a", ""), config_map("b", ""));
        client.send("apply", &(one.clone() + &other)).expect();
        // What an old kubectl prunes by itself are versions that later clusters do not serve.
        let prune = match has(client, "apply", "--prune-allowlist") {
            true => "apply --prune -l set=one",
            false => "apply --prune -l set=one --prune-whitelist=core/v1/ConfigMap",
        };
        let pruned = client.send(prune, &one).expect();
        assert!(pruned.contains("configmap/a unchanged"), "{pruned}");
        assert!(pruned.contains("configmap/b pruned"), "{pruned}");
        client.check("get cm -l set=one -o name", "configmap/a\n");

        assert_eq!(client.send("diff", &one).code, Some(0));
        assert_eq!(client.send("diff", &config_map("a", "2")).code, Some(1));
        let broken = client.send("diff", "kind: Nonsense").code;
        assert!(broken > Some(1) || broken == Some(1), "{broken:?}");

        let uid = "get cm a -o jsonpath={.metadata.uid}";
        let before = client.k(uid).expect();
        client.send("replace", &config_map("a", "3")).expect();
        client.check(uid, &before);
        client
            .send("replace --force", &config_map("a", "4"))
            .expect();
        assert_ne!(client.k(uid).expect(), before);
        let stale = config_map("a", "5").replace("{set: one}", "{set: one}, resourceVersion: '1'");
        let refused = client.send("replace", &stale).expect_failure();
        assert!(
            refused.contains("the object has been modified"),
            "{refused}"
        );

        let ours = "apply --server-side --field-manager=ours";
        let said = client.send(ours, &config_map("s", "")).expect();
        assert_eq!(said, "configmap/s serverside-applied\n");
        let theirs = "apply --server-side --field-manager=theirs";
        let refused = client.send(theirs, &config_map("s", "2")).expect_failure();
        let wanted = "Apply failed with 1 conflict: conflict with \"ours\": .data.k";
        assert!(refused.contains(wanted), "{refused}");
        client
            .send(
                &format!("{theirs} --force-conflicts"),
                &config_map("s", "2"),
            )
            .expect();
        let refused = client.send(ours, &config_map("s", "")).expect_failure();
        assert!(
            refused.contains("conflict with \"theirs\": .data.k"),
            "{refused}"
        );

        let test =
            "patch cm s --type=json -p [{\"op\":\"test\",\"path\":\"/data/k\",\"value\":\"x\"}]";
        let refused = client.k(test).expect_failure();
        let wanted = "patch: testing value /data/k failed: test failed";
        assert!(refused.contains(wanted), "{refused}");
        let unknown = config_map("u", "").replace("\ndata:", "\ndat:");
        let refused = client.send("create", &unknown).expect_failure();
        assert!(refused.contains("unknown field \"dat\""), "{refused}");
        if has(client, "create", "strict") {
            let warned = client.send("create --validate=warn", &unknown);
            assert!(
                warned.ok && warned.stderr.contains("unknown field \"dat\""),
                "{warned:?}"
            );
        }
    });
}

#[test]
fn the_end_of_the_input_is_seen() {
    let instance = Instance::start();
    instance.load_image(&Image::busybox("example.com/busybox").expect("make the image"));
    let args = [
        "run",
        "-i",
        "once",
        "--image=example.com/busybox",
        "--rm",
        "--restart=Never",
        "--quiet",
        "--",
        "-c",
        "cat; echo ended",
    ];
    let said = instance.kubectl_args(&args, "a line\n").expect();
    assert_eq!(said, "a line\nended\n");
}

#[test]
fn containers_speak_again_and_are_attached_to() {
    with_every_kubectl(|client| {
        // The first life ends by itself, the second stays.
        let lives = "if [ -e /keep/x ]; then echo second; sleep 600; fi; echo first > /keep/x; cat /keep/x; exit 1";
        let lives = pod("lives", "volumes: [{name: keep, emptyDir: {}}]", lives);
        let lives = lives.replace(
            "stdin: true",
            "volumeMounts: [{name: keep, mountPath: /keep}], stdin: true",
        );
        client.send("create", &lives).expect();
        client
            .send("create", &pod("talks", "", "echo ready; exec sh"))
            .expect();
        let count = "get pod lives -o jsonpath={.status.containerStatuses[0].restartCount}";
        client
            .k("wait pod/talks --for=condition=Ready --timeout=60s")
            .expect();
        client
            .instance
            .eventually(PATIENCE, || client.k(count).expect() == "1");
        client.instance.eventually(PATIENCE, || {
            client.k("logs lives").expect().trim() == "second"
        });
        assert_eq!(client.k("logs lives --previous").expect().trim(), "first");
        let never = client.k("logs talks --previous").expect_failure();
        assert!(
            never.contains("previous terminated container \"main\" in pod \"talks\" not found"),
            "{never}"
        );

        let follow = Going::start(client, "logs -f --tail=20 -l app=talks -c main");
        client
            .instance
            .eventually(PATIENCE, || follow.said().contains("ready"));
        let attach = format!(
            "{} -n {} attach -it talks",
            client.program, client.namespace
        );
        let mut script = client.instance.client("script");
        script.env("KUBECONFIG", client.instance.kubeconfig());
        let script = script.args(["-qec", &attach, "/dev/null"]);
        // The shell of the container ends by it, and with it the attachment.
        let typed = "echo at$((40+2))tached; tty; tty </dev/console\nexit\n";
        let said = run(script, typed).expect();
        assert!(said.contains("at42tached"), "{said}");
        assert!(said.contains("/dev/pts/0"), "{said}");
        assert!(said.contains("/dev/console"), "{said}");
        client
            .instance
            .eventually(PATIENCE, || follow.said().contains("at42tached"));
        drop(follow);
        client
            .k("wait pod/talks --for=condition=Ready --timeout=60s")
            .expect();
        let runs = format!(
            "{} -n {} run typed -it --rm --restart=Never --image=example.com/busybox -- \
             -c 'read word; tty; echo got-$word'",
            client.program, client.namespace
        );
        let mut script = client.instance.client("script");
        script.env("KUBECONFIG", client.instance.kubeconfig());
        let said = run(script.args(["-qec", &runs, "/dev/null"]), "this\n").expect();
        assert!(said.contains("/dev/pts/0"), "{said}");
        assert!(said.contains("got-this"), "{said}");

        let scratch = tempfile::tempdir().expect("a directory");
        let there = scratch.path().join("tree");
        fs::create_dir_all(there.join("deep")).expect("directories");
        fs::write(there.join("deep/file"), "carried\n").expect("a file");
        let there = there.display().to_string();
        client.args(&["cp", &there, "talks:/tmp/tree"], "").expect();
        let back = scratch.path().join("back").display().to_string();
        client.args(&["cp", "talks:/tmp/tree", &back], "").expect();
        let carried = fs::read_to_string(format!("{back}/deep/file"));
        assert_eq!(carried.expect("the file"), "carried\n");
        client.k("delete pods --all --now").expect();
    });
}

#[test]
fn rollouts_are_followed_undone_and_waited_for() {
    with_every_kubectl(|client| {
        client.send("apply", DEPLOYMENT).expect();
        let status = "rollout status deploy/web --timeout=60s";
        assert!(
            client
                .k(status)
                .expect()
                .contains("successfully rolled out")
        );
        client.k("set env deploy/web COLOUR=red").expect();
        client.k(status).expect();
        client
            .k("annotate deploy/web kubernetes.io/change-cause=red")
            .expect();
        let second = client.k("rollout history deploy/web --revision=2").expect();
        assert!(second.contains("COLOUR"), "{second}");
        client
            .k("set image deploy/web web=127.0.0.1:1/none")
            .expect();
        let stuck = client
            .k("rollout status deploy/web --timeout=1s")
            .expect_failure();
        assert!(stuck.contains("timed out"), "{stuck}");
        // The Pods of before still serve.
        client.check(
            "get deploy web -o jsonpath={.status.availableReplicas}",
            "1",
        );
        let sets = || client.k("get rs -l app=web -o name").expect();
        let before = sets();
        client.k("rollout undo deploy/web").expect();
        client.k(status).expect();
        // The set of before is taken again, though kubectl's patch says
        // `creationTimestamp: null` of the template.
        assert_eq!(sets(), before);
        client.k("rollout pause deploy/web").expect();
        let refused = client.k("rollout restart deploy/web").expect_failure();
        assert!(refused.contains("paused"), "{refused}");
        client.k("rollout resume deploy/web").expect();
        client
            .k("wait deploy/web --for=condition=Available --timeout=60s")
            .expect();
        let late = client
            .k("wait deploy/web --for=condition=Nonsense --timeout=1s")
            .expect_failure();
        assert!(late.contains("timed out"), "{late}");
        watch_list(client);
        client.k("delete deploy web --now").expect();
    });
}

/// The informers of client-go, which later kubectls wait with, open with a watch that also lists.
fn watch_list(client: &Client<'_>) {
    if !has(client, "wait", "--for=create") {
        return;
    }
    let mut command: Command = client.instance.client(&client.program);
    command.env("KUBE_FEATURE_WatchListClient", "true");
    command.args([
        "-n",
        &client.namespace,
        "-v=8",
        "rollout",
        "status",
        "deploy/web",
    ]);
    let outcome = run(&mut command, "");
    assert!(
        outcome.stderr.contains("sendInitialEvents=true"),
        "{}",
        outcome.stderr
    );
    assert!(outcome.expect().contains("successfully rolled out"));
}
