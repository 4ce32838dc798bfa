//! The `rekindle` binary: one verb per file of `cli`, everything joined in `wire`.

mod builtins;
mod certificates;
mod cli;
mod cluster;
mod console;
mod controllers;
mod dead_letters;
mod event_api;
mod event_display;
mod events;
mod facts;
mod hooks;
mod kaniko;
mod kubelet;
mod measures;
mod memory;
mod node_object;
mod parts;
mod pods;
mod queue_certificate;
mod readiness;
mod registration;
mod roles;
mod services;
mod sources;
mod stats;
mod steps;
mod traces;
mod troubles;
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: the launcher must stay small and single-threaded.
    let mut words = std::env::args_os().skip(1);
    match words.next() {
        Some(verb) if verb == wire::LAUNCHER_VERB => node::launcher_main(words),
        Some(verb) if verb == steps::VERB => steps::main(words),
        _ => cli::run(),
    }
}
