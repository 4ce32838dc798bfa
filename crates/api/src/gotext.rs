//! Go's textual forms of numbers, durations and quoted strings. Knative's ConfigMaps and
//! annotations are written in them and its error texts print them, so reading and printing must
//! agree with Go's `strconv`, `time` and `fmt` to the letter.
//!
//! Called by `config`, `admission` and the autoscaler's annotation reader. Pure.

mod duration;
mod number;
mod period;
mod quote;
pub mod template;

pub use duration::{Nanos, format_duration, parse_duration};
pub use number::{format_float, parse_bool, parse_float, parse_int, parse_uint};
pub use period::Period;
pub use quote::quote;
pub use template::Template;

#[cfg(test)]
mod tests;
