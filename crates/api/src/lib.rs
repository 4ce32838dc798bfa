//! Every kind this project speaks: the shape of its objects, their defaults, what is valid, how
//! versions convert, what kubectl prints. Pure: values in, values out.

pub mod admission;
pub mod annotation;
pub mod autoscaling;
pub mod binding;
pub mod bootstrap;
pub mod certificate;
pub mod conditions;
pub mod config;
pub mod convert;
pub mod crds;
pub mod cron;
pub mod delivery;
pub mod draft;
pub mod gotext;
pub mod names;
pub mod networking;
pub mod object;
pub mod probe;
pub mod quantity;
pub mod route;
pub mod selector;
pub mod serving;
pub mod world;

pub use bootstrap::bootstrap;
pub use convert::convert;
pub use crds::crds;
