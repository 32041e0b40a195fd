//! Types of files as types of `dil`: nothing is lost, or it is an error.
//!
//! | in the file | here |
//! |---|---|
//! | whole numbers of 8 and 16 bits, signed or not, and of 32 signed | `int32` |
//! | `uint32` | `int64` |
//! | `uint64` | `decimal(20,0)` |
//! | `float16` | `float32` |
//! | decimals of up to 38 digits | the same |
//! | instants and local times of any unit | microseconds; one between two of them is an error |
//! | times of the day, durations, decimals of more digits, UUIDs | `text` |
//! | dictionaries, enumerations | the type of their values |
//! | byte strings of one length | `binary` |
//! | maps | `list<struct<key, value>>` |
//! | unions | an error |

use std::sync::Arc;

use dil_model::arrow::array::{
    Array, ArrayRef, AsArray as _, FixedSizeBinaryArray, ListArray, StringArray, StructArray, make_array,
};
use dil_model::arrow::compute::{CastOptions, cast_with_options};
use dil_model::arrow::datatypes::{DataType, Field, Int64Type, TimeUnit};
use dil_model::arrow::error::ArrowError;
use dil_model::arrow::util::display::FormatOptions;
use dil_model::{Error, ErrorKind, Result};

/// How deep columns may be nested.
const DEPTH_MAX: usize = 64;

/// Marks a column of 16 bytes as one of UUIDs, as Avro's reader does.
const LOGICAL: &str = "logicalType";

/// The column, marked as one of UUIDs.
pub(super) fn as_uuid(field: &Field) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(LOGICAL.to_owned(), "uuid".to_owned());
    field.clone().with_metadata(metadata)
}

fn is_uuid(field: &Field) -> bool {
    *field.data_type() == DataType::FixedSizeBinary(16)
        && field.metadata().get(LOGICAL).is_some_and(|logical| logical == "uuid")
}

/// How a column of a file becomes one of `dil`.
pub(super) struct Normal {
    name: String,
    target: DataType,
    way: Way,
}

/// What is done to the values.
enum Way {
    /// Nothing.
    Keep,
    /// Cast, which fails for what does not fit.
    Cast,
    /// Instants as text, in UTC.
    Instant(TimeUnit),
    /// A cast, for instants of nanoseconds, if they are whole microseconds.
    Micros,
    /// UUIDs as text.
    Uuid,
    /// Members.
    Struct(Vec<Normal>),
    /// Items of a list of any layout, which is cast first.
    List(Box<Normal>),
    /// Entries of a map.
    Map(Box<Normal>),
    /// The values of a dictionary.
    Unpack(DataType, Box<Normal>),
}

impl Normal {
    /// What to do with a column; `declared` is the type that the flow names.
    ///
    /// # Errors
    /// `Type` if it cannot be read.
    pub(super) fn new(field: &Field, declared: Option<&DataType>) -> Result<Self> {
        // As text, every scalar is kept as it is.
        if declared == Some(&DataType::Utf8) && !field.data_type().is_nested() && !is_uuid(field) {
            let way = match field.data_type() {
                // The name of a zone is only known to us by its offset from UTC, which is how instants are kept anyway.
                DataType::Timestamp(unit, Some(_)) => Way::Instant(*unit),
                _ => Way::Cast,
            };
            return Ok(Self { name: field.name().clone(), target: DataType::Utf8, way });
        }
        Self::of(field, 0).map_err(|cause| {
            Error::new(ErrorKind::Type, "file/column-type", format!("column `{}`: {cause}", field.name()))
                .hint("leave the column out: declare the others under `columns`, with `other_columns: drop`")
        })
    }

    /// The column that comes out.
    pub(super) fn field(&self) -> Field {
        Field::new(&self.name, self.target.clone(), true)
    }

