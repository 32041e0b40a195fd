//! Columns under construction: the fields of one column, one after the other, become values of one type.

use std::sync::Arc;

use dil_model::arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, PrimitiveArray, StringArray, new_null_array,
};
use dil_model::arrow::buffer::{
    BooleanBuffer, Buffer, MutableBuffer, NullBuffer, OffsetBuffer, ScalarBuffer,
};
use dil_model::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};
use dil_model::{Error, ErrorKind, Result};

use super::dialect::Marks;
use super::index::Index;
use super::parse;
use crate::scalar;

/// Which texts mean null.
#[derive(Debug, Clone)]
pub(super) struct Nulls {
    /// The empty text does.
    empty: bool,
    /// The others that do.
    words: Vec<Vec<u8>>,
}

impl Nulls {
    pub(super) fn new(texts: &[String]) -> Self {
        let words =
            texts.iter().filter(|text| !text.is_empty()).map(|text| text.as_bytes().to_vec()).collect();
        Self { empty: texts.iter().any(String::is_empty), words }
    }

    /// Whether an unquoted field means null whatever its column's type.
    #[inline(always)]
    pub(super) fn contains(&self, field: &[u8]) -> bool {
        if field.is_empty() { self.empty } else { self.is_word(field) }
    }

    #[inline(always)]
    fn is_word(&self, field: &[u8]) -> bool {
        !self.words.is_empty() && self.words.iter().any(|word| word == field)
    }
}

/// Why a field could not be taken; rows count from 0 at the first one of the column.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The value is not of the column's type.
    Type { row: usize, value: Vec<u8> },
    /// The column has been null so far and has a value now.
    NotNull,
    /// More text than one array can hold.
    TooLarge,
}

/// What all columns of a file share.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) marks: Marks,
    pub(super) nulls: Nulls,
}

/// A column under construction.
#[derive(Debug)]
pub(super) struct Column {
    values: Values,
    /// The rows that are null, in order. Most columns have few, so the bitmap is made at the end.
    nulls: Vec<u32>,
    len: usize,
    /// A quoted field's value where one must be parsed.
    scratch: Vec<u8>,
}

#[derive(Debug)]
enum Values {
    /// Only nulls so far; has no array.
    Null,
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Date(Vec<i32>),
    Timestamp(Vec<i64>),
    LocalTimestamp(Vec<i64>),
    Decimal(Vec<i128>, u8, i8),
    Text(Texts),
    Binary(Texts),
}

/// Texts one after the other.
#[derive(Debug, Default)]
struct Texts {
    bytes: Vec<u8>,
    /// Where each text ends.
    ends: Vec<i32>,
}

impl Column {
    /// A column of `data_type`; `None` if CSV has no spelling for it.
    pub(super) fn new(data_type: &DataType) -> Option<Self> {
        let values = match data_type {
            DataType::Null => Values::Null,
            DataType::Boolean => Values::Bool(Vec::new()),
            DataType::Int32 => Values::Int32(Vec::new()),
            DataType::Int64 => Values::Int64(Vec::new()),
            DataType::Float32 => Values::Float32(Vec::new()),
            DataType::Float64 => Values::Float64(Vec::new()),
            DataType::Date32 => Values::Date(Vec::new()),
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Values::Timestamp(Vec::new()),
            DataType::Timestamp(TimeUnit::Microsecond, None) => Values::LocalTimestamp(Vec::new()),
            DataType::Decimal128(precision, scale) => Values::Decimal(Vec::new(), *precision, *scale),
            DataType::Utf8 => Values::Text(Texts::default()),
            DataType::Binary => Values::Binary(Texts::default()),
            _ => return None,
        };
        Some(Self { values, nulls: Vec::new(), len: 0, scratch: Vec::new() })
    }

    /// Appends a column's fields of all indexed records.
    ///
    /// # Errors
    /// The first field that cannot be taken.
    pub(super) fn read(
        &mut self,
        reading: &Reading,
        bytes: &[u8],
        index: &Index,
        column: usize,
    ) -> Result<(), Refused> {
        let mut fields =
            Fields { reading, bytes, index, column, nulls: &mut self.nulls, scratch: &mut self.scratch };
        match &mut self.values {
            Values::Null => fields.all_null()?,
            Values::Bool(out) => {
                fields.parse_into(out, parse::truth, scalar::parse_bool)?;
            }
            Values::Int32(out) => {
                let narrow = |value: i64| i32::try_from(value).ok();
                let common = |text: &[u8], start, end| parse::int(text, start, end).and_then(narrow);
                fields.parse_into(out, common, |text| scalar::parse_i64(text).and_then(narrow))?;
            }
            Values::Int64(out) => fields.parse_into(out, parse::int, scalar::parse_i64)?,
            Values::Float32(out) => {
                // The column is declared to be that narrow.
                let narrow = |value: f64| value as f32;
                let common = |text: &[u8], start, end| parse::float(text, start, end).map(narrow);
                fields.parse_into(out, common, |text| scalar::parse_f64(text).map(narrow))?;
            }
            Values::Float64(out) => fields.parse_into(out, parse::float, scalar::parse_f64)?,
            Values::Date(out) => fields.parse_into(out, parse::date, scalar::parse_date)?,
            Values::Timestamp(out) => fields.parse_into(out, parse::timestamp, scalar::parse_timestamp)?,
            Values::LocalTimestamp(out) => {
                fields.parse_into(out, parse::local_timestamp, scalar::parse_local_timestamp)?;
            }
            Values::Decimal(out, precision, scale) => {
                let (precision, scale) = (*precision, *scale);
                let common = |text: &[u8], start, end| parse::decimal(text, start, end, precision, scale);
                fields.parse_into(out, common, |text| scalar::parse_decimal(text, precision, scale))?;
            }
            Values::Text(out) | Values::Binary(out) => fields.copy_into(out)?,
        }
        self.len += index.rows();
        Ok(())
    }

