//! Reads JSON values where they stand: strings, numbers, and whole values that are only passed over (RFC 8259, strictly).

use super::fault::{Parsed, What, fault, syntax};
use super::scan;
use crate::scalar;

/// Values nested deeper than this are refused, so that a hostile document cannot exhaust the stack.
pub(crate) const DEPTH_MAX: usize = 512;

/// Integers up to this are exact doubles.
const MANTISSA_EXACT: u64 = 1 << 53;

/// Decimal digits that always fit a `u64`.
const DIGITS_U64: usize = 19;

/// Powers of ten that are exact doubles.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// A place in the bytes of a frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    /// All of the frame.
    pub(crate) bytes: &'a [u8],
    /// The next byte to read.
    pub(crate) at: usize,
}

/// A string's own bytes between its quotes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    /// As they stand, escapes included.
    pub(crate) raw: &'a [u8],
    /// Whether there are escapes.
    pub(crate) escaped: bool,
}

/// A number, its digits already summed up where they fit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number<'a> {
    /// As it stands.
    pub(crate) text: &'a [u8],
    /// Neither a fraction nor an exponent.
    pub(crate) integer: bool,
    negative: bool,
    /// All digits as one integer; meaningless above [`DIGITS_U64`] of them.
    mantissa: u64,
    digits: usize,
    fraction: usize,
    exponent: bool,
}

impl Number<'_> {
    /// The integer, if it is spelt as one and fits.
    #[inline]
    pub(crate) fn to_i64(self) -> Option<i64> {
        if !self.integer {
            return None;
        }
        if self.digits >= DIGITS_U64 {
            return scalar::parse_i64(self.text);
        }
        let value = self.mantissa as i64;
        Some(if self.negative { -value } else { value })
    }

    /// The nearest double; `None` beyond the largest.
    #[inline]
    pub(crate) fn to_f64(self) -> Option<f64> {
        if !self.exponent
            && self.digits <= DIGITS_U64
            && self.mantissa <= MANTISSA_EXACT
            && let Some(power) = POWERS.get(self.fraction)
        {
            // Both sides are exact, so the one division rounds correctly.
            let value = self.mantissa as f64 / power;
            return Some(if self.negative { -value } else { value });
        }
        scalar::parse_f64(self.text)
    }
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// The next byte; 0, which is nowhere valid, at the end.
    #[inline]
    pub(crate) fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    /// The next byte after blanks, which are passed over.
    #[inline]
    pub(crate) fn token(&mut self) -> u8 {
        let byte = self.peek();
        if byte > b' ' { byte } else { self.token_after_blanks() }
    }

    #[cold]
    fn token_after_blanks(&mut self) -> u8 {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
        self.peek()
    }

    /// The bytes from here on.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Whether the bytes end here.
    pub(crate) fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Fails: something else was expected here.
    #[cold]
    pub(crate) fn unexpected<T>(&self, what: &'static str) -> Parsed<T> {
        if self.is_at_end() { fault(self.at, What::End) } else { syntax(self.at, what) }
    }

    /// Passes over `word` (`true`, `false`, `null`), whose first byte was seen.
    #[inline]
    pub(crate) fn word<const LENGTH: usize>(&mut self, word: &'static [u8; LENGTH]) -> Parsed {
        if self.rest().first_chunk::<LENGTH>() == Some(word) {
            self.at += LENGTH;
            return Ok(());
        }
        self.not_word(word)
    }

    #[cold]
    fn not_word(&self, word: &[u8]) -> Parsed {
        if word.starts_with(self.rest()) {
            return fault(self.bytes.len(), What::End);
        }
        syntax(self.at, "expected a value")
    }

    /// Reads a string whose opening quote is next.
    #[inline]
    pub(crate) fn string(&mut self) -> Parsed<Text<'a>> {
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            at = self.string_stop(at);
            match self.bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    at += 2;
                }
                Some(_) => return syntax(at, "a control character in a string"),
                None => return fault(self.bytes.len(), What::End),
            }
        }
        self.at = at + 1;
        Ok(Text { raw: &self.bytes[start..at], escaped })
    }

    /// The first byte from `at` on that is not plain text of a string; the end if there is none.
    #[inline]
    pub(crate) fn string_stop(&self, mut at: usize) -> usize {
        while let Some(lane) = self.bytes.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
            let stops = scan::string_stops(lane);
            if stops != 0 {
                return at + stops.trailing_zeros() as usize;
            }
            at += 16;
        }
        while let Some(byte) = self.bytes.get(at) {
            if *byte < b' ' || *byte == b'"' || *byte == b'\\' {
                break;
            }
            at += 1;
        }
        at
    }

    /// Reads a number; `-` or a digit was seen.
    #[inline]
    pub(crate) fn number(&mut self) -> Parsed<Number<'a>> {
        let start = self.at;
        let mut at = start;
        let negative = self.peek() == b'-';
        at += usize::from(negative);
        let whole = at;
        let mut mantissa: u64 = 0;
        at = self.digits(at, &mut mantissa);
        let mut digits = at - whole;
        if digits == 0 || (digits > 1 && self.bytes.get(whole) == Some(&b'0')) {
            return self.bad_number(whole, digits);
        }
        let mut fraction = 0;
        let mut exponent = false;
        if self.bytes.get(at) == Some(&b'.') {
            let from = at + 1;
            at = self.digits(from, &mut mantissa);
            fraction = at - from;
            digits += fraction;
            if fraction == 0 {
                return self.bad_number(at, 0);
            }
        }
        if matches!(self.bytes.get(at), Some(b'e' | b'E')) {
            exponent = true;
            at += 1;
            at += usize::from(matches!(self.bytes.get(at), Some(b'+' | b'-')));
            let from = at;
            at = self.digits(from, &mut 0);
            if at == from {
                return self.bad_number(at, 0);
            }
        }
        self.at = at;
        Ok(Number {
            text: &self.bytes[start..at],
            integer: fraction == 0 && !exponent,
            negative,
            mantissa,
            digits,
            fraction,
            exponent,
        })
    }

    #[inline]
    fn digits(&self, mut at: usize, sum: &mut u64) -> usize {
        while let Some(byte) = self.bytes.get(at) {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            *sum = sum.wrapping_mul(10).wrapping_add(u64::from(digit));
            at += 1;
        }
        at
    }

    #[cold]
    fn bad_number(&self, at: usize, digits: usize) -> Parsed<Number<'a>> {
        match self.bytes.get(at) {
            None => fault(at, What::End),
            Some(_) if digits > 1 => syntax(at, "a number with a leading zero"),
            Some(_) => syntax(at, "expected a digit"),
        }
    }

    /// Passes over one value and checks it.
    pub(crate) fn skip_value(&mut self) -> Parsed {
        self.skip_nested(0)
    }

    fn skip_nested(&mut self, depth: usize) -> Parsed {
        if depth > DEPTH_MAX {
            return syntax(self.at, "values are nested too deep");
        }
        match self.token() {
            b'"' => {
                let at = self.at;
                let text = self.string()?;
                if text.escaped { check_escapes(text.raw, at + 1) } else { Ok(()) }
            }
            b'{' => self.skip_members(depth),
            b'[' => self.skip_items(depth),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            b'-' | b'0'..=b'9' => self.number().map(drop),
            _ => self.unexpected("expected a value"),
        }
    }

    fn skip_members(&mut self, depth: usize) -> Parsed {
        self.at += 1;
        if self.token() == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            if self.token() != b'"' {
                return self.unexpected("expected a field name");
            }
            self.skip_nested(depth)?;
            self.colon()?;
            self.skip_nested(depth + 1)?;
            if self.ends(b'}')? {
                return Ok(());
            }
        }
    }

    fn skip_items(&mut self, depth: usize) -> Parsed {
        self.at += 1;
        if self.token() == b']' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.skip_nested(depth + 1)?;
            if self.ends(b']')? {
                return Ok(());
            }
        }
    }

    /// Passes over the colon after a field name.
    #[inline]
    pub(crate) fn colon(&mut self) -> Parsed {
        if self.token() != b':' {
            return self.unexpected("expected a colon");
        }
        self.at += 1;
        Ok(())
    }

    /// Passes over the comma or the bracket after a member; true for the bracket.
    #[inline]
    pub(crate) fn ends(&mut self, bracket: u8) -> Parsed<bool> {
        let byte = self.token();
        if byte == b',' {
            self.at += 1;
            return Ok(false);
        }
        if byte == bracket {
            self.at += 1;
            return Ok(true);
        }
        self.unexpected(if bracket == b'}' { "expected a comma or `}`" } else { "expected a comma or `]`" })
    }
}

