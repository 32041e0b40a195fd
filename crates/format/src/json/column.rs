//! One column that grows value by value, and becomes an Arrow array.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use dil_model::arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Decimal128Array, ListArray, NullBufferBuilder,
    PrimitiveArray, StringArray, StructArray,
};
use dil_model::arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use dil_model::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Field, FieldRef, Fields, Float32Type, Float64Type, Int32Type,
    Int64Type, TimeUnit, TimestampMicrosecondType,
};
use dil_model::arrow::error::ArrowError;
use dil_model::schema;

use super::bytes::ByteRuns;
use super::fault::{Parsed, What, fault};
use super::members::Members;
use super::value::{Cursor, unescape};
use crate::scalar;

/// What to do with a value that the schema has no place for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// Ask for a wider schema.
    Widen,
    /// Leave it out.
    Drop,
    /// It is an error.
    Fail,
}

/// How strictly a column takes values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Role {
    /// The user said what type it has. Text then takes numbers and truth values with their own spelling.
    pub(crate) declared: bool,
    /// Members that the schema lacks.
    pub(crate) unknown: Unknown,
}

/// A column under construction.
#[derive(Debug)]
pub(crate) struct Column {
    values: Values,
    nulls: NullBufferBuilder,
    /// What the schema says.
    data_type: DataType,
    /// What batches hold of it: nothing where only nulls were seen.
    typed: Option<DataType>,
    role: Role,
}

#[derive(Debug)]
enum Values {
    Null,
    Bool(BooleanBufferBuilder),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Date(Vec<i32>),
    Timestamp(Vec<i64>),
    LocalTimestamp(Vec<i64>),
    Decimal(Vec<i128>, u8, i8),
    Text(ByteRuns),
    Json(ByteRuns),
    Binary(ByteRuns),
    List(Vec<i32>, Box<Column>),
    Struct(Box<Members>),
}

const DECLARE_INTEGER: &str = "declare `float64` for fractions, `decimal(38,0)` for integers beyond 64 bits, or `text`, in `columns` under `read`";
const DECLARE_JSON: &str = "declare it as `json` in `columns` under `read` to keep the value's own text";

impl Column {
    /// A column of `field`'s type; `None` for a type that JSON values are not read into.
    pub(crate) fn new(field: &Field, role: Role, json: bool) -> Option<Self> {
        let values = match field.data_type() {
            DataType::Null => Values::Null,
            DataType::Boolean => Values::Bool(BooleanBufferBuilder::new(0)),
            DataType::Int32 => Values::Int32(Vec::new()),
            DataType::Int64 => Values::Int64(Vec::new()),
            DataType::Float32 => Values::Float32(Vec::new()),
            DataType::Float64 => Values::Float64(Vec::new()),
            DataType::Utf8 if json => Values::Json(ByteRuns::default()),
            DataType::Utf8 => Values::Text(ByteRuns::default()),
            DataType::Binary => Values::Binary(ByteRuns::default()),
            DataType::Date32 => Values::Date(Vec::new()),
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Values::Timestamp(Vec::new()),
            DataType::Timestamp(TimeUnit::Microsecond, None) => Values::LocalTimestamp(Vec::new()),
            DataType::Decimal128(precision, scale) => Values::Decimal(Vec::new(), *precision, *scale),
            DataType::List(item) => Values::List(vec![0], Box::new(Self::new(item, role, false)?)),
            DataType::Struct(fields) => {
                let columns =
                    fields.iter().map(|field| Some((Arc::clone(field), Self::new(field, role, false)?)));
                Values::Struct(Box::new(Members::new(columns.collect::<Option<Vec<_>>>()?, role.unknown)))
            }
            _ => return None,
        };
        let typed = schema::typed(&dil_model::arrow::datatypes::Schema::new(vec![field.clone()]));
        let typed = typed.fields().first().map(|field| field.data_type().clone());
        let nulls = NullBufferBuilder::new(0);
        Some(Self { values, nulls, data_type: field.data_type().clone(), typed, role })
    }

