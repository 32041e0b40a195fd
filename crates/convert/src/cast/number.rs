//! Decimal notation, exactly.

/// Ten to the `exponent`; `None` beyond what 128 bits hold.
pub(crate) fn power(exponent: u8) -> Option<i128> {
    10_i128.checked_pow(u32::from(exponent))
}

/// Reads `-12.50` as a number of units of ten to the minus `scale`. No exponent, no separators; further digits must be
/// zeros.
pub(crate) fn decimal(text: &str, scale: i8) -> Option<i128> {
    let scale = usize::try_from(scale).ok()?;
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let (kept, rest) = fraction.split_at(fraction.len().min(scale));
    if rest.bytes().any(|byte| byte != b'0') {
        return None;
    }
    let zeros = std::iter::repeat_n(b'0', scale - kept.len());
    let mut value = 0_i128;
    for digit in whole.bytes().chain(kept.bytes()).chain(zeros) {
        value = value.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    Some(if negative { -value } else { value })
}

/// The same number in units of ten to the minus `to`; `None` if it is not a whole number of them.
pub(crate) fn rescale(value: i128, from: i8, to: i8) -> Option<i128> {
    let factor = power(from.abs_diff(to))?;
    if to >= from { value.checked_mul(factor) } else { (value % factor == 0).then_some(value / factor) }
}

/// The number in decimal notation, with all digits that its scale has.
pub(crate) fn spell(value: i128, scale: i8) -> String {
    let Some(places) = usize::try_from(scale).ok().filter(|places| *places > 0) else {
        return value.to_string();
    };
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    format!("{}{whole}.{fraction}", if value < 0 { "-" } else { "" })
}

/// Whether a text means infinity or not-a-number, rather than a number too large.
pub(crate) fn is_spelt_non_finite(text: &str) -> bool {
    !text.bytes().any(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_plain_decimals_only() {
        for (text, scale, expect) in [
            ("12.50", 2, Some(1250)),
            ("-12.5", 2, Some(-1250)),
            ("12.500", 2, Some(1250)),
            ("+.5", 1, Some(5)),
            ("5.", 0, Some(5)),
            ("12.505", 2, None),
            ("1e3", 0, None),
            ("1,5", 1, None),
            ("", 0, None),
            (".", 0, None),
            ("-", 0, None),
            ("--1", 0, None),
            ("99999999999999999999999999999999999999999", 0, None),
        ] {
            assert_eq!(decimal(text, scale), expect, "{text}");
        }
    }

    #[test]
    fn changes_the_scale_only_without_loss() {
        assert_eq!(rescale(125, 1, 3), Some(12_500));
        assert_eq!(rescale(12_500, 3, 1), Some(125));
        assert_eq!(rescale(12_550, 3, 1), None);
        assert_eq!(rescale(i128::MAX, 0, 1), None);
    }

    proptest! {
        #[test]
        fn reads_what_it_spells(value in any::<i64>(), scale in 0_i8..30) {
            prop_assert_eq!(decimal(&spell(i128::from(value), scale), scale), Some(i128::from(value)));
        }
    }
}
