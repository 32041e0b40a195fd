//! Avro object container files (<https://avro.apache.org/docs/1.12.0/specification/#object-container-files>).
//!
//! Not read: recursive types, and files whose rows are not records.

use std::io::{BufRead, Cursor, Read};
use std::sync::Arc;

use arrow_avro::reader::ReaderBuilder;
use dil_model::Result;
use dil_model::arrow::array::RecordBatch;
use dil_model::component::RandomAccess;
use dil_model::config::Format;
use serde_json::Value;

use super::access::Reading;
use super::{Opened, broken};
use crate::FrameLimits;

/// Rows of a batch: how large they are is not known before they are read.
const ROWS: usize = 1024;

/// What a file begins with.
const MAGIC: &[u8; 4] = b"Obj\x01";

/// The longest header that is read; it holds the schema.
const HEADER_BYTES_MAX: u64 = 16 << 20;

pub(super) fn open(file: Arc<dyn RandomAccess>, limits: FrameLimits) -> Result<Opened> {
    let mut reading = Reading::new(Arc::clone(&file), 0).take(HEADER_BYTES_MAX);
    let header = header(&mut reading).map_err(|cause| broken(Format::Avro, &cause))?;
    let end = HEADER_BYTES_MAX - reading.limit();
    let expected =
        count_rows(file.as_ref(), end, header.sync).map_err(|cause| broken(Format::Avro, &cause))?;
    let reading = Cursor::new(header.spelt).chain(reading.into_inner());
    let rows = ROWS.min((limits.frame_bytes / 64).max(1));
    let reader = ReaderBuilder::new().with_batch_size(rows).build(reading);
    let reader = reader.map_err(|cause| broken(Format::Avro, &cause))?;
    let schema = reader.schema();
    if schema.fields().is_empty() {
        return Err(broken(Format::Avro, &"its rows have no fields"));
    }
    let batches = Batches { reader, expected, given: 0, ended: false };
    Ok(Opened { schema, batches: Box::new(batches) })
}

/// The reader's batches, and an error if they are not all that the file holds.
struct Batches<R: BufRead> {
    reader: arrow_avro::reader::Reader<R>,
    expected: u64,
    given: u64,
    ended: bool,
}

impl<R: BufRead> Iterator for Batches<R> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.reader.next() {
            Some(Ok(batch)) => {
                self.given += batch.num_rows() as u64;
                Some(Ok(batch))
            }
            Some(Err(cause)) => Some(Err(broken(Format::Avro, &cause))),
            None if self.given == self.expected || self.ended => None,
            None => {
                self.ended = true;
                let cause =
                    format!("it says that it has {} rows, and {} can be read", self.expected, self.given);
                Some(Err(broken(Format::Avro, &cause)))
            }
        }
    }
}

/// Goes from block to block to the end of the file: the reader takes one that was cut off for the end.
fn count_rows(file: &dyn RandomAccess, start: u64, sync: [u8; 16]) -> std::result::Result<u64, String> {
    let (mut at, mut rows) = (start, 0);
    while at < file.size() {
        let mut head = Vec::new();
        read_up_to(file, at, 20, &mut head)?;
        let mut left = head.as_slice();
        let count = u64::try_from(long(&mut left)?)
            .map_err(|_| format!("the block at byte {at} has a negative count"))?;
        let size = u64::try_from(long(&mut left)?)
            .map_err(|_| format!("the block at byte {at} has a negative size"))?;
        let data = at + (head.len() - left.len()) as u64;
        let end = data.checked_add(size).filter(|end| end.saturating_add(16) <= file.size());
        let end = end.ok_or_else(|| format!("it ends within the block at byte {at}"))?;
        read_up_to(file, end, 16, &mut head)?;
        if head != sync {
            return Err(format!("the block at byte {at} does not end as it should"));
        }
        rows += count;
        at = end + 16;
    }
    Ok(rows)
}

fn read_up_to(
    file: &dyn RandomAccess,
    at: u64,
    bytes: u64,
    into: &mut Vec<u8>,
) -> std::result::Result<(), String> {
    into.clear();
    into.resize(usize::try_from(bytes.min(file.size().saturating_sub(at))).unwrap_or(0), 0);
    let mut done = 0;
    while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(at + done as u64, rest).map_err(|cause| cause.to_string())? {
            0 => return Err("it became shorter while it was read".to_owned()),
            read => done += read,
        }
    }
    Ok(())
}

/// What a file begins with.
struct Header {
    /// The header, spelt for the reader.
    spelt: Vec<u8>,
    /// What stands behind every block.
    sync: [u8; 16],
}

/// Reads a file's header and spells it again, with names as the reader finds them.
///
/// The reader looks a type up by namespace and name, and so does not find one that was defined by its full name
/// (`"name": "a.b.N"`), which the specification allows and some writers do.
fn header(from: &mut impl BufRead) -> std::result::Result<Header, String> {
    let mut magic = [0; 4];
    from.read_exact(&mut magic).map_err(|_| "it is too short".to_owned())?;
    if &magic != MAGIC {
        return Err("it does not begin as one".to_owned());
    }
    let mut entries: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    loop {
        let count = long(from)?;
        if count == 0 {
            break;
        }
        if count < 0 {
            // The size of the block, for those who pass over it.
            long(from)?;
        }
        for _ in 0..count.unsigned_abs() {
            let key = text(from)?;
            let value = text(from)?;
            entries.push((key, value));
        }
    }
    let mut sync = [0; 16];
    from.read_exact(&mut sync).map_err(|_| "it ends within its header".to_owned())?;
    let mut out = MAGIC.to_vec();
    put_long(&mut out, entries.len());
    for (key, value) in entries {
        put_text(&mut out, &key);
        if key == b"avro.schema" {
            let mut schema: Value =
                serde_json::from_slice(&value).map_err(|cause| format!("its schema: {cause}"))?;
            split_names(&mut schema);
            put_text(&mut out, schema.to_string().as_bytes());
        } else {
            put_text(&mut out, &value);
        }
    }
    put_long(&mut out, 0);
    out.extend_from_slice(&sync);
    Ok(Header { spelt: out, sync })
}

/// Gives named types their namespace as a member of its own.
fn split_names(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            let full = members.get("name").and_then(Value::as_str).map(str::to_owned);
            if let Some((namespace, name)) = full.as_deref().and_then(|full| full.rsplit_once('.')) {
                members.insert("namespace".to_owned(), namespace.into());
                members.insert("name".to_owned(), name.into());
            }
            for key in ["type", "items", "values", "fields"] {
                if let Some(inner) = members.get_mut(key) {
                    split_names(inner);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(split_names),
        _ => {}
    }
}

/// A zigzag number of seven bits a byte.
fn long(from: &mut impl BufRead) -> std::result::Result<i64, String> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        from.read_exact(&mut byte).map_err(|_| "it ends within its header".to_owned())?;
        let [byte] = byte;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed());
        }
    }
    Err("a number in its header is too long".to_owned())
}

fn text(from: &mut impl BufRead) -> std::result::Result<Vec<u8>, String> {
    let length = u64::try_from(long(from)?).map_err(|_| "a length in its header is negative".to_owned())?;
    let mut text = Vec::new();
    let read = from.take(length).read_to_end(&mut text).map_err(|cause| cause.to_string())?;
    if (read as u64) < length {
        return Err("it ends within its header".to_owned());
    }
    Ok(text)
}

fn put_long(out: &mut Vec<u8>, number: usize) {
    let mut left = (number as u64) << 1;
    while left >= 0x80 {
        out.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put_long(out, text.len());
    out.extend_from_slice(text);
}
