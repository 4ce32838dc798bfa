//! The agent: one pure machine per Pod decides (`machine`, with `container`, `probes`, `records`,
//! `stop` and `status`), one task per Pod does what it says (`worker`, with `ground`, `launch`, `hooks`,
//! `builtins`, `ephemeral`). `step` is the vocabulary between the two; `state` and `resume` carry a Pod over a
//! restart of the daemon; `directory` shows it to others.

mod builtins;
mod container;
mod directory;
mod env;
mod ephemeral;
mod eviction;
pub(crate) mod fields;
mod ground;
mod hooks;
mod launch;
mod machine;
mod millis;
mod names;
mod probes;
mod pull;
pub(crate) mod quantity;
mod records;
mod resume;
mod security;
mod state;
mod status;
mod step;
mod stop;
mod streams;
#[cfg(test)]
mod tests;
mod worker;

pub(crate) use directory::{Directory, RunInfo};
pub(crate) use fields::Facts;
pub(crate) use machine::PodMachine;
pub(crate) use security::confinement;
pub(crate) use state::{Saved, clear_slot, remove_slot};
pub(crate) use step::Input;
pub(crate) use worker::{Message, Worker};
