//! Timelines of the autoscaler, and its golden vectors.

mod golden;
mod scaler;
mod timeline;
