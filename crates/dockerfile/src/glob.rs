//! Patterns of file names as Go's `filepath.Match` has them: `*` and `?` within one part of a
//! path, `[a-z]`, `\` in front of a letter that is meant as it is.

/// Whether a pattern matches a whole path; `*` and `?` do not match `/`.
pub fn path_matches(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), path.chars().collect());
    matches(&pattern, &path, Some('/'))
}

/// Whether a pattern matches a whole text.
pub(crate) fn text_matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    matches(&pattern, &text, None)
}

/// Whether a path has signs of a pattern in it.
pub fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '[', '\\'])
}

fn matches(pattern: &[char], text: &[char], separator: Option<char>) -> bool {
    let Some((first, rest)) = pattern.split_first() else {
        return text.is_empty();
    };
    let one = |text: &[char]| text.first().copied().filter(|c| Some(*c) != separator);
    match first {
        '*' => {
            let mut text = text;
            loop {
                if matches(rest, text, separator) {
                    return true;
                }
                if one(text).is_none() {
                    return false;
                }
                text = &text[1..];
            }
        }
        '?' => one(text).is_some() && matches(rest, &text[1..], separator),
        '[' => match (class(rest), one(text)) {
            (Some((class, rest)), Some(letter)) => {
                class.contains(letter) && matches(rest, &text[1..], separator)
            }
            _ => false,
        },
        '\\' => match (rest.split_first(), text.split_first()) {
            (Some((wanted, rest)), Some((letter, text))) => {
                wanted == letter && matches(rest, text, separator)
            }
            _ => false,
        },
        _ => text.first() == Some(first) && matches(rest, &text[1..], separator),
    }
}

struct Class {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Class {
    fn contains(&self, letter: char) -> bool {
        let inside = |(low, high): &(char, char)| *low <= letter && letter <= *high;
        self.ranges.iter().any(inside) != self.negated
    }
}

/// The class behind `[` and what is behind the class.
fn class(pattern: &[char]) -> Option<(Class, &[char])> {
    let (negated, mut rest) = match pattern.first()? {
        '^' | '!' => (true, &pattern[1..]),
        _ => (false, pattern),
    };
    let mut ranges = Vec::new();
    loop {
        if *rest.first()? == ']' && !ranges.is_empty() {
            return Some((Class { negated, ranges }, &rest[1..]));
        }
        let low = letter(&mut rest)?;
        let mut high = low;
        if rest.first() == Some(&'-') && rest.get(1).is_some_and(|next| *next != ']') {
            rest = &rest[1..];
            high = letter(&mut rest)?;
        }
        ranges.push((low, high));
    }
}

fn letter(rest: &mut &[char]) -> Option<char> {
    let (mut first, mut behind) = rest.split_first()?;
    if *first == '\\' {
        (first, behind) = behind.split_first()?;
    }
    *rest = behind;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let cases = [
            ("*", "abc", true),
            ("*", "a/b", false),
            ("a*/b", "abc/b", true),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[a", "a", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("*.txt", ".txt", true),
            ("", "", true),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(path_matches(pattern, path), expected, "{pattern} {path}");
        }
        assert!(text_matches("*b", "a/b"));
    }
}