    /// Values so far.
    pub(crate) fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Makes room for so many more values; lists and texts grow as they need.
    pub(crate) fn reserve(&mut self, rows: usize) {
        match &mut self.values {
            Values::Null => {}
            Values::Bool(values) => values.reserve(rows),
            Values::Int32(values) | Values::Date(values) => values.reserve(rows),
            Values::Int64(values) | Values::Timestamp(values) | Values::LocalTimestamp(values) => {
                values.reserve(rows)
            }
            Values::Float32(values) => values.reserve(rows),
            Values::Float64(values) => values.reserve(rows),
            Values::Decimal(values, ..) => values.reserve(rows),
            Values::Text(runs) | Values::Json(runs) | Values::Binary(runs) => runs.reserve(rows),
            Values::List(offsets, _) => offsets.reserve(rows),
            Values::Struct(members) => members.reserve(rows),
        }
    }

    /// Appends a null.
    pub(crate) fn push_null(&mut self) {
        self.nulls.append_null();
        match &mut self.values {
            Values::Null => {}
            Values::Bool(values) => values.append(false),
            Values::Int32(values) | Values::Date(values) => values.push(0),
            Values::Int64(values) | Values::Timestamp(values) | Values::LocalTimestamp(values) => {
                values.push(0)
            }
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Decimal(values, ..) => values.push(0),
            Values::Text(runs) | Values::Json(runs) | Values::Binary(runs) => runs.end_run(),
            Values::List(offsets, item) => offsets.push(item.len() as i32),
            Values::Struct(members) => members.push_null(),
        }
    }

    /// Forgets all values from number `length` on.
    pub(crate) fn truncate(&mut self, length: usize) {
        if length >= self.len() {
            return;
        }
        self.nulls.truncate(length);
        match &mut self.values {
            Values::Null => {}
            Values::Bool(values) => values.truncate(length),
            Values::Int32(values) | Values::Date(values) => values.truncate(length),
            Values::Int64(values) | Values::Timestamp(values) | Values::LocalTimestamp(values) => {
                values.truncate(length)
            }
            Values::Float32(values) => values.truncate(length),
            Values::Float64(values) => values.truncate(length),
            Values::Decimal(values, ..) => values.truncate(length),
            Values::Text(runs) | Values::Json(runs) | Values::Binary(runs) => runs.truncate(length),
            Values::List(offsets, item) => {
                offsets.truncate(length + 1);
                item.truncate(offsets.last().map_or(0, |end| *end as usize));
            }
            Values::Struct(members) => members.truncate(length),
        }
    }

    /// Reads the next value of the row.
    #[inline]
    pub(crate) fn read(&mut self, cursor: &mut Cursor<'_>) -> Parsed {
        let first = cursor.token();
        if first == b'n' {
            cursor.word(b"null")?;
            self.push_null();
            return Ok(());
        }
        self.read_value(cursor, first)?;
        self.nulls.append_non_null();
        Ok(())
    }

    #[inline]
    fn read_value(&mut self, cursor: &mut Cursor<'_>, first: u8) -> Parsed {
        let at = cursor.at;
        let number = first == b'-' || first.is_ascii_digit();
        match (&mut self.values, first) {
            (Values::Text(runs), b'"') => return runs.read_text(cursor),
            (Values::Struct(members), b'{') => {
                cursor.at += 1;
                return members.read(cursor);
            }
            (Values::List(offsets, item), b'[') => {
                read_items(item, cursor)?;
                offsets.push(item.len() as i32);
                return Ok(());
            }
            (Values::Int64(values), _) if number => {
                if let Some(value) = cursor.number()?.to_i64() {
                    values.push(value);
                    return Ok(());
                }
            }
            (Values::Float64(values), _) if number => {
                if let Some(value) = cursor.number()?.to_f64() {
                    values.push(value);
                    return Ok(());
                }
            }
            (Values::Bool(values), b't') => {
                cursor.word(b"true")?;
                values.append(true);
                return Ok(());
            }
            (Values::Bool(values), b'f') => {
                cursor.word(b"false")?;
                values.append(false);
                return Ok(());
            }
            _ => {
                if self.read_rarer(cursor, first, number)? {
                    return Ok(());
                }
            }
        }
        self.misfit(cursor.bytes, at)
    }

