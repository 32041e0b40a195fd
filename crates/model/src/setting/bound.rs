//! The ends of a range: fixed, now, or so long before now.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Unit, ZonedRound};

use super::Instant;

/// The beginning or end of a range of time.
///
/// Spelt `now`; a date or a date and time ([`Instant`]); or an ISO 8601 duration before now (`P7D`, `P0DT6H`). A zone of its
/// own may stand behind what has no offset, in brackets: `2024-01-01[Europe/Vienna]`, `P7D[Europe/Vienna]`.
#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    /// The instant that counts as now.
    Now,
    /// A fixed one.
    At(Instant, Option<TimeZone>),
    /// Before now, which is rounded down to the smallest unit that the duration names first: `P0D` is the last
    /// midnight, `P1D` the one before, `P0DT6H` the full hour six hours ago, `P0M` the first of this month.
    Before {
        /// How long before.
        span: BackSpan,
        /// Its own zone.
        zone: Option<TimeZone>,
    },
}

/// How long before now, and what now is rounded to.
#[derive(Debug, Clone, Copy)]
pub struct BackSpan {
    span: Span,
    unit: Unit,
}

impl PartialEq for BackSpan {
    fn eq(&self, other: &Self) -> bool {
        self.unit == other.unit && self.span.fieldwise() == other.span.fieldwise()
    }
}

impl Bound {
    /// Reads it; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "now" {
            return Some(Self::Now);
        }
        let (text, zone) = match text.strip_suffix(']') {
            Some(text) => {
                let (text, zone) = text.split_once('[')?;
                (text, Some(TimeZone::get(zone).ok()?))
            }
            None => (text, None),
        };
        if text.starts_with('P') {
            let span: Span = text.parse().ok()?;
            let unit = smallest(text)?;
            return (!span.is_negative()).then_some(Self::Before { span: BackSpan { span, unit }, zone });
        }
        match Instant::parse(text)? {
            // Two words about the same thing.
            Instant::Exact(_) if zone.is_some() => None,
            instant => Some(Self::At(instant, zone)),
        }
    }

    /// The instant; `None` beyond the years that can be told.
    pub fn resolve(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Now => Some(now),
            Self::At(instant, own) => instant.in_zone(own.as_ref().unwrap_or(zone)),
            Self::Before { span, zone: own } => span.before(now, own.as_ref().unwrap_or(zone)),
        }
    }

    /// Whether it stays where it is.
    pub fn is_fixed(&self) -> bool {
        matches!(self, Self::At(..))
    }
}

impl BackSpan {
    fn before(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let now = now.to_zoned(zone.clone());
        let date = now.date();
        let begin = |date: jiff::civil::Date| date.to_zoned(zone.clone()).ok();
        let rounded = match self.unit {
            Unit::Year => begin(date.first_of_year())?,
            Unit::Month => begin(date.first_of_month())?,
            Unit::Week => {
                let back = Span::new().days(i32::from(date.weekday().to_monday_zero_offset()));
                begin(date.checked_sub(back).ok()?)?
            }
            Unit::Day => now.start_of_day().ok()?,
            unit => now.round(ZonedRound::new().smallest(unit).mode(jiff::RoundMode::Trunc)).ok()?,
        };
        rounded.checked_sub(self.span).ok().map(|zoned| zoned.timestamp())
    }
}

/// The smallest unit that an ISO 8601 duration names, also with a zero.
fn smallest(text: &str) -> Option<Unit> {
    let (date, time) = text.split_once('T').map_or((text, ""), |(date, time)| (date, time));
    let unit = match (time.chars().last(), date.chars().last()) {
        (Some('H'), _) => Unit::Hour,
        (Some('M'), _) => Unit::Minute,
        (Some('S'), _) => Unit::Second,
        (None, Some('Y')) => Unit::Year,
        (None, Some('M')) => Unit::Month,
        (None, Some('W')) => Unit::Week,
        (None, Some('D')) => Unit::Day,
        _ => return None,
    };
    Some(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, now: &str, zone: &str, expect: Option<&str>) {
        let zone = TimeZone::get(zone).unwrap();
        let found = Bound::parse(text).and_then(|bound| bound.resolve(now.parse().unwrap(), &zone));
        assert_eq!(found.map(|at| at.to_string()).as_deref(), expect, "{text}");
    }

    #[test]
    fn now_is_rounded_down_to_the_smallest_unit_before_it_is_counted_back() {
        // DIL's own example: 12:58 in Los Angeles, which is 20:58 UTC.
        let check = |text, expect| check(text, "2026-11-22T20:58:31Z", "America/Los_Angeles", Some(expect));
        check("now", "2026-11-22T20:58:31Z");
        check("P0DT0H0M", "2026-11-22T20:58:00Z");
        check("P0D", "2026-11-22T08:00:00Z");
        check("P1D", "2026-11-21T08:00:00Z");
        check("P0DT5H", "2026-11-22T15:00:00Z");
        check("PT5H", "2026-11-22T15:00:00Z");
        check("P2DT3H4M", "2026-11-20T17:54:00Z");
        check("P0W", "2026-11-16T08:00:00Z");
        check("P1M", "2026-10-01T07:00:00Z");
        check("P0Y", "2026-01-01T08:00:00Z");
        check("P1D[UTC]", "2026-11-21T00:00:00Z");
    }

    #[test]
    fn a_day_back_is_a_calendar_day() {
        check("P1D", "2024-04-01T12:00:00Z", "Europe/Vienna", Some("2024-03-30T23:00:00Z"));
        check("P2D", "2024-04-01T12:00:00Z", "Europe/Vienna", Some("2024-03-29T23:00:00Z"));
    }

    #[test]
    fn fixed_ones_may_bring_their_zone() {
        let now = "2024-04-01T12:00:00Z";
        check("2024-07-01", now, "UTC", Some("2024-07-01T00:00:00Z"));
        check("2024-07-01[Europe/Vienna]", now, "UTC", Some("2024-06-30T22:00:00Z"));
        check("2024-07-01T06:00:00[Europe/Vienna]", now, "UTC", Some("2024-07-01T04:00:00Z"));
        check("2024-07-01T06:00:00Z", now, "Europe/Vienna", Some("2024-07-01T06:00:00Z"));
    }

    #[test]
    fn refuses_what_it_would_have_to_guess() {
        for text in [
            "",
            "-",
            "P",
            "PT",
            "3d",
            "-P1D",
            "P1D.UTC",
            "P1D[Mars/Olympus]",
            "2024-07-01T06:00:00Z[Europe/Vienna]",
            "2024-07-01[",
            "yesterday",
            "P1DT",
        ] {
            check(text, "2024-04-01T12:00:00Z", "UTC", None);
        }
    }
}
