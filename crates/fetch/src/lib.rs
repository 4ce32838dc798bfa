//! Bringing source code into a directory: a revision of a git repository, an archive or a manifest
//! of files from object storage or any HTTP server. Everything happens in this process; no other
//! program is started.
//!
//! Called by the source steps of a Build (`rekindle`'s hidden verb), inside the Build's Pod: the
//! network, the memory and the disk are the Pod's. It blocks.
//!
//! In reading order: [`git`] fetches and checks out, with `credentials` from the home directory,
//! over `ssh` where the URL says so, and `submodules` one by one; [`archive`] unpacks what `http` brings.

pub mod archive;
mod credentials;
mod error;
pub mod git;
mod http;
mod ssh;
mod submodules;
mod unpack;

pub use error::{Error, shown};
pub use http::STORAGE_VARIABLE;

/// What people are told while it goes on: one line at a time.
pub type Say<'a> = &'a mut dyn FnMut(&str);
