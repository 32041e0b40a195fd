//! Single values as text: what JSON lines and CSV files spell the same way.

use std::io::Write as _;

use base64::Engine as _;
use dil_model::arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, Decimal128Array, PrimitiveArray, StringArray,
};
use dil_model::arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};

/// The values of one column that are not lists or structs.
pub(super) enum Scalars<'a> {
    Bool(&'a BooleanArray),
    Int32(&'a PrimitiveArray<Int32Type>),
    Int64(&'a PrimitiveArray<Int64Type>),
    Float32(&'a PrimitiveArray<Float32Type>),
    Float64(&'a PrimitiveArray<Float64Type>),
    Decimal(&'a Decimal128Array, i8),
    Date(&'a PrimitiveArray<Date32Type>),
    Timestamp(&'a PrimitiveArray<TimestampMicrosecondType>, Zone),
    Text(&'a StringArray),
    Binary(&'a BinaryArray),
}

/// What a timestamp's clock is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zone {
    Utc,
    Local,
}

/// How a value is written around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A number or truth value.
    Bare,
    /// Text made of plain ASCII without quotes, commas or control characters.
    Plain,
    /// Any text.
    Any,
}

impl<'a> Scalars<'a> {
    /// The column's values; `None` for a list, a struct or a type that no column has.
    pub(super) fn of(array: &'a dyn Array) -> Option<Self> {
        Some(match array.data_type() {
            DataType::Boolean => Self::Bool(array.as_boolean()),
            DataType::Int32 => Self::Int32(array.as_primitive()),
            DataType::Int64 => Self::Int64(array.as_primitive()),
            DataType::Float32 => Self::Float32(array.as_primitive()),
            DataType::Float64 => Self::Float64(array.as_primitive()),
            DataType::Decimal128(_, scale) => Self::Decimal(array.as_primitive(), *scale),
            DataType::Date32 => Self::Date(array.as_primitive()),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                let zone = if zone.is_some() { Zone::Utc } else { Zone::Local };
                Self::Timestamp(array.as_primitive(), zone)
            }
            DataType::Utf8 => Self::Text(array.as_string()),
            DataType::Binary => Self::Binary(array.as_binary()),
            _ => return None,
        })
    }

    pub(super) fn shape(&self) -> Shape {
        match self {
            Self::Bool(_)
            | Self::Int32(_)
            | Self::Int64(_)
            | Self::Float32(_)
            | Self::Float64(_)
            | Self::Decimal(..) => Shape::Bare,
            Self::Date(_) | Self::Timestamp(..) | Self::Binary(_) => Shape::Plain,
            Self::Text(_) => Shape::Any,
        }
    }

    /// The bytes of a text that must be escaped by whoever writes it.
    pub(super) fn text(&self, row: usize) -> Option<&'a [u8]> {
        match self {
            Self::Text(array) => Some(array.value(row).as_bytes()),
            _ => None,
        }
    }

    /// Appends a value that is not null. Dates and timestamps are RFC 3339, binary is base64, floats are the shortest
    /// text that reads back the same. `false` if the value has no spelling (NaN, infinity).
    pub(super) fn append(&self, row: usize, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Bool(array) => out.extend_from_slice(if array.value(row) { b"true" } else { b"false" }),
            Self::Int32(array) => append_int(i64::from(array.value(row)), out),
            Self::Int64(array) => append_int(array.value(row), out),
            Self::Float32(array) => return append_float(array.value(row), array.value(row).is_finite(), out),
            Self::Float64(array) => return append_float(array.value(row), array.value(row).is_finite(), out),
            Self::Decimal(array, scale) => append_decimal(array.value(row), *scale, out),
            Self::Date(array) => append_date(i64::from(array.value(row)), out),
            Self::Timestamp(array, zone) => append_timestamp(array.value(row), *zone, out),
            Self::Text(array) => out.extend_from_slice(array.value(row).as_bytes()),
            Self::Binary(array) => {
                out.extend_from_slice(
                    base64::engine::general_purpose::STANDARD.encode(array.value(row)).as_bytes(),
                );
            }
        }
        true
    }
}

const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
2021222324252627282930313233343536373839\
4041424344454647484950515253545556575859\
6061626364656667686970717273747576777879\
8081828384858687888990919293949596979899";

/// Two digits of a number below 100.
fn pair(value: u64) -> [u8; 2] {
    let at = (value as usize % 100) * 2;
    [PAIRS[at], PAIRS[at + 1]]
}

fn append_int(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let mut rest = value.unsigned_abs();
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    while rest >= 100 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&pair(rest % 100));
        rest /= 100;
    }
    at -= 2;
    digits[at..at + 2].copy_from_slice(&pair(rest));
    if rest < 10 {
        at += 1;
    }
    out.extend_from_slice(&digits[at..]);
}

/// The `Debug` form keeps `.0` and uses an exponent where the digits would be many; both are valid JSON.
fn append_float(value: impl std::fmt::Debug, finite: bool, out: &mut Vec<u8>) -> bool {
    // Writing into a vector cannot fail.
    finite && write!(out, "{value:?}").is_ok()
}

fn append_decimal(value: i128, scale: i8, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let digits = value.unsigned_abs().to_string();
    let scale = usize::try_from(scale).unwrap_or(0);
    if scale == 0 {
        out.extend_from_slice(digits.as_bytes());
        return;
    }
    let whole = digits.len().saturating_sub(scale);
    out.extend_from_slice(if whole == 0 { b"0" } else { &digits.as_bytes()[..whole] });
    out.push(b'.');
    out.extend(std::iter::repeat_n(b'0', scale.saturating_sub(digits.len())));
    out.extend_from_slice(&digits.as_bytes()[whole..]);
}

/// `2024-02-29`. Years beyond 9999 or before 0 get a sign and as many digits as they need (ISO 8601, expanded).
fn append_date(days: i64, out: &mut Vec<u8>) {
    // Years begin in March here, so that the leap day is the last one; eras have 400 years.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    if (0..=9999).contains(&year) {
        out.extend_from_slice(&pair(year.unsigned_abs() / 100));
        out.extend_from_slice(&pair(year.unsigned_abs()));
    } else {
        out.push(if year < 0 { b'-' } else { b'+' });
        out.extend_from_slice(format!("{:06}", year.unsigned_abs()).as_bytes());
    }
    let [m1, m2] = pair(month.unsigned_abs());
    let [d1, d2] = pair(day.unsigned_abs());
    out.extend_from_slice(&[b'-', m1, m2, b'-', d1, d2]);
}

fn append_timestamp(micros: i64, zone: Zone, out: &mut Vec<u8>) {
    const MICROS_PER_DAY: i64 = 86_400_000_000;
    append_date(micros.div_euclid(MICROS_PER_DAY), out);
    let of_day = micros.rem_euclid(MICROS_PER_DAY).unsigned_abs();
    let (second, fraction) = (of_day / 1_000_000, of_day % 1_000_000);
    let [h1, h2] = pair(second / 3600);
    let [m1, m2] = pair(second / 60 % 60);
    let [s1, s2] = pair(second % 60);
    out.extend_from_slice(&[b'T', h1, h2, b':', m1, m2, b':', s1, s2]);
    if fraction != 0 {
        let ([a, b], [c, d], [e, f]) = (pair(fraction / 10_000), pair(fraction / 100), pair(fraction));
        let digits = if fraction % 1000 == 0 { &[b'.', a, b, c][..] } else { &[b'.', a, b, c, d, e, f][..] };
        out.extend_from_slice(digits);
    }
    if zone == Zone::Utc {
        out.push(b'Z');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scalar;

    fn text(append: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        append(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn spells_dates_and_decimals() {
        for (days, spelt) in
            [(0, "1970-01-01"), (19_782, "2024-02-29"), (-719_528, "0000-01-01"), (-1, "1969-12-31")]
        {
            assert_eq!(text(|out| append_date(days, out)), spelt);
        }
        assert_eq!(text(|out| append_date(2_932_897, out)), "+010000-01-01");
        for (value, scale, spelt) in
            [(5, 2, "0.05"), (-1234, 2, "-12.34"), (7, 0, "7"), (0, 3, "0.000"), (-100, 2, "-1.00")]
        {
            assert_eq!(text(|out| append_decimal(value, scale, out)), spelt);
        }
        assert_eq!(text(|out| append_timestamp(1_500_000, Zone::Utc, out)), "1970-01-01T00:00:01.500Z");
        assert_eq!(text(|out| append_timestamp(-1, Zone::Local, out)), "1969-12-31T23:59:59.999999");
    }

    proptest! {
        #[test]
        fn what_is_spelt_is_read_back(int: i64, float: f64, decimal in -(10i128.pow(38) - 1)..10i128.pow(38), scale in 0i8..=38, micros in -62_000_000_000_000_000i64..250_000_000_000_000_000) {
            prop_assert_eq!(scalar::parse_i64(text(|out| append_int(int, out)).as_bytes()), Some(int));
            prop_assert_eq!(text(|out| append_int(int, out)), int.to_string());
            let mut out = Vec::new();
            if append_float(float, float.is_finite(), &mut out) {
                prop_assert_eq!(scalar::parse_f64(&out), Some(float));
            }
            let spelt = text(|out| append_decimal(decimal, scale, out));
            prop_assert_eq!(scalar::parse_decimal(spelt.as_bytes(), 38, scale), Some(decimal));
            let spelt = text(|out| append_timestamp(micros, Zone::Utc, out));
            prop_assert_eq!(scalar::parse_timestamp(spelt.as_bytes()), Some(micros));
        }
    }
}
