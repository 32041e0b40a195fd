//! Times as sources spell them.

use std::sync::Arc;

use dil_model::arrow::array::{Array, ArrayRef, PrimitiveArray, new_null_array};
use dil_model::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use dil_model::setting::Instant;
use jiff::civil::{Date, DateTime};
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::cast::{Failure, each_of, each_text, number, to_float64, to_int64};

pub(crate) const MICROS_PER_DAY: i64 = 86_400_000_000;

/// How a column spells times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reading {
    EpochSeconds,
    EpochMilliseconds,
    Iso,
    Pattern(String),
}

impl Reading {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "epoch_s" => Ok(Self::EpochSeconds),
            "epoch_ms" => Ok(Self::EpochMilliseconds),
            "iso" => Ok(Self::Iso),
            pattern if pattern.contains('%') => {
                // Formatting knows the same directives, so a wrong one is found before the first row.
                let trial = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
                match strtime::format(pattern, &trial) {
                    Ok(_) => Ok(Self::Pattern(pattern.to_owned())),
                    Err(cause) => Err(format!("the pattern `{pattern}` is wrong: {cause}")),
                }
            }
            other => Err(format!("`{other}` is no way to spell a time")),
        }
    }

    /// The power of ten that turns the number into microseconds, for epochs.
    fn epoch_scale(&self) -> Option<i8> {
        match self {
            Self::EpochSeconds => Some(6),
            Self::EpochMilliseconds => Some(3),
            Self::Iso | Self::Pattern(_) => None,
        }
    }
}

impl std::fmt::Display for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::EpochSeconds => "epoch_s",
            Self::EpochMilliseconds => "epoch_ms",
            Self::Iso => "iso",
            Self::Pattern(pattern) => pattern,
        })
    }
}

/// The zone of that IANA name.
pub(crate) fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| format!("`{name}` is not a time zone"))
}

pub(crate) fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Reads a column of times; those without offset are in `zone`. Parts below a microsecond are cut off.
///
/// Epochs may be integers, floats, decimals or texts, as long as they are whole microseconds in decimal notation.
pub(crate) fn instants(source: &ArrayRef, reading: &Reading, zone: &TimeZone) -> Result<ArrayRef, Failure> {
    let unsupported = || Failure::cannot(source.data_type(), "timestamp", "`as` reads numbers and texts");
    let made: PrimitiveArray<TimestampMicrosecondType> = match (source.data_type(), reading.epoch_scale()) {
        (DataType::Null, _) => return Ok(new_null_array(&timestamp_type(), source.len())),
        (DataType::Timestamp(TimeUnit::Microsecond, Some(_)), None) => return Ok(ArrayRef::clone(source)),
        (DataType::Int32 | DataType::Int64, Some(scale)) => {
            let factor = 10_i64.pow(u32::from(scale.unsigned_abs()));
            each_of::<Int64Type, _>(&to_int64(source), |v| within(v.checked_mul(factor)?))?
        }
        (DataType::Float32 | DataType::Float64, Some(scale)) => {
            each_of::<Float64Type, _>(&to_float64(source), |v| epoch(&v.to_string(), scale))?
        }
        (DataType::Decimal128(_, have), Some(scale)) => {
            let have = *have;
            each_of::<Decimal128Type, _>(source, |v| {
                within(i64::try_from(number::rescale(v, have, scale)?).ok()?)
            })?
        }
        (DataType::Utf8, Some(scale)) => each_text(source, |text| epoch(text, scale))?,
        (DataType::Utf8, None) => each_text(source, |text| local_or_instant(text, reading, zone))?,
        (DataType::Int32 | DataType::Int64, None) => {
            each_of::<Int64Type, _>(&to_int64(source), |v| local_or_instant(&v.to_string(), reading, zone))?
        }
        _ => return Err(unsupported()),
    };
    Ok(Arc::new(made.with_timezone("UTC")))
}

