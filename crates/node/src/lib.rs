//! Pods as containers.

pub mod cgroup;
pub mod image;
pub mod launcher;
pub mod net;
