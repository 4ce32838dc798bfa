//! System tests: the real binary, real containers, real clients. They need root and are run by
//! `cargo xtask test`; a plain `cargo test` leaves them out.

#![allow(clippy::too_many_lines)] // A tutorial is one story.

mod bad_input;
mod bad_start;
mod build_cli;
mod build_tutorial;
mod builder;
mod builder_given;
mod builds;
mod builds_ssh;
mod chaos;
mod crd_rules;
mod ephemeral;
mod event_bundles;
mod event_display;
mod event_kill;
mod event_kinds;
mod event_letters;
mod event_support;
mod event_tokens;
mod event_traces;
mod event_transform;
mod event_troubles;
mod event_types;
mod eventing;
mod eventing_api;
mod eventing_objects;
mod eventing_tls;
mod eventing_tutorial;
mod events_cli;
mod everyday;
mod first_light;
mod full_disk;
mod go;
mod history;
mod horizontal;
mod ingress;
mod internal_tls;
mod kn;
mod kn_files;
mod kubectl;
mod kubectl_verbs;
mod observe;
mod pods;
mod proxy;
mod python;
mod restart;
mod sdk;
mod sets;
mod split;
mod tls;
mod traces;
mod tutorials;
