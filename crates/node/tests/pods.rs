//! Pods on a real node: processes, namespaces, control groups, network. Needs root and a C
//! compiler.

mod support;

use serde_json::{Value, json};
use support::{IMAGE, World, get, run};

#[test]
fn a_server_starts_answers_and_stops() {
    run(|mut world| async move {
        let probe = json!({"tcpSocket": {"port": 8080}});
        let spec = json!({"containers": [{
            "name": "a", "image": IMAGE, "readinessProbe": probe,
            "env": [{"name": "GREETING", "value": "from $(FROM_IMAGE)"}],
        }]});
        let pod = world.run("web", spec);
        let status = world.wait_ready("web").await;
        assert_eq!(status.phase.as_deref(), Some("Running"));
        let ip = status.pod_ip.expect("an address");
        assert_eq!(
            get(&format!("{ip}:8080")).await.expect("an answer"),
            "hello from yes"
        );
        world.wait_log("web", "a", "listening\n").await;
        let usage = world.node.stats();
        assert!(usage[0].containers[0].memory_bytes > 0);
        world.delete(&pod);
        world.wait_gone("web").await;
        assert!(world.node.stats().is_empty());
    });
}

/// Runs one container and compares `code reason message log`.
async fn check(world: &mut World, name: &str, spec: Value, want: (i32, &str, &str, &str)) {
    let (code, reason, message, log) = world.run_to_end(name, spec).await;
    let got = (code, reason.as_str(), message.as_str(), log.as_str());
    assert_eq!(got, want, "{name}");
}

#[test]
fn a_container_ends_as_its_pod_says() {
    run(|mut world| async move {
        let world = &mut world;
        let done = |log| (0, "Completed", "", log);
        let user = json!({"runAsUser": 1000});
        check(
            world,
            "echo",
            json!({"args": ["echo", "a", "b"]}),
            done("a b\n"),
        )
        .await;
        check(
            world,
            "id",
            json!({"args": ["id"], "securityContext": user}),
            done("1000 1000\n"),
        )
        .await;
        let cat = |path: &str| json!({"args": ["cat", path]});
        check(world, "hostname", cat("/etc/hostname"), done("hostname\n")).await;
        let read_only = json!({
            "args": ["write", "/x", "y"],
            "securityContext": {"readOnlyRootFilesystem": true},
        });
        let refused = (1, "Error", "", "/x: Read-only file system\n");
        check(world, "read-only", read_only, refused).await;
        let words = json!({"args": ["write", "/dev/termination-log", "bye", "3"]});
        check(world, "words", words, (3, "Error", "bye", "")).await;
        let own_file = json!({
            "args": ["write", "/last/words", "bye"], "terminationMessagePath": "/last/words",
        });
        check(world, "own-file", own_file, (0, "Completed", "bye", "")).await;
        let from_log = json!({
            "args": ["cat", "/missing"], "terminationMessagePolicy": "FallbackToLogsOnError",
        });
        let text = "/missing: No such file or directory\n";
        check(world, "from-log", from_log, (1, "Error", text, text)).await;
        let missing = json!({"command": ["nope"]});
        let text = "exec: \"nope\": executable file not found in $PATH";
        check(world, "missing", missing, (128, "StartError", text, "")).await;
        let greedy = json!({
            "args": ["eat", "200"], "resources": {"limits": {"memory": "32Mi"}},
        });
        check(world, "greedy", greedy, (137, "OOMKilled", "", "")).await;
    });
}

