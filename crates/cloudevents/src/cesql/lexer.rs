//! The words of an expression. Keywords are recognised by the parser.

use super::ParseError;

/// One token and where it starts, counted in characters from 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Token {
    pub(super) at: usize,
    pub(super) kind: Kind,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Letters, digits and underscores, with at least one that is no digit; as written.
    Word(String),
    /// Digits.
    Digits(String),
    /// The inside of quotes, with escaped quotes undone.
    Text(String),
    /// `( ) , + - * / % = != <> < <= > >=`
    Symbol(&'static str),
    /// After the last token.
    End,
}

const SYMBOLS: [&str; 15] = [
    "!=", "<>", "<=", ">=", "(", ")", ",", "+", "-", "*", "/", "%", "=", "<", ">",
];

/// Cuts `text` into tokens; the last one is [`Kind::End`].
pub(super) fn lex(text: &str) -> Result<Vec<Token>, ParseError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let at = text[..text.len() - rest.len()].chars().count() + 1;
        let Some(first) = rest.chars().next() else {
            tokens.push(Token {
                at,
                kind: Kind::End,
            });
            return Ok(tokens);
        };
        let (kind, length) = match first {
            '\'' | '"' => quoted(rest, first).ok_or_else(|| ParseError {
                problem: format!("a string that starts with {first} does not end"),
                at,
            })?,
            _ if first.is_ascii_alphanumeric() => word(rest),
            _ => symbol(rest).ok_or_else(|| ParseError {
                problem: format!("{first:?} has no meaning here"),
                at,
            })?,
        };
        tokens.push(Token { at, kind });
        rest = &rest[length..];
    }
}

fn word(text: &str) -> (Kind, usize) {
    let length = text
        .bytes()
        .take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        .count();
    let word = text[..length].to_owned();
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        (Kind::Digits(word), length)
    } else {
        (Kind::Word(word), length)
    }
}

fn symbol(text: &str) -> Option<(Kind, usize)> {
    let symbol = SYMBOLS.iter().find(|symbol| text.starts_with(**symbol))?;
    Some((Kind::Symbol(symbol), symbol.len()))
}

/// A backslash keeps the character after it from ending the string; it stays in the text unless
/// that character is the quote itself, because LIKE gives it a meaning of its own.
fn quoted(text: &str, quote: char) -> Option<(Kind, usize)> {
    let mut out = String::new();
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        if letter == quote {
            return Some((Kind::Text(out), at + 1));
        }
        if letter == '\\' {
            let (_, escaped) = letters.next()?;
            if escaped != quote {
                out.push('\\');
            }
            out.push(escaped);
        } else {
            out.push(letter);
        }
    }
    None
}
