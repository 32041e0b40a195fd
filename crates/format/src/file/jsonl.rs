//! JSON lines: one object a row, fields in the order of the schema.
//!
//! Null is written as `null`, decimals as exact numbers, binary as base64, dates and timestamps as RFC 3339.

use dil_model::arrow::array::{Array, AsArray};
use dil_model::arrow::buffer::NullBuffer;
use dil_model::arrow::datatypes::{DataType, Field, Fields, SchemaRef};
use dil_model::arrow::record_batch::RecordBatch;
use dil_model::component::Encoder;
use dil_model::config::FilesWrite;
use dil_model::{Error, ErrorKind, Result};

use super::sink::Sink;
use super::text::{Scalars, Shape};

/// The encoder for JSON lines.
///
/// # Errors
/// `Config` for a compression other than gzip.
pub(crate) fn encoder(write: &FilesWrite, _schema: &SchemaRef) -> Result<Box<dyn Encoder>> {
    Ok(Box::new(JsonlEncoder { sink: Sink::new(write)?, scratch: Vec::new() }))
}

struct JsonlEncoder {
    sink: Sink,
    scratch: Vec<u8>,
}

impl Encoder for JsonlEncoder {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let schema = batch.schema();
        let members = members(schema.fields(), batch.columns())?;
        self.sink.write(&mut self.scratch, |out| {
            for row in 0..batch.num_rows() {
                append_members(&members, row, out)?;
                out.push(b'\n');
            }
            Ok(())
        })
    }

    fn drain(&mut self, out: &mut Vec<u8>) {
        self.sink.drain(out);
    }

    fn buffered(&self) -> usize {
        self.sink.buffered() + self.scratch.capacity()
    }

    fn file_bytes(&self) -> u64 {
        self.sink.file_bytes()
    }

    fn finish(self: Box<Self>, out: &mut Vec<u8>) -> Result<()> {
        self.sink.finish(out)
    }
}

/// One field of an object: what stands before its value, and the values.
struct Member<'a> {
    /// `{"name":` for the first one, `,"name":` for the others.
    key: Vec<u8>,
    values: Values<'a>,
}

struct Values<'a> {
    nulls: Option<&'a NullBuffer>,
    kind: Kind<'a>,
    name: &'a str,
}

enum Kind<'a> {
    Scalar(Scalars<'a>, Shape),
    List(&'a [i32], Box<Values<'a>>),
    Struct(Vec<Member<'a>>),
}

fn members<'a>(
    fields: &'a Fields,
    arrays: &'a [dil_model::arrow::array::ArrayRef],
) -> Result<Vec<Member<'a>>> {
    let member = |(at, (field, array)): (
        usize,
        (&'a std::sync::Arc<Field>, &'a dil_model::arrow::array::ArrayRef),
    )| {
        let mut key = vec![if at == 0 { b'{' } else { b',' }];
        append_string(field.name().as_bytes(), &mut key);
        key.push(b':');
        Ok(Member { key, values: values(field.name(), array.as_ref())? })
    };
    fields.iter().zip(arrays).enumerate().map(member).collect()
}

fn values<'a>(name: &'a str, array: &'a dyn Array) -> Result<Values<'a>> {
    let kind = match array.data_type() {
        DataType::List(item) => {
            let list = array.as_list::<i32>();
            Kind::List(list.value_offsets(), Box::new(values(item.name(), list.values().as_ref())?))
        }
        DataType::Struct(fields) => Kind::Struct(members(fields, array.as_struct().columns())?),
        other => {
            let scalars = Scalars::of(array).ok_or_else(|| {
                Error::new(
                    ErrorKind::Internal,
                    "write/json-type",
                    format!("column `{name}` is {other}, which no file has"),
                )
            })?;
            let shape = scalars.shape();
            Kind::Scalar(scalars, shape)
        }
    };
    Ok(Values { nulls: array.nulls(), kind, name })
}

fn append_members(members: &[Member<'_>], row: usize, out: &mut Vec<u8>) -> Result<()> {
    if members.is_empty() {
        out.push(b'{');
    }
    for member in members {
        out.extend_from_slice(&member.key);
        member
            .values
            .append(row, out)
            .map_err(|error| error.at(format!("column `{}`", member.values.name)))?;
    }
    out.push(b'}');
    Ok(())
}

impl Values<'_> {
    fn append(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match &self.kind {
            Kind::Scalar(scalars, Shape::Any) => {
                if let Some(text) = scalars.text(row) {
                    append_string(text, out);
                }
                Ok(())
            }
            Kind::Scalar(scalars, shape) => {
                if *shape == Shape::Plain {
                    out.push(b'"');
                }
                if !scalars.append(row, out) {
                    return Err(no_spelling());
                }
                if *shape == Shape::Plain {
                    out.push(b'"');
                }
                Ok(())
            }
            Kind::Struct(members) => append_members(members, row, out),
            Kind::List(offsets, items) => {
                out.push(b'[');
                let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
                for item in start..end {
                    if item > start {
                        out.push(b',');
                    }
                    items.append(item, out)?;
                }
                out.push(b']');
                Ok(())
            }
        }
    }
}

