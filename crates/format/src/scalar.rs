//! Single values out of their text: what JSON and CSV agree on.
//!
//! Everything here is strict and exact: a text is a value of the type or it is not. Nothing is trimmed, guessed or rounded,
//! except that a timestamp's digits beyond microseconds are cut off, as its column cannot hold them.

/// Digits that always fit an `i64` without a check.
const DIGITS_SAFE: usize = 18;

const SECONDS_PER_DAY: i64 = 86_400;
const MICROS_PER_SECOND: i64 = 1_000_000;

/// `-`, then digits. `None` beyond the range, for a `+`, for anything else.
pub(crate) fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    if digits.len() <= DIGITS_SAFE {
        let mut value: i64 = 0;
        for byte in digits {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            value = value * 10 + i64::from(digit);
        }
        return Some(if negative { -value } else { value });
    }
    // Negative values are summed downwards, because the smallest one has no positive counterpart.
    let mut value: i64 = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?;
        value = if negative {
            value.checked_sub(i64::from(digit))?
        } else {
            value.checked_add(i64::from(digit))?
        };
    }
    Some(value)
}

/// A decimal number with an optional fraction and exponent, rounded to the nearest double. `None` for `inf`, `nan` and for
/// what is too large for a finite double.
pub(crate) fn parse_f64(text: &[u8]) -> Option<f64> {
    let first = match text {
        [b'-', first, ..] | [first, ..] => *first,
        [] => return None,
    };
    if !(first.is_ascii_digit() || first == b'.') {
        return None;
    }
    fast_float2::parse(text).ok().filter(|value: &f64| value.is_finite())
}

/// `true` or `false`, also capitalised or in capitals.
pub(crate) fn parse_bool(text: &[u8]) -> Option<bool> {
    match text {
        b"true" | b"True" | b"TRUE" => Some(true),
        b"false" | b"False" | b"FALSE" => Some(false),
        _ => None,
    }
}

/// `2024-02-29` as days since 1970-01-01; the day must exist.
pub(crate) fn parse_date(text: &[u8]) -> Option<i32> {
    let text: &[u8; 10] = text.try_into().ok()?;
    date_days(text)
}

/// An instant (RFC 3339) in microseconds since 1970-01-01 UTC: `T` or a blank between date and time, up to nine digits of
/// fraction, then `Z` or an offset. The offset may be spelt `+02:00`, `+0200` or `+02`, because vendors do.
pub(crate) fn parse_timestamp(text: &[u8]) -> Option<i64> {
    let (local, rest) = date_time(text)?;
    let offset_minutes = match rest {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] | [sign @ (b'+' | b'-'), h1, h2, m1, m2] => {
            offset(*sign, two_digits(*h1, *h2)?, two_digits(*m1, *m2)?)?
        }
        [sign @ (b'+' | b'-'), h1, h2] => offset(*sign, two_digits(*h1, *h2)?, 0)?,
        _ => return None,
    };
    Some(local - offset_minutes * 60 * MICROS_PER_SECOND)
}

/// A date and time without an offset, in microseconds since 1970-01-01 00:00 of whatever clock it was.
pub(crate) fn parse_local_timestamp(text: &[u8]) -> Option<i64> {
    let (local, rest) = date_time(text)?;
    rest.is_empty().then_some(local)
}

