//! The `rekindle` binary: one verb per file of `cli`, everything joined in `wire`.

mod builtins;
mod cli;
mod cluster;
mod console;
mod controllers;
mod event_api;
mod event_display;
mod events;
mod facts;
mod hooks;
mod kubelet;
mod node_object;
mod parts;
mod pod_events;
mod pods;
mod roles;
mod services;
mod sources;
mod stats;
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: the launcher must stay small and single-threaded.
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|verb| verb == wire::LAUNCHER_VERB) {
        return node::launcher_main(words);
    }
    cli::run()
}
