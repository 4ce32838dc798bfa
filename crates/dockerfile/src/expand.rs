//! Variables in arguments: `$NAME`, `${NAME}` and its forms with a default, a demand, a pattern;
//! quotes and escapes go. `plan` calls it with what is set where the instruction stands.
//!
//! The rules are those of BuildKit's `frontend/dockerfile/shell`.

use crate::glob;

/// What a name stands for.
pub(crate) trait Lookup {
    /// The value, or none where it is not set.
    fn value(&self, name: &str) -> Option<String>;
}

impl<F: Fn(&str) -> Option<String>> Lookup for F {
    fn value(&self, name: &str) -> Option<String> {
        self(name)
    }
}

/// Expands to one word: white space stays as it is.
pub(crate) fn word(text: &str, escape: char, lookup: &dyn Lookup) -> Result<String, String> {
    let mut machine = Machine::new(text, escape, lookup, false);
    machine.run(None)?;
    Ok(machine.current)
}

/// Expands and splits on white space outside quotes.
pub(crate) fn words(text: &str, escape: char, lookup: &dyn Lookup) -> Result<Vec<String>, String> {
    let mut machine = Machine::new(text, escape, lookup, true);
    machine.run(None)?;
    machine.end_word();
    Ok(machine.done)
}

/// Expands variables alone: quotes and escapes stay, but for an escaped `$` (here-documents).
pub(crate) fn here_doc(text: &str, lookup: &dyn Lookup) -> Result<String, String> {
    let mut machine = Machine::new(text, '\\', lookup, false);
    machine.raw = true;
    machine.run(None)?;
    Ok(machine.current)
}

struct Machine<'a> {
    letters: std::iter::Peekable<std::str::Chars<'a>>,
    escape: char,
    lookup: &'a dyn Lookup,
    splits: bool,
    /// Quotes are letters like any other.
    raw: bool,
    done: Vec<String>,
    current: String,
    /// There is a word even if it is empty: it had quotes.
    quoted: bool,
}

impl<'a> Machine<'a> {
    fn new(text: &'a str, escape: char, lookup: &'a dyn Lookup, splits: bool) -> Self {
        Self {
            letters: text.chars().peekable(),
            escape,
            lookup,
            splits,
            raw: false,
            done: Vec::new(),
            current: String::new(),
            quoted: false,
        }
    }

    fn end_word(&mut self) {
        if !self.current.is_empty() || self.quoted {
            self.done.push(std::mem::take(&mut self.current));
        }
        self.quoted = false;
    }

    /// Goes on up to the end, or up to `stop`, which is taken too.
    fn run(&mut self, stop: Option<char>) -> Result<(), String> {
        while let Some(letter) = self.letters.next() {
            if Some(letter) == stop {
                return Ok(());
            }
            match letter {
                '$' => {
                    let value = self.dollar()?;
                    self.current.push_str(&value);
                }
                _ if letter == self.escape => self.escaped(),
                '\'' if !self.raw => self.single()?,
                '"' if !self.raw => self.double()?,
                _ if self.splits && stop.is_none() && letter.is_whitespace() => self.end_word(),
                _ => self.current.push(letter),
            }
        }
        match stop {
            Some(stop) => Err(format!("{stop:?} is missing")),
            None => Ok(()),
        }
    }

    fn escaped(&mut self) {
        if self.raw && self.letters.peek() != Some(&'$') {
            return self.current.push(self.escape);
        }
        self.current.extend(self.letters.next());
    }

    fn single(&mut self) -> Result<(), String> {
        self.quoted = true;
        loop {
            match self.letters.next() {
                Some('\'') => return Ok(()),
                Some(letter) => self.current.push(letter),
                None => return Err("a single quote is not closed".to_owned()),
            }
        }
    }

    fn double(&mut self) -> Result<(), String> {
        self.quoted = true;
        loop {
            match self.letters.next() {
                Some('"') => return Ok(()),
                Some('$') => {
                    let value = self.dollar()?;
                    self.current.push_str(&value);
                }
                Some(letter) if letter == self.escape => match self.letters.next() {
                    Some(next) if next == '"' || next == '$' || next == self.escape => {
                        self.current.push(next);
                    }
                    next => {
                        self.current.push(letter);
                        self.current.extend(next);
                    }
                },
                Some(letter) => self.current.push(letter),
                None => return Err("a double quote is not closed".to_owned()),
            }
        }
    }

