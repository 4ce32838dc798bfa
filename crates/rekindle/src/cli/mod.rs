//! The command line: one verb, one file. This file only lists them.

mod apply;
mod build;
mod ca;
mod client;
mod completion;
mod console;
pub(crate) mod controller;
mod delete;
mod demo;
mod event;
mod get;
mod image;
mod kn;
mod logs;
mod migrate;
mod output;
mod plugin;
mod store;
pub(crate) mod up;
mod version;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory as _, Parser, Subcommand};

/// Knative in one binary: `rekindle up`, then kubectl and curl.
#[derive(Parser)]
#[command(name = "rekindle", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the API server, the node, the controllers and the gateway in this process.
    Up(up::Flags),
    /// Run the controllers alone, against the API server of a kubeconfig.
    Controller(controller::Flags),
    /// Show what it does on an instance of its own: deploy, call, zero, back, split.
    Demo,
    /// The node's images.
    Image(image::Flags),
    /// Print whom to trust in order to trust the certificates of this instance.
    Ca(ca::Flags),
    /// Source to image: build a Dockerfile on the instance.
    Build(build::Flags),
    /// The API server's store, while the instance does not run.
    Store(store::Flags),
    /// Create or change the objects of a file.
    Apply(apply::Flags),
    /// Show objects.
    Get(get::Flags),
    /// Delete objects.
    Delete(delete::Flags),
    /// Show what containers wrote.
    Logs(logs::Flags),
    /// Print manifests of 2018 to 2024 as manifests of today.
    Migrate(migrate::Flags),
    /// Knative Services, with the verbs of kn.
    Service(kn::service::Flags),
    /// Revisions, with the verbs of kn.
    Revision(kn::revision::Flags),
    /// Routes, with the verbs of kn.
    Route(kn::route::Flags),
    /// Containers beside a Service's own, with the verbs of kn.
    Container(kn::container::Flags),
    /// Domains of one's own, with the verbs of kn.
    Domain(kn::domain::Flags),
    /// Send an event, or watch a Broker's.
    Event(event::Flags),
    /// Brokers, with the verbs of kn.
    Broker(kn::broker::Flags),
    /// Triggers, with the verbs of kn.
    Trigger(kn::trigger::Flags),
    /// Channels, with the verbs of kn.
    Channel(kn::channel::Flags),
    /// Subscriptions, with the verbs of kn.
    Subscription(kn::subscription::Flags),
    /// Sources of events, with the verbs of kn.
    Source(kn::source::Flags),
    /// Plugins of kn.
    Plugin(plugin::Flags),
    /// Print what a shell needs to complete verbs and flags.
    Completion(completion::Flags),
    /// Show the version of this program.
    Version(version::Flags),
}

/// What a shell says of a program that a closed pipe has ended (128 + SIGPIPE).
const READER_GONE: u8 = 141;

/// Parses the arguments, runs the verb, reports its failure on one line of standard error.
pub(crate) fn run() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Up(flags) => up::run(flags),
        Verb::Controller(flags) => controller::run(flags),
        Verb::Demo => client(demo::run()),
        Verb::Image(flags) => image::run(flags),
        Verb::Ca(flags) => client(ca::run(flags)),
        Verb::Build(flags) => client(build::run(flags)),
        Verb::Store(flags) => store::run(flags),
        Verb::Apply(flags) => client(apply::run(flags)),
        Verb::Get(flags) => client(get::run(flags)),
        Verb::Delete(flags) => client(delete::run(flags)),
        Verb::Logs(flags) => client(logs::run(flags)),
        Verb::Migrate(flags) => migrate::run(&flags),
        Verb::Service(flags) => client(kn::service::run(flags)),
        Verb::Revision(flags) => client(kn::revision::run(flags)),
        Verb::Route(flags) => client(kn::route::run(flags)),
        Verb::Container(flags) => kn::container::run(flags),
        Verb::Domain(flags) => client(kn::domain::run(flags)),
        Verb::Event(flags) => client(event::run(flags)),
        Verb::Broker(flags) => client(kn::broker::run(flags)),
        Verb::Trigger(flags) => client(kn::trigger::run(flags)),
        Verb::Channel(flags) => client(kn::channel::run(flags)),
        Verb::Subscription(flags) => client(kn::subscription::run(flags)),
        Verb::Source(flags) => client(kn::source::run(flags)),
        Verb::Plugin(flags) => plugin::run(&flags),
        Verb::Completion(flags) => completion::run(&flags, Cli::command()),
        Verb::Version(flags) => version::run(&flags),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<output::ReaderGone>() => ExitCode::from(READER_GONE),
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// One line on standard error.
fn complain(text: &str) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "rekindle: {text}");
}

/// Runs a client verb: short, one thread.
fn client(verb: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.context("start the runtime")?.block_on(verb)
}
