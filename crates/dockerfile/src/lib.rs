//! Dockerfiles as pure logic: what a text means, as the steps a builder has to take. No file is
//! opened, nothing runs; `node`'s builder acts.
//!
//! In reading order: `lines` joins continued lines and takes here-documents;
//! `words` takes an instruction's arguments apart, `expand` replaces variables in them;
//! `instruction` is one of them (`mount` an option of `RUN`), [`Dockerfile`] all, in stages. [`Stage`] plans one stage on top
//! of its base's [`Config`]: a list of [`Step`]s and the configuration that comes out. [`Ignore`]
//! and [`glob`] say which files of the context are meant, [`key`] names what a step makes, and
//! [`kaniko`] reads the arguments of the builder people know.

mod config;
mod error;
mod expand;
mod file;
pub mod glob;
mod ignore;
mod instruction;
pub mod kaniko;
pub mod key;
mod lines;
mod mode;
mod mount;
mod plan;
mod repository;
mod words;

pub use config::{Config, Healthcheck};
pub use error::Error;
pub use file::{Base, Dockerfile, StageText};
pub use ignore::Ignore;
pub use instruction::{Chown, HereDoc};
pub use mode::Mode;
pub use mount::{MountKind, RunMount};
pub use plan::{Copy, From, Options, Origin, Planned, Run, Source, Stage, Step};
pub use repository::Repository;
