//! From a text to instructions as text: directives, comments, continued lines, here-documents.
//! `file` calls it; what an instruction means is `instruction`'s.
//!
//! The rules are those of BuildKit's parser (`frontend/dockerfile/parser`).

use crate::error::Error;
use crate::instruction::HereDoc;
use crate::words;

/// The escape character where no directive says otherwise.
const ESCAPE: char = '\\';
/// Instructions that may have here-documents.
const WITH_HERE_DOCS: [&str; 3] = ["ADD", "COPY", "RUN"];
/// Directives that are known; others end the block of directives.
const DIRECTIVES: [&str; 3] = ["syntax", "escape", "check"];

/// One instruction as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Where it begins, from 1.
    pub(crate) number: u32,
    /// Upper case.
    pub(crate) keyword: String,
    /// Everything behind the keyword, in one line.
    pub(crate) rest: String,
    /// What followed it.
    pub(crate) here_docs: Vec<HereDoc>,
}

/// A text taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lines {
    pub(crate) escape: char,
    pub(crate) lines: Vec<Line>,
}

/// Takes a text apart.
pub(crate) fn split(text: &str) -> Result<Lines, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let escape = directives(text)?;
    let mut physical = text
        .lines()
        .enumerate()
        .map(|(at, line)| (u32::try_from(at + 1).unwrap_or(u32::MAX), line));
    let mut lines = Vec::new();
    while let Some((number, first)) = physical.next() {
        if is_comment(first) || first.trim().is_empty() {
            continue;
        }
        let (mut joined, mut goes_on) = without_continuation(first.trim_start(), escape);
        while goes_on {
            let Some((_, next)) = physical.next() else {
                break;
            };
            if is_comment(next) || next.trim().is_empty() {
                continue;
            }
            let (more, again) = without_continuation(next, escape);
            joined.push_str(&more);
            goes_on = again;
        }
        let joined = joined.trim();
        let (keyword, rest) = joined
            .split_once(char::is_whitespace)
            .unwrap_or((joined, ""));
        let mut line = Line {
            number,
            keyword: keyword.to_ascii_uppercase(),
            rest: rest.trim().to_owned(),
            here_docs: Vec::new(),
        };
        if takes_here_docs(&line) {
            for mut doc in here_docs(&line.rest) {
                doc.text = here_doc(&mut physical, &doc).ok_or_else(|| {
                    let end = &doc.name;
                    Error::new(
                        number,
                        format!("the here-document has no end: no line {end:?}"),
                    )
                })?;
                line.here_docs.push(doc);
            }
        }
        lines.push(line);
    }
    Ok(Lines { escape, lines })
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

/// The line up to the escape character at its end, and whether there was one.
fn without_continuation(line: &str, escape: char) -> (String, bool) {
    let trimmed = line.trim_end_matches([' ', '\t']);
    match trimmed.strip_suffix(escape) {
        Some(rest) if !rest.ends_with(escape) => (rest.to_owned(), true),
        _ => (line.to_owned(), false),
    }
}

/// The escape character the directives ask for.
fn directives(text: &str) -> Result<char, Error> {
    let mut seen: Vec<String> = Vec::new();
    let mut escape = ESCAPE;
    for (number, line) in (1..).zip(text.lines()) {
        let pair = line
            .trim()
            .strip_prefix('#')
            .and_then(|text| text.split_once('='));
        let Some((name, value)) = pair else { break };
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        if !DIRECTIVES.contains(&name.as_str()) {
            break;
        }
        if seen.contains(&name) {
            return Err(Error::new(
                number,
                format!("directive {name} is given twice"),
            ));
        }
        if name == "escape" {
            escape = match value {
                "\\" => '\\',
                "`" => '`',
                other => {
                    let text = format!("escape={other}: only \\ and ` can be the escape character");
                    return Err(Error::new(number, text));
                }
            };
        }
        seen.push(name);
    }
    Ok(escape)
}

