//! Tests of heads and framing.