fn no_spelling() -> Error {
    Error::new(ErrorKind::Type, "write/no-spelling", "a value is NaN or infinite, which JSON cannot spell")
        .hint("write parquet or avro, which have such values, or make them null before")
}

/// For each byte what stands for it after a backslash; `u` means four hexadecimal digits, 0 that it stands for itself.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 0x20 {
        table[at] = b'u';
        at += 1;
    }
    table[b'\n' as usize] = b'n';
    table[b'\r' as usize] = b'r';
    table[b'\t' as usize] = b't';
    table[8] = b'b';
    table[12] = b'f';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};

fn append_string(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = first_escape(rest) {
        out.extend_from_slice(&rest[..at]);
        let byte = rest[at];
        match ESCAPES[byte as usize] {
            b'u' => out.extend_from_slice(&[
                b'\\',
                b'u',
                b'0',
                b'0',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]),
            letter => out.extend_from_slice(&[b'\\', letter]),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Looks at sixteen bytes at once; most texts need no escape.
fn first_escape(text: &[u8]) -> Option<usize> {
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    let (chunks, _) = text.as_chunks::<16>();
    let skipped =
        chunks.iter().take_while(|chunk| chunk.iter().fold(true, |all, byte| all & plain(*byte))).count();
    let from = skipped * 16;
    text[from..].iter().position(|byte| !plain(*byte)).map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dil_model::arrow::array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array,
        ListArray, StringArray, StructArray, TimestampMicrosecondArray,
    };
    use dil_model::arrow::datatypes::Int64Type;
    use proptest::prelude::*;

    use super::*;

    fn encode(columns: Vec<(&str, ArrayRef)>) -> Result<String> {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let write = serde_json::from_value(serde_json::json!({ "path": "x", "format": "jsonl" })).unwrap();
        let mut encoder = encoder(&write, &batch.schema())?;
        encoder.write(&batch)?;
        let mut out = Vec::new();
        encoder.finish(&mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn spells_every_type() {
        let at =
            TimestampMicrosecondArray::from(vec![Some(1_700_000_000_123_456), None]).with_timezone("UTC");
        let money = Decimal128Array::from(vec![Some(-1205), None]).with_precision_and_scale(10, 2).unwrap();
        let inner: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([
            Some(vec![Some(1), None]),
            Some(vec![]),
        ]));
        let object =
            StructArray::from(vec![(Arc::new(Field::new("l", inner.data_type().clone(), true)), inner)]);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("b", Arc::new(BooleanArray::from(vec![Some(true), None]))),
            ("i", Arc::new(Int64Array::from(vec![Some(i64::MIN), None]))),
            ("f", Arc::new(Float64Array::from(vec![Some(0.1), None]))),
            ("m", Arc::new(money)),
            ("d", Arc::new(Date32Array::from(vec![Some(0), None]))),
            ("at", Arc::new(at)),
            ("x", Arc::new(BinaryArray::from(vec![Some(b"ab".as_slice()), None]))),
            ("q\"t", Arc::new(StringArray::from(vec![Some("a\u{1}\"\\\n"), Some("")]))),
            ("o", Arc::new(object)),
        ];
        let text = encode(columns).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            r#"{"b":true,"i":-9223372036854775808,"f":0.1,"m":-12.05,"d":"1970-01-01","at":"2023-11-14T22:13:20.123456Z","x":"YWI=","q\"t":"a\u0001\"\\\n","o":{"l":[1,null]}}"#
        );
        assert_eq!(
            lines[1],
            r#"{"b":null,"i":null,"f":null,"m":null,"d":null,"at":null,"x":null,"q\"t":"","o":{"l":[]}}"#
        );
    }

    #[test]
    fn not_a_number_is_refused_by_name() {
        let error = encode(vec![("f", Arc::new(Float64Array::from(vec![f64::INFINITY])))]).unwrap_err();
        assert_eq!((error.code.as_str(), error.context[0].as_str()), ("write/no-spelling", "column `f`"));
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in "\\PC{0,40}|[\u{0}-\u{20}\"\\\\a]{0,40}") {
            let line = encode(vec![("t", Arc::new(StringArray::from(vec![text.as_str()])))]).unwrap();
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(value["t"].as_str(), Some(text.as_str()));
        }
    }
}
