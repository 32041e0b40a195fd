//! Values as bytes whose order is the values' order: bools, then numbers by size, then texts.

use std::borrow::Cow;

use serde_json::Value;

const BOOL: u8 = 1;
const NUMBER: u8 = 2;
const TEXT: u8 = 3;

/// A field of a value, read back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Field<'a> {
    Bool(bool),
    /// As JSON spells it.
    Number(&'a str),
    Text(Cow<'a, str>),
}

impl<'a> Field<'a> {
    pub(crate) fn into_value(self) -> Value {
        match self {
            Self::Bool(value) => Value::Bool(value),
            Self::Number(text) => number(text),
            Self::Text(text) => Value::String(text.into_owned()),
        }
    }

    pub(crate) fn into_text(self) -> Cow<'a, str> {
        match self {
            Self::Bool(true) => "true".into(),
            Self::Bool(false) => "false".into(),
            Self::Number(text) => text.into(),
            Self::Text(text) => text,
        }
    }
}

/// A number as it was: `serde_json` may read another float than the one that it wrote.
fn number(text: &str) -> Value {
    let integer = || text.parse::<i64>().map(Value::from).or_else(|_| text.parse::<u64>().map(Value::from));
    let float = || text.parse::<f64>().map(Value::from);
    integer().or_else(|_| float()).unwrap_or(Value::Null)
}

/// Appends a scalar. Equal bytes are equal values: `1` and `1.0` are two.
pub(crate) fn write(value: &Value, bytes: &mut Vec<u8>) {
    match value {
        Value::Bool(value) => bytes.extend([BOOL, u8::from(*value)]),
        Value::Number(number) => {
            bytes.push(NUMBER);
            let bits = number.as_f64().unwrap_or(f64::NAN).to_bits();
            // The sign bit turned, and all others for what is below zero: the bytes sort as the numbers do.
            let sortable = if bits >> 63 == 0 { bits ^ (1 << 63) } else { !bits };
            bytes.extend(sortable.to_be_bytes());
            bytes.extend_from_slice(number.to_string().as_bytes());
            bytes.push(0);
        }
        Value::String(text) => {
            bytes.push(TEXT);
            for byte in text.bytes() {
                bytes.push(byte);
                if byte == 0 {
                    bytes.push(0xFF);
                }
            }
            bytes.extend([0, 0]);
        }
        Value::Null | Value::Array(_) | Value::Object(_) => {}
    }
}

/// The fields that were written, in their order.
pub(crate) fn read(bytes: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (own, behind) = rest.split_at(length(rest, 1));
        rest = behind;
        let (tag, content) = own.split_first()?;
        Some(match *tag {
            BOOL => Field::Bool(content.first() == Some(&1)),
            NUMBER => {
                let text = content.get(8..content.len().saturating_sub(1)).unwrap_or_default();
                Field::Number(std::str::from_utf8(text).unwrap_or_default())
            }
            _ => Field::Text(text(content.get(..content.len().saturating_sub(2)).unwrap_or_default())),
        })
    })
}

fn text(escaped: &[u8]) -> Cow<'_, str> {
    let plain = std::str::from_utf8(escaped);
    match plain {
        Ok(text) => Cow::Borrowed(text),
        // Only the escape of a zero byte is no UTF-8.
        Err(_) => {
            let mut bytes = Vec::with_capacity(escaped.len());
            let mut after_zero = false;
            for &byte in escaped {
                if !(after_zero && byte == 0xFF) {
                    bytes.push(byte);
                }
                after_zero = byte == 0;
            }
            Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
        }
    }
}

/// How many bytes the first `fields` fields take.
pub(crate) fn length(bytes: &[u8], fields: usize) -> usize {
    let mut at = 0;
    for _ in 0..fields {
        let rest = bytes.get(at..).unwrap_or_default();
        at += match rest.first() {
            None => 0,
            Some(&BOOL) => 2.min(rest.len()),
            Some(&NUMBER) => {
                let text = rest.get(9..).unwrap_or_default();
                9 + memchr::memchr(0, text).map_or(text.len(), |end| end + 1)
            }
            Some(_) => text_length(rest),
        };
    }
    at.min(bytes.len())
}

fn text_length(rest: &[u8]) -> usize {
    let mut at = 1;
    while let Some(zero) = memchr::memchr(0, rest.get(at..).unwrap_or_default()) {
        at += zero + 2;
        if rest.get(at - 1) != Some(&0xFF) {
            return at;
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn bytes(values: &[Value]) -> Vec<u8> {
        let mut bytes = Vec::new();
        values.iter().for_each(|value| write(value, &mut bytes));
        bytes
    }

    fn any_scalar() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from).prop_filter("JSON has no NaN", |value| !value.is_null()),
            ".{0,6}".prop_map(Value::from),
            prop::collection::vec(prop::sample::select(vec!['\0', 'a', 'ÿ']), 0..5)
                .prop_map(|chars| Value::from(chars.into_iter().collect::<String>())),
        ]
    }

    proptest! {
        #[test]
        fn reads_back_what_was_written(values in prop::collection::vec(any_scalar(), 0..4)) {
            let bytes = bytes(&values);
            let read: Vec<Value> = read(&bytes).map(Field::into_value).collect();
            prop_assert_eq!(&read, &values);
            prop_assert_eq!(length(&bytes, values.len()), bytes.len());
        }

        #[test]
        fn texts_and_numbers_sort_as_they_do(a in ".{0,4}", b in ".{0,4}", x in any::<f64>(), y in -1000_i64..1000) {
            prop_assert_eq!(bytes(&[json!(a)]).cmp(&bytes(&[json!(b)])), a.as_bytes().cmp(b.as_bytes()));
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let y_float = y as f64;
            if x.is_finite() && x != y_float {
                prop_assert_eq!(bytes(&[json!(x)]) < bytes(&[json!(y)]), x < y_float);
            }
        }
    }
}
