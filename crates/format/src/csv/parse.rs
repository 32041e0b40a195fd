//! The common spellings of numbers and instants, eight digits at a time.
//!
//! Each function reads the field `bytes[start..end]`, and may look at the bytes before it. `None` means that it is spelt
//! in another way; whether it is a value then is for [`crate::scalar`] to say. Without a loop over digits there is no
//! branch that depends on how many there are, which is what costs most.

/// Each byte 1.
const ONES: u64 = 0x0101_0101_0101_0101;
const ZEROS: u64 = ONES * b'0' as u64;
const HIGH_BITS: u64 = ONES << 7;

/// A truth value (`scalar::parse_bool`).
#[inline(always)]
pub(super) fn truth(bytes: &[u8], start: usize, end: usize) -> Option<bool> {
    match bytes.get(start..end)? {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// An integer (`scalar::parse_i64`).
#[inline(always)]
pub(super) fn int(bytes: &[u8], start: usize, end: usize) -> Option<i64> {
    let negative = bytes.get(start) == Some(&b'-');
    digits(bytes, start + usize::from(negative), end).map(|value| if negative { -value } else { value })
}

/// A double (`scalar::parse_f64`).
#[inline(always)]
pub(super) fn float(bytes: &[u8], start: usize, end: usize) -> Option<f64> {
    /// Up to here, every integer is a double.
    const EXACT_MAX: i64 = 1 << 53;
    let (negative, mantissa, places) =
        fixed(bytes, start, end).filter(|(_, mantissa, _)| *mantissa <= EXACT_MAX)?;
    // Both are exact, so the one division rounds correctly.
    let value = mantissa as f64 / FLOAT_POWERS.get(places)?;
    Some(if negative { -value } else { value })
}

/// A decimal (`scalar::parse_decimal`).
#[inline(always)]
pub(super) fn decimal(bytes: &[u8], start: usize, end: usize, precision: u8, scale: i8) -> Option<i128> {
    let (negative, mantissa, places) = fixed(bytes, start, end)?;
    let missing = usize::try_from(scale).ok()?.checked_sub(places)?;
    let value = mantissa.checked_mul(*INT_POWERS.get(missing)?)?;
    let fits = INT_POWERS.get(usize::from(precision)).is_none_or(|limit| value < *limit);
    fits.then(|| i128::from(if negative { -value } else { value }))
}

/// A date (`scalar::parse_date`).
#[inline(always)]
pub(super) fn date(bytes: &[u8], start: usize, end: usize) -> Option<i32> {
    days(bytes.get(start..end)?.try_into().ok()?)
}

/// An instant (`scalar::parse_timestamp`).
#[inline(always)]
pub(super) fn timestamp(bytes: &[u8], start: usize, end: usize) -> Option<i64> {
    let end = end.checked_sub(1).filter(|end| *end >= start && bytes[*end] == b'Z')?;
    local_timestamp(bytes, start, end)
}

const INT_POWERS: [i64; 19] = {
    let mut powers = [1; 19];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// The powers of ten that are exact and can follow sixteen digits.
const FLOAT_POWERS: [f64; 17] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16];

#[inline(always)]
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|word| u64::from_le_bytes(*word))
}

/// One to sixteen digits. `None` for anything else, and too near to the start of `bytes`.
#[inline(always)]
fn digits(bytes: &[u8], start: usize, end: usize) -> Option<i64> {
    let count = end.wrapping_sub(start);
    let low = word(bytes, end.wrapping_sub(8))?;
    match count {
        // What stands before the digits becomes zeros.
        1..=8 => eight_digits(keep_last(low ^ ZEROS, count)),
        9..=16 => {
            let high = word(bytes, end.wrapping_sub(16))?;
            let high = eight_digits(keep_last(high ^ ZEROS, count - 8))?;
            Some(high * 100_000_000 + eight_digits(low ^ ZEROS)?)
        }
        _ => None,
    }
}

/// The last `count` bytes of text, 1 to 8; they are the word's highest ones.
#[inline(always)]
fn keep_last(word: u64, count: usize) -> u64 {
    let shift = 64 - 8 * count as u32;
    word >> shift << shift
}

/// Whether each byte is 0 to 9.
#[inline(always)]
fn all_digits(values: u64) -> bool {
    ((values.wrapping_add(ONES * (0x7f - 9))) | values) & HIGH_BITS == 0
}

