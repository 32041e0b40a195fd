//! CSV files: a header, then one record a row (RFC 4180, UTF-8, lines end with LF).
//!
//! Null is an empty field, the empty text is `""`. A row of one column that is null is written as `""`, because a blank
//! line is no row.

use dil_model::arrow::array::Array;
use dil_model::arrow::datatypes::{DataType, Schema, SchemaRef};
use dil_model::arrow::record_batch::RecordBatch;
use dil_model::component::Encoder;
use dil_model::config::FilesWrite;
use dil_model::{Error, ErrorKind, Result, schema};

use super::sink::Sink;
use super::text::{Scalars, Shape};

/// The encoder for CSV files.
///
/// # Errors
/// `Config` if a column is a list or a struct, or for a compression other than gzip.
pub(crate) fn encoder(write: &FilesWrite, schema: &SchemaRef) -> Result<Box<dyn Encoder>> {
    for field in schema.fields() {
        if matches!(field.data_type(), DataType::List(_) | DataType::Struct(_)) {
            let type_name = schema::name_of(field.data_type());
            return Err(Error::new(
                ErrorKind::Config,
                "write/csv-nested",
                format!("column `{}` is {type_name}, which CSV cannot hold", field.name()),
            )
            .hint("leave it out with `convert: project`, or write parquet, avro or jsonl"));
        }
    }
    let mut sink = Sink::new(write)?;
    let mut scratch = Vec::new();
    sink.write(&mut scratch, |out| {
        write_header(schema, out);
        Ok(())
    })?;
    Ok(Box::new(CsvEncoder { sink, scratch }))
}

struct CsvEncoder {
    sink: Sink,
    scratch: Vec<u8>,
}

fn write_header(schema: &Schema, out: &mut Vec<u8>) {
    for (at, field) in schema.fields().iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        append_text(field.name().as_bytes(), out);
    }
    out.push(b'\n');
}

fn append_text(text: &[u8], out: &mut Vec<u8>) {
    if !text.is_empty() && memchr::memchr3(b',', b'\n', b'\r', text).is_none() && !text.contains(&b'"') {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'"', rest) {
        out.extend_from_slice(&rest[..=at]);
        out.push(b'"');
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

impl Encoder for CsvEncoder {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns: Vec<Scalars<'_>> =
            batch.columns().iter().filter_map(|column| Scalars::of(column.as_ref())).collect();
        if columns.len() != batch.num_columns() {
            return Err(Error::new(
                ErrorKind::Internal,
                "write/csv-schema",
                "a batch has another schema than its file",
            ));
        }
        let (sink, scratch) = (&mut self.sink, &mut self.scratch);
        sink.write(scratch, |out| {
            for row in 0..batch.num_rows() {
                for (at, (values, array)) in columns.iter().zip(batch.columns()).enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    if array.is_null(row) {
                        if columns.len() == 1 {
                            out.extend_from_slice(b"\"\"");
                        }
                    } else {
                        append_value(values, row, out).map_err(|what| no_spelling(batch, at, &what))?;
                    }
                }
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

/// `Err` says what the value is that has no spelling.
fn append_value(values: &Scalars<'_>, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
    match (values.shape(), values.text(row)) {
        (Shape::Any, Some(text)) => append_text(text, out),
        _ => {
            let before = out.len();
            if !values.append(row, out) {
                return Err("NaN or infinite".to_owned());
            }
            // Binary without bytes is not null.
            if out.len() == before {
                out.extend_from_slice(b"\"\"");
            }
        }
    }
    Ok(())
}

fn no_spelling(batch: &RecordBatch, column: usize, what: &str) -> Error {
    let name = batch.schema().field(column).name().clone();
    Error::new(ErrorKind::Type, "write/no-spelling", format!("column `{name}` has a value that is {what}"))
        .hint("write parquet or avro, which have such values, or make them null before")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dil_model::arrow::array::{ArrayRef, BinaryArray, Float64Array, Int64Array, ListArray, StringArray};
    use dil_model::arrow::datatypes::Int64Type;

    use super::*;

    fn write(compression: &str) -> FilesWrite {
        serde_json::from_value(
            serde_json::json!({ "path": "x", "format": "csv", "compression": compression }),
        )
        .unwrap()
    }

    fn encode(columns: Vec<(&str, ArrayRef)>, compression: &str) -> Result<Vec<u8>> {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut encoder = encoder(&write(compression), &batch.schema())?;
        let mut out = Vec::new();
        encoder.write(&batch)?;
        encoder.drain(&mut out);
        assert!(encoder.file_bytes() >= out.len() as u64);
        encoder.finish(&mut out)?;
        Ok(out)
    }

    #[test]
    fn null_and_empty_differ() {
        let texts = StringArray::from(vec![Some("a,\"b\"\n"), Some(""), None, Some("ä")]);
        let floats = Float64Array::from(vec![Some(1.0), None, Some(-2.5e300), Some(0.1)]);
        let binary = BinaryArray::from(vec![Some(b"\0\xff".as_slice()), Some(b""), None, Some(b"x")]);
        let columns: Vec<(&str, ArrayRef)> =
            vec![("t,1", Arc::new(texts)), ("f", Arc::new(floats)), ("b", Arc::new(binary))];
        let text = String::from_utf8(encode(columns, "none").unwrap()).unwrap();
        assert_eq!(text, "\"t,1\",f,b\n\"a,\"\"b\"\"\n\",1.0,AP8=\n\"\",,\"\"\n,-2.5e300,\nä,0.1,eA==\n");
    }

    #[test]
    fn a_null_alone_is_still_a_row() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        assert_eq!(encode(vec![("a", column)], "none").unwrap(), b"a\n1\n\"\"\n");
    }

    #[test]
    fn gzip_unpacks_to_the_same() {
        use std::io::Read as _;
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10_000));
        let plain = encode(vec![("a", Arc::clone(&column))], "none").unwrap();
        let packed = encode(vec![("a", column)], "gzip").unwrap();
        assert!(packed.len() < plain.len());
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain);
    }

    #[test]
    fn refuses_what_csv_cannot_hold() {
        let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1)])]));
        assert_eq!(encode(vec![("l", list)], "none").unwrap_err().code, "write/csv-nested");
        let nan: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN]));
        assert_eq!(encode(vec![("f", Arc::clone(&nan))], "none").unwrap_err().code, "write/no-spelling");
        assert_eq!(encode(vec![("f", nan)], "zstd").unwrap_err().code, "write/compression");
    }
}
