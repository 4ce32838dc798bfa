//! The value of a tree for one event.

use std::borrow::Cow;

use super::parser::{Comparison, Math, Node};
use super::{EvalError, Value};
use crate::Event;
use crate::event::Value as Attribute;

/// The types of the language.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Boolean,
    Integer,
    String,
    /// A function that takes whatever comes.
    Any,
}

/// An error and the value beside it.
#[derive(Debug)]
pub(crate) struct Failed<'e> {
    pub(super) value: Value<'e>,
    pub(super) error: EvalError,
}

impl<'e> Failed<'e> {
    /// The error of an operand, seen from an expression that gives `kind`.
    fn inside(self, kind: Kind) -> Self {
        Self {
            value: zero(kind),
            error: self.error,
        }
    }
}

type Outcome<'e> = Result<Value<'e>, Failed<'e>>;

fn zero<'e>(kind: Kind) -> Value<'e> {
    match kind {
        Kind::Boolean | Kind::Any => Value::Boolean(false),
        Kind::Integer => Value::Integer(0),
        Kind::String => Value::String(Cow::Borrowed("")),
    }
}

impl<'e> Value<'e> {
    fn kind(&self) -> Kind {
        match self {
            Self::Boolean(_) => Kind::Boolean,
            Self::Integer(_) => Kind::Integer,
            Self::String(_) => Kind::String,
        }
    }

    /// The same in another type (CESQL 1.0 §3.7).
    pub(super) fn cast(self, kind: Kind) -> Result<Self, EvalError> {
        let cannot = |text: &str, name| EvalError::Cast(text.to_owned(), name);
        Ok(match (self, kind) {
            (Self::Integer(number), Kind::String) => Self::String(number.to_string().into()),
            (Self::Boolean(true), Kind::String) => Self::String("true".into()),
            (Self::Boolean(false), Kind::String) => Self::String("false".into()),
            (Self::Boolean(flag), Kind::Integer) => Self::Integer(i32::from(flag)),
            (Self::Integer(number), Kind::Boolean) => Self::Boolean(number != 0),
            (Self::String(text), Kind::Integer) => match text.parse() {
                Ok(number) => Self::Integer(number),
                Err(_) => return Err(cannot(&text, "an integer")),
            },
            (Self::String(text), Kind::Boolean) if text.eq_ignore_ascii_case("true") => {
                Self::Boolean(true)
            }
            (Self::String(text), Kind::Boolean) if text.eq_ignore_ascii_case("false") => {
                Self::Boolean(false)
            }
            (Self::String(text), Kind::Boolean) => return Err(cannot(&text, "a boolean")),
            (same, _) => same,
        })
    }
}

pub(super) fn eval<'e>(node: &'e Node, event: &'e Event) -> Outcome<'e> {
    match node {
        Node::Literal(value) => Ok(value.clone()),
        Node::Attribute(name) => attribute(name, event),
        Node::Exists(name) => Ok(Value::Boolean(attribute(name, event).is_ok())),
        Node::Not(of) => Ok(Value::Boolean(!boolean(of, event)?)),
        Node::Negate(of) => {
            let number = integer(of, event)?;
            whole(-i64::from(number))
        }
        Node::Math(math, left, right) => {
            let (left, right) = (integer(left, event)?, integer(right, event)?);
            calculate(*math, left.into(), right.into())
        }
        Node::Compare(comparison, left, right) => compare(*comparison, left, right, event),
        Node::And(row) => {
            for each in row {
                if !boolean(each, event)? {
                    return Ok(Value::Boolean(false));
                }
            }
            Ok(Value::Boolean(true))
        }
        Node::Or(row) => {
            for each in row {
                if boolean(each, event)? {
                    return Ok(Value::Boolean(true));
                }
            }
            Ok(Value::Boolean(false))
        }
        Node::Xor(left, right) => Ok(Value::Boolean(
            boolean(left, event)? ^ boolean(right, event)?,
        )),
        Node::Like(of, pattern) => {
            let value = operand(of, event, Kind::String, Kind::Boolean)?;
            let fits = matches!(&value, Value::String(text) if pattern.matches(text));
            Ok(Value::Boolean(fits))
        }
        Node::In(of, set) => among(of, set, event),
        Node::Call(function, arguments) => {
            let mut values = Vec::with_capacity(arguments.len());
            for (at, argument) in arguments.iter().enumerate() {
                values.push(operand(argument, event, function.kind(at), function.gives)?);
            }
            (function.run)(&values)
        }
        Node::Unknown(name, arguments) => Err(Failed {
            value: zero(Kind::Boolean),
            error: EvalError::MissingFunction(name.clone(), *arguments),
        }),
    }
}

