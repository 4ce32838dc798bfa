//! How Kubernetes' own type holds a quantity: the number as written, not reduced, and sometimes
//! the very text. Both show: the text in what is written back, the whole in what is told of a
//! change.

use std::fmt;

use super::{Format, Scale, scale};

/// Decimal digits that always fit.
const DIGITS_MAX: i32 = 18;
const NANO_SCALE: i32 = -9;

/// A quantity that fits 64 bits.
pub(crate) struct Held {
    value: i64,
    scale: i32,
    /// Empty where it would not be canonical.
    text: String,
    format: Format,
}

impl Held {
    /// Parses a valid quantity; none where it needs more than 64 bits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text == "0" {
            return Some(Self {
                value: 0,
                scale: 0,
                text: text.to_owned(),
                format: Format::Decimal,
            });
        }
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, suffix) = unsigned.split_at(end.unwrap_or(unsigned.len()));
        let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
        let whole = match whole.trim_start_matches('0') {
            "" => "0",
            rest => rest,
        };
        let digits = format!("{whole}{decimals}");
        let length = i32::try_from(digits.len()).ok()?;
        let (format, unit) = scale(suffix)?;
        let (power, factor, kept_power, precision) = match unit {
            Scale::Ten(power) => (power, 1, true, DIGITS_MAX - length),
            Scale::Two(_) if !decimals.is_empty() => return None,
            Scale::Two(power) => {
                let taken = i32::try_from(power * 3 / 10).ok()?;
                (0, 1i64 << power, false, 14 - length - taken)
            }
        };
        let scale = power - i32::try_from(decimals.len()).ok()?;
        if precision < 0 || scale < NANO_SCALE {
            return None;
        }
        let value: i64 = digits.parse().ok()?;
        let canonical = if kept_power {
            scale % 3 == 0 && !digits.ends_with("000") && !digits.starts_with('0')
        } else {
            value & 7 != 0
        };
        let product = value.checked_mul(factor)?;
        let negative = text.starts_with('-');
        Some(Self {
            value: if negative { -product } else { product },
            scale,
            text: if canonical {
                text.to_owned()
            } else {
                String::new()
            },
            format,
        })
    }

    /// The text it is written back as, where it was kept.
    pub(crate) fn text(self) -> Option<String> {
        Some(self.text).filter(|text| !text.is_empty())
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = match self.format {
            Format::Decimal => "DecimalSI",
            Format::Binary => "BinarySI",
            Format::Exponent => "DecimalExponent",
        };
        let (value, scale, text) = (self.value, self.scale, &self.text);
        write!(
            f,
            "{{i:{{value:{value} scale:{scale}}} d:{{Dec:<nil>}} s:{text} Format:{format}}}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Held;

    #[test]
    fn as_go_prints_it() {
        for (text, value, scale, kept, format) in [
            ("100m", 100, -3, "100m", "DecimalSI"),
            ("1", 1, 0, "1", "DecimalSI"),
            ("0", 0, 0, "0", "DecimalSI"),
            ("1000m", 1000, -3, "", "DecimalSI"),
            ("0.5", 5, -1, "", "DecimalSI"),
            ("64Mi", 67_108_864, 0, "", "BinarySI"),
            ("350Mi", 367_001_600, 0, "350Mi", "BinarySI"),
            ("-2e3", -2, 3, "-2e3", "DecimalExponent"),
        ] {
            let told = Held::parse(text).map(|held| held.to_string());
            let want = format!(
                "{{i:{{value:{value} scale:{scale}}} d:{{Dec:<nil>}} s:{kept} Format:{format}}}"
            );
            assert_eq!(told, Some(want), "{text}");
        }
        assert!(Held::parse("1.5Gi").is_none());
    }
}
