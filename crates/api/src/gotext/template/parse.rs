//! Tokens to a tree.

use super::Error;
use super::lex::{Token, Word};

/// A part of a template.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Node {
    /// Text to copy.
    Text(String),
    /// A value to print.
    Print(Pipeline),
    /// `if` or `with`, by `rebinds`.
    Branch {
        condition: Pipeline,
        rebinds: bool,
        then: Vec<Self>,
        otherwise: Vec<Self>,
    },
    /// `range`.
    Range {
        over: Pipeline,
        body: Vec<Self>,
        otherwise: Vec<Self>,
    },
}

/// Commands whose value is handed on as the last argument of the next.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Pipeline {
    pub(super) line: usize,
    pub(super) commands: Vec<Command>,
}

/// A function with its arguments, or a lone operand.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Command {
    pub(super) function: Option<String>,
    pub(super) operands: Vec<Operand>,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Operand {
    Field { root: bool, path: Vec<String> },
    Text(String),
    Number(f64),
    Bool(bool),
    Nil,
    Nested(Pipeline, Vec<String>),
}

pub(super) fn parse(tokens: &[Token]) -> Result<Vec<Node>, Error> {
    let mut parser = Parser { tokens, at: 0 };
    let (nodes, end) = parser.block()?;
    match end {
        End::Eof => Ok(nodes),
        End::Block(line) => Err(unexpected(line, "{{end}}")),
        End::Else(_, line) => Err(unexpected(line, "{{else}}")),
    }
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
}

/// What ended a block; `Else` carries the words behind `else`.
enum End<'a> {
    Eof,
    Block(usize),
    Else(&'a [Word], usize),
}

impl<'a> Parser<'a> {
    fn block(&mut self) -> Result<(Vec<Node>, End<'a>), Error> {
        let mut nodes = Vec::new();
        while let Some(token) = self.tokens.get(self.at) {
            self.at += 1;
            let (words, line) = match token {
                Token::Text(text) => {
                    nodes.push(Node::Text(text.clone()));
                    continue;
                }
                Token::Action(words, line) => (words.as_slice(), *line),
            };
            match keyword(words) {
                Some("end") => return Ok((nodes, End::Block(line))),
                Some("else") => return Ok((nodes, End::Else(&words[1..], line))),
                Some("if" | "with") => nodes.push(self.branch(words, line)?),
                Some("range") => nodes.push(self.range(&words[1..], line)?),
                Some(word @ ("define" | "template" | "block" | "break" | "continue")) => {
                    return Err(unexpected(line, &format!("{{{{{word}}}}} (not supported)")));
                }
                _ => nodes.push(Node::Print(pipeline(words, line)?)),
            }
        }
        Ok((nodes, End::Eof))
    }

    fn range(&mut self, words: &[Word], line: usize) -> Result<Node, Error> {
        let over = pipeline(words, line)?;
        let (body, end) = self.block()?;
        let otherwise = match end {
            End::Block(_) => Vec::new(),
            End::Else([], _) => match self.block()? {
                (otherwise, End::Block(_)) => otherwise,
                (_, End::Eof) => return Err(unexpected(line, "EOF")),
                (_, End::Else(_, line)) => return Err(unexpected(line, "{{else}}")),
            },
            End::Else(_, line) => return Err(unexpected(line, "{{else}}")),
            End::Eof => return Err(unexpected(line, "EOF")),
        };
        Ok(Node::Range {
            over,
            body,
            otherwise,
        })
    }

    fn branch(&mut self, words: &[Word], line: usize) -> Result<Node, Error> {
        let rebinds = keyword(words) == Some("with");
        let condition = pipeline(&words[1..], line)?;
        let (then, end) = self.block()?;
        let otherwise = match end {
            End::Eof => return Err(unexpected(line, "EOF")),
            End::Block(_) => Vec::new(),
            End::Else([], _) => {
                let (otherwise, end) = self.block()?;
                match end {
                    End::Block(_) => otherwise,
                    End::Eof => return Err(unexpected(line, "EOF")),
                    End::Else(_, line) => return Err(unexpected(line, "{{else}}")),
                }
            }
            // `else if` is an `else` with an `if` that shares its `end`.
            End::Else(words, line) => vec![self.branch(words, line)?],
        };
        Ok(Node::Branch {
            condition,
            rebinds,
            then,
            otherwise,
        })
    }
}

fn keyword(words: &[Word]) -> Option<&str> {
    match words.first() {
        Some(Word::Name(name)) => Some(name),
        _ => None,
    }
}

fn unexpected(line: usize, what: &str) -> Error {
    Error {
        line,
        text: format!("unexpected {what}"),
    }
}

fn pipeline(words: &[Word], line: usize) -> Result<Pipeline, Error> {
    let mut words = words;
    let pipeline = pipeline_until_close(&mut words, line)?;
    match words {
        [] => Ok(pipeline),
        _ => Err(unexpected(line, "right paren \")\"")),
    }
}

fn pipeline_until_close(words: &mut &[Word], line: usize) -> Result<Pipeline, Error> {
    let mut commands = vec![command(words, line)?];
    while let [Word::Pipe, rest @ ..] = words {
        *words = rest;
        commands.push(command(words, line)?);
    }
    Ok(Pipeline { line, commands })
}

fn command(words: &mut &[Word], line: usize) -> Result<Command, Error> {
    let mut command = Command {
        function: None,
        operands: Vec::new(),
    };
    while let [word, rest @ ..] = *words {
        if matches!(word, Word::Pipe | Word::Close(_)) {
            break;
        }
        *words = rest;
        match word {
            Word::Name(name) if !matches!(name.as_str(), "true" | "false" | "nil") => {
                if !super::eval::FUNCTIONS.contains(&name.as_str()) {
                    let text = format!("function \"{name}\" not defined");
                    return Err(Error { line, text });
                }
                if !command.operands.is_empty() || command.function.is_some() {
                    return Err(unexpected(line, &format!("<{name}> in operand")));
                }
                command.function = Some(name.clone());
            }
            _ => command.operands.push(operand(word, words, line)?),
        }
    }
    if command.function.is_none() && command.operands.is_empty() {
        let text = "missing value for command".to_owned();
        return Err(Error { line, text });
    }
    Ok(command)
}

fn operand(word: &Word, words: &mut &[Word], line: usize) -> Result<Operand, Error> {
    Ok(match word {
        Word::Field { root, path } => Operand::Field {
            root: *root,
            path: path.clone(),
        },
        Word::Text(text) => Operand::Text(text.clone()),
        Word::Number(number) => Operand::Number(*number),
        Word::Name(name) if name == "nil" => Operand::Nil,
        Word::Name(name) => Operand::Bool(name == "true"),
        Word::Open => {
            let nested = pipeline_until_close(words, line)?;
            let [Word::Close(path), rest @ ..] = *words else {
                return Err(unexpected(line, "unclosed left paren"));
            };
            *words = rest;
            Operand::Nested(nested, path.clone())
        }
        Word::Close(_) | Word::Pipe => return Err(unexpected(line, "operand")),
    })
}