fn attribute<'e>(name: &'e str, event: &'e Event) -> Outcome<'e> {
    // Where it is called by its name of 1.0, 0.3's schemaurl answers.
    let found = match name {
        "specversion" => return Ok(Value::String(event.version().as_str().into())),
        "dataschema" => event.get("dataschema").or_else(|| event.get("schemaurl")),
        _ => event.get(name),
    };
    match found {
        Some(Attribute::Boolean(flag)) => Ok(Value::Boolean(*flag)),
        Some(Attribute::Integer(number)) => Ok(Value::Integer(*number)),
        Some(Attribute::Text(text) | Attribute::Json(text)) => {
            Ok(Value::String(Cow::Borrowed(text.as_str())))
        }
        None => Err(Failed {
            value: zero(Kind::Boolean),
            error: EvalError::MissingAttribute(name.to_owned()),
        }),
    }
}

/// An operand as `kind`, of an expression that gives `gives`.
fn operand<'e>(node: &'e Node, event: &'e Event, kind: Kind, gives: Kind) -> Outcome<'e> {
    eval(node, event)
        .map_err(|failed| failed.inside(gives))?
        .cast(kind)
        .map_err(|error| Failed {
            value: zero(gives),
            error,
        })
}

fn boolean<'e>(node: &'e Node, event: &'e Event) -> Result<bool, Failed<'e>> {
    let value = operand(node, event, Kind::Boolean, Kind::Boolean)?;
    Ok(value == Value::Boolean(true))
}

fn integer<'e>(node: &'e Node, event: &'e Event) -> Result<i32, Failed<'e>> {
    match operand(node, event, Kind::Integer, Kind::Integer)? {
        Value::Integer(number) => Ok(number),
        Value::Boolean(_) | Value::String(_) => Ok(0),
    }
}

/// A result that must fit in 32 bits. The specification names ABS alone, whose value at the edge is
/// the nearest integer with an error; the other operations follow it.
fn whole<'e>(number: i64) -> Outcome<'e> {
    i32::try_from(number)
        .map(Value::Integer)
        .map_err(|_| Failed {
            value: Value::Integer(if number < 0 { i32::MIN } else { i32::MAX }),
            error: EvalError::Math("the result is beyond 32 bits"),
        })
}

fn calculate<'e>(math: Math, left: i64, right: i64) -> Outcome<'e> {
    whole(match math {
        Math::Add => left + right,
        Math::Subtract => left - right,
        Math::Multiply => left * right,
        Math::Divide | Math::Remainder if right == 0 => {
            return Err(Failed {
                value: zero(Kind::Integer),
                error: EvalError::Math("division by zero"),
            });
        }
        Math::Divide => left / right,
        Math::Remainder => left % right,
    })
}

fn compare<'e>(
    comparison: Comparison,
    left: &'e Node,
    right: &'e Node,
    event: &'e Event,
) -> Outcome<'e> {
    let order = match comparison {
        Comparison::Equal | Comparison::NotEqual => {
            // Both are evaluated from the left, then the right one's type decides.
            let value = operand(left, event, Kind::Any, Kind::Boolean)?;
            let wanted = operand(right, event, Kind::Any, Kind::Boolean)?;
            let value = value.cast(wanted.kind()).map_err(|error| Failed {
                value: zero(Kind::Boolean),
                error,
            })?;
            let equal = value == wanted;
            return Ok(Value::Boolean(equal == (comparison == Comparison::Equal)));
        }
        _ => {
            let number = |node| integer(node, event).map_err(|failed| failed.inside(Kind::Boolean));
            number(left)?.cmp(&number(right)?)
        }
    };
    Ok(Value::Boolean(match comparison {
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual | Comparison::Equal | Comparison::NotEqual => order.is_ge(),
    }))
}

/// The set's elements are cast to the type of what is looked for.
fn among<'e>(of: &'e Node, set: &'e [Node], event: &'e Event) -> Outcome<'e> {
    let value = operand(of, event, Kind::Any, Kind::Boolean)?;
    for element in set {
        if operand(element, event, value.kind(), Kind::Boolean)? == value {
            return Ok(Value::Boolean(true));
        }
    }
    Ok(Value::Boolean(false))
}