#[test]
fn environment_and_volumes_come_from_the_cluster() {
    run(|mut world| async move {
        let map = json!({"metadata": {"name": "m"}, "data": {"k": "v", "dir.conf": "x=1"}});
        let map = serde_json::from_value(map).expect("a ConfigMap");
        world
            .objects
            .config_maps
            .lock()
            .expect("lock")
            .insert("m".into(), map);
        let secret = json!({"metadata": {"name": "s"}, "data": {"pass": "c2VjcmV0"}});
        let secret = serde_json::from_value(secret).expect("a Secret");
        world
            .objects
            .secrets
            .lock()
            .expect("lock")
            .insert("s".into(), secret);
        let env = json!({"args": ["env"], "envFrom": [{"prefix": "P_", "secretRef": {"name": "s"}}],
            "env": [
                {"name": "K", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}},
                {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "LIMIT", "valueFrom": {"resourceFieldRef": {
                    "resource": "limits.memory", "divisor": "1Mi"}}},
                {"name": "BOTH", "value": "$(K)/$(NAME)"},
            ],
            "resources": {"limits": {"memory": "64Mi"}},
        });
        let (.., log) = world.run_to_end("env", env).await;
        for line in [
            "P_pass=secret",
            "K=v",
            "NAME=env",
            "LIMIT=64",
            "BOTH=v/env",
            "HOSTNAME=env",
        ] {
            assert!(log.lines().any(|have| have == line), "{line} in {log}");
        }
    });
}

