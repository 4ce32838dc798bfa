//! Values of `ce-` headers (HTTP protocol binding 1.0, §3.1.3.2): percent coding and quoted strings.
//!
//! Reading is lenient, because the Go SDK, and so most of Knative's world, sends values uncoded: a
//! `%` that no two hexadecimal digits follow is a percent sign. Writing codes only what a header
//! may not contain and what would read back as something else.

use std::borrow::Cow;
use std::fmt::Write;

/// What a header's bytes say. `None` when they are not UTF-8 even after percent-decoding.
pub(crate) fn decode(raw: &[u8]) -> Option<Cow<'_, str>> {
    if raw.iter().all(|byte| *byte != b'%' && *byte != b'"') {
        return std::str::from_utf8(raw).ok().map(Cow::Borrowed);
    }
    let unquoted = unquote(raw);
    let mut out = Vec::with_capacity(unquoted.len());
    let mut rest = &*unquoted;
    while let Some((first, tail)) = rest.split_first() {
        if let (b'%', Some(byte)) = (*first, hex_pair(tail)) {
            out.push(byte);
            rest = &tail[2..];
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

/// The inside of a quoted string with its escapes undone; anything else as it is.
fn unquote(raw: &[u8]) -> Cow<'_, [u8]> {
    let [b'"', inner @ .., b'"'] = raw else {
        return Cow::Borrowed(raw);
    };
    if !inner.contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => out.extend(bytes.next()),
            _ => out.push(*byte),
        }
    }
    Cow::Owned(out)
}

fn hex_pair(text: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

/// What to write in a header so that [`decode`] gives `text` back. Spaces inside, quotes inside and
/// lone percent signs go as they are.
pub(crate) fn encode(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    if !(0..bytes.len()).any(|at| must_code(bytes, at)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len() + 16);
    for (at, byte) in bytes.iter().enumerate() {
        if must_code(bytes, at) {
            write!(out, "%{byte:02X}").expect("writing to a String cannot fail");
        } else {
            out.push(char::from(*byte));
        }
    }
    Cow::Owned(out)
}

fn must_code(bytes: &[u8], at: usize) -> bool {
    let edge = at == 0 || at + 1 == bytes.len();
    match bytes[at] {
        b' ' => edge,
        b'"' => edge,
        b'%' => hex_pair(&bytes[at + 1..]).is_some(),
        byte => !(0x21..=0x7e).contains(&byte),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_read_as_the_specification_and_the_go_sdk_write_them() {
        for (raw, text) in [
            ("plain", "plain"),
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
            ("100%", "100%"),
            ("100%25", "100%"),
            ("%2541", "%41"),
            ("a \"b\" c", "a \"b\" c"),
            ("\"a \\\"b\\\" %20c\"", "a \"b\"  c"),
            ("\"", "\""),
            ("ü", "ü"),
        ] {
            assert_eq!(decode(raw.as_bytes()).as_deref(), Some(text), "{raw}");
        }
        assert_eq!(decode(b"%C3%28"), None);
        assert_eq!(decode(b"\xff"), None);
    }

    #[test]
    fn only_what_must_be_coded_is() {
        for (text, raw) in [
            ("a b", "a b"),
            (" a", "%20a"),
            ("100% sure", "100% sure"),
            ("%41", "%2541"),
            ("€", "%E2%82%AC"),
            ("\"q\"", "%22q%22"),
            ("a\nb", "a%0Ab"),
        ] {
            assert_eq!(encode(text), raw, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_value_comes_back(text in "\\PC*|[%\" a-f0-9\\\\]*") {
            let raw = encode(&text);
            prop_assert_eq!(decode(raw.as_bytes()).unwrap(), &*text);
        }

        #[test]
        fn no_bytes_make_it_panic(raw in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&raw);
        }
    }
}
