//! From words to a tree, by precedence climbing.
//!
//! From the strongest: `NOT` and `-` before an operand; `LIKE`, `IN`; `*` `/` `%`; `+` `-`;
//! comparisons; `AND`; `OR` and `XOR`.

use std::borrow::Cow;

use super::function::{self, Function};
use super::lexer::{self, Kind, Token};
use super::like::Pattern;
use super::{ParseError, Value};

/// Nested deeper, an expression is refused: evaluating it must not use up the stack.
const DEPTH_MAX: usize = 200;
/// Longer texts are refused.
const BYTES_MAX: usize = 64 << 10;

/// One operation.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Literal(Value<'static>),
    Attribute(String),
    Exists(String),
    Not(Box<Self>),
    Negate(Box<Self>),
    Math(Math, Box<Self>, Box<Self>),
    Compare(Comparison, Box<Self>, Box<Self>),
    /// In a row, so that long chains nest no deeper than short ones.
    And(Vec<Self>),
    Or(Vec<Self>),
    Xor(Box<Self>, Box<Self>),
    Like(Box<Self>, Pattern),
    In(Box<Self>, Vec<Self>),
    Call(&'static Function, Vec<Self>),
    /// No such function: known only when it is evaluated, by the specification.
    Unknown(String, usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Math {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy)]
enum Operator {
    Math(Math),
    Compare(Comparison),
}

/// Binding strengths of the binary operators.
const COMPARE: u8 = 1;
const ADD: u8 = 2;
const MULTIPLY: u8 = 3;

pub(super) fn parse(text: &str) -> Result<Node, ParseError> {
    if text.len() > BYTES_MAX {
        return Err(ParseError {
            problem: format!("an expression has at most {BYTES_MAX} bytes"),
            at: 1,
        });
    }
    let mut parser = Parser {
        tokens: lexer::lex(text)?,
        next: 0,
        depth: 0,
    };
    let node = parser.disjunction()?;
    match parser.peek() {
        Kind::End => Ok(node),
        _ => Err(parser.unexpected("an operator or the end")),
    }
}

struct Parser {
    tokens: Vec<Token>,
    /// Never beyond the last token, which is the end.
    next: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Kind {
        &self.tokens[self.next].kind
    }

    fn take(&mut self) -> Kind {
        let kind = self.tokens[self.next].kind.clone();
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        kind
    }

    fn keyword(&self, keyword: &str) -> bool {
        matches!(self.peek(), Kind::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    fn take_keyword(&mut self, keyword: &str) -> bool {
        let found = self.keyword(keyword);
        if found {
            self.take();
        }
        found
    }

    fn take_symbol(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Kind::Symbol(here) if *here == symbol);
        if found {
            self.take();
        }
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<(), ParseError> {
        if self.take_symbol(symbol) {
            return Ok(());
        }
        Err(self.unexpected(&format!("{symbol:?}")))
    }

    fn unexpected(&self, wanted: &str) -> ParseError {
        let found = match self.peek() {
            Kind::Word(text) | Kind::Digits(text) => format!("{text:?}"),
            Kind::Text(_) => "a string".to_owned(),
            Kind::Symbol(symbol) => format!("{symbol:?}"),
            Kind::End => "the end".to_owned(),
        };
        self.error(format!("expected {wanted}, found {found}"))
    }

    fn error(&self, problem: String) -> ParseError {
        ParseError {
            problem,
            at: self.tokens[self.next].at,
        }
    }

    fn deeper<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        if self.depth == DEPTH_MAX {
            return Err(self.error(format!("expressions are nested at most {DEPTH_MAX} deep")));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// `OR` and `XOR` associate to the right.
    fn disjunction(&mut self) -> Result<Node, ParseError> {
        let mut row = vec![self.conjunction()?];
        loop {
            if self.take_keyword("OR") {
                row.push(self.conjunction()?);
            } else if self.take_keyword("XOR") {
                let right = self.deeper(Self::disjunction)?;
                let left = row.pop().expect("the row starts with one");
                row.push(Node::Xor(Box::new(left), Box::new(right)));
                return Ok(one_or(row, Node::Or));
            } else {
                return Ok(one_or(row, Node::Or));
            }
        }
    }

    fn conjunction(&mut self) -> Result<Node, ParseError> {
        let mut row = vec![self.binary(COMPARE)?];
        while self.take_keyword("AND") {
            row.push(self.binary(COMPARE)?);
        }
        Ok(one_or(row, Node::And))
    }

    /// Operators that bind at least as strongly as `floor`, to the left.
    fn binary(&mut self, floor: u8) -> Result<Node, ParseError> {
        let mut left = self.condition()?;
        let mut chained = 0;
        while let Some((operator, strength)) = self.operator() {
            if strength < floor {
                break;
            }
            chained += 1;
            if chained + self.depth > DEPTH_MAX {
                return Err(self.error(format!(
                    "at most {DEPTH_MAX} of these operators may follow each other"
                )));
            }
            self.take();
            let right = self.deeper(|parser| parser.binary(strength + 1))?;
            let (left_box, right_box) = (Box::new(left), Box::new(right));
            left = match operator {
                Operator::Math(math) => Node::Math(math, left_box, right_box),
                Operator::Compare(comparison) => Node::Compare(comparison, left_box, right_box),
            };
        }
        Ok(left)
    }

    fn operator(&self) -> Option<(Operator, u8)> {
        let Kind::Symbol(symbol) = self.peek() else {
            return None;
        };
        Some(match *symbol {
            "*" => (Operator::Math(Math::Multiply), MULTIPLY),
            "/" => (Operator::Math(Math::Divide), MULTIPLY),
            "%" => (Operator::Math(Math::Remainder), MULTIPLY),
            "+" => (Operator::Math(Math::Add), ADD),
            "-" => (Operator::Math(Math::Subtract), ADD),
            "=" => (Operator::Compare(Comparison::Equal), COMPARE),
            "!=" | "<>" => (Operator::Compare(Comparison::NotEqual), COMPARE),
            "<" => (Operator::Compare(Comparison::Less), COMPARE),
            "<=" => (Operator::Compare(Comparison::LessOrEqual), COMPARE),
            ">" => (Operator::Compare(Comparison::Greater), COMPARE),
            ">=" => (Operator::Compare(Comparison::GreaterOrEqual), COMPARE),
            _ => return None,
        })
    }

    /// An operand with any number of `[NOT] LIKE` and `[NOT] IN` after it.
    fn condition(&mut self) -> Result<Node, ParseError> {
        let mut node = self.unary()?;
        let mut chained = 0;
        loop {
            let negated = self.take_keyword("NOT");
            let found = if self.take_keyword("LIKE") {
                let Kind::Text(pattern) = self.peek().clone() else {
                    return Err(self.unexpected("a pattern in quotes"));
                };
                self.take();
                Node::Like(Box::new(node), Pattern::new(&pattern))
            } else if self.take_keyword("IN") {
                self.expect("(")?;
                let mut set = vec![self.deeper(Self::disjunction)?];
                while self.take_symbol(",") {
                    set.push(self.deeper(Self::disjunction)?);
                }
                self.expect(")")?;
                Node::In(Box::new(node), set)
            } else if negated {
                return Err(self.unexpected("LIKE or IN"));
            } else {
                return Ok(node);
            };
            chained += 1;
            if chained + self.depth > DEPTH_MAX {
                return Err(self.error("too many LIKE and IN in a row".to_owned()));
            }
            node = if negated {
                Node::Not(Box::new(found))
            } else {
                found
            };
        }
    }

    fn unary(&mut self) -> Result<Node, ParseError> {
        if self.take_keyword("NOT") {
            return Ok(Node::Not(Box::new(self.deeper(Self::unary)?)));
        }
        let sign = ["-", "+"].into_iter().find(|sign| self.take_symbol(sign));
        match (sign, self.peek().clone()) {
            (Some(sign), Kind::Digits(digits)) => self.integer(&format!("{sign}{digits}")),
            (Some("-"), _) => Ok(Node::Negate(Box::new(self.deeper(Self::unary)?))),
            (Some(_), _) => Err(self.unexpected("digits")),
            (None, Kind::Digits(digits)) => self.integer(&digits),
            (None, _) => self.operand(),
        }
    }

    fn integer(&mut self, text: &str) -> Result<Node, ParseError> {
        let Ok(number) = text.parse() else {
            return Err(self.error(format!("{text} is beyond the integers of 32 bits")));
        };
        self.take();
        Ok(Node::Literal(Value::Integer(number)))
    }

    fn operand(&mut self) -> Result<Node, ParseError> {
        if self.take_symbol("(") {
            let inside = self.deeper(Self::disjunction)?;
            self.expect(")")?;
            return Ok(inside);
        }
        match self.peek().clone() {
            Kind::Text(text) => {
                self.take();
                Ok(Node::Literal(Value::String(Cow::Owned(text))))
            }
            Kind::Word(word) => self.word(&word),
            _ => Err(self.unexpected("a value")),
        }
    }

    fn word(&mut self, word: &str) -> Result<Node, ParseError> {
        let upper = word.to_ascii_uppercase();
        if ["AND", "OR", "XOR", "LIKE", "IN"].contains(&upper.as_str()) {
            return Err(self.unexpected("a value"));
        }
        self.take();
        match upper.as_str() {
            "TRUE" => Ok(Node::Literal(Value::Boolean(true))),
            "FALSE" => Ok(Node::Literal(Value::Boolean(false))),
            "EXISTS" => match self.peek().clone() {
                Kind::Word(name) | Kind::Digits(name) => {
                    let name = self.attribute(&name)?;
                    self.take();
                    Ok(Node::Exists(name))
                }
                _ => Err(self.unexpected("the name of an attribute")),
            },
            _ if self.take_symbol("(") => self.call(upper),
            _ => self.attribute(word).map(Node::Attribute),
        }
    }

    fn attribute(&self, name: &str) -> Result<String, ParseError> {
        if name.contains('_') {
            return Err(self.error(format!(
                "{name:?} is no attribute: their names are letters and digits"
            )));
        }
        Ok(name.to_ascii_lowercase())
    }

    /// The arguments; the opening bracket is taken.
    fn call(&mut self, name: String) -> Result<Node, ParseError> {
        let mut arguments = Vec::new();
        if !self.take_symbol(")") {
            arguments.push(self.deeper(Self::disjunction)?);
            while self.take_symbol(",") {
                arguments.push(self.deeper(Self::disjunction)?);
            }
            self.expect(")")?;
        }
        Ok(match function::find(&name, arguments.len()) {
            Some(function) => Node::Call(function, arguments),
            None => Node::Unknown(name, arguments.len()),
        })
    }
}

fn one_or(mut row: Vec<Node>, many: impl FnOnce(Vec<Node>) -> Node) -> Node {
    if row.len() > 1 {
        return many(row);
    }
    row.pop().expect("a row has one at least")
}