/// Dates and local times taken from instants in `zone`, and instants from local times; `None` for any other pair.
pub(crate) fn across_zone(
    source: &ArrayRef,
    wanted: &DataType,
    zone: &TimeZone,
) -> Result<Option<ArrayRef>, Failure> {
    use DataType::{Date32, Timestamp as At};
    const US: TimeUnit = TimeUnit::Microsecond;
    let zoned = |v: i64| Timestamp::from_microsecond(v).ok().map(|at| at.to_zoned(zone.clone()));
    Ok(Some(match (source.data_type(), wanted) {
        (At(US, Some(_)), Date32) => {
            Arc::new(each_of::<TimestampMicrosecondType, Date32Type>(source, |v| days(zoned(v)?.date()))?)
        }
        (At(US, Some(_)), At(US, None)) => Arc::new(each_of::<
            TimestampMicrosecondType,
            TimestampMicrosecondType,
        >(source, |v| micros(zoned(v)?.datetime()))?),
        (At(US, None), At(US, Some(_))) => {
            let made = each_of::<TimestampMicrosecondType, TimestampMicrosecondType>(source, |v| {
                in_zone(datetime(v)?, zone)
            })?;
            Arc::new(made.with_timezone("UTC"))
        }
        (Date32, At(US, Some(_))) => {
            let made = each_of::<Date32Type, TimestampMicrosecondType>(source, |v| {
                in_zone(date(v)?.to_datetime(jiff::civil::Time::midnight()), zone)
            })?;
            Arc::new(made.with_timezone("UTC"))
        }
        _ => return Ok(None),
    }))
}

fn epoch(text: &str, scale: i8) -> Option<i64> {
    within(i64::try_from(number::decimal(text, scale)?).ok()?)
}

/// Only instants that can be told; a time in seconds read as milliseconds is far outside.
fn within(microseconds: i64) -> Option<i64> {
    Timestamp::from_microsecond(microseconds).ok().map(|_| microseconds)
}

fn local_or_instant(text: &str, reading: &Reading, zone: &TimeZone) -> Option<i64> {
    match reading {
        Reading::Pattern(pattern) => pattern_instant(pattern, text, zone),
        _ => Instant::parse(text)?.in_zone(zone).map(floor),
    }
}

fn pattern_instant(pattern: &str, text: &str, zone: &TimeZone) -> Option<i64> {
    let parsed = BrokenDownTime::parse(pattern, text).ok()?;
    if parsed.iana_time_zone().is_some() {
        return parsed.to_zoned().ok().map(|zoned: Zoned| floor(zoned.timestamp()));
    }
    if parsed.offset().is_some() || parsed.timestamp().is_some() {
        return parsed.to_timestamp().ok().map(floor);
    }
    in_zone(parsed.to_datetime().ok()?, zone)
}

fn in_zone(local: DateTime, zone: &TimeZone) -> Option<i64> {
    Instant::Local(local).in_zone(zone).map(floor)
}

fn floor(at: Timestamp) -> i64 {
    // `as_microsecond` cuts towards zero, which before 1970 would be upwards.
    let up = at.as_nanosecond().rem_euclid(1_000) != 0 && at.as_nanosecond() < 0;
    at.as_microsecond() - i64::from(up)
}

/// An instant in ISO 8601 with its offset, as microseconds.
pub(crate) fn iso_instant(text: &str) -> Option<i64> {
    match Instant::parse(text)? {
        Instant::Exact(exact) => Some(floor(exact)),
        Instant::Local(_) => None,
    }
}

/// A date, or a date and time, without offset.
pub(crate) fn iso_local(text: &str) -> Option<DateTime> {
    match Instant::parse(text)? {
        Instant::Exact(_) => None,
        Instant::Local(local) => Some(local),
    }
}

/// A date as `2024-01-31` and nothing else.
pub(crate) fn iso_date(text: &str) -> Option<Date> {
    if text.len() == "2024-01-31".len() { text.parse().ok() } else { None }
}

pub(crate) fn days(date: Date) -> Option<i32> {
    let midnight = date.to_zoned(TimeZone::UTC).ok()?.timestamp();
    i32::try_from(midnight.as_second().div_euclid(86_400)).ok()
}

pub(crate) fn micros(local: DateTime) -> Option<i64> {
    local.to_zoned(TimeZone::UTC).ok().map(|zoned| floor(zoned.timestamp()))
}

pub(crate) fn date(days: i32) -> Option<Date> {
    Timestamp::from_second(i64::from(days) * 86_400).ok().map(|at| at.to_zoned(TimeZone::UTC).date())
}

