//! The runtime contract.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::row::{Row, Rows};
use crate::runtime::picture;
use crate::test::{Test, text};

pub(super) fn rows() -> Vec<Row> {
    let rows = Rows::of("Runtime contract");
    let rows = must(rows);
    let rows = should(rows);
    may(rows).rows
}

fn must(rows: Rows) -> Rows {
    rows.shown(
        "MUST",
        "HTTP/1.1 arrives at $PORT",
        &["TestMustEnvVars", "TestProtocols"],
    )
    .shown(
        "MUST",
        "Host and Forwarded are set",
        &["TestMustHaveHeadersSet"],
    )
    .shown(
        "MUST",
        "the devices and links of /dev and /proc/self/fd; /tmp can be written",
        &["TestMustHaveFiles"],
    )
    .shown("MUST", "runAsUser is obeyed", &["TestMustRunAsUser"])
    .shown(
        "MUST",
        "limits are those of the cgroup",
        &["TestMustHaveCgroupConfigured", "TestCustomResourcesLimits"],
    )
    .shown(
        "MUST",
        "a container that ends has failed",
        &["TestContainerExitingMsg"],
    )
    .test(
        "MUST: logs",
        "what is written to standard output and error is the container's log",
        logs,
    )
    .shown(
        "MUST",
        "the environment is the specification's",
        &["TestSecretsViaEnv", "TestConfigsViaEnv"],
    )
    .shown(
        "MUST NOT",
        "unknown port names and mount propagation are accepted",
        &["TestMustNotContainerConstraints"],
    )
}

fn should(rows: Rows) -> Rows {
    rows.shown(
        "SHOULD",
        "X-Forwarded-For and -Proto are set, headers of traces pass",
        &["TestShouldHaveHeadersSet"],
    )
    .shown(
        "SHOULD",
        "K_SERVICE, K_CONFIGURATION, K_REVISION",
        &["TestShouldEnvVars"],
    )
    .shown(
        "SHOULD",
        "HTTP/2 with prior knowledge by the port name h2c",
        &["TestProtocols", "TestHelloHTTP2WithPortNameH2C"],
    )
    .shown(
        "SHOULD",
        "standard input is at its end",
        &["TestShouldHaveStdinEOF"],
    )
    .shown(
        "SHOULD",
        "/etc/resolv.conf is there, /dev/console is not",
        &["TestShouldHaveFiles"],
    )
    .shown(
        "SHOULD",
        "cgroups and kernel settings cannot be written",
        &[
            "TestShouldHaveCgroupReadOnly",
            "TestShouldHaveSysctlReadOnly",
        ],
    )
    .shown(
        "SHOULD",
        "without runAsUser the image's user runs",
        &["TestShouldRunAsUserContainerDefault"],
    )
    .shown(
        "SHOULD NOT",
        "host ports, hooks, terminals and several ports are accepted",
        &["TestShouldNotContainerConstraints"],
    )
    .shown(
        "SHOULD",
        "readiness is the user's probe, else that the port accepts connections",
        &["TestProbeRuntime", "TestProbeRuntimeAfterStartup"],
    )
    .shown(
        "SHOULD",
        "a revision that never becomes ready has failed",
        &["TestImagePullError", "TestPodScheduleError"],
    )
    .shown(
        "SHOULD",
        "SIGTERM, then time for what is under way",
        &[
            "TestDestroyPodWithRequests",
            "TestDestroyPodInflight",
            "TestWebSocketGracefulShutdown",
        ],
    )
    .test(
        "SHOULD: names",
        "the host name is the Pod's, /etc/hosts knows it, resolv.conf searches the namespace",
        names,
    )
    .test("SHOULD: umask", "the umask is the usual 0022", umask)
}

fn may(rows: Rows) -> Rows {
    rows.shown(
        "MAY",
        "init containers and sidecars",
        &["TestInitContainers", "TestMultiContainer"],
    )
    .shown(
        "MAY",
        "WebSockets",
        &["TestWebSocket", "TestWebSocketViaActivator"],
    )
    .not_applicable("MAY", "devices beyond the usual ones", "not offered")
}

async fn logs(test: Test) -> Result<()> {
    let service = test.serve(&test.draft("helloworld")).await?;
    let pods = test.pods(&service.revision()).await?;
    let pod = text(&pods[0], "/metadata/name");
    let log = test
        .cluster()
        .log(test.namespace, &pod, "user-container")
        .await?;
    ensure!(log.contains("listening on 8080"), "{log:?}");
    Ok(())
}

async fn names(test: Test) -> Result<()> {
    let draft = test
        .draft("runtime")
        .container("ports", json!([{"containerPort": 8080}]));
    let (service, picture) = picture(&test, &draft).await?;
    let pods = test.pods(&service.revision()).await?;
    let host = &picture["host"];
    let pod = text(&pods[0], "/metadata/name");
    // A host name has at most 63 letters.
    let name = text(host, "/envs/HOSTNAME");
    ensure!(
        pod.starts_with(&name) && !name.is_empty(),
        "{name} of {pod}"
    );
    ensure!(text(host, "/hosts").contains(&name), "{}", host["hosts"]);
    let search = format!("{}.svc.cluster.local", test.namespace);
    ensure!(
        text(host, "/resolv").contains(&search),
        "{}",
        host["resolv"]
    );
    Ok(())
}

async fn umask(test: Test) -> Result<()> {
    let (_, picture) = picture(&test, &test.draft("runtime")).await?;
    let umask = text(&picture, "/host/umask");
    ensure!(umask == "0022", "{umask}");
    Ok(())
}
