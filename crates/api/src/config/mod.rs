//! The ConfigMaps Knative is configured with, parsed into types: defaults, legacy names, exact
//! error texts. Read by the controllers, the autoscaler and admission.

pub mod autoscaler;
mod data;

pub use autoscaler::Autoscaler;
pub use data::{Data, Error};