/// A number as an integer of `10^-scale`. Exact: a digit other than zero beyond `scale`, and more digits than `precision`, are
/// `None`. An exponent is fine as long as the value is.
pub(crate) fn parse_decimal(text: &[u8], precision: u8, scale: i8) -> Option<i128> {
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (mantissa, exponent) = match memchr::memchr2(b'e', b'E', unsigned) {
        Some(at) => (&unsigned[..at], parse_exponent(&unsigned[at + 1..])?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = match memchr::memchr(b'.', mantissa) {
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        None => (mantissa, &[][..]),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // Digits to the left of the last one that the column keeps; it may lie before the first or beyond the last digit.
    let kept = i64::try_from(whole.len()).ok()? + exponent + i64::from(scale);
    let mut value: i128 = 0;
    let mut at: i64 = 0;
    for byte in whole.iter().chain(fraction) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        if at < kept {
            value = value.checked_mul(10)?.checked_add(i128::from(digit))?;
        } else if digit != 0 {
            return None;
        }
        at += 1;
    }
    if value != 0 && kept > at {
        let missing = u32::try_from(kept - at).ok()?;
        value = value.checked_mul(10i128.checked_pow(missing)?)?;
    }
    if value >= 10i128.checked_pow(u32::from(precision))? {
        return None;
    }
    Some(if negative { -value } else { value })
}

/// The digits of an exponent; saturates far beyond any column, so that `0e999999999999` is still zero.
fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = parse_i64(digits).unwrap_or(i64::MAX).min(1 << 40);
    Some(if negative { -value } else { value })
}

/// The date and time at the start of `text` in microseconds, and what follows.
fn date_time(text: &[u8]) -> Option<(i64, &[u8])> {
    let (head, rest) = text.split_first_chunk::<19>()?;
    let [y1, y2, y3, y4, d1, m1, m2, d2, day1, day2, between, h1, h2, c1, n1, n2, c2, s1, s2] = *head;
    if !matches!(between, b'T' | b't' | b' ') || c1 != b':' || c2 != b':' {
        return None;
    }
    let days = date_days(&[y1, y2, y3, y4, d1, m1, m2, d2, day1, day2])?;
    let (hours, minutes, seconds) = (two_digits(h1, h2)?, two_digits(n1, n2)?, two_digits(s1, s2)?);
    // 60 is a leap second; it is the same instant as the next minute's start.
    if hours > 23 || minutes > 59 || seconds > 60 {
        return None;
    }
    let (fraction, rest) = fraction_micros(rest)?;
    let second = i64::from(days) * SECONDS_PER_DAY + hours * 3600 + minutes * 60 + seconds;
    Some((second * MICROS_PER_SECOND + fraction, rest))
}

fn fraction_micros(text: &[u8]) -> Option<(i64, &[u8])> {
    let [b'.', digits @ ..] = text else { return Some((0, text)) };
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&length) {
        return None;
    }
    let micros =
        (0..6).fold(0, |sum, at| sum * 10 + if at < length { i64::from(digits[at] - b'0') } else { 0 });
    Some((micros, &digits[length..]))
}

fn offset(sign: u8, hours: i64, minutes: i64) -> Option<i64> {
    if hours > 23 || minutes > 59 {
        return None;
    }
    let offset = hours * 60 + minutes;
    Some(if sign == b'-' { -offset } else { offset })
}

fn two_digits(high: u8, low: u8) -> Option<i64> {
    let (high, low) = (high.wrapping_sub(b'0'), low.wrapping_sub(b'0'));
    if high > 9 || low > 9 {
        return None;
    }
    Some(i64::from(high * 10 + low))
}

