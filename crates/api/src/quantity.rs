//! Kubernetes quantities (`100m`, `1.5Gi`, `2e3`): parsing, order and canonical form. Read by
//! the ConfigMaps and by admission.

mod held;

use std::fmt;

pub(crate) use held::Held;

const FORMAT_WRONG: &str = "quantities must match the regular expression \
                            '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const SUFFIX_WRONG: &str = "unable to parse quantity's suffix";
/// The smallest unit kept; finer values are rounded away from zero.
const NANO: i128 = 1_000_000_000;

const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: [(&str, u32); 6] = [
    ("Ki", 10),
    ("Mi", 20),
    ("Gi", 30),
    ("Ti", 40),
    ("Pi", 50),
    ("Ei", 60),
];

/// An amount and the family of suffixes it was written with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    Decimal,
    Binary,
    Exponent,
}

impl Quantity {
    /// Parses a quantity.
    ///
    /// # Errors
    /// Kubernetes' own sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let digits_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, suffix) = rest.split_at(digits_end.unwrap_or(rest.len()));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let no_digits = whole.is_empty() && fraction.is_empty();
        if no_digits || fraction.contains('.') || !is_suffix(suffix) {
            return Err(FORMAT_WRONG.to_owned());
        }
        let (format, scale) = scale(suffix).ok_or(SUFFIX_WRONG)?;
        let nanos = nanos(whole, fraction, scale).unwrap_or(i128::MAX / 2);
        Ok(Self {
            nanos: if negative { -nanos } else { nanos },
            format,
        })
    }

    /// The amount in billionths of the unit.
    pub const fn nanos(&self) -> i128 {
        self.nanos
    }

    /// The amount in the unit, as a float.
    pub fn as_f64(&self) -> f64 {
        self.nanos as f64 / NANO as f64
    }

    /// The amount in whole units, rounded up.
    pub const fn ceil(&self) -> i128 {
        let (whole, rest) = (self.nanos.div_euclid(NANO), self.nanos.rem_euclid(NANO));
        whole + (rest > 0) as i128
    }

    /// Both together, printed with the suffixes of the first that is not zero.
    pub const fn plus(self, other: Self) -> Self {
        let format = if self.nanos == 0 {
            other.format
        } else {
            self.format
        };
        Self {
            nanos: self.nanos.saturating_add(other.nanos),
            format,
        }
    }

    /// A quantity of `nanos` billionths, printed with decimal suffixes.
    pub const fn decimal(nanos: i128) -> Self {
        Self {
            nanos,
            format: Format::Decimal,
        }
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.nanos.cmp(&other.nanos))
    }
}

/// How much one is worth: a power of ten, or of two.
enum Scale {
    Ten(i32),
    Two(u32),
}

fn is_suffix(suffix: &str) -> bool {
    let letters = suffix.find(|c: char| !"eEinumkKMGTP".contains(c));
    let tail = &suffix[letters.unwrap_or(suffix.len())..];
    let digits = tail.strip_prefix(['+', '-']).unwrap_or(tail);
    digits.bytes().all(|b| b.is_ascii_digit())
}

fn scale(suffix: &str) -> Option<(Format, Scale)> {
    if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Some((Format::Decimal, Scale::Ten(*power)));
    }
    if let Some((_, power)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Some((Format::Binary, Scale::Two(*power)));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    let exponent = exponent.parse().ok()?;
    Some((Format::Exponent, Scale::Ten(exponent)))
}

fn nanos(whole: &str, fraction: &str, scale: Scale) -> Option<i128> {
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{}{fraction}", whole.trim_start_matches('0'));
    if digits.is_empty() {
        return Some(0);
    }
    let mantissa: i128 = digits.parse().ok()?;
    let decimals = i32::try_from(fraction.len()).ok()?;
    let (mantissa, power) = match scale {
        Scale::Ten(power) => (mantissa, power.checked_sub(decimals)?.checked_add(9)?),
        Scale::Two(power) => (mantissa.checked_mul(1 << power)?, 9 - decimals),
    };
    let factor = 10i128.checked_pow(power.unsigned_abs());
    match (power >= 0, factor) {
        (true, factor) => mantissa.checked_mul(factor?),
        // Rounded up: a quantity is never less than what was asked for.
        (false, Some(factor)) => {
            Some(mantissa.div_euclid(factor) + i128::from(mantissa % factor > 0))
        }
        (false, None) => Some(1),
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.nanos < 0 { "-" } else { "" };
        let abs = self.nanos.abs();
        if abs == 0 {
            return f.write_str("0");
        }
        if self.format == Format::Binary && abs >= 1024 * NANO && abs % NANO == 0 {
            let units = abs / NANO;
            let power = BINARY
                .iter()
                .rev()
                .find(|(_, power)| units % (1 << power) == 0);
            return match power {
                Some((suffix, power)) => write!(f, "{sign}{}{suffix}", units >> power),
                None => write!(f, "{sign}{units}"),
            };
        }
        for (suffix, power) in DECIMAL.iter().rev() {
            let unit = 10i128.pow((power + 9).unsigned_abs());
            if abs % unit == 0 {
                return match (self.format, power) {
                    (Format::Exponent, 0) | (Format::Decimal | Format::Binary, _) => {
                        write!(f, "{sign}{}{suffix}", abs / unit)
                    }
                    (Format::Exponent, _) => write!(f, "{sign}{}e{power}", abs / unit),
                };
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Quantity;

    #[test]
    fn canonical_forms() {
        let cases = [
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("350Mi", "350Mi"),
            ("100M", "100M"),
            ("1000", "1k"),
            ("1025", "1025"),
            ("2e3", "2e3"),
            ("-.5", "-500m"),
            ("0", "0"),
            ("0.0000000001", "1n"),
            ("1Ki", "1Ki"),
            ("0.5Ki", "512"),
        ];
        for (input, canonical) in cases {
            assert_eq!(
                Quantity::parse(input).unwrap().to_string(),
                canonical,
                "{input}"
            );
        }
    }

    #[test]
    fn refusals() {
        for bad in ["", "m", "1.2.3", "1 Gi", "abc", "1Gx"] {
            assert_eq!(
                Quantity::parse(bad).unwrap_err(),
                super::FORMAT_WRONG,
                "{bad}"
            );
        }
        assert_eq!(Quantity::parse("1KK").unwrap_err(), super::SUFFIX_WRONG);
    }

    #[test]
    fn order() {
        let parse = |text| Quantity::parse(text).unwrap();
        assert!(parse("1Gi") > parse("1G"));
        assert!(parse("999m") < parse("1"));
        assert_eq!(parse("1.1").ceil(), 2);
    }
}
