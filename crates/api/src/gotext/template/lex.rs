//! Text and actions of a template, actions cut into words.

use super::Error;

/// One piece of a template.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Token {
    /// Text to copy.
    Text(String),
    /// The words of one `{{…}}` and its line.
    Action(Vec<Word>, usize),
}

/// One word of an action.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Word {
    /// `if`, `index`, `true` …
    Name(String),
    /// `.`, `.A`, `.A.B`, with `$` in front of it at the top.
    Field {
        root: bool,
        path: Vec<String>,
    },
    /// A string, quoted or raw.
    Text(String),
    /// A number.
    Number(f64),
    Open,
    /// `)`, with the fields taken of the parenthesis' value.
    Close(Vec<String>),
    Pipe,
}

pub(super) fn lex(source: &str) -> Result<Vec<Token>, Error> {
    let mut tokens = Vec::new();
    let (mut rest, mut line, mut trim) = (source, 1, false);
    while let Some(start) = rest.find("{{") {
        let (text, tail) = rest.split_at(start);
        line += text.matches('\n').count();
        let end = end_of_action(tail).ok_or_else(|| Error {
            line,
            text: "unclosed action".to_owned(),
        })?;
        let body = &tail[2..end];
        let (body, trims_left) = match body.strip_prefix("- ") {
            Some(body) => (body, true),
            None => (body, false),
        };
        let (body, trims_right) = match body.strip_suffix(" -") {
            Some(body) => (body, true),
            None => (body, false),
        };
        let text = if trim { text.trim_start() } else { text };
        let text = if trims_left { text.trim_end() } else { text };
        push_text(&mut tokens, text);
        if !body.trim().starts_with("/*") {
            let words = words(body).map_err(|text| Error { line, text })?;
            tokens.push(Token::Action(words, line));
        }
        line += body.matches('\n').count();
        rest = &tail[end + 2..];
        trim = trims_right;
    }
    push_text(&mut tokens, if trim { rest.trim_start() } else { rest });
    Ok(tokens)
}

fn push_text(tokens: &mut Vec<Token>, text: &str) {
    if !text.is_empty() {
        tokens.push(Token::Text(text.to_owned()));
    }
}

/// The position of the `}}` that ends the action `tail` begins with.
fn end_of_action(tail: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in tail.char_indices().skip(2) {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None if c == '"' || c == '`' => quote = Some(c),
            None if tail[at..].starts_with("}}") => return Some(at),
            None => {}
        }
    }
    None
}

fn words(body: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = body.trim_start();
    while let Some(c) = rest.chars().next() {
        let (word, tail) = match c {
            '|' => (Word::Pipe, &rest[1..]),
            '(' => (Word::Open, &rest[1..]),
            ')' => close(&rest[1..]),
            '"' | '`' => string(rest)?,
            '.' | '$' => field(rest)?,
            _ => name_or_number(rest)?,
        };
        words.push(word);
        rest = tail.trim_start();
    }
    Ok(words)
}

fn close(rest: &str) -> (Word, &str) {
    let (path, tail) = path(rest);
    (Word::Close(path), tail)
}

fn field(rest: &str) -> Result<(Word, &str), String> {
    let (root, after) = match rest.strip_prefix('$') {
        Some(after) => (true, after),
        None => (false, rest),
    };
    if root && after.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
        let (name, _) = split_name(after);
        return Err(format!("undefined variable \"${name}\""));
    }
    let (path, tail) = path(after);
    let tail = if path.is_empty() && !root {
        &after[1..]
    } else {
        tail
    };
    Ok((Word::Field { root, path }, tail))
}

/// `.A.B` and what follows it.
fn path(mut rest: &str) -> (Vec<String>, &str) {
    let mut path = Vec::new();
    while let Some(after) = rest.strip_prefix('.') {
        let (name, tail) = split_name(after);
        if name.is_empty() {
            break;
        }
        path.push(name.to_owned());
        rest = tail;
    }
    (path, rest)
}

fn split_name(rest: &str) -> (&str, &str) {
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
    rest.split_at(end.unwrap_or(rest.len()))
}

fn string(rest: &str) -> Result<(Word, &str), String> {
    if let Some(raw) = rest.strip_prefix('`') {
        let (text, tail) = raw
            .split_once('`')
            .ok_or("unterminated raw quoted string")?;
        return Ok((Word::Text(text.to_owned()), tail));
    }
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((Word::Text(text), &rest[at + 1..])),
            '\\' => text.push(match chars.next() {
                Some((_, 'n')) => '\n',
                Some((_, 't')) => '\t',
                Some((_, 'r')) => '\r',
                Some((_, other)) => other,
                None => break,
            }),
            _ => text.push(c),
        }
    }
    Err("unterminated quoted string".to_owned())
}

fn name_or_number(rest: &str) -> Result<(Word, &str), String> {
    let end = rest.find(|c: char| c.is_whitespace() || "|()\"`".contains(c));
    let (text, tail) = rest.split_at(end.unwrap_or(rest.len()));
    if let Ok(number) = text.parse() {
        return Ok((Word::Number(number), tail));
    }
    match text.find(|c: char| !(c.is_alphanumeric() || c == '_')) {
        None => Ok((Word::Name(text.to_owned()), tail)),
        Some(at) => {
            let c = text[at..].chars().next().unwrap_or(' ');
            let code = c as u32;
            Err(format!(
                "unexpected bad character U+{code:04X} '{c}' in command"
            ))
        }
    }
}
