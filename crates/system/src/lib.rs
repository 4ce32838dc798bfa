//! The harness of the system tests: the real binary in a network namespace and a data directory
//! of its own, real kubectl and curl beside it, images made on the spot.
//!
//! The tests are black boxes: nothing here imports the product's crates.

mod acme;
mod command;
mod debian;
mod git;
mod go;
mod image;
mod instance;
mod leftovers;
mod load;
mod registry;
mod sdk;
mod ssh;

pub use acme::Acme;
pub use command::{Outcome, run};
pub use git::GitServer;
pub use go::go_client;
pub use image::{App, Image};
pub use instance::{Instance, Options, binary, kubectls, wait_for};
pub use leftovers::assert_nothing_left;
pub use load::{Channel, Client, Load, Tally};
pub use registry::Registry;
pub use sdk::Sdk;
pub use ssh::SshServer;
