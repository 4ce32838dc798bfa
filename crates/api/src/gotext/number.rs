//! `strconv.ParseInt`, `ParseFloat`, `ParseBool` and `%v` of a float.

use super::quote;

/// Parses a decimal integer of `bits` bits (32 or 64).
///
/// # Errors
/// Go's own sentence, e.g. `strconv.ParseInt: parsing "x": invalid syntax`.
pub fn parse_int(text: &str, bits: u32) -> Result<i64, String> {
    let error = |what: &str| format!("strconv.ParseInt: parsing {}: {what}", quote(text));
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(error("invalid syntax"));
    }
    let out_of_range = || error("value out of range");
    let value: i64 = text.parse().map_err(|_| out_of_range())?;
    let fits = bits == 64 || i32::try_from(value).is_ok();
    if fits { Ok(value) } else { Err(out_of_range()) }
}

/// Parses a decimal integer without sign.
///
/// # Errors
/// Go's own sentence, e.g. `strconv.ParseUint: parsing "-1": invalid syntax`.
pub fn parse_uint(text: &str) -> Result<u64, String> {
    let error = |what: &str| format!("strconv.ParseUint: parsing {}: {what}", quote(text));
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(error("invalid syntax"));
    }
    text.parse().map_err(|_| error("value out of range"))
}

/// Parses a floating-point number as Go does (`1_0` and hexadecimal floats are not read).
///
/// # Errors
/// Go's own sentence, e.g. `strconv.ParseFloat: parsing "x": invalid syntax`.
pub fn parse_float(text: &str) -> Result<f64, String> {
    let error = |what: &str| format!("strconv.ParseFloat: parsing {}: {what}", quote(text));
    let value: f64 = text.parse().map_err(|_| error("invalid syntax"))?;
    let digits = text.bytes().any(|b| b.is_ascii_digit());
    if value.is_infinite() && digits {
        return Err(error("value out of range"));
    }
    Ok(value)
}

/// Parses what Go's `strconv.ParseBool` accepts.
///
/// # Errors
/// Go's own sentence, e.g. `strconv.ParseBool: parsing "x": invalid syntax`.
pub fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!(
            "strconv.ParseBool: parsing {}: invalid syntax",
            quote(text)
        )),
    }
}

/// Prints a float as `%v` does: shortest form, exponent below 1e-4 and from 1e21 on.
pub fn format_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let abs = value.abs();
    if value == 0.0 || (1e-4..1e21).contains(&abs) {
        return value.to_string();
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent
        .strip_prefix('-')
        .map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}