    fn of(field: &Field, depth: usize) -> std::result::Result<Self, String> {
        if depth > DEPTH_MAX {
            return Err(format!("it is nested deeper than {DEPTH_MAX} levels"));
        }
        let inner = |field: &Field| Self::of(field, depth + 1);
        let list = |item: &Normal| DataType::List(Arc::new(Field::new("item", item.target.clone(), true)));
        let (target, way) = match field.data_type() {
            _ if is_uuid(field) => (DataType::Utf8, Way::Uuid),
            kept @ (DataType::Null
            | DataType::Boolean
            | DataType::Int32
            | DataType::Int64
            | DataType::Float32
            | DataType::Float64
            | DataType::Utf8
            | DataType::Binary
            | DataType::Date32
            | DataType::Decimal128(..)) => (kept.clone(), Way::Keep),
            DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16 => {
                (DataType::Int32, Way::Cast)
            }
            DataType::UInt32 => (DataType::Int64, Way::Cast),
            DataType::UInt64 => (DataType::Decimal128(20, 0), Way::Cast),
            DataType::Float16 => (DataType::Float32, Way::Cast),
            DataType::LargeUtf8 | DataType::Utf8View => (DataType::Utf8, Way::Cast),
            DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                (DataType::Binary, Way::Cast)
            }
            DataType::Date64 => (DataType::Date32, Way::Cast),
            DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
                (DataType::Decimal128(*precision, *scale), Way::Cast)
            }
            DataType::Decimal256(precision, scale) if *precision <= 38 => {
                (DataType::Decimal128(*precision, *scale), Way::Cast)
            }
            DataType::Timestamp(unit, zone) => {
                let zone = zone.as_ref().map(|_| Arc::from("UTC"));
                let way = if *unit == TimeUnit::Nanosecond { Way::Micros } else { Way::Cast };
                (DataType::Timestamp(TimeUnit::Microsecond, zone), way)
            }
            DataType::Decimal256(..)
            | DataType::Time32(_)
            | DataType::Time64(_)
            | DataType::Duration(_)
            | DataType::Interval(_) => (DataType::Utf8, Way::Cast),
            DataType::Struct(members) => {
                let members =
                    members.iter().map(|member| inner(member)).collect::<std::result::Result<Vec<_>, _>>()?;
                (DataType::Struct(members.iter().map(Self::field).collect()), Way::Struct(members))
            }
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::ListView(item)
            | DataType::LargeListView(item)
            | DataType::FixedSizeList(item, _) => {
                let item = inner(item)?;
                (list(&item), Way::List(Box::new(item)))
            }
            DataType::Map(entries, _) => {
                let entry = inner(entries)?;
                (list(&entry), Way::Map(Box::new(entry)))
            }
            DataType::Dictionary(_, value) => {
                let normal = inner(&Field::new(field.name(), value.as_ref().clone(), true))?;
                (normal.target.clone(), Way::Unpack(value.as_ref().clone(), Box::new(normal)))
            }
            DataType::RunEndEncoded(_, value) => {
                let normal = inner(value)?;
                (normal.target.clone(), Way::Unpack(value.data_type().clone(), Box::new(normal)))
            }
            DataType::Union(..) => {
                return Err("its values are of several types (a union), which one column cannot hold".into());
            }
        };
        Ok(Self { name: field.name().clone(), target, way })
    }

    /// The values as they come out; `first_row` is the number of the first one in its file.
    ///
    /// # Errors
    /// `Type` for a value that does not fit, with its row.
    pub(super) fn take(&self, array: &ArrayRef, first_row: u64) -> Result<ArrayRef> {
        self.apply(array).map_err(|cause| {
            let cause = match cause {
                ArrowError::CastError(cause) | ArrowError::ComputeError(cause) => cause,
                other => other.to_string(),
            };
            let rows = format!("rows {first_row} to {}", first_row + (array.len() as u64).max(1) - 1);
            Error::new(ErrorKind::Type, "file/value", format!("column `{}`: {cause}", self.name))
                .hint(format!("declare it as text to keep it as it is: `columns: {{ {}: text }}`", self.name))
                .at(rows)
        })
    }

    fn apply(&self, array: &ArrayRef) -> std::result::Result<ArrayRef, ArrowError> {
        match &self.way {
            Way::Keep => Ok(Arc::clone(array)),
            Way::Cast => cast(array, &self.target),
            Way::Instant(unit) => {
                let utc = cast(array, &DataType::Timestamp(*unit, Some(Arc::from("+00:00"))))?;
                cast(&utc, &self.target)
            }
            Way::Micros => {
                let ticks = cast(array, &DataType::Int64)?;
                let uneven =
                    ticks.as_primitive::<Int64Type>().iter().flatten().find(|ticks| ticks % 1_000 != 0);
                if let Some(ticks) = uneven {
                    let text = format!("{ticks} ns after 1970 is no whole number of microseconds");
                    return Err(ArrowError::CastError(text));
                }
                cast(array, &self.target)
            }
            Way::Uuid => {
                let values = array
                    .as_any()
                    .downcast_ref::<FixedSizeBinaryArray>()
                    .ok_or_else(|| ArrowError::CastError("no UUIDs".to_owned()))?;
                Ok(Arc::new(values.iter().map(|value| value.map(hyphened)).collect::<StringArray>()))
            }
            Way::Struct(members) => {
                let values = array.as_struct();
                let arrays =
                    members.iter().zip(values.columns()).map(|(member, column)| member.apply(column));
                let arrays = arrays.collect::<std::result::Result<Vec<_>, _>>()?;
                let fields = members.iter().map(Self::field).collect();
                let rows = values.len();
                Ok(Arc::new(StructArray::try_new_with_length(fields, arrays, values.nulls().cloned(), rows)?))
            }
            Way::List(item) => {
                let plain = match array.data_type() {
                    DataType::List(_) => Arc::clone(array),
                    DataType::LargeList(inner)
                    | DataType::ListView(inner)
                    | DataType::LargeListView(inner)
                    | DataType::FixedSizeList(inner, _) => cast(array, &DataType::List(Arc::clone(inner)))?,
                    other => return Err(ArrowError::CastError(format!("{other} is no list"))),
                };
                let values = plain.as_list::<i32>();
                self.list(item.apply(values.values())?, values.offsets().clone(), values.nulls())
            }
            Way::Map(entry) => {
                let values = array.as_map();
                let entries: ArrayRef = Arc::new(values.entries().clone());
                self.list(entry.apply(&entries)?, values.offsets().clone(), values.nulls())
            }
            Way::Unpack(value, normal) => normal.apply(&cast(array, value)?),
        }
    }

    fn list(
        &self,
        items: ArrayRef,
        offsets: dil_model::arrow::buffer::OffsetBuffer<i32>,
        nulls: Option<&dil_model::arrow::buffer::NullBuffer>,
    ) -> std::result::Result<ArrayRef, ArrowError> {
        let DataType::List(field) = &self.target else {
            return Err(ArrowError::CastError("no list".to_owned()));
        };
        Ok(Arc::new(ListArray::try_new(Arc::clone(field), offsets, items, nulls.cloned())?))
    }
}

/// Casts; a value that does not fit is an error.
pub(super) fn cast(array: &ArrayRef, to: &DataType) -> std::result::Result<ArrayRef, ArrowError> {
    if array.data_type() == to {
        return Ok(make_array(array.to_data()));
    }
    cast_with_options(array, to, &CastOptions { safe: false, format_options: FormatOptions::default() })
}

/// A UUID as RFC 9562 writes it.
fn hyphened(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
