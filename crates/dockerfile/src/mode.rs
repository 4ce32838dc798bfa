//! `--chmod`: permissions in octal digits, or in letters that change those a file has.

use serde::Serialize;

/// The classes a letter stands for, with their place in the bits.
const CLASSES: [(char, u32); 3] = [('u', 6), ('g', 3), ('o', 0)];
const SET_USER: u32 = 0o4000;
const SET_GROUP: u32 = 0o2000;
const STICKY: u32 = 0o1000;
const EXECUTE: u32 = 0o111;

/// What becomes of permissions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Mode {
    /// These, whatever they were.
    Bits(u32),
    /// Changed as `chmod` would: `u=rwX,go=rX`.
    Letters(String),
}

impl Mode {
    /// Reads the value of `--chmod`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Ok(bits) = u32::from_str_radix(text, 8)
            && bits <= 0o7777
        {
            return Ok(Self::Bits(bits));
        }
        match change(text, 0, false) {
            Some(_) => Ok(Self::Letters(text.to_owned())),
            None => Err(format!(
                "--chmod={text}: permissions are octal digits (755) or letters (u=rwX,go=rX)"
            )),
        }
    }

    /// The permissions of a file or directory that had `bits`.
    pub fn apply(&self, bits: u32, is_dir: bool) -> u32 {
        match self {
            Self::Bits(new) => *new,
            // It was read once already.
            Self::Letters(text) => change(text, bits, is_dir).unwrap_or(bits),
        }
    }
}

/// `bits` changed by clauses of letters; nothing for text that is none.
fn change(text: &str, mut bits: u32, is_dir: bool) -> Option<u32> {
    for clause in text.split(',') {
        let start = clause.find(['+', '-', '='])?;
        let (who, mut rest) = clause.split_at(start);
        let who = match who {
            "" => "ugo".to_owned(),
            who if who.chars().all(|letter| "ugoa".contains(letter)) => who.replace('a', "ugo"),
            _ => return None,
        };
        while let Some(operator) = rest.chars().next() {
            let behind = &rest[1..];
            let end = behind.find(['+', '-', '=']).unwrap_or(behind.len());
            let (letters, next) = behind.split_at(end);
            let named = named(letters, &who, bits, is_dir)?;
            bits = match operator {
                '+' => bits | named,
                '-' => bits & !named,
                _ => (bits & !cleared(&who)) | named,
            };
            rest = next;
        }
    }
    Some(bits)
}

/// The bits that `letters` mean for `who`.
fn named(letters: &str, who: &str, bits: u32, is_dir: bool) -> Option<u32> {
    let all = |bit: u32| {
        let mine = CLASSES.iter().filter(|(class, _)| who.contains(*class));
        mine.fold(0, |sum, (_, shift)| sum | (bit << shift))
    };
    letters.chars().try_fold(0, |sum, letter| {
        let more = match letter {
            'r' => all(4),
            'w' => all(2),
            'x' => all(1),
            'X' if is_dir || bits & EXECUTE != 0 => all(1),
            'X' => 0,
            's' => special(who),
            't' => STICKY,
            class => {
                let (_, shift) = CLASSES.iter().find(|(known, _)| *known == class)?;
                all((bits >> shift) & 7)
            }
        };
        Some(sum | more)
    })
}

fn special(who: &str) -> u32 {
    let bit = |class: char, bit: u32| if who.contains(class) { bit } else { 0 };
    bit('u', SET_USER) | bit('g', SET_GROUP)
}

/// What `=` takes away first.
fn cleared(who: &str) -> u32 {
    let mine = CLASSES.iter().filter(|(class, _)| who.contains(*class));
    mine.fold(special(who), |sum, (_, shift)| sum | (7 << shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_change_as_chmod_changes_them() {
        for (text, bits, is_dir, expected) in [
            ("755", 0o600, false, 0o755),
            ("4711", 0o600, false, 0o4711),
            ("u+x", 0o644, false, 0o744),
            ("+x", 0o644, false, 0o755),
            ("a-w", 0o666, false, 0o444),
            ("go=", 0o777, false, 0o700),
            ("go=u", 0o750, false, 0o777),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("u=rwX,go=rX", 0o711, false, 0o755),
            ("ug+s,o+t", 0o755, false, 0o7755),
            ("u=rw+x-r", 0o000, false, 0o300),
        ] {
            let mode = Mode::parse(text).expect(text);
            assert_eq!(mode.apply(bits, is_dir), expected, "{text} on {bits:o}");
        }
        for text in ["", "u", "u+z", "z+x", "17777", "u+x,"] {
            assert!(Mode::parse(text).is_err(), "{text}");
        }
    }
}