pub(crate) fn datetime(microseconds: i64) -> Option<DateTime> {
    Timestamp::from_microsecond(microseconds).ok().map(|at| at.to_zoned(TimeZone::UTC).datetime())
}

#[cfg(test)]
mod tests {
    use dil_model::arrow::array::{AsArray as _, StringArray};
    use dil_model::setting::ColumnType;

    use super::*;
    use crate::cast::cast;

    /// Reads `value`, given as a column of type `spelt`, in Vienna.
    fn check(spelt: &str, value: &str, reading: &str, expect: Option<&str>) {
        let text: ArrayRef = Arc::new(StringArray::from(vec![value]));
        let column = cast(&text, &ColumnType::parse(spelt).unwrap()).unwrap();
        let found =
            match instants(&column, &Reading::parse(reading).unwrap(), &zone("Europe/Vienna").unwrap()) {
                Ok(made) => Some(
                    Timestamp::from_microsecond(made.as_primitive::<TimestampMicrosecondType>().value(0))
                        .unwrap()
                        .to_string(),
                ),
                Err(Failure::Misfit { row: 0, .. }) => None,
                Err(other) => panic!("{spelt} {value}: {other:?}"),
            };
        assert_eq!(found.as_deref(), expect, "{spelt} {value} {reading}");
    }

    #[test]
    fn an_epoch_may_be_any_number_of_whole_microseconds() {
        check("int32", "1704067200", "epoch_s", Some("2024-01-01T00:00:00Z"));
        check("float64", "1704067200.123456", "epoch_s", Some("2024-01-01T00:00:00.123456Z"));
        check("float64", "1704067200123.5", "epoch_ms", Some("2024-01-01T00:00:00.1235Z"));
        check("decimal(20,3)", "1704067200.500", "epoch_s", Some("2024-01-01T00:00:00.5Z"));
        check("text", "-0.000001", "epoch_s", Some("1969-12-31T23:59:59.999999Z"));
        check("decimal(20,9)", "0.0000001", "epoch_s", None);
        check("text", "0.0000001", "epoch_s", None);
        check("float64", "NaN", "epoch_s", None);
        check("text", "1.7e9", "epoch_s", None);
        // Milliseconds taken for seconds are far beyond the calendar.
        check("int64", "1704067200000", "epoch_s", None);
        check("int64", "9223372036854775807", "epoch_ms", None);
    }

    #[test]
    fn a_pattern_may_hold_an_offset_or_a_zone() {
        check("text", "2024-07-01 06:00 +0545", "%Y-%m-%d %H:%M %z", Some("2024-07-01T00:15:00Z"));
        check("text", "2024-07-01 06:00 Asia/Tokyo", "%Y-%m-%d %H:%M %Q", Some("2024-06-30T21:00:00Z"));
        check("text", "Mon, 01 Jul 2024", "%a, %d %b %Y", Some("2024-06-30T22:00:00Z"));
        check("text", "Tue, 01 Jul 2024", "%a, %d %b %Y", None);
        check("text", "@1704067200", "@%s", Some("2024-01-01T00:00:00Z"));
        check("text", "2024-02-30", "%Y-%m-%d", None);
        check("text", "2024-02-28 and more", "%Y-%m-%d", None);
    }

    #[test]
    fn iso_takes_dates_and_times_with_or_without_offset() {
        check("text", "2024-07-01", "iso", Some("2024-06-30T22:00:00Z"));
        check("text", "2024-07-01T06:00:00.5", "iso", Some("2024-07-01T04:00:00.5Z"));
        check("text", "2024-07-01 06:00-0700", "iso", Some("2024-07-01T13:00:00Z"));
        check("timestamp", "2024-07-01T06:00:00Z", "iso", Some("2024-07-01T06:00:00Z"));
        for text in ["", "2024-07", "01/07/2024", "2024-07-01+02:00", "2024-07-01T06:00:00[Asia/Tokyo]"] {
            check("text", text, "iso", None);
        }
    }

    #[test]
    fn a_reading_is_checked_before_the_first_row() {
        for (text, message) in
            [("epoch", "`epoch` is no way to spell a time"), ("%d/%!", "the pattern `%d/%!` is wrong")]
        {
            assert!(Reading::parse(text).is_err_and(|found| found.starts_with(message)), "{text}");
        }
    }
}
