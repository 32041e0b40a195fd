//! Points in time as people and programs write them down.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

/// A date, or a date and time with or without an offset from UTC, in ISO 8601.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instant {
    /// With its offset: `2024-01-31T06:00:00+02:00`, `2024-01-31T06:00:00Z`.
    Exact(Timestamp),
    /// What a clock on some wall shows: `2024-01-31T06:00:00`. A date is its midnight.
    Local(DateTime),
}

const DATE_LENGTH: usize = "2024-01-31".len();

impl Instant {
    /// Reads it; nothing is guessed and no part is passed over. `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        // jiff would take a zone in brackets behind a date, and forget it.
        if text.contains('[') {
            return None;
        }
        if text.len() == DATE_LENGTH {
            return text.parse::<Date>().ok().map(|date| Self::Local(date.to_datetime(Time::midnight())));
        }
        if let Ok(exact) = text.parse() {
            return Some(Self::Exact(exact));
        }
        // And so it would an offset behind a date without a time.
        let clock = text.get(DATE_LENGTH..)?;
        if clock.contains(['+', '-', 'Z', 'z']) { None } else { text.parse().ok().map(Self::Local) }
    }

    /// The instant, where what has no offset is read in `zone`; `None` beyond the years that can be told.
    ///
    /// Where the clocks skip or repeat a time, RFC 5545 decides: after the gap, the first of two.
    pub fn in_zone(self, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Exact(exact) => Some(exact),
            Self::Local(local) => {
                zone.to_ambiguous_zoned(local).compatible().ok().map(|zoned| zoned.timestamp())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, zone: &str, expect: Option<&str>) {
        let zone = TimeZone::get(zone).unwrap();
        let found = Instant::parse(text).and_then(|instant| instant.in_zone(&zone));
        assert_eq!(found.map(|at| at.to_string()).as_deref(), expect, "{text}");
    }

    #[test]
    fn a_date_is_midnight_in_the_zone() {
        check("2024-01-01", "UTC", Some("2024-01-01T00:00:00Z"));
        check("2024-07-01", "Europe/Vienna", Some("2024-06-30T22:00:00Z"));
        check("2024-01-01", "Asia/Kathmandu", Some("2023-12-31T18:15:00Z"));
    }

    #[test]
    fn a_time_without_offset_is_in_the_zone_and_one_with_offset_is_not() {
        check("2024-07-01T06:00:00", "Europe/Vienna", Some("2024-07-01T04:00:00Z"));
        check("2024-07-01T06:00", "Europe/Vienna", Some("2024-07-01T04:00:00Z"));
        check("2024-07-01 06:00:00.5", "Europe/Vienna", Some("2024-07-01T04:00:00.5Z"));
        check("2024-07-01T06:00:00+05:45", "Europe/Vienna", Some("2024-07-01T00:15:00Z"));
        check("2024-07-01T06:00:00Z", "Europe/Vienna", Some("2024-07-01T06:00:00Z"));
    }

    #[test]
    fn a_skipped_time_moves_behind_the_gap_and_a_repeated_one_is_the_first() {
        check("2024-03-31T02:30:00", "Europe/Vienna", Some("2024-03-31T01:30:00Z"));
        check("2024-10-27T02:30:00", "Europe/Vienna", Some("2024-10-27T00:30:00Z"));
        check("2011-12-30", "Pacific/Apia", Some("2011-12-30T10:00:00Z"));
    }

    #[test]
    fn refuses_what_it_would_have_to_guess() {
        for text in [
            "",
            "yesterday",
            "2024",
            "2024-13-01",
            "2024-02-30",
            "01.02.2024",
            " 2024-01-01",
            "2024-01-01[Europe/Vienna]",
            "2024-01-01+02:00",
            "2024-01-01T25:00:00",
            "2024-01-01T06:00:00[Europe/Vienna]",
            "2024-01-01Z",
            "P3D",
        ] {
            check(text, "UTC", None);
        }
    }
}
