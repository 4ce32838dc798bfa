//! Where a request goes: the table the gateway holds, and the changes that reach it.

mod table;

pub use table::*;
