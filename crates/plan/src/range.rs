//! The stretch of time that a stage covers, read from its configuration.

use dil_model::config::TimeUnits;
use dil_model::setting::{Bound, Every};
use dil_model::{Error, ErrorKind, Result};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `[from, to)` with the zone that its calendar steps follow, and where which step is used.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Range {
    /// The first instant.
    pub(crate) from: Timestamp,
    /// Whether `from` moves with now.
    pub(crate) moving: bool,
    /// The first instant after the last; not above `from` if nothing is inside.
    pub(crate) to: Timestamp,
    /// The zone of calendar steps and of times without offset.
    pub(crate) zone: TimeZone,
    /// Where which step begins, ascending; the first at `from`.
    pub(crate) schemes: Vec<(Timestamp, Every)>,
}

impl Range {
    /// Reads `from`, `to`, `every`, `then` and `timezone`.
    ///
    /// # Errors
    /// `Config` for what is no instant or no zone, and for steps that are not in the order of time.
    pub(crate) fn read(time: &TimeUnits, now: Timestamp) -> Result<Self> {
        let zone = TimeZone::get(&time.timezone).map_err(|_| {
            Error::new(ErrorKind::Config, "plan/timezone", format!("`{}` is not a time zone", time.timezone))
                .hint("write an IANA name like Europe/Vienna, or UTC")
        })?;
        let bound = |text: &str| Bound::parse(text).ok_or_else(|| no_instant(text));
        let resolve = |bound: &Bound, text: &str| bound.resolve(now, &zone).ok_or_else(|| no_instant(text));
        let from = bound(&time.from)?;
        let moving = !from.is_fixed();
        let from = resolve(&from, &time.from)?;
        let to = resolve(&bound(&time.to)?, &time.to)?;
        let mut schemes = vec![(from, time.every)];
        let mut previous = if moving { None } else { Some(from) };
        for then in &time.then {
            let at = resolve(&bound(&then.from)?, &then.from)?;
            if previous.is_some_and(|previous| at <= previous) {
                let message = format!(
                    "`then` from {} is not after where the interval length before it begins",
                    then.from
                );
                return Err(Error::new(ErrorKind::Config, "plan/then", message)
                    .hint("list interval lengths in the order of time, each after `from`"));
            }
            previous = Some(at);
            // A moving `from` may have passed it.
            if at <= from {
                schemes = vec![(from, then.every)];
            } else {
                schemes.push((at, then.every));
            }
        }
        Ok(Self { from, moving, to, zone, schemes })
    }
}

fn no_instant(text: &str) -> Error {
    Error::new(ErrorKind::Config, "plan/instant", format!("`{text}` is not an instant")).hint(
        "write a date (2024-01-01), a date and time (2024-01-01T06:00:00), one with its offset (2024-01-01T06:00:00+02:00), \
         or an ISO 8601 duration before now (P7D)",
    )
}
