//! `time.ParseDuration` and `time.Duration.String`.

use super::quote;

/// A signed span of time in nanoseconds: Go's `time.Duration`.
pub type Nanos = i64;

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Parses what Go's `time.ParseDuration` accepts.
///
/// # Errors
/// Go's own sentence, e.g. `time: invalid duration "x"`.
pub fn parse_duration(text: &str) -> Result<Nanos, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, tail) = rest.split_at(number_end.unwrap_or(rest.len()));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if number.is_empty() || number == "." || fraction.contains('.') {
            return Err(invalid());
        }
        let unit_end = tail.find(|c: char| c == '.' || c.is_ascii_digit());
        let (unit_name, after) = tail.split_at(unit_end.unwrap_or(tail.len()));
        if unit_name.is_empty() {
            return Err(format!("time: missing unit in duration {}", quote(text)));
        }
        let Some((_, unit)) = UNITS.iter().find(|(name, _)| *name == unit_name) else {
            let unit = quote(unit_name);
            return Err(format!(
                "time: unknown unit {unit} in duration {}",
                quote(text)
            ));
        };
        let span = span(whole, fraction, *unit).ok_or_else(invalid)?;
        total = total.checked_add(span).ok_or_else(invalid)?;
        if total > 1 << 63 {
            return Err(invalid());
        }
        rest = after;
    }
    match (negative, i64::try_from(total)) {
        (true, _) => Ok(0i64.wrapping_sub_unsigned(total)),
        (false, Ok(nanos)) => Ok(nanos),
        (false, Err(_)) => Err(invalid()),
    }
}

fn span(whole: &str, fraction: &str, unit: u64) -> Option<u64> {
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut nanos = whole.checked_mul(unit)?;
    // Digits beyond the ones a u64 can hold do not change a nanosecond.
    let digits = &fraction[..fraction.len().min(18)];
    if let Ok(value) = digits.parse::<u64>() {
        let scale = 10f64.powi(i32::try_from(digits.len()).ok()?);
        nanos = nanos.checked_add((value as f64 * (unit as f64 / scale)) as u64)?;
    }
    Some(nanos)
}

/// Prints as Go does: `1h0m0s`, `1.5s`, `300ms`, `0s`.
pub fn format_duration(nanos: Nanos) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let abs = nanos.unsigned_abs();
    if abs == 0 {
        return "0s".to_owned();
    }
    let small = |unit: u64, name: &str| format!("{sign}{}{name}", decimal(abs, unit));
    if abs < 1_000 {
        return small(1, "ns");
    }
    if abs < 1_000_000 {
        return small(1_000, "\u{b5}s");
    }
    if abs < 1_000_000_000 {
        return small(1_000_000, "ms");
    }
    let minutes = abs / 60_000_000_000;
    let seconds = decimal(abs % 60_000_000_000, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, m) => format!("{sign}{m}m{seconds}s"),
        (h, m) => format!("{sign}{h}h{m}m{seconds}s"),
    }
}

fn decimal(nanos: u64, unit: u64) -> String {
    let (whole, rest) = (nanos / unit, nanos % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let fraction = format!("{rest:0width$}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}
