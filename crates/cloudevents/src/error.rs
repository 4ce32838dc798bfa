//! What can be wrong with an event, in words its sender can act on.

/// Whose mistake it is; status codes and retries follow from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The sender's: the same request will fail again.
    Sender,
    /// Ours, or the disk's: the stored bytes are not what was written.
    Storage,
}

/// Why bytes are not an event. `Display` names the attribute and the remedy.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// Neither `ce-` headers nor a CloudEvents content type.
    #[error(
        "not a CloudEvent: send the attributes as headers (ce-specversion, ce-id, ce-source, ce-type) or a body of content type application/cloudevents+json"
    )]
    NotAnEvent,
    /// `application/cloudevents+xml` and the like.
    #[error("event format {0:?} is not supported: use application/cloudevents+json or ce- headers")]
    Format(String),
    /// One event was expected.
    #[error("a batch of events is not accepted here: send each event in a request of its own")]
    Batch,
    /// A version other than 0.3 and 1.0.
    #[error("specversion {0:?} is not supported: use \"1.0\" or \"0.3\"")]
    Version(String),
    /// A required attribute is absent or empty.
    #[error("{0}: is required and must not be empty")]
    Missing(&'static str),
    /// The name of an attribute breaks the rules.
    #[error("{0:?} is no attribute name: use lower-case letters and digits only")]
    Name(String),
    /// An attribute's value breaks its rules.
    #[error("{name}: {problem}")]
    Attribute {
        /// The attribute.
        name: String,
        /// What is wrong and what would be right.
        problem: &'static str,
    },
    /// An attribute appears twice.
    #[error("{0}: is given more than once")]
    Twice(String),
    /// More than the limits allow.
    #[error("{what} is larger than the limit of {max}")]
    TooLarge {
        /// The body, a value, the number of attributes or of events.
        what: &'static str,
        /// The limit, in bytes or in number.
        max: usize,
    },
    /// The body is not the JSON it should be.
    #[error("the body is not valid JSON of an event: {0}")]
    Json(String),
    /// One event of a batch.
    #[error("event {at} of the batch: {source}")]
    Item {
        /// Position from 0.
        at: usize,
        /// What is wrong with it.
        source: Box<Self>,
    },
    /// A record that this version did not write, or that was damaged.
    #[error("the stored event is not readable: {0}")]
    Record(&'static str),
}

impl Error {
    /// Who has to change something.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Record(_) => Fault::Storage,
            _ => Fault::Sender,
        }
    }

    /// The HTTP status that tells the sender: 413 for size, 415 for an unknown format, else 400;
    /// 500 when it is not the sender's fault.
    pub fn status(&self) -> u16 {
        match self {
            Self::TooLarge { .. } => 413,
            Self::Format(_) => 415,
            Self::Record(_) => 500,
            Self::Item { source, .. } => source.status(),
            _ => 400,
        }
    }
}