/// Appends a string's text with its escapes resolved; `at` is where `raw` stands in the frame.
///
/// A surrogate without its other half, which some senders make by cutting texts, is no character: a fault.
pub(crate) fn unescape(raw: &[u8], at: usize, out: &mut Vec<u8>) -> Parsed {
    let mut from = 0;
    while let Some(found) = memchr::memchr(b'\\', &raw[from..]) {
        let slash = from + found;
        out.extend_from_slice(&raw[from..slash]);
        let (character, length) = escape(&raw[slash..], at + slash)?;
        let mut utf8 = [0; 4];
        // What is kept in spite of the fault must not look like the text without the surrogate.
        let shown = character.unwrap_or(char::REPLACEMENT_CHARACTER);
        out.extend_from_slice(shown.encode_utf8(&mut utf8).as_bytes());
        if character.is_none() {
            return fault(at + slash, What::Surrogate);
        }
        from = slash + length;
    }
    out.extend_from_slice(&raw[from..]);
    Ok(())
}

/// Checks the escapes of a string that is not kept.
pub(crate) fn check_escapes(raw: &[u8], at: usize) -> Parsed {
    let mut from = 0;
    while let Some(found) = memchr::memchr(b'\\', &raw[from..]) {
        let slash = from + found;
        from = slash + escape(&raw[slash..], at + slash)?.1;
    }
    Ok(())
}

/// The character that the escape at the start of `raw` means, and the escape's length. Half of a surrogate pair is a valid
/// escape (RFC 8259, section 8.2) that means none.
fn escape(raw: &[u8], at: usize) -> Parsed<(Option<char>, usize)> {
    let character = match raw.get(1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode_escape(raw, at),
        _ => return syntax(at, "an unknown escape in a string"),
    };
    Ok((Some(character), 2))
}

fn unicode_escape(raw: &[u8], at: usize) -> Parsed<(Option<char>, usize)> {
    let Some(first) = raw.get(2..6).and_then(four_hex) else {
        return syntax(at, "an escape without its four hexadecimal digits");
    };
    if let Some(character) = char::from_u32(first) {
        return Ok((Some(character), 6));
    }
    let second = match raw.get(6..12) {
        Some([b'\\', b'u', digits @ ..]) => four_hex(digits),
        _ => None,
    };
    match second {
        Some(low) if first < 0xdc00 && (0xdc00..0xe000).contains(&low) => {
            let code = 0x1_0000 + ((first - 0xd800) << 10) + (low - 0xdc00);
            Ok((char::from_u32(code), 12))
        }
        _ => Ok((None, 6)),
    }
}

fn four_hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |sum, digit| Some(sum * 16 + char::from(*digit).to_digit(16)?))
}
