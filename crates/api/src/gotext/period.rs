//! ISO 8601 durations as Knative Eventing reads them (`rickb777/date/period`): `PT0.2S`, `P1DT2H`.

use std::time::Duration;

const MINUTE_S: f64 = 60.0;
const HOUR_S: f64 = 3_600.0;
const DAY_S: f64 = 86_400.0;
/// A year of the Gregorian calendar on average.
const YEAR_S: f64 = 365.2425 * DAY_S;

const OF_DATE: [(char, f64); 4] = [
    ('Y', YEAR_S),
    ('M', YEAR_S / 12.0),
    ('W', 7.0 * DAY_S),
    ('D', DAY_S),
];
const OF_TIME: [(char, f64); 3] = [('H', HOUR_S), ('M', MINUTE_S), ('S', 1.0)];

/// A signed span of time; years and months count as long as they are on average.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Period {
    seconds: f64,
}

impl Period {
    /// Reads an ISO 8601 duration; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (sign, rest) = match text.as_bytes().first()? {
            b'-' => (-1.0, &text[1..]),
            b'+' => (1.0, &text[1..]),
            _ => (1.0, text),
        };
        let rest = rest.strip_prefix('P')?;
        if rest == "0" {
            return Some(Self { seconds: 0.0 });
        }
        let (date, time) = match rest.split_once('T') {
            Some((date, time)) if !time.is_empty() => (date, time),
            Some(_) => return None,
            None => (rest, ""),
        };
        if date.is_empty() && time.is_empty() {
            return None;
        }
        let seconds = sum(date, &OF_DATE)? + sum(time, &OF_TIME)?;
        Some(Self {
            seconds: sign * seconds,
        })
    }

    /// Whether it is no time at all.
    pub fn is_zero(self) -> bool {
        self.seconds == 0.0
    }

    /// Whether it goes backwards.
    pub fn is_negative(self) -> bool {
        self.seconds < 0.0
    }

    /// The span; nothing if it goes backwards, and at most what a `Duration` holds.
    pub fn duration(self) -> Duration {
        Duration::try_from_secs_f64(self.seconds.max(0.0)).unwrap_or(Duration::MAX)
    }
}

/// The seconds of numbers with units, which must come in the order of the table, each at most once.
fn sum(mut text: &str, units: &[(char, f64)]) -> Option<f64> {
    let mut units = units.iter();
    let mut total = 0.0;
    while !text.is_empty() {
        let end = text.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, rest) = text.split_at(end);
        let unit = rest.chars().next()?;
        let (_, seconds) = units.find(|(name, _)| *name == unit)?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = number.replace(',', ".");
        match number.split_once('.') {
            Some((whole, part)) if digits(whole) && digits(part) => {}
            None if digits(&number) => {}
            _ => return None,
        }
        total += number.parse::<f64>().ok()? * seconds;
        text = &rest[unit.len_utf8()..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_knative_reads() {
        let check = |text: &str, expected: Option<f64>| {
            let seconds = Period::parse(text).map(|period| period.seconds);
            assert_eq!(seconds, expected, "{text}");
        };
        check("PT0.2S", Some(0.2));
        check("PT10S", Some(10.0));
        check("P1DT2H3M", Some(86_400.0 + 7_200.0 + 180.0));
        check("P2W", Some(14.0 * 86_400.0));
        check("-PT1S", Some(-1.0));
        check("P0D", Some(0.0));
        for text in [
            "", "P", "PT", "1S", "PT1", "PTS", "PT1S2H", "P1DT", "PT1X", "PT1.S", "PT 1S",
        ] {
            check(text, None);
        }
        assert!(Period::parse("PT0S").unwrap().is_zero());
        let long = Period::parse("P99999999999999999999Y").unwrap();
        assert_eq!(long.duration(), Duration::MAX);
    }
}
