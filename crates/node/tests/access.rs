//! What is asked of running Pods: exec, attach, forwarding, exec probes, hooks, builtins. Needs
//! root and a C compiler.

mod support;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodStatus};
use node::logs::Stream;
use node::{Builtin, BuiltinStart, Builtins, ExecOptions, RunningBuiltin, Session, TerminalSize};
use serde_json::json;
use support::{IMAGE, PATIENCE, get, run, run_with};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

fn options(command: &[&str]) -> ExecOptions {
    ExecOptions {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        stdout: true,
        stderr: true,
        ..ExecOptions::default()
    }
}

/// Exit code, standard output, standard error.
async fn finish(mut session: Session) -> (Result<i32, String>, String, String) {
    let mut texts = [String::new(), String::new()];
    let [out, err] = &mut texts;
    if let Some(stdout) = &mut session.stdout {
        stdout.read_to_string(out).await.expect("output");
    }
    if let Some(stderr) = &mut session.stderr {
        stderr.read_to_string(err).await.expect("output");
    }
    let code = session.exit.await.expect("an end");
    let [out, err] = texts;
    (code, out, err)
}

#[test]
fn processes_run_beside_the_containers_own() {
    run(|mut world| async move {
        let env = json!([{"name": "X", "value": "1"}]);
        let pod = json!({"containers": [
            {"name": "a", "image": IMAGE, "env": env, "securityContext": {"runAsUser": 1000}}]});
        let pod = world.run("web", pod);
        let ip = world.wait_ready("web").await.pod_ip.expect("an address");
        let at = ("default", "web");
        let exec = async |command: &[&str]| {
            let session = world.node.exec(at, &options(command)).await;
            finish(session.expect("exec")).await
        };
        let (code, out, _) = exec(&["/server", "echo", "hi"]).await;
        assert_eq!((code, out.as_str()), (Ok(0), "hi\n"));
        let (code, out, _) = exec(&["/server", "id"]).await;
        assert_eq!((code, out.as_str()), (Ok(0), "1000 1000\n"));
        let (code, out, _) = exec(&["/server", "env"]).await;
        assert!(
            code == Ok(0) && out.lines().any(|line| line == "X=1"),
            "{out}"
        );
        let (code, _, err) = exec(&["/server", "cat", "/no"]).await;
        assert_eq!(
            (code, err.as_str()),
            (Ok(1), "/no: No such file or directory\n")
        );
        let (code, ..) = exec(&["nothing"]).await;
        assert!(code.is_err_and(|text| text.contains("executable file not found")));
        let copy = ExecOptions {
            stdin: true,
            ..options(&["/server", "copy"])
        };
        let mut session = world.node.exec(at, &copy).await.expect("exec");
        let mut stdin = session.stdin.take().expect("stdin");
        stdin.write_all(b"through").await.expect("write");
        drop(stdin);
        assert_eq!(finish(session).await.1, "through");
        let tty = ExecOptions {
            tty: true,
            stdin: true,
            ..options(&["/server", "echo", "hi"])
        };
        let session = world.node.exec(at, &tty).await.expect("exec");
        let size = TerminalSize {
            width: 80,
            height: 25,
        };
        let resize = session.resize.as_ref().expect("a terminal");
        let _ = resize.send(size).await;
        assert_eq!(finish(session).await.1, "hi\r\n");
        let mut stream = world
            .node
            .port_forward(at, 8080)
            .await
            .expect("a connection");
        stream
            .write_all(b"GET / HTTP/1.0\r\n\r\n")
            .await
            .expect("write");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("read");
        assert!(answer.ends_with("hello "), "{answer}");
        assert!(world.node.port_forward(at, 9).await.is_err());
        assert!(world.node.exec(("default", "no"), &tty).await.is_err());
        let _ = get(&format!("{ip}:8080")).await.expect("still there");
        world.delete(&pod);
        world.wait_gone("web").await;
    });
}