    /// The types that most rows lack; false if the value does not fit.
    fn read_rarer(&mut self, cursor: &mut Cursor<'_>, first: u8, number: bool) -> Parsed<bool> {
        let start = cursor.at;
        let fits = match (&mut self.values, first) {
            (Values::Int32(values), _) if number => {
                push(values, cursor.number()?.to_i64().and_then(|value| i32::try_from(value).ok()))
            }
            (Values::Float32(values), _) if number => {
                let value = cursor.number()?.to_f64().map(|value| value as f32);
                push(values, value.filter(|value| value.is_finite()))
            }
            (Values::Decimal(values, precision, scale), _) if number => {
                push(values, scalar::parse_decimal(cursor.number()?.text, *precision, *scale))
            }
            (Values::Decimal(values, precision, scale), b'"') => {
                push(values, scalar::parse_decimal(&plain_text(cursor)?, *precision, *scale))
            }
            (Values::Date(values), b'"') => push(values, scalar::parse_date(&plain_text(cursor)?)),
            (Values::Timestamp(values), b'"') => push(values, scalar::parse_timestamp(&plain_text(cursor)?)),
            (Values::LocalTimestamp(values), b'"') => {
                push(values, scalar::parse_local_timestamp(&plain_text(cursor)?))
            }
            (Values::Binary(runs), b'"') => {
                let decoded = base64::engine::general_purpose::STANDARD.decode(plain_text(cursor)?);
                decoded.is_ok_and(|bytes| {
                    runs.push(&bytes);
                    true
                })
            }
            (Values::Json(runs), _) => {
                cursor.skip_value()?;
                runs.push(&cursor.bytes[start..cursor.at]);
                true
            }
            (Values::Text(runs), _) if self.role.declared && (number || matches!(first, b't' | b'f')) => {
                cursor.skip_value()?;
                runs.push(&cursor.bytes[start..cursor.at]);
                true
            }
            (Values::Null, _) if !self.role.declared && self.role.unknown == Unknown::Widen => {
                return fault(start, What::Wider);
            }
            (Values::Null, _) if !self.role.declared && self.role.unknown == Unknown::Drop => {
                cursor.skip_value()?;
                true
            }
            _ => false,
        };
        Ok(fits)
    }

    /// The value at `at` is no value of this column; if it is no value at all, that is the error.
    #[cold]
    fn misfit(&self, bytes: &[u8], at: usize) -> Parsed {
        Cursor::new(bytes, at).skip_value()?;
        let container = matches!(bytes.get(at), Some(b'{' | b'['));
        let hint = match self.values {
            Values::Int64(_) | Values::Int32(_) if !container && bytes.get(at) != Some(&b'"') => {
                DECLARE_INTEGER
            }
            Values::List(..) | Values::Struct(_) => DECLARE_JSON,
            _ if container => DECLARE_JSON,
            _ => "",
        };
        fault(at, What::Type { expected: schema::name_of(&self.data_type), hint })
    }

    /// What batches hold of this column.
    pub(crate) fn typed(&self) -> Option<&DataType> {
        self.typed.as_ref()
    }

