//! What is wrong with a Dockerfile, and where.

/// A mistake in a Dockerfile. The text is for the person who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Dockerfile:{line}: {message}")]
pub struct Error {
    /// The instruction's first line, from 1.
    pub line: u32,
    /// What is wrong, with the remedy where there is one.
    pub message: String,
}

impl Error {
    /// A mistake in the instruction that begins on this line.
    pub fn new(line: u32, message: impl Into<String>) -> Self {
        Self {
            line,
            message: message.into(),
        }
    }
}