/// A terminal has a name that exists where the process runs, belongs to the process's user, and
/// is the console of a container that has one.
#[test]
fn terminals_are_the_containers_own() {
    run(|mut world| async move {
        let spec = json!({"args": ["terminal", "copy"], "tty": true, "stdin": true,
            "securityContext": {"runAsUser": 1000}});
        let pod = world.run("web", spec);
        world.wait_ready("web").await;
        let at = ("default", "web");
        let tty = ExecOptions {
            tty: true,
            stdin: true,
            ..options(&["/server", "terminal"])
        };
        let session = world.node.exec(at, &tty).await.expect("exec");
        assert_eq!(finish(session).await.1, "/dev/pts/1 1000 rw\r\n");
        let mut session = world.node.attach(at, &tty).expect("attach");
        let mut stdin = session.stdin.take().expect("stdin");
        stdin.write_all(b"typed\n").await.expect("write");
        let stdout = session.stdout.as_mut().expect("stdout");
        let mut said = String::new();
        while !said.contains("typed\r\ntyped\r\n") {
            let mut piece = [0; 64];
            let length = stdout.read(&mut piece).await.expect("read");
            assert!(length > 0, "{said:?}");
            said.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
        world.wait_log("web", "a", "/dev/pts/0 1000 rw").await;
        let say = options(&["/server", "write", "/dev/console", "from elsewhere"]);
        let session = world.node.exec(at, &say).await.expect("exec");
        assert_eq!(finish(session).await.0, Ok(0));
        while !said.contains("from elsewhere") {
            let mut piece = [0; 64];
            let length = stdout.read(&mut piece).await.expect("read");
            assert!(length > 0, "{said:?}");
            said.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
        let missing = ExecOptions {
            command: vec!["nothing".to_owned()],
            ..tty
        };
        let session = world.node.exec(at, &missing).await.expect("exec");
        let (code, ..) = finish(session).await;
        assert!(code.is_err_and(|text| text.contains("executable file not found")));
        world.delete(&pod);
        world.wait_gone("web").await;
    });
}

#[test]
fn attached_clients_see_what_is_said() {
    run(|mut world| async move {
        let pod = world.run("copy", json!({"args": ["copy"], "stdin": true}));
        world.wait_ready("copy").await;
        let wanted = ExecOptions {
            stdin: true,
            ..options(&[])
        };
        let mut session = world
            .node
            .attach(("default", "copy"), &wanted)
            .expect("attach");
        let mut stdin = session.stdin.take().expect("stdin");
        stdin.write_all(b"line\n").await.expect("write");
        let mut said = [0; 5];
        let stdout = session.stdout.as_mut().expect("stdout");
        stdout.read_exact(&mut said).await.expect("read");
        assert_eq!(&said, b"line\n");
        world.delete(&pod);
        world.wait_gone("copy").await;
        assert_eq!(session.exit.await.expect("an end"), Ok(0));
    });
}

#[test]
fn exec_probes_hooks_and_restarts() {
    run(|mut world| async move {
        let exec = |words: &[&str]| json!({"exec": {"command": words}});
        let write = |path: &str| exec(&["/server", "write", path, "x"]);
        let spec = json!({"volumes": [{"name": "v", "emptyDir": {}}], "containers": [{
            "name": "a", "image": IMAGE, "readinessProbe": exec(&["/server", "cat", "/v/up"]),
            "lifecycle": {"postStart": write("/v/up"), "preStop": write("/dev/termination-log")},
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
        }]});
        let pod = world.run("hooks", spec);
        world.wait_ready("hooks").await;
        world.delete(&pod);
        world.wait_gone("hooks").await;
        let status = world.wait("hooks", |_| true).await;
        let end = status.container_statuses.expect("statuses")[0]
            .state
            .clone();
        let end = end.expect("a state").terminated.expect("an end");
        assert_eq!((end.exit_code, end.message.as_deref()), (0, Some("x")));
        let spec =
            json!({"containers": [{"name": "a", "image": IMAGE, "args": ["echo", "again"]}]});
        world.run("crash", spec);
        let waits = |one: &ContainerStatus| one.state.as_ref()?.waiting.as_ref()?.reason.clone();
        let backs_off = |status: &PodStatus| {
            let mut all = status.container_statuses.iter().flatten();
            all.any(|one| waits(one).as_deref() == Some("CrashLoopBackOff"))
        };
        let status = world.wait("crash", backs_off).await;
        assert_eq!(
            status.container_statuses.expect("statuses")[0].restart_count,
            1
        );
        assert_eq!(world.log("crash", "a").await, "again\n");
    });
}

/// A builtin that answers one line to every connection and is ready a little after its start.
struct Hello;

struct HelloRun {
    ready: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Builtins for Hello {
    fn find(&self, container: &Container) -> Option<Arc<dyn Builtin>> {
        (container.image.as_deref() == Some("builtin.local/hello")).then(|| Arc::new(Self) as _)
    }
}

impl Builtin for Hello {
    fn ports(&self, _: &Pod, _: &Container, env: &[(String, String)]) -> Vec<u16> {
        env.iter()
            .filter_map(|(name, value)| (name == "PORT").then(|| value.parse().ok())?)
            .collect()
    }

    fn start(&self, mut start: BuiltinStart) -> Result<Box<dyn RunningBuiltin>, String> {
        start.log.line(Stream::Stdout, "started");
        let listener = start.listeners.remove(0);
        let listener = tokio::net::TcpListener::from_std(listener).map_err(|e| e.to_string())?;
        let ready = watch::Sender::new(false);
        let tell = ready.clone();
        let task = tokio::spawn(async move {
            // Ready as soon as the process beside it is.
            while start
                .dialer
                .connect(([127, 0, 0, 1], 8080).into())
                .await
                .is_err()
            {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tell.send_replace(true);
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 512];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nbuiltin").await;
            }
        });
        Ok(Box::new(HelloRun { ready, task }))
    }
}

impl RunningBuiltin for HelloRun {
    fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    fn stop(&mut self, _: Duration) -> BoxFuture<'static, ()> {
        self.task.abort();
        async {}.boxed()
    }
}

#[test]
fn builtins_listen_inside_the_pod() {
    run_with(Arc::new(Hello), |mut world| async move {
        let env = json!([{"name": "PORT", "value": "8012"}]);
        let probe = json!({"tcpSocket": {"port": 8080}});
        let spec = json!({"containers": [
            {"name": "a", "image": IMAGE, "readinessProbe": probe},
            {"name": "b", "image": "builtin.local/hello", "env": env},
        ]});
        let pod = world.run("web", spec);
        let status = world.wait_ready("web").await;
        assert!(
            status
                .container_statuses
                .iter()
                .flatten()
                .all(|one| one.ready)
        );
        let ip = status.pod_ip.expect("an address");
        assert_eq!(
            get(&format!("{ip}:8012")).await.expect("an answer"),
            "builtin"
        );
        assert_eq!(
            get(&format!("{ip}:8080")).await.expect("an answer"),
            "hello "
        );
        world.wait_log("web", "b", "started\n").await;
        world.delete(&pod);
        world.wait_gone("web").await;
    });
}

/// An exec that is on its way when the container ends is told so, whatever it had come to.
#[test]
fn execs_end_with_their_container() {
    run(|mut world| async move {
        for round in 0..20 {
            let name = format!("web-{round}");
            let pod = json!({"terminationGracePeriodSeconds": 0,
                "containers": [{"name": "a", "image": IMAGE}]});
            let pod = world.run(&name, pod);
            world.wait_ready(&name).await;
            let (node, sleep) = (world.node.clone(), options(&["/server", "sleep", "100"]));
            let mut sessions = Vec::new();
            for begun in 0..6 {
                if begun == 3 {
                    world.delete(&pod);
                }
                sessions.extend(node.exec(("default", &name), &sleep).await);
            }
            for mut session in sessions {
                let end = tokio::time::timeout(PATIENCE, &mut session.exit).await;
                end.expect("in time").expect("the launcher runs").ok();
            }
            world.wait_gone(&name).await;
        }
    });
}