    /// Gives the values away and is empty again; `None` where there is no type yet.
    ///
    /// # Errors
    /// Text that is not UTF-8.
    pub(crate) fn finish(&mut self) -> Result<Option<ArrayRef>, ArrowError> {
        let length = self.len();
        let nulls = self.nulls.finish();
        let array: ArrayRef = match (&mut self.values, &self.typed) {
            (Values::Null, _) => return Ok(None),
            (Values::List(offsets, item), typed) => {
                let offsets = std::mem::replace(offsets, vec![0]);
                match (item.finish()?, typed) {
                    (Some(items), Some(DataType::List(field))) => {
                        let offsets = OffsetBuffer::new(offsets.into());
                        Arc::new(ListArray::try_new(Arc::clone(field), offsets, items, nulls)?)
                    }
                    _ => return Ok(None),
                }
            }
            (Values::Struct(members), typed) => {
                let arrays = members.finish()?;
                match typed {
                    Some(DataType::Struct(fields)) => {
                        Arc::new(StructArray::try_new_with_length(fields.clone(), arrays, nulls, length)?)
                    }
                    _ => return Ok(None),
                }
            }
            (Values::Bool(values), _) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            (Values::Int32(values), _) => primitive::<Int32Type>(values, nulls)?,
            (Values::Int64(values), _) => primitive::<Int64Type>(values, nulls)?,
            (Values::Float32(values), _) => primitive::<Float32Type>(values, nulls)?,
            (Values::Float64(values), _) => primitive::<Float64Type>(values, nulls)?,
            (Values::Date(values), _) => primitive::<Date32Type>(values, nulls)?,
            (Values::Timestamp(values) | Values::LocalTimestamp(values), _) => {
                let values = ScalarBuffer::from(std::mem::take(values));
                let array = PrimitiveArray::<TimestampMicrosecondType>::try_new(values, nulls)?;
                Arc::new(array.with_data_type(self.data_type.clone()))
            }
            (Values::Decimal(values, precision, scale), _) => {
                let values = ScalarBuffer::from(std::mem::take(values));
                Arc::new(
                    Decimal128Array::try_new(values, nulls)?.with_precision_and_scale(*precision, *scale)?,
                )
            }
            (Values::Text(runs) | Values::Json(runs), _) => {
                let (offsets, bytes) = runs.take();
                Arc::new(StringArray::try_new(
                    OffsetBuffer::new(offsets.into()),
                    Buffer::from_vec(bytes),
                    nulls,
                )?)
            }
            (Values::Binary(runs), _) => {
                let (offsets, bytes) = runs.take();
                Arc::new(BinaryArray::try_new(
                    OffsetBuffer::new(offsets.into()),
                    Buffer::from_vec(bytes),
                    nulls,
                )?)
            }
        };
        Ok(Some(array))
    }
}

/// The fields of `columns` that have a type, with it.
pub(crate) fn typed_fields<'c>(columns: impl Iterator<Item = (&'c FieldRef, &'c Column)>) -> Fields {
    columns
        .filter_map(|(field, column)| {
            Some(Arc::new(field.as_ref().clone().with_data_type(column.typed()?.clone())))
        })
        .collect()
}

fn primitive<T: ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, ArrowError> {
    let values = ScalarBuffer::from(std::mem::take(values));
    Ok(Arc::new(PrimitiveArray::<T>::try_new(values, nulls)?))
}

#[inline]
fn push<T>(values: &mut Vec<T>, value: Option<T>) -> bool {
    value.is_some_and(|value| {
        values.push(value);
        true
    })
}

/// A string's text; copied only if it has escapes.
fn plain_text<'a>(cursor: &mut Cursor<'a>) -> Parsed<Cow<'a, [u8]>> {
    let at = cursor.at + 1;
    let text = cursor.string()?;
    if !text.escaped {
        return Ok(Cow::Borrowed(text.raw));
    }
    let mut plain = Vec::with_capacity(text.raw.len());
    unescape(text.raw, at, &mut plain)?;
    Ok(Cow::Owned(plain))
}

fn read_items(item: &mut Column, cursor: &mut Cursor<'_>) -> Parsed {
    cursor.at += 1;
    if cursor.token() == b']' {
        cursor.at += 1;
        return Ok(());
    }
    loop {
        item.read(cursor).map_err(|fault| fault.inside("[]"))?;
        if cursor.ends(b']')? {
            return Ok(());
        }
    }
}
