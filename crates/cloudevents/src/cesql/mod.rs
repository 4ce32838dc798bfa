//! CESQL 1.0, the expression language of the filter dialect `cesql`.
//!
//! [`Expression::parse`] at admission and when a filter is compiled, [`Expression::evaluate`] for
//! every event. Source: the CloudEvents SQL specification 1.0 and its grammar. Evaluation is in the
//! specification's fail-fast mode: the first error ends it, and every expression around it yields
//! the zero value of its type.

mod eval;
mod function;
mod lexer;
mod like;
mod parser;

use std::borrow::Cow;

pub(crate) use parser::{Comparison, Node};

use crate::Event;

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Expression(Node);

/// Why a text is no expression.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{problem} at character {at}")]
pub struct ParseError {
    /// What is wrong.
    pub problem: String,
    /// Where, counted from 1.
    pub at: usize,
}

/// What an expression yields.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value<'e> {
    /// True or false.
    Boolean(bool),
    /// 32 bits.
    Integer(i32),
    /// Any text.
    String(Cow<'e, str>),
}

/// What went wrong while an expression was evaluated; the names are the specification's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EvalError {
    /// A division by zero, or a result beyond 32 bits.
    #[error("{0}")]
    Math(&'static str),
    /// A value is not of the type that was needed.
    #[error("{0:?} cannot be made {1}")]
    Cast(String, &'static str),
    /// No function of that name takes so many arguments.
    #[error("there is no function {0} of {1} arguments")]
    MissingFunction(String, usize),
    /// The event has no such attribute.
    #[error("the event has no attribute {0}")]
    MissingAttribute(String),
    /// A function's arguments make no sense.
    #[error("{0}")]
    FunctionEvaluation(&'static str),
}

/// A value, and the error that made it a mere stand-in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evaluation<'e> {
    /// Always there; after an error the zero value, or what the specification names.
    pub value: Value<'e>,
    /// The first error.
    pub error: Option<EvalError>,
}

impl Expression {
    /// Compiles `text`.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parser::parse(text).map(Self)
    }

    /// The value for one event.
    pub fn evaluate<'e>(&'e self, event: &'e Event) -> Evaluation<'e> {
        match eval::eval(&self.0, event) {
            Ok(value) => Evaluation { value, error: None },
            Err(failed) => Evaluation {
                value: failed.value,
                error: Some(failed.error),
            },
        }
    }

    /// As a filter: true without error.
    pub fn matches(&self, event: &Event) -> bool {
        matches!(eval::eval(&self.0, event), Ok(Value::Boolean(true)))
    }

    pub(crate) fn node(&self) -> &Node {
        &self.0
    }
}