    /// What is behind a `$`.
    fn dollar(&mut self) -> Result<String, String> {
        if self.letters.peek() == Some(&'{') {
            self.letters.next();
            return self.braces();
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        Ok(self.lookup.value(&name).unwrap_or_default())
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        let first = self.letters.peek().copied();
        if let Some(special) = first.filter(|c| "@*#?-$!0".contains(*c) || c.is_ascii_digit()) {
            self.letters.next();
            return special.to_string();
        }
        while let Some(letter) = self.letters.peek().copied() {
            if letter != '_' && !letter.is_ascii_alphanumeric() {
                break;
            }
            name.push(letter);
            self.letters.next();
        }
        name
    }

    /// What is behind `${`.
    fn braces(&mut self) -> Result<String, String> {
        let name = self.name();
        if name.is_empty() {
            return Err("bad substitution: ${ without a name".to_owned());
        }
        let value = self.lookup.value(&name);
        let Some(operator) = self.letters.next() else {
            return Err(format!("bad substitution: ${{{name} is not closed"));
        };
        let set = value.clone().filter(|value| !value.is_empty());
        match operator {
            '}' => Ok(value.unwrap_or_default()),
            ':' => match self.letters.next() {
                Some(operator @ ('-' | '+' | '?')) => self.choose(&name, operator, set),
                other => Err(unsupported(&name, ':', other)),
            },
            '-' | '+' | '?' => self.choose(&name, operator, value),
            '#' | '%' => {
                let longest = self.take_if(operator);
                let pattern = self.inner('}')?;
                Ok(trim(
                    &value.unwrap_or_default(),
                    operator,
                    &pattern,
                    longest,
                ))
            }
            '/' => {
                let all = self.take_if('/');
                let pattern = self.inner('/')?;
                let by = self.inner('}')?;
                Ok(replace(&value.unwrap_or_default(), &pattern, &by, all))
            }
            other => Err(unsupported(&name, other, None)),
        }
    }

    fn take_if(&mut self, letter: char) -> bool {
        self.letters.next_if_eq(&letter).is_some()
    }

    /// The word behind an operator, expanded.
    fn inner(&mut self, stop: char) -> Result<String, String> {
        let before = std::mem::take(&mut self.current);
        let outcome = self.run(Some(stop));
        let inner = std::mem::replace(&mut self.current, before);
        outcome.map(|()| inner)
    }

    fn choose(
        &mut self,
        name: &str,
        operator: char,
        value: Option<String>,
    ) -> Result<String, String> {
        let word = self.inner('}')?;
        match (operator, value) {
            ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(String::new()),
            (_, Some(value)) => Ok(value),
            ('-', None) => Ok(word),
            (_, None) if word.is_empty() => Err(format!("{name}: is not allowed to be unset")),
            (_, None) => Err(format!("{name}: {word}")),
        }
    }
}

fn unsupported(name: &str, operator: char, behind: Option<char>) -> String {
    let behind = behind.map(String::from).unwrap_or_default();
    format!("bad substitution: ${{{name}{operator}{behind}…}} is not supported")
}

/// Takes off what the pattern matches at the front (`#`) or the end (`%`).
fn trim(value: &str, operator: char, pattern: &str, longest: bool) -> String {
    let places = value.char_indices().map(|(at, _)| at).chain([value.len()]);
    let mut places: Vec<usize> = places.collect();
    // The longest piece first where it is wanted.
    if (operator == '#') == longest {
        places.reverse();
    }
    for at in places {
        let (front, back) = value.split_at(at);
        let (piece, rest) = if operator == '#' {
            (front, back)
        } else {
            (back, front)
        };
        if glob::text_matches(pattern, piece) {
            return rest.to_owned();
        }
    }
    value.to_owned()
}

/// Puts `by` in the place of the first or of all longest pieces the pattern matches.
fn replace(value: &str, pattern: &str, by: &str, all: bool) -> String {
    let mut done = String::new();
    let mut rest = value;
    while !rest.is_empty() {
        let ends = rest.char_indices().map(|(at, _)| at).skip(1);
        let mut ends: Vec<usize> = ends.chain([rest.len()]).collect();
        ends.reverse();
        let found = ends
            .into_iter()
            .find(|end| glob::text_matches(pattern, &rest[..*end]));
        if let Some(end) = found {
            done.push_str(by);
            rest = &rest[end..];
            if !all {
                break;
            }
            continue;
        }
        let width = rest.chars().next().map_or(1, char::len_utf8);
        done.push_str(&rest[..width]);
        rest = &rest[width..];
    }
    done.push_str(rest);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str) -> Option<String> {
        let known = [("a", "A"), ("e", ""), ("f", "foo.tar.gz"), ("s", "x y")];
        let found = known.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn one_word() {
        let cases = [
            ("x$a-${a}_$a_", "xA-A_"),
            ("$u|${u}|$", "||$"),
            (r"\$a '$a' \\", r"$a $a \"),
            (r#""$a \"b\" \x""#, r#"A "b" \x"#),
            ("${u:-d$a} ${e:-d} ${e-d} ${u-d}", "dA d  d"),
            ("${a:+y} ${e:+y}|${e+y} ${u+y}|", "y |y |"),
            ("${u:-${a:+in}}", "in"),
            ("${u:-'a b'}", "a b"),
            ("${f#*.} ${f##*.} ${f%.*} ${f%%.*}", "tar.gz gz foo.tar foo"),
            (
                "${f/./-} ${f//./-} ${f/o*r/X}",
                "foo-tar.gz foo-tar-gz fX.gz",
            ),
            ("${a:?no}", "A"),
            ("pass$1word", "password"),
        ];
        for (text, expected) in cases {
            let found = word(text, '\\', &value);
            assert_eq!(found.as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(word("C:\\a`$a", '`', &value).as_deref(), Ok("C:\\a$a"));
    }

    #[test]
    fn many_words() {
        let found = words(r#"a "b $s" $s c\ d '' "#, '\\', &value);
        let expected = ["a", "b x y", "x y", "c d", ""].map(str::to_owned);
        assert_eq!(found, Ok(expected.to_vec()));
    }

    #[test]
    fn here_documents_keep_their_quotes() {
        let found = here_doc("\"$a\" '$a' \\$a \\n", &value);
        assert_eq!(found.as_deref(), Ok("\"A\" 'A' $a \\n"));
    }

    #[test]
    fn mistakes() {
        let cases = [
            ("${a", "bad substitution: ${a is not closed"),
            ("${}", "bad substitution: ${ without a name"),
            ("${a:=b}", "bad substitution: ${a:=…} is not supported"),
            ("${u:?set it}", "u: set it"),
            ("'a", "a single quote is not closed"),
            ("\"a", "a double quote is not closed"),
        ];
        for (text, expected) in cases {
            assert_eq!(word(text, '\\', &value), Err(expected.to_owned()), "{text}");
        }
    }
}
