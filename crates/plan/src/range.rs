//! The stretch of time that a stage covers, read from its configuration.

use dil_model::config::TimeUnits;
use dil_model::{Error, ErrorKind, Result};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// `[from, to)` with the zone that its calendar steps follow.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Range {
    /// The first instant.
    pub(crate) from: Timestamp,
    /// The first instant after the last; not above `from` if nothing is inside.
    pub(crate) to: Timestamp,
    /// The zone of calendar steps and of times without offset.
    pub(crate) zone: TimeZone,
}

impl Range {
    /// Reads `from`, `to` and `timezone`.
    ///
    /// A date is its first instant in the zone; a date and time without offset is read in the zone, and if the clocks
    /// skip or repeat it, as RFC 5545 says: after the gap, the first of two.
    ///
    /// # Errors
    /// `Config` for what is no instant or no zone.
    pub(crate) fn read(time: &TimeUnits, now: Timestamp) -> Result<Self> {
        let zone = TimeZone::get(&time.timezone).map_err(|_| {
            Error::new(ErrorKind::Config, "plan/timezone", format!("`{}` is not a time zone", time.timezone))
                .hint("write an IANA name like Europe/Vienna, or UTC")
        })?;
        let wrong = |message| {
            Error::new(ErrorKind::Config, "plan/instant", message).hint(
                "write a date (2024-01-01), a date and time (2024-01-01T06:00:00), or one with its offset (2024-01-01T06:00:00+02:00)",
            )
        };
        let from = instant(&time.from, &zone).map_err(wrong)?;
        let to = if time.to == "now" { now } else { instant(&time.to, &zone).map_err(wrong)? };
        Ok(Self { from, to, zone })
    }
}

fn instant(text: &str, zone: &TimeZone) -> Result<Timestamp, String> {
    let text = text.trim();
    let wrong = || format!("`{text}` is not a date or a date and time");
    // jiff would also take `2024-01-01[Europe/Vienna]` and forget the zone.
    if text.contains('[') {
        return Err(wrong());
    }
    let local = if text.len() == "2024-01-01".len() {
        text.parse::<Date>().map_err(|_| wrong())?.to_datetime(jiff::civil::Time::midnight())
    } else if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    } else {
        let clock = text.get("2024-01-01".len()..).ok_or_else(wrong)?;
        if clock.contains(['+', '-', 'Z', 'z']) {
            return Err(wrong());
        }
        text.parse::<DateTime>().map_err(|_| wrong())?
    };
    zone.to_ambiguous_zoned(local)
        .compatible()
        .map(|zoned| zoned.timestamp())
        .map_err(|_| format!("`{text}` is beyond the years that can be told"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, zone: &str, expect: Option<&str>) {
        let zone = TimeZone::get(zone).unwrap();
        assert_eq!(instant(text, &zone).ok().map(|at| at.to_string()).as_deref(), expect, "{text}");
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
        for text in
            ["", "yesterday", "2024", "2024-13-01", "2024-02-30", "01.02.2024", "2024-01-01[Europe/Vienna]"]
        {
            check(text, "UTC", None);
        }
        for text in [
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
