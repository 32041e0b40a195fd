//! The stretch of time that a stage covers, read from its configuration.

use dil_model::config::TimeUnits;
use dil_model::setting::Instant;
use dil_model::{Error, ErrorKind, Result};
use jiff::Timestamp;
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
    /// # Errors
    /// `Config` for what is no instant or no zone.
    pub(crate) fn read(time: &TimeUnits, now: Timestamp) -> Result<Self> {
        let zone = TimeZone::get(&time.timezone).map_err(|_| {
            Error::new(ErrorKind::Config, "plan/timezone", format!("`{}` is not a time zone", time.timezone))
                .hint("write an IANA name like Europe/Vienna, or UTC")
        })?;
        let instant = |text: &str| {
            Instant::parse(text).and_then(|instant| instant.in_zone(&zone)).ok_or_else(|| {
                Error::new(ErrorKind::Config, "plan/instant", format!("`{text}` is not an instant")).hint(
                    "write a date (2024-01-01), a date and time (2024-01-01T06:00:00), or one with its offset (2024-01-01T06:00:00+02:00)",
                )
            })
        };
        let from = instant(&time.from)?;
        let to = if time.to == "now" { now } else { instant(&time.to)? };
        Ok(Self { from, to, zone })
    }
}
