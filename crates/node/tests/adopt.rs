//! Containers outlive the daemon: it is killed with -9, the next one goes on with them. Needs
//! root and a C compiler.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use node::NoBuiltins;
use serde_json::json;
use support::{IMAGE, PATIENCE, World, get, in_namespaces};

/// Tells the test below, run as a daemon, where to work.
const DIR: &str = "NODE_TEST_DIR";

/// The daemon that dies: starts one Pod, says so in a file and waits for its end.
#[test]
#[ignore = "started by the other test as a process of its own"]
fn daemon() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.expect("runtime").block_on(async {
        let mut world = World::start(&dir, Arc::new(NoBuiltins)).await;
        let spec = json!({"containers": [
            {"name": "a", "image": IMAGE, "readinessProbe": {"tcpSocket": {"port": 8080}}}]});
        world.run("web", spec);
        let status = world.wait_ready("web").await;
        // A container whose start has not been written down yet is started anew by the next one.
        let state = dir.join("data/pods/uid-web/pod.json");
        let is_written = || {
            let state = std::fs::read_to_string(&state).unwrap_or_default();
            !state.is_empty() && !state.contains("\"running_since_ms\":null")
        };
        while !is_written() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        std::fs::write(dir.join("ip.new"), status.pod_ip.expect("an address")).expect("write");
        std::fs::rename(dir.join("ip.new"), dir.join("ip")).expect("rename");
        std::future::pending::<()>().await;
    });
}

fn start_daemon(dir: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .args(["--exact", "daemon", "--ignored"])
        .env(DIR, dir);
    command.stdout(Stdio::null()).spawn().expect("daemon")
}

#[test]
fn the_next_daemon_goes_on() {
    in_namespaces(|dir| async move {
        let mut daemon = start_daemon(&dir);
        let address = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Ok(ip) = std::fs::read_to_string(dir.join("ip")) {
                    return format!("{ip}:8080");
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let address = address.await;
        daemon.kill().expect("kill");
        daemon.wait().expect("wait");
        let address = address.expect("the first daemon starts its Pod");
        assert_eq!(
            get(&address).await.expect("an answer without a daemon"),
            "hello "
        );
        let objects = Arc::new(support::Objects::default());
        let mut world = World::start_again(&dir, Arc::new(NoBuiltins), objects).await;
        let status = world.wait_ready("web").await;
        assert_eq!(
            status.container_statuses.expect("statuses")[0].restart_count,
            0
        );
        assert_eq!(get(&address).await.expect("an answer"), "hello ");
        world.wait_log("web", "a", "listening\n").await;
        let pod = json!({"metadata": {"name": "web", "namespace": "default", "uid": "uid-web"},
            "spec": {"containers": [{"name": "a", "image": IMAGE}]}});
        let pod = serde_json::from_value(pod).expect("a Pod");
        let options = node::ExecOptions {
            command: vec!["/server".into(), "exit".into(), "7".into()],
            ..node::ExecOptions::default()
        };
        let session = world.node.exec(("default", "web"), &options).await;
        let session = session.expect("exec");
        assert_eq!(session.exit.await.expect("an end"), Ok(7));
        world.delete(&pod);
        world.wait_gone("web").await;
        world.node.destroy().await;
    });
}

/// The launcher of a data directory, as the system shows it.
fn launcher_of(dir: &Path) -> Option<i32> {
    let dir = dir.join("data").display().to_string();
    let processes = std::fs::read_dir("/proc").expect("proc").flatten();
    let mut ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.find(|id| {
        let words = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).into_owned();
        let parent = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let parent = parent.rsplit(' ').nth(48).unwrap_or_default();
        words.contains(&dir) && parent == std::process::id().to_string()
    })
}

#[test]
fn a_launcher_that_dies_is_started_again() {
    in_namespaces(|dir| async move {
        let mut world = World::start(&dir, Arc::new(NoBuiltins)).await;
        let spec = json!({"containers": [
            {"name": "a", "image": IMAGE, "readinessProbe": {"tcpSocket": {"port": 8080}}}]});
        world.run("web", spec);
        world.wait_ready("web").await;
        let launcher = launcher_of(&dir).expect("a launcher");
        let killed = Command::new("kill")
            .args(["-9", &launcher.to_string()])
            .status();
        assert!(killed.expect("kill").success());
        let status = world
            .wait("web", |status| {
                let again = status.container_statuses.iter().flatten();
                support::is(status, "Ready") && again.into_iter().any(|one| one.restart_count == 1)
            })
            .await;
        let address = format!("{}:8080", status.pod_ip.expect("an address"));
        assert_eq!(get(&address).await.expect("an answer"), "hello ");
        assert_ne!(launcher_of(&dir), Some(launcher));
        world.node.destroy().await;
    });
}
