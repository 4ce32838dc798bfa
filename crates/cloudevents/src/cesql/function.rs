//! The built-in functions (CESQL 1.0 §3.5), as a table.

use std::borrow::Cow;

use super::eval::{Failed, Kind};
use super::{EvalError, Value};

/// What a function makes of its arguments, which are of the types it asked for.
type Run = for<'e> fn(&[Value<'e>]) -> Result<Value<'e>, Failed<'e>>;

/// One function of a name and a number of arguments.
#[derive(Debug)]
pub(crate) struct Function {
    name: &'static str,
    pub(super) takes: &'static [Kind],
    /// Any number of strings may follow.
    strings_follow: bool,
    pub(super) gives: Kind,
    pub(super) run: Run,
}

impl Function {
    /// The type of argument `at`.
    pub(super) fn kind(&self, at: usize) -> Kind {
        self.takes.get(at).copied().unwrap_or(Kind::String)
    }
}

const fn fixed(name: &'static str, takes: &'static [Kind], gives: Kind, run: Run) -> Function {
    Function {
        name,
        takes,
        strings_follow: false,
        gives,
        run,
    }
}

const fn variadic(name: &'static str, takes: &'static [Kind], run: Run) -> Function {
    Function {
        name,
        takes,
        strings_follow: true,
        gives: Kind::String,
        run,
    }
}

use Kind::{Any, Boolean, Integer, String as Text};

static FUNCTIONS: [Function; 16] = [
    fixed("ABS", &[Integer], Integer, abs),
    fixed("LENGTH", &[Text], Integer, length),
    variadic("CONCAT", &[], |strings| Ok(join("", strings))),
    variadic("CONCAT_WS", &[Text], |strings| {
        Ok(join(text(&strings[0]), &strings[1..]))
    }),
    fixed("LOWER", &[Text], Text, |x| {
        Ok(owned(text(&x[0]).to_lowercase()))
    }),
    fixed("UPPER", &[Text], Text, |x| {
        Ok(owned(text(&x[0]).to_uppercase()))
    }),
    fixed("TRIM", &[Text], Text, |x| {
        Ok(owned(text(&x[0]).trim().to_owned()))
    }),
    fixed("LEFT", &[Text, Integer], Text, left),
    fixed("RIGHT", &[Text, Integer], Text, right),
    fixed("SUBSTRING", &[Text, Integer], Text, substring),
    fixed("SUBSTRING", &[Text, Integer, Integer], Text, substring),
    fixed("INT", &[Integer], Integer, |x| Ok(x[0].clone())),
    fixed("BOOL", &[Boolean], Boolean, |x| Ok(x[0].clone())),
    fixed("STRING", &[Text], Text, |x| Ok(x[0].clone())),
    fixed("IS_BOOL", &[Any], Boolean, |x| {
        Ok(Value::Boolean(x[0].clone().cast(Boolean).is_ok()))
    }),
    fixed("IS_INT", &[Any], Boolean, |x| {
        Ok(Value::Boolean(x[0].clone().cast(Integer).is_ok()))
    }),
];

/// The function for so many arguments; `name` in upper case.
pub(super) fn find(name: &str, arguments: usize) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| {
        function.name == name
            && match function.strings_follow {
                true => arguments >= function.takes.len(),
                false => arguments == function.takes.len(),
            }
    })
}

/// An argument that was cast to a string.
fn text<'v>(value: &'v Value<'_>) -> &'v str {
    match value {
        Value::String(text) => text,
        Value::Boolean(_) | Value::Integer(_) => "",
    }
}

/// An argument that was cast to an integer.
fn integer(value: &Value<'_>) -> i64 {
    match value {
        Value::Integer(number) => i64::from(*number),
        Value::Boolean(_) | Value::String(_) => 0,
    }
}

fn owned<'e>(text: String) -> Value<'e> {
    Value::String(Cow::Owned(text))
}

fn join<'e>(delimiter: &str, strings: &[Value<'_>]) -> Value<'e> {
    let strings: Vec<&str> = strings.iter().map(text).collect();
    owned(strings.join(delimiter))
}

fn abs<'e>(x: &[Value<'e>]) -> Result<Value<'e>, Failed<'e>> {
    i32::try_from(integer(&x[0]).abs())
        .map(Value::Integer)
        .map_err(|_| Failed {
            value: Value::Integer(i32::MAX),
            error: EvalError::Math("the absolute value is beyond 32 bits"),
        })
}

fn length<'e>(x: &[Value<'e>]) -> Result<Value<'e>, Failed<'e>> {
    let letters = text(&x[0]).chars().count();
    Ok(Value::Integer(i32::try_from(letters).unwrap_or(i32::MAX)))
}

fn left<'e>(x: &[Value<'e>]) -> Result<Value<'e>, Failed<'e>> {
    let letters = count(x, "LEFT of a negative number of characters")?;
    Ok(owned(text(&x[0]).chars().take(letters).collect()))
}

fn right<'e>(x: &[Value<'e>]) -> Result<Value<'e>, Failed<'e>> {
    let letters = count(x, "RIGHT of a negative number of characters")?;
    let text = text(&x[0]);
    let skipped = text.chars().count().saturating_sub(letters);
    Ok(owned(text.chars().skip(skipped).collect()))
}

/// The second argument; negative, the first is the value beside the error.
fn count<'e>(x: &[Value<'e>], problem: &'static str) -> Result<usize, Failed<'e>> {
    usize::try_from(integer(&x[1])).map_err(|_| Failed {
        value: x[0].clone(),
        error: EvalError::FunctionEvaluation(problem),
    })
}

/// Positions count from 1, negative ones from the end.
fn substring<'e>(x: &[Value<'e>]) -> Result<Value<'e>, Failed<'e>> {
    let failed = |problem| Failed {
        value: owned(String::new()),
        error: EvalError::FunctionEvaluation(problem),
    };
    let text = text(&x[0]);
    let letters = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    let position = integer(&x[1]);
    if position == 0 {
        return Ok(owned(String::new()));
    }
    if position > letters || position < -letters {
        return Err(failed("SUBSTRING starts outside of the string"));
    }
    let taken = x.get(2).map_or(letters, integer);
    let taken = usize::try_from(taken)
        .map_err(|_| failed("SUBSTRING of a negative number of characters"))?;
    let skipped = if position > 0 {
        position - 1
    } else {
        letters + position
    };
    let skipped = usize::try_from(skipped).unwrap_or_default();
    Ok(owned(text.chars().skip(skipped).take(taken).collect()))
}
