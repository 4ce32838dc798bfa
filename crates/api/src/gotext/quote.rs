//! `%q` of Go's `fmt`.

use std::fmt::Write;

/// `text` as a double-quoted Go string literal (`strconv.Quote`).
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        push_escaped(&mut out, c);
    }
    out.push('"');
    out
}

fn push_escaped(out: &mut String, c: char) {
    let short = match c {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\u{7}' => "\\a",
        '\u{8}' => "\\b",
        '\u{c}' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\u{b}' => "\\v",
        _ => "",
    };
    let code = c as u32;
    // Writing to a String cannot fail, so the results carry no news.
    let _ = if !short.is_empty() {
        out.write_str(short)
    } else if code < 0x20 || code == 0x7f {
        write!(out, "\\x{code:02x}")
    } else if (0x80..0xa0).contains(&code) || code == 0xad || code == 0xfeff {
        write!(out, "\\u{code:04x}")
    } else {
        out.write_char(c)
    };
}
