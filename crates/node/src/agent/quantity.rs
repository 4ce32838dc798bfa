//! Kubernetes quantities (`250m`, `64Mi`, `1e3`) as numbers.

/// Thousandth parts of thousandth parts of thousandth parts in one.
const NANO: i128 = 1_000_000_000;

const SUFFIXES: [(&str, i128, u32); 15] = [
    // Suffix, factor in nano-units, power of 1024 or 0.
    ("Ki", NANO, 1),
    ("Mi", NANO, 2),
    ("Gi", NANO, 3),
    ("Ti", NANO, 4),
    ("Pi", NANO, 5),
    ("Ei", NANO, 6),
    ("n", 1, 0),
    ("u", 1_000, 0),
    ("m", 1_000_000, 0),
    ("k", NANO * 1_000, 0),
    ("M", NANO * 1_000_000, 0),
    ("G", NANO * 1_000_000_000, 0),
    ("T", NANO * 1_000_000_000_000, 0),
    ("P", NANO * 1_000_000_000_000_000, 0),
    ("E", NANO * 1_000_000_000_000_000_000, 0),
];

/// The quantity in thousandth millionths; none if it is not one or is negative.
fn nano(text: &str) -> Option<i128> {
    let text = text.trim();
    let (number, factor) = SUFFIXES
        .iter()
        .find_map(|(suffix, unit, power)| {
            Some((text.strip_suffix(suffix)?, unit * 1024_i128.pow(*power)))
        })
        .unwrap_or((text, NANO));
    let (number, exponent) = match number.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<u32>().ok()?),
        None => (number, 0),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{part}");
    let digits: i128 = digits.trim_start_matches('+').parse().ok()?;
    let scale = 10_i128.checked_pow(u32::try_from(part.len()).ok()?)?;
    let value = digits
        .checked_mul(factor)?
        .checked_mul(10_i128.checked_pow(exponent)?)?;
    (value >= 0).then(|| (value + scale - 1) / scale)
}

/// The value in whole units, rounded up.
pub(crate) fn whole(text: &str) -> Option<u64> {
    u64::try_from((nano(text)? + NANO - 1) / NANO).ok()
}

/// The value in thousandths, rounded up.
pub(crate) fn milli(text: &str) -> Option<u64> {
    u64::try_from((nano(text)? + NANO / 1000 - 1) / (NANO / 1000)).ok()
}

/// How often `divisor` goes into `text`, rounded up.
pub(crate) fn divided(text: &str, divisor: &str) -> Option<u64> {
    let divisor = nano(divisor).filter(|value| *value > 0).unwrap_or(NANO);
    u64::try_from((nano(text)? + divisor - 1) / divisor).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_decimals_and_rounding() {
        let cases = [
            ("250m", Some(1), Some(250)),
            ("1.5", Some(2), Some(1500)),
            ("64Mi", Some(64 << 20), Some((64 << 20) * 1000)),
            ("1e3", Some(1000), Some(1_000_000)),
            ("2k", Some(2000), Some(2_000_000)),
            ("100n", Some(1), Some(1)),
            ("x", None, None),
            ("-1", None, None),
        ];
        for (text, want, want_milli) in cases {
            assert_eq!((whole(text), milli(text)), (want, want_milli), "{text}");
        }
        assert_eq!(divided("64Mi", "1Mi"), Some(64));
        assert_eq!(divided("1", "1m"), Some(1000));
        assert_eq!(divided("250m", "0"), Some(1));
    }
}