#[test]
fn volumes_show_what_the_cluster_has() {
    run(|mut world| async move {
        let map = json!({"metadata": {"name": "m"}, "data": {"k": "v", "dir.conf": "x=1"}});
        let map = serde_json::from_value(map).expect("a ConfigMap");
        world
            .objects
            .config_maps
            .lock()
            .expect("lock")
            .insert("m".into(), map);
        let volumes = json!([
            {"name": "m", "configMap": {"name": "m", "items": [{"key": "k", "path": "d/k"}]}},
            {"name": "p", "projected": {"sources": [
                {"serviceAccountToken": {"path": "token"}},
                {"downwardAPI": {"items": [
                    {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            ]}},
            {"name": "e", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        ]);
        let mounts = json!([
            {"name": "m", "mountPath": "/map"},
            {"name": "m", "mountPath": "/one", "subPath": "d/k"},
            {"name": "p", "mountPath": "/p"}, {"name": "e", "mountPath": "/e"},
        ]);
        let cases = [
            ("/map/d/k", "v\n"),
            ("/one", "v\n"),
            ("/p/token", "token-of-default\n"),
            ("/e/x", "shared\n"),
        ];
        for (index, (path, want)) in cases.into_iter().enumerate() {
            let name = format!("volumes-{index}");
            let write = json!(["write", "/e/x", "shared"]);
            let spec = json!({
                "restartPolicy": "Never", "volumes": volumes,
                "initContainers": [
                    {"name": "i", "image": IMAGE, "args": write, "volumeMounts": mounts}],
                "containers": [
                    {"name": "a", "image": IMAGE, "args": ["cat", path], "volumeMounts": mounts}],
            });
            check(&mut world, &name, spec, (0, "Completed", "", want)).await;
        }
    });
}

#[test]
fn what_is_missing_is_said() {
    run(|mut world| async move {
        let spec = json!({"containers": [{"name": "a", "image": IMAGE,
            "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "k"}}}]}]});
        world.run("config-error", spec);
        let waits = |reason: &'static str| {
            move |status: &k8s_openapi::api::core::v1::PodStatus| {
                let all = status.container_statuses.iter().flatten();
                all.filter_map(|one| one.state.as_ref()?.waiting.as_ref()?.reason.clone())
                    .any(|have| have == reason)
            }
        };
        world
            .wait("config-error", waits("CreateContainerConfigError"))
            .await;
        world.run("no-image", json!({"image": "test.local/none:1"}));
        world.wait("no-image", waits("ErrImagePull")).await;
        world.wait("no-image", waits("ImagePullBackOff")).await;
    });
}

/// Containers of one Pod share `/dev/shm`, message queues and the host name, through the end of
/// any of them; another Pod has its own.
#[test]
fn memory_and_names_are_the_pods() {
    run(|mut world| async move {
        let exec = async |world: &World, at: (&str, &str), command: &[&str]| {
            let options = node::ExecOptions {
                container: at.1.to_owned(),
                command: command.iter().map(|word| (*word).to_owned()).collect(),
                stdout: true,
                ..node::ExecOptions::default()
            };
            let session = world.node.exec(("default", at.0), &options).await;
            let mut session = session.expect("exec");
            let mut out = String::new();
            let stdout = session.stdout.as_mut().expect("stdout");
            tokio::io::AsyncReadExt::read_to_string(stdout, &mut out)
                .await
                .expect("output");
            (session.exit.await.expect("an end"), out)
        };
        let one = |name: &str, words: &[&str]| json!({"name": name, "image": IMAGE, "args": words});
        let spec = json!({
            "hostname": "pair",
            "initContainers": [one("first", &["write", "/dev/shm/note", "kept"])],
            "containers": [one("a", &["sleep", "600"]), one("b", &["sleep", "600"])],
        });
        world.run("pair", spec);
        world.run("alone", json!({"args": ["sleep", "600"]}));
        world.wait_ready("pair").await;
        world.wait_ready("alone").await;
        for container in ["a", "b"] {
            let at = ("pair", container);
            let (code, out) = exec(&world, at, &["/server", "cat", "/dev/shm/note"]).await;
            assert_eq!((code, out.as_str()), (Ok(0), "kept"), "{container}");
            let (_, out) = exec(&world, at, &["/server", "host"]).await;
            assert_eq!(out, "pair\n", "{container}");
        }
        assert_eq!(
            exec(&world, ("pair", "a"), &["/server", "queue", "make"])
                .await
                .0,
            Ok(0)
        );
        assert_eq!(
            exec(&world, ("pair", "b"), &["/server", "queue"]).await.0,
            Ok(0)
        );
        let alone = ("alone", "a");
        assert_eq!(exec(&world, alone, &["/server", "queue"]).await.0, Ok(1));
        assert_eq!(
            exec(&world, alone, &["/server", "cat", "/dev/shm/note"])
                .await
                .0,
            Ok(1)
        );
    });
}

/// With `shareProcessNamespace` the containers see each other's processes, and the end of one
/// ends nothing of the others; without it each has its own.
#[test]
fn processes_are_shared_where_the_pod_says_so() {
    run(|mut world| async move {
        let spec = |shared: bool| {
            let late = json!({"name": "late", "image": IMAGE, "args": ["cat", "/proc/2/cmdline"]});
            json!({
                "shareProcessNamespace": shared,
                "restartPolicy": "Never",
                "containers": [
                    {"name": "a", "image": IMAGE,
                     "readinessProbe": {"tcpSocket": {"port": 8080}}},
                    late,
                ],
            })
        };
        for (name, shared) in [("shared", true), ("own", false)] {
            let pod = world.run(name, spec(shared));
            let ended = |status: &k8s_openapi::api::core::v1::PodStatus| {
                let mut all = status.container_statuses.iter().flatten();
                let late = all.find(|one| one.name == "late");
                let late = late.and_then(|one| one.state.as_ref()?.terminated.as_ref());
                late.is_some()
            };
            let status = world.wait(name, ended).await;
            let saw = world.log(name, "late").await;
            assert_eq!(saw.starts_with("/server"), shared, "{saw:?}");
            let serves = |status: &k8s_openapi::api::core::v1::PodStatus| {
                let mut all = status.container_statuses.iter().flatten();
                all.any(|one| one.name == "a" && one.ready)
            };
            world.wait(name, serves).await;
            let address = format!("{}:8080", status.pod_ip.expect("an address"));
            assert_eq!(get(&address).await.expect("an answer"), "hello ");
            world.delete(&pod);
            world.wait_gone(name).await;
        }
    });
}

/// The first process of a shared namespace ends only when all others are reaped: who waits for it
/// first waits for ever.
#[test]
fn a_node_ends_with_processes_that_are_shared() {
    run(|mut world| async move {
        let spec = json!({
            "shareProcessNamespace": true,
            "containers": [{"name": "a", "image": IMAGE,
                "readinessProbe": {"tcpSocket": {"port": 8080}}}],
        });
        world.run("shared", spec);
        world.wait_ready("shared").await;
    });
}