/// The number that eight bytes with values 0 to 9 spell, the first one the lowest byte.
#[inline(always)]
fn eight_digits(values: u64) -> Option<i64> {
    if !all_digits(values) {
        return None;
    }
    // Pairs of digits, then fours, then all eight: each multiplication adds what stands left of it.
    let pairs = values.wrapping_mul(10).wrapping_add(values >> 8);
    let left = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let right = (pairs >> 16 & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    Some((left.wrapping_add(right) >> 32).cast_signed())
}

/// `-12.50` as sign, 1250 and 2 places. `None` if it is spelt otherwise or has more than sixteen digits.
#[inline(always)]
fn fixed(bytes: &[u8], start: usize, end: usize) -> Option<(bool, i64, usize)> {
    let negative = bytes.get(start) == Some(&b'-');
    let start = start + usize::from(negative);
    let count = end.wrapping_sub(start);
    if !(1..=16).contains(&count) {
        return None;
    }
    let Some(places) = places(bytes, end, count) else {
        return digits(bytes, start, end).map(|value| (negative, value, 0));
    };
    let point = end - 1 - places;
    let whole = digits(bytes, start, point)?;
    let fraction = digits(bytes, point + 1, end)?;
    Some((negative, whole * INT_POWERS.get(places)? + fraction, places))
}

/// How many bytes follow the last point among the `count` bytes before `end`.
#[inline(always)]
fn places(bytes: &[u8], end: usize, count: usize) -> Option<usize> {
    let after_point = |word: u64| {
        let differs = word ^ (ONES * u64::from(b'.'));
        // A byte's high bit is set exactly if the byte is a point.
        let found = !(((differs & !HIGH_BITS) + !HIGH_BITS) | differs) & HIGH_BITS;
        (found != 0).then(|| found.leading_zeros() as usize / 8)
    };
    let low = after_point(word(bytes, end.wrapping_sub(8))?);
    let places = match low {
        Some(places) => places,
        None if count > 8 => 8 + after_point(word(bytes, end.wrapping_sub(16))?)?,
        None => return None,
    };
    (places < count).then_some(places)
}

/// Eight bytes of which some are digits.
struct Pattern {
    /// The text with zeros for digits.
    text: u64,
    /// What may be added to each byte's difference from `text` without reaching its high bit.
    room: u64,
}

const YEAR_MONTH: Pattern = Pattern::new(*b"0000-00-");
const TIME: Pattern = Pattern::new(*b"00:00:00");

impl Pattern {
    const fn new(text: [u8; 8]) -> Self {
        let mut room = [0x7f; 8];
        let mut at = 0;
        while at < room.len() {
            if text[at] == b'0' {
                room[at] = 0x7f - 9;
            }
            at += 1;
        }
        Self { text: u64::from_le_bytes(text), room: u64::from_le_bytes(room) }
    }

    /// The values of the digits, zeros between them.
    #[inline(always)]
    fn digits(&self, word: u64) -> Option<u64> {
        let values = word ^ self.text;
        ((values.wrapping_add(self.room) | values) & HIGH_BITS == 0).then_some(values)
    }
}

/// `2024-02-29` as days since 1970-01-01.
#[inline(always)]
fn days(text: &[u8; 10]) -> Option<i32> {
    let [.., d1, d2] = *text;
    let values = YEAR_MONTH.digits(word(text, 0)?)?;
    let (d1, d2) = (u32::from(d1.wrapping_sub(b'0')), u32::from(d2.wrapping_sub(b'0')));
    if d1 > 9 || d2 > 9 {
        return None;
    }
    let pairs = values.wrapping_mul(10).wrapping_add(values >> 8);
    let at = |byte: u32| (pairs >> (8 * byte)) as u32 & 0xff;
    let (year, month, day) = (at(0) * 100 + at(2), at(5), d1 * 10 + d2);
    // Days that not every month has are left to the slow way.
    if !(1..=12).contains(&month) || !(1..=28).contains(&day) {
        return None;
    }
    // Years begin in March here, and one era earlier, so that nothing is negative.
    let early = u32::from(month < 3);
    let (year, month) = (year + 400 - early, month + 12 * early);
    let century = year / 100;
    let days = year * 1461 / 4 - century + century / 4 + (153 * month - 457) / 5 + day;
    // Days from the first of March of that earlier era to 1970-01-01.
    Some(days.cast_signed() - 865_566)
}

/// A date and time without an offset (`scalar::parse_local_timestamp`): `2024-02-29T12:34:56.789`, with zero, three or
/// six digits of fraction.
#[inline(always)]
pub(super) fn local_timestamp(bytes: &[u8], start: usize, end: usize) -> Option<i64> {
    let text: &[u8; 19] = bytes.get(start..end)?.first_chunk()?;
    let days = days(text.first_chunk()?)?;
    if !matches!(text[10], b'T' | b' ') {
        return None;
    }
    let values = TIME.digits(word(text, 11)?)?;
    let pairs = values.wrapping_mul(10).wrapping_add(values >> 8);
    let at = |byte: u32| (pairs >> (8 * byte) & 0xff).cast_signed();
    let (hour, minute, second) = (at(0), at(3), at(6));
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let micros = match end - start - 19 {
        0 => 0,
        4 if bytes.get(start + 19) == Some(&b'.') => digits(bytes, start + 20, end)? * 1000,
        7 if bytes.get(start + 19) == Some(&b'.') => digits(bytes, start + 20, end)?,
        _ => return None,
    };
    Some((i64::from(days) * 86_400 + hour * 3600 + minute * 60 + second) * 1_000_000 + micros)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scalar;

    /// What is read here means the same there, whatever stands around the field.
    fn check(text: &str) {
        fn agrees<T: PartialEq + std::fmt::Debug>(found: Option<T>, wanted: Option<T>, text: &str) {
            assert!(found.is_none() || found == wanted, "{text}: {found:?} is not {wanted:?}");
        }
        for (before, after) in [("", ""), ("12345678,1234567.", ",99.9"), ("-.-.-.-.-.-.-.-.-", "")] {
            let around = format!("{before}{text}{after}");
            let (bytes, start, end) = (around.as_bytes(), before.len(), before.len() + text.len());
            let field = text.as_bytes();
            agrees(int(bytes, start, end), scalar::parse_i64(field), text);
            let bits = |value: Option<f64>| value.map(f64::to_bits);
            agrees(bits(float(bytes, start, end)), bits(scalar::parse_f64(field)), text);
            for (precision, scale) in [(10, 2), (38, 20), (18, 0), (3, 3)] {
                let wanted = scalar::parse_decimal(field, precision, scale);
                agrees(decimal(bytes, start, end, precision, scale), wanted, text);
            }
            agrees(date(bytes, start, end), scalar::parse_date(field), text);
            agrees(timestamp(bytes, start, end), scalar::parse_timestamp(field), text);
            agrees(local_timestamp(bytes, start, end), scalar::parse_local_timestamp(field), text);
        }
    }

    #[test]
    fn common_spellings_are_read() {
        let at = |text: &str| (format!("0123456789012345{text}").into_bytes(), 16, 16 + text.len());
        for text in ["1", "-12345678", "1234567890123456"] {
            let (bytes, start, end) = at(text);
            assert_eq!(int(&bytes, start, end), text.parse().ok());
            assert_eq!(float(&bytes, start, end), text.parse().ok());
        }
        let (bytes, start, end) = at("-1234.56");
        assert_eq!(float(&bytes, start, end), Some(-1234.56));
        assert_eq!(decimal(&bytes, start, end, 10, 3), Some(-1_234_560));
        let (bytes, start, end) = at("2024-02-28T23:59:59.001Z");
        assert_eq!(timestamp(&bytes, start, end), Some(1_709_164_799_001_000));
        assert_eq!(date(&bytes, start, start + 10), Some(19_781));
    }

    #[test]
    fn odd_spellings_mean_the_same() {
        for text in [
            "",
            "-",
            ".",
            "-.",
            "1.",
            ".5",
            "-.5",
            "1..2",
            "1.2.3",
            "--1",
            "+1",
            "0",
            "-0",
            "-0.0",
            "007",
            "1e5",
            "1.5e-3",
            "9007199254740993",
            "9007199254740992",
            "0.9007199254740993",
            "1234567890123456",
            "12345678901234567",
            "123456789.1234567",
            "1234567.",
            "99999999.99",
            "0.999",
            "1.000",
            "12:45678",
            "1/2",
            "\u{e4}",
            "0000-01-01",
            "0000-03-01",
            "9999-12-31",
            "2023-02-29",
            "2024-02-29",
            "2024-13-01",
            "2024-00-01",
            "2024-01-00",
            "2024-01-0:",
            "2024:01-01",
            "2024-01-01T00:00:00Z",
            "2024-12-31 23:59:59.999Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T23:59:60Z",
            "2024-01-01T00:00:00.123456Z",
            "2024-01-01T00:00:00.1234Z",
            "2024-01-01T00:00:00+01:00",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00.-12Z",
            "2024-01-01t00:00:00z",
        ] {
            check(text);
        }
    }

    #[test]
    fn every_day_is_the_same() {
        for year in (0..10_000).step_by(7) {
            for month in 1..=12 {
                check(&format!("{year:04}-{month:02}-28"));
            }
        }
    }

    proptest! {
        #[test]
        fn all_texts_mean_the_same(
            text in "[-]?[0-9]{0,19}|[-]?[0-9]{0,12}[.][0-9]{0,12}|[-+.e0-9:TZ]{0,24}|[0-9]{4}-[0-2][0-9]-[0-3][0-9]([T ][0-2][0-9]:[0-6][0-9]:[0-6][0-9]([.][0-9]{1,9})?Z?)?",
        ) {
            check(&text);
        }
    }
}