    /// Appends nulls, for a column that a page lacks.
    pub(super) fn skip(&mut self, rows: usize) {
        self.nulls.extend((self.len..self.len + rows).map(|row| row as u32));
        self.len += rows;
        match &mut self.values {
            Values::Null => {}
            Values::Bool(out) => out.resize(self.len, false),
            Values::Int32(out) | Values::Date(out) => out.resize(self.len, 0),
            Values::Int64(out) | Values::Timestamp(out) | Values::LocalTimestamp(out) => {
                out.resize(self.len, 0)
            }
            Values::Float32(out) => out.resize(self.len, 0.0),
            Values::Float64(out) => out.resize(self.len, 0.0),
            Values::Decimal(out, ..) => out.resize(self.len, 0),
            Values::Text(out) | Values::Binary(out) => {
                let end = out.bytes.len() as i32;
                out.ends.resize(self.len, end);
            }
        }
    }

    /// Forgets all rows, as after an error.
    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.nulls.clear();
        match &mut self.values {
            Values::Null => {}
            Values::Bool(out) => out.clear(),
            Values::Int32(out) | Values::Date(out) => out.clear(),
            Values::Int64(out) | Values::Timestamp(out) | Values::LocalTimestamp(out) => out.clear(),
            Values::Float32(out) => out.clear(),
            Values::Float64(out) => out.clear(),
            Values::Decimal(out, ..) => out.clear(),
            Values::Text(out) | Values::Binary(out) => {
                out.bytes.clear();
                out.ends.clear();
            }
        }
    }

    /// The array of `data_type` with all rows so far, after which the column is empty.
    ///
    /// # Errors
    /// The number of the first row, from 0, whose text is not UTF-8.
    pub(super) fn finish(&mut self, data_type: &DataType) -> Result<ArrayRef, usize> {
        let nulls = self.null_buffer();
        self.len = 0;
        Ok(match &mut self.values {
            Values::Null => new_null_array(data_type, 0),
            Values::Bool(out) => {
                let bits = BooleanBuffer::from(out.as_slice());
                out.clear();
                Arc::new(BooleanArray::new(bits, nulls))
            }
            Values::Int32(out) => primitive::<Int32Type>(out, nulls, data_type),
            Values::Int64(out) => primitive::<Int64Type>(out, nulls, data_type),
            Values::Float32(out) => primitive::<Float32Type>(out, nulls, data_type),
            Values::Float64(out) => primitive::<Float64Type>(out, nulls, data_type),
            Values::Date(out) => primitive::<Date32Type>(out, nulls, data_type),
            Values::Timestamp(out) | Values::LocalTimestamp(out) => {
                primitive::<TimestampMicrosecondType>(out, nulls, data_type)
            }
            Values::Decimal(out, ..) => {
                let array = Decimal128Array::new(take(out).into(), nulls);
                Arc::new(array.with_data_type(data_type.clone()))
            }
            Values::Text(out) => {
                let (offsets, bytes) = out.take();
                let array = StringArray::try_new(offsets.clone(), bytes.clone(), nulls);
                Arc::new(array.map_err(|_| first_not_utf8(&offsets, &bytes))?)
            }
            Values::Binary(out) => {
                let (offsets, bytes) = out.take();
                Arc::new(BinaryArray::new(offsets, bytes, nulls))
            }
        })
    }

    fn null_buffer(&mut self) -> Option<NullBuffer> {
        if self.nulls.is_empty() {
            return None;
        }
        let mut bits = MutableBuffer::new(0);
        bits.resize(self.len.div_ceil(8), 0xff);
        for row in &self.nulls {
            bits.as_slice_mut()[*row as usize / 8] &= !(1 << (row % 8));
        }
        let nulls = NullBuffer::new(BooleanBuffer::new(bits.into(), 0, self.len));
        self.nulls.clear();
        Some(nulls)
    }
}

/// The fields of one column of the indexed records.
struct Fields<'a> {
    reading: &'a Reading,
    bytes: &'a [u8],
    index: &'a Index,
    column: usize,
    nulls: &'a mut Vec<u32>,
    scratch: &'a mut Vec<u8>,
}