fn date_days(text: &[u8; 10]) -> Option<i32> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *text else { return None };
    let year = two_digits(y1, y2)? * 100 + two_digits(y3, y4)?;
    let (month, day) = (two_digits(m1, m2)?, two_digits(d1, d2)?);
    if !(1..=12).contains(&month) || day < 1 || day > month_days(year, month) {
        return None;
    }
    // Years begin in March here, so that the leap day is the last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let days = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year;
    // Days from 0000-03-01 to 1970-01-01.
    i32::try_from(days - 719_468).ok()
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers_end_where_their_type_ends() {
        for (text, value) in [
            ("0", Some(0)),
            ("-7", Some(-7)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("99999999999999999999", None),
            ("", None),
            ("-", None),
            ("+1", None),
            ("1.0", None),
            (" 1", None),
        ] {
            assert_eq!(parse_i64(text.as_bytes()), value, "{text}");
        }
    }

    #[test]
    fn floats_are_finite_numbers() {
        for (text, value) in [("1", 1.0), ("-1.5", -1.5), ("1e3", 1000.0), ("5e-324", 5e-324), ("0.1", 0.1)] {
            assert_eq!(parse_f64(text.as_bytes()), Some(value), "{text}");
        }
        for text in ["", "-", "inf", "-inf", "nan", "Infinity", "1e999", "1x", "--1", "1,5", "+1"] {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_date_must_exist() {
        for (text, days) in [
            ("1970-01-01", Some(0)),
            ("1969-12-31", Some(-1)),
            ("2024-02-29", Some(19_782)),
            ("0000-01-01", Some(-719_528)),
            ("9999-12-31", Some(2_932_896)),
            ("2023-02-29", None),
            ("1900-02-29", None),
            ("2024-13-01", None),
            ("2024-04-31", None),
            ("2024-00-10", None),
            ("2024-1-10", None),
            ("2024/01/10", None),
        ] {
            assert_eq!(parse_date(text.as_bytes()), days, "{text}");
        }
    }

    #[test]
    fn a_timestamp_is_an_instant() {
        let noon = 1_704_110_400_000_000;
        for (text, micros) in [
            ("2024-01-01T12:00:00Z", Some(noon)),
            ("2024-01-01 12:00:00z", Some(noon)),
            ("2024-01-01T14:00:00+02:00", Some(noon)),
            ("2024-01-01T14:00:00.000+0200", Some(noon)),
            ("2024-01-01T08:30:00-03:30", Some(noon)),
            ("2024-01-01T13:00:00+01", Some(noon)),
            ("2024-01-01T12:00:00.5Z", Some(noon + 500_000)),
            ("2024-01-01T12:00:00.123456789Z", Some(noon + 123_456)),
            ("2024-01-01T11:59:60Z", Some(noon)),
            ("2024-01-01T12:00:00", None),
            ("2024-01-01T12:00:00.Z", None),
            ("2024-01-01T12:00:00.1234567890Z", None),
            ("2024-01-01T24:00:00Z", None),
            ("2024-01-01T12:00Z", None),
            ("2024-01-01", None),
            ("2024-01-01T12:00:00+25:00", None),
        ] {
            assert_eq!(parse_timestamp(text.as_bytes()), micros, "{text}");
        }
        assert_eq!(parse_local_timestamp(b"2024-01-01T12:00:00"), Some(noon));
        assert_eq!(parse_local_timestamp(b"2024-01-01T12:00:00Z"), None);
    }

    #[test]
    fn decimals_are_never_rounded() {
        for (text, value) in [
            ("12.34", Some(1234)),
            ("-12.3", Some(-1230)),
            ("12", Some(1200)),
            ("12.3400000000000000000000000000000000000000000000000000", Some(1234)),
            ("12.345", None),
            ("1.2e1", Some(1200)),
            ("1234e-2", Some(1234)),
            ("1234e-3", None),
            ("1230e-3", Some(123)),
            ("0e99999999999999999999", Some(0)),
            ("1e99999999999999999999", None),
            ("99999999.99", Some(9_999_999_999)),
            ("100000000.00", None),
            ("", None),
            (".", None),
            ("1e", None),
            ("1.2.3", None),
            ("+1", None),
        ] {
            assert_eq!(parse_decimal(text.as_bytes(), 10, 2), value, "{text}");
        }
        assert_eq!(parse_decimal(&[b'9'; 38], 38, 0), Some(10i128.pow(38) - 1));
        assert_eq!(parse_decimal(&[b'9'; 39], 38, 0), None);
    }

    proptest! {
        #[test]
        fn every_integer_comes_back(value: i64) {
            prop_assert_eq!(parse_i64(value.to_string().as_bytes()), Some(value));
        }

        #[test]
        fn every_finite_float_comes_back(value in any::<f64>().prop_filter("finite", |value| value.is_finite())) {
            prop_assert_eq!(parse_f64(format!("{value:e}").as_bytes()), Some(value));
        }

        #[test]
        fn every_instant_comes_back(micros in -62_000_000_000_000_000i64..250_000_000_000_000_000) {
            let text = jiff::Timestamp::from_microsecond(micros).map(|t| t.to_string());
            prop_assert_eq!(text.ok().and_then(|text| parse_timestamp(text.as_bytes())), Some(micros));
        }

        #[test]
        fn no_text_panics(text: Vec<u8>) {
            let _ = (parse_i64(&text), parse_f64(&text), parse_date(&text), parse_timestamp(&text));
            let _ = (parse_local_timestamp(&text), parse_decimal(&text, 38, 9), parse_bool(&text));
        }
    }
}
