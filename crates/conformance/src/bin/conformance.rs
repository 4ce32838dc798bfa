//! `conformance`: asks a cluster whether it serves as Knative does, and writes the report.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use conformance::report;
use conformance::run::{Options, Outcome, run};
use kube::config::{KubeConfigOptions, Kubeconfig};

#[derive(Parser, Debug)]
#[command(about = "Asks a cluster whether it serves as Knative Serving does")]
struct Flags {
    /// How to reach the cluster.
    #[arg(long, env = "KUBECONFIG", required_unless_present = "write_images")]
    kubeconfig: Option<PathBuf>,
    /// Where its gateway listens for HTTP.
    #[arg(long, default_value = "127.0.0.1:8080")]
    gateway: SocketAddr,
    /// What the names of the test images begin with.
    #[arg(long, default_value = "example.com/knative")]
    images: String,
    /// Only tests whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// The tests that take minutes, too.
    #[arg(long, env = "REKINDLE_CONFORMANCE_LONG")]
    long: bool,
    /// How many tests run at once.
    #[arg(long, default_value_t = 24)]
    at_once: usize,
    /// Where to write the report.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Only write the test images into an archive for `rekindle image load` or `docker load`.
    #[arg(long, value_name = "ARCHIVE")]
    write_images: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(ask(Flags::parse()))
}

#[allow(clippy::print_stdout)] // The command's purpose.
async fn ask(flags: Flags) -> Result<ExitCode> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    if let Some(archive) = flags.write_images {
        let program = std::env::current_exe()?.with_file_name("conformance-images");
        conformance::images::write(&program, &flags.images, &archive)?;
        return Ok(ExitCode::SUCCESS);
    }
    let kubeconfig = flags.kubeconfig.context("--kubeconfig is missing")?;
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &config).await?;
    let client = kube::Client::try_from(config)?;
    let rows = conformance::rows();
    let options = Options {
        gateway: flags.gateway,
        images: flags.images,
        only: flags.only,
        long: flags.long,
        at_once: flags.at_once,
    };
    let outcomes = run(client, &rows, &options).await?;
    for (row, (outcome, took)) in rows.iter().zip(&outcomes) {
        match outcome {
            Outcome::Failed(why) => println!("FAILED {} ({took:.1?}): {why}", row.name),
            Outcome::Passed => println!("passed {} ({took:.1?})", row.name),
            Outcome::NotApplicable(_) | Outcome::NotRun => {}
        }
    }
    let [passed, failed, not_applicable, not_run] = report::count(&outcomes);
    println!(
        "{passed} passed, {failed} failed, {not_applicable} not applicable, {not_run} not run"
    );
    if let Some(path) = flags.report {
        std::fs::write(&path, report::markdown(&rows, &outcomes))
            .with_context(|| format!("write {}", path.display()))?;
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