fn takes_here_docs(line: &Line) -> bool {
    let mut keyword = line.keyword.as_str();
    let inner;
    if keyword == "ONBUILD" {
        let first = line.rest.split_whitespace().next();
        inner = first.unwrap_or_default().to_ascii_uppercase();
        keyword = &inner;
    }
    WITH_HERE_DOCS.contains(&keyword) && line.rest.contains("<<")
}

/// The here-documents an instruction's text announces, still empty.
fn here_docs(rest: &str) -> Vec<HereDoc> {
    let words = words::shell_words(rest);
    words.iter().filter_map(|word| announced(word)).collect()
}

/// `[FD]<<[-]NAME` as a whole word.
pub(crate) fn announced(word: &str) -> Option<HereDoc> {
    let word = word.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let name = word.strip_prefix("<<")?;
    let (chomp, name) = match name.strip_prefix('-') {
        Some(name) => (true, name),
        None => (false, name),
    };
    if name.is_empty() || name.contains('<') {
        return None;
    }
    let bare = name.replace(['"', '\''], "");
    if bare.is_empty() || bare.contains(char::is_whitespace) {
        return None;
    }
    Some(HereDoc {
        expand: bare == name,
        name: bare,
        chomp,
        text: String::new(),
    })
}

/// Reads up to the end mark; none where there is none.
fn here_doc<'a>(lines: &mut impl Iterator<Item = (u32, &'a str)>, doc: &HereDoc) -> Option<String> {
    let mut text = String::new();
    for (_, line) in lines {
        let line = match doc.chomp {
            true => line.trim_start_matches('\t'),
            false => line,
        };
        if line == doc.name {
            return Some(text);
        }
        text.push_str(line);
        text.push('\n');
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(u32, &str, &str)]) {
        let found = split(text).expect("a text");
        let found: Vec<_> = found
            .lines
            .iter()
            .map(|line| (line.number, line.keyword.as_str(), line.rest.as_str()))
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn lines_are_joined_and_comments_go() {
        check(
            "\u{feff}from a\n\n  run b",
            &[(1, "FROM", "a"), (3, "RUN", "b")],
        );
        check(
            "RUN a && \\\n  # why\n\n  b \\ \n  c\nCMD d",
            &[(1, "RUN", "a &&   b   c"), (6, "CMD", "d")],
        );
        check(
            "RUN a \\\\\nRUN b",
            &[(1, "RUN", "a \\\\"), (2, "RUN", "b")],
        );
        check(
            "# escape=`\nRUN a `\n b\\\nRUN c",
            &[(2, "RUN", "a  b\\"), (4, "RUN", "c")],
        );
        check("#\n# escape=`\nRUN a `", &[(3, "RUN", "a `")]);
        check(
            "RUN a\\\r\n b\r\nCMD c\r\n",
            &[(1, "RUN", "a b"), (3, "CMD", "c")],
        );
    }

    #[test]
    fn here_documents_belong_to_their_instruction() {
        let text = "RUN cat <<A 3<<-'B' > /x\none\nA\n\ttwo\n\tB\nCOPY <<\"E.txt\" /d\n$x\nE.txt\nRUN a <<<b";
        let found = split(text).expect("a text").lines;
        let docs: Vec<_> = found
            .iter()
            .flat_map(|line| &line.here_docs)
            .map(|doc| (doc.name.as_str(), doc.expand, doc.text.as_str()))
            .collect();
        let expected = [
            ("A", true, "one\n"),
            ("B", false, "two\n"),
            ("E.txt", false, "$x\n"),
        ];
        assert_eq!(docs, expected);
        assert_eq!(found.len(), 3);
        assert_eq!(found[2].number, 9);
    }

    #[test]
    fn mistakes_name_their_line() {
        let check = |text: &str, expected: &str| {
            let error = split(text).expect_err(text);
            assert_eq!(error.to_string(), expected);
        };
        check(
            "# escape=x\n",
            "Dockerfile:1: escape=x: only \\ and ` can be the escape character",
        );
        check(
            "# syntax=a\n# syntax=b\n",
            "Dockerfile:2: directive syntax is given twice",
        );
        check(
            "FROM a\nRUN <<E\nx",
            "Dockerfile:2: the here-document has no end: no line \"E\"",
        );
    }
}
