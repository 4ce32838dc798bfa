//! `config-gc`: which Revisions nobody routes to are kept. The rules of Knative's `pkg/gc`.

use super::data::{Data, Error, require};
use crate::gotext::{Nanos, parse_duration, parse_uint};

const HOUR: Nanos = 3_600_000_000_000;

/// The bounds of garbage collection; `None` is `disabled`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gc {
    /// `retain-since-create-time`, nanoseconds.
    pub retain_since_create: Option<Nanos>,
    /// `retain-since-last-active-time`, nanoseconds.
    pub retain_since_last_active: Option<Nanos>,
    /// `min-non-active-revisions`.
    pub min_non_active: i64,
    /// `max-non-active-revisions`.
    pub max_non_active: Option<i64>,
}

impl Default for Gc {
    fn default() -> Self {
        Self {
            retain_since_create: Some(48 * HOUR),
            retain_since_last_active: Some(15 * HOUR),
            min_non_active: 20,
            max_non_active: Some(1000),
        }
    }
}

impl Gc {
    /// The name of the ConfigMap.
    pub const NAME: &str = "config-gc";

    /// Reads the ConfigMap's data.
    ///
    /// # Errors
    /// A value that cannot be parsed or is out of bounds, in Knative's words.
    pub fn parse(data: &Data) -> Result<Self, Error> {
        let mut config = Self::default();
        if let Some(raw) = data.get("min-non-active-revisions") {
            config.min_non_active = crate::gotext::parse_int(raw, 64)
                .map_err(|error| failed("min-non-active-revisions", &error))?;
        }
        or_disabled(
            data,
            "retain-since-create-time",
            &mut config.retain_since_create,
            span,
        )?;
        or_disabled(
            data,
            "retain-since-last-active-time",
            &mut config.retain_since_last_active,
            span,
        )?;
        or_disabled(
            data,
            "max-non-active-revisions",
            &mut config.max_non_active,
            count,
        )?;
        let (min, max) = (config.min_non_active, config.max_non_active);
        require(min >= 0, || {
            format!("min-non-active-revisions must be non-negative, was: {min}")
        })?;
        if let Some(max) = max {
            require(min <= max, || {
                format!(
                    "min-non-active-revisions({min}) must be <= max-non-active-revisions({max})"
                )
            })?;
        }
        Ok(config)
    }
}

fn failed(key: &str, error: &str) -> Error {
    Error(format!("failed to parse {key}: {error}"))
}

fn or_disabled<T>(
    data: &Data,
    key: &str,
    target: &mut Option<T>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<(), Error> {
    match data.get(key).map(String::as_str) {
        None | Some("") => {}
        Some(raw) if raw.eq_ignore_ascii_case("disabled") => *target = None,
        Some(raw) => *target = Some(parse(raw).map_err(|error| failed(key, &error))?),
    }
    Ok(())
}

fn span(raw: &str) -> Result<Nanos, String> {
    let span = parse_duration(raw)?;
    if span < 0 {
        return Err("must be non-negative".to_owned());
    }
    Ok(span)
}

fn count(raw: &str) -> Result<i64, String> {
    i64::try_from(parse_uint(raw)?).map_err(|_| format!("value should be lower than {}", i64::MAX))
}
