//! The patterns of LIKE: `%` is any run of characters, `_` is one; a backslash makes either literal.

/// A compiled pattern.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Pattern(Vec<Part>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Letter(char),
    One,
    Any,
}

impl Pattern {
    pub(super) fn new(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            parts.push(match letter {
                '%' => Part::Any,
                '_' => Part::One,
                '\\' => match letters.next_if(|next| matches!(next, '%' | '_')) {
                    Some(literal) => Part::Letter(literal),
                    None => Part::Letter('\\'),
                },
                other => Part::Letter(other),
            });
        }
        Self(parts)
    }

    /// Whether the whole of `text` fits. Goes back to the last `%` only, so the time is at most the
    /// product of the two lengths.
    pub(super) fn matches(&self, text: &str) -> bool {
        let parts = &self.0;
        let mut at = 0;
        let mut rest = text.chars();
        let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            let here = rest.clone();
            match (parts.get(at), rest.next()) {
                (None, None) => return true,
                (Some(Part::Any), _) => {
                    at += 1;
                    retry = Some((at, here.clone()));
                    rest = here;
                    continue;
                }
                (Some(Part::One), Some(_)) => {
                    at += 1;
                    continue;
                }
                (Some(Part::Letter(wanted)), Some(letter)) if *wanted == letter => {
                    at += 1;
                    continue;
                }
                _ => {}
            }
            let Some((after, tail)) = &mut retry else {
                return false;
            };
            if tail.next().is_none() {
                return false;
            }
            at = *after;
            rest = tail.clone();
        }
    }
}