impl Fields<'_> {
    fn all_null(&mut self) -> Result<(), Refused> {
        let nulls = &self.reading.nulls;
        let mut fields = self.index.column(self.column);
        if fields.all(|(start, end)| nulls.contains(&self.bytes[start..end])) {
            Ok(())
        } else {
            Err(Refused::NotNull)
        }
    }

    /// `common` reads what is spelt as most values are; `any` reads every value.
    #[inline(always)]
    fn parse_into<T: Copy + Default>(
        &mut self,
        out: &mut Vec<T>,
        common: impl Fn(&[u8], usize, usize) -> Option<T>,
        any: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<(), Refused> {
        out.reserve(self.index.rows());
        // A word that means null may look like a value (`-1`), so it is looked for first.
        let words = !self.reading.nulls.words.is_empty();
        for (start, end) in self.index.column(self.column) {
            let field = &self.bytes[start..end];
            if !(words && self.reading.nulls.is_word(field))
                && let Some(value) = common(self.bytes, start, end)
            {
                out.push(value);
            } else {
                let value = parse_rare(self.reading, field, self.scratch, &any);
                let row = out.len();
                match value {
                    Ok(Some(value)) => out.push(value),
                    Ok(None) => {
                        self.nulls.push(row as u32);
                        out.push(T::default());
                    }
                    Err(value) => return Err(Refused::Type { row, value }),
                }
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn copy_into(&mut self, out: &mut Texts) -> Result<(), Refused> {
        let nulls = &self.reading.nulls;
        let quote = self.reading.marks.quote;
        out.ends.reserve(self.index.rows());
        for (start, end) in self.index.column(self.column) {
            let field = &self.bytes[start..end];
            if quote.is_some() && field.first() == quote.as_ref() {
                if let Some(quoted) = self.reading.marks.unquote(field) {
                    quoted.append_to(&mut out.bytes);
                }
            } else if nulls.contains(field) {
                self.nulls.push(out.ends.len() as u32);
            } else {
                append_short(&mut out.bytes, self.bytes, start, end);
            }
            out.ends.push(out.bytes.len() as i32);
        }
        if out.bytes.len() > i32::MAX as usize { Err(Refused::TooLarge) } else { Ok(()) }
    }
}

/// A field that is null, quoted, spelt in a rare way or wrong.
#[cold]
#[inline(never)]
fn parse_rare<T>(
    reading: &Reading,
    field: &[u8],
    scratch: &mut Vec<u8>,
    parse: &impl Fn(&[u8]) -> Option<T>,
) -> Result<Option<T>, Vec<u8>> {
    if let Some(quoted) = reading.marks.unquote(field) {
        scratch.clear();
        quoted.append_to(scratch);
        // Who quotes everything has no other way to write a number that is not there.
        if scratch.is_empty() {
            return Ok(None);
        }
        return parse(scratch).map(Some).ok_or_else(|| scratch.clone());
    }
    if field.is_empty() || reading.nulls.is_word(field) {
        return Ok(None);
    }
    parse(field).map(Some).ok_or_else(|| field.to_vec())
}

/// Appends `bytes[start..end]`; a copy of fixed length, cut afterwards, is much faster for what is short.
#[inline(always)]
fn append_short(out: &mut Vec<u8>, bytes: &[u8], start: usize, end: usize) {
    const SHORT: usize = 32;
    match bytes[start..].first_chunk::<SHORT>() {
        Some(chunk) if end - start <= SHORT => {
            let len = out.len() + (end - start);
            out.extend_from_slice(chunk);
            out.truncate(len);
        }
        _ => out.extend_from_slice(&bytes[start..end]),
    }
}

/// The values; what is left has room for as many, because the next frame is about as large.
fn take<T>(values: &mut Vec<T>) -> Vec<T> {
    let next = Vec::with_capacity(values.len());
    std::mem::replace(values, next)
}

fn primitive<T: ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> ArrayRef {
    let array = PrimitiveArray::<T>::new(ScalarBuffer::from(take(values)), nulls);
    Arc::new(array.with_data_type(data_type.clone()))
}

impl Texts {
    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        let mut offsets = Vec::with_capacity(self.ends.len() + 1);
        offsets.push(0);
        offsets.append(&mut self.ends);
        (OffsetBuffer::new(offsets.into()), Buffer::from_vec(take(&mut self.bytes)))
    }
}

fn first_not_utf8(offsets: &OffsetBuffer<i32>, bytes: &[u8]) -> usize {
    let text = |pair: &[i32]| bytes.get(pair[0] as usize..pair[1] as usize).unwrap_or_default();
    offsets.windows(2).position(|pair| std::str::from_utf8(text(pair)).is_err()).unwrap_or_default()
}

/// The error for a frame that cannot be one batch.
pub(super) fn too_large() -> Error {
    Error::new(
        ErrorKind::Memory,
        "memory/frame-too-large",
        "the text of one column of a frame is larger than 2 GiB",
    )
    .hint("lower `memory:`, so that frames become smaller")
}
