//! The whole list against the real binary, with containers, on one daemon, as root:
//! `cargo test --package conformance --features run`. `REKINDLE_CONFORMANCE_LONG=true` adds the tests
//! that take minutes, `REKINDLE_CONFORMANCE_ONLY=NAME` chooses, `REKINDLE_CONFORMANCE_REPORT=FILE`
//! keeps the report.

use std::path::Path;

use system::{Instance, Options, run};

const IMAGES: &str = "example.com/knative";

#[test]
fn serves_as_knative_does() {
    let instance = Instance::with(Options::default());
    let archive = instance.data_dir().with_file_name("images.tar");
    let program = Path::new(env!("CARGO_BIN_EXE_conformance-images"));
    conformance::images::write(program, IMAGES, &archive).expect("pack the test images");
    let mut load = instance.rekindle("image");
    load.arg("load").arg(&archive).arg("--data-dir");
    run(load.arg(instance.data_dir()), "").expect();
    let report = instance.data_dir().with_file_name("conformance.md");
    let mut command = instance.inside(env!("CARGO_BIN_EXE_conformance"));
    command
        .arg("--kubeconfig")
        .arg(instance.kubeconfig())
        .args(["--gateway", &instance.address("http"), "--images", IMAGES])
        .arg("--report")
        .arg(&report);
    if let Ok(only) = std::env::var("REKINDLE_CONFORMANCE_ONLY") {
        command.args(["--only", &only]);
    }
    let outcome = run(&mut command, "");
    if let Ok(kept) = std::env::var("REKINDLE_CONFORMANCE_REPORT") {
        std::fs::copy(&report, kept).expect("keep the report");
    }
    assert!(
        outcome.ok,
        "{}\n{}\n--- the daemon's log\n{}",
        outcome.stdout,
        outcome.stderr,
        last(&instance.log())
    );
}

/// The last lines of a text.
fn last(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
