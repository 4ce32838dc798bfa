//! An instruction's arguments as words: flags, JSON lists, `NAME=value` pairs, words of a shell.
//! Quotes and escapes stay in words that `expand` goes through.

/// Splits on white space outside quotes; quotes and escapes stay.
pub(crate) fn quoted_words(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote: Option<char> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match quote {
            None if letter.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if letter == '"' || letter == '\'' => quote = Some(letter),
            Some(open) if letter == open => quote = None,
            _ => {}
        }
        word.push(letter);
        // In single quotes nothing is escaped.
        if letter == escape && quote != Some('\'') {
            word.extend(letters.next());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// The words a shell would see; quotes stay, so that one can tell how they were written.
pub(crate) fn shell_words(text: &str) -> Vec<String> {
    quoted_words(text, '\\')
}

/// `["a", "b"]`, or none if it is not that.
pub(crate) fn json_list(text: &str) -> Option<Vec<String>> {
    let text = text.trim();
    text.starts_with('[')
        .then(|| serde_json::from_str(text).ok())
        .flatten()
}

/// A flag of an instruction: `--name` or `--name=value`, quotes gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flag {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
}

/// Takes the flags off the front.
pub(crate) fn flags(text: &str, escape: char) -> (Vec<Flag>, String) {
    let mut flags = Vec::new();
    let mut rest = text.trim_start();
    while let Some(body) = rest.strip_prefix("--") {
        let (word, behind) = first_unquoted(body, escape);
        rest = behind.trim_start();
        if word.is_empty() {
            break;
        }
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word, None),
        };
        flags.push(Flag { name, value });
    }
    (flags, rest.to_owned())
}

/// The first word without its quotes and escapes, and what is behind it.
fn first_unquoted(text: &str, escape: char) -> (String, &str) {
    let mut word = String::new();
    let mut quote: Option<char> = None;
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match quote {
            None if letter.is_whitespace() => return (word, &text[at..]),
            None if letter == '"' || letter == '\'' => quote = Some(letter),
            Some(open) if letter == open => quote = None,
            _ if letter == escape && quote != Some('\'') => {
                word.extend(letters.next().map(|(_, letter)| letter));
            }
            _ => word.push(letter),
        }
    }
    (word, "")
}

/// `NAME=value NAME=value …`, or the old `NAME value`; names and values still as written.
pub(crate) fn pairs(text: &str, escape: char) -> Result<Vec<(String, String)>, String> {
    let words = quoted_words(text, escape);
    let Some(first) = words.first() else {
        return Err("needs at least one NAME=value".to_owned());
    };
    if !first.contains('=') {
        let (name, value) = text
            .trim()
            .split_once(char::is_whitespace)
            .ok_or_else(|| format!("{first} needs a value: {first}=VALUE"))?;
        return Ok(vec![(name.to_owned(), value.trim().to_owned())]);
    }
    words
        .iter()
        .map(|word| match word.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(format!(
                "can't find = in {word:?}. Must be of the form: name=value"
            )),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_come_off_the_front() {
        let check = |text: &str, expected: &[(&str, Option<&str>)], rest: &str| {
            let (found, left) = flags(text, '\\');
            let found: Vec<_> = found
                .iter()
                .map(|flag| (flag.name.as_str(), flag.value.as_deref()))
                .collect();
            assert_eq!(
                (found.as_slice(), left.as_str()),
                (expected, rest),
                "{text}"
            );
        };
        check(
            "--a=b --c  d --e",
            &[("a", Some("b")), ("c", None)],
            "d --e",
        );
        check("--a=\"b c\"'d' e", &[("a", Some("b cd"))], "e");
        check("-- --a", &[], "--a");
        check("a --b", &[], "a --b");
    }

    #[test]
    fn pairs_are_new_or_old() {
        let check = |text: &str, expected: Result<&[(&str, &str)], &str>| {
            let found = pairs(text, '\\');
            let found: Result<Vec<_>, _> = match &found {
                Ok(found) => Ok(found
                    .iter()
                    .map(|(a, b)| (a.as_str(), b.as_str()))
                    .collect()),
                Err(error) => Err(error.as_str()),
            };
            assert_eq!(found, expected.map(<[_]>::to_vec), "{text}");
        };
        check(
            "a=b c=\"d e\" f=g\\ h",
            Ok(&[("a", "b"), ("c", "\"d e\""), ("f", "g\\ h")]),
        );
        check("a b = c", Ok(&[("a", "b = c")]));
        check("a", Err("a needs a value: a=VALUE"));
        check("", Err("needs at least one NAME=value"));
        let text = "can't find = in \"c\". Must be of the form: name=value";
        check("a=b c", Err(text));
    }
}
