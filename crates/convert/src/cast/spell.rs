//! Scalars as texts; what casting back reads as the same value.

use std::sync::Arc;

use dil_model::arrow::array::{Array as _, ArrayRef, ArrowPrimitiveType, AsArray as _, StringArray};
use dil_model::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};
use jiff::Timestamp;

use super::{Failure, binary_to_text, no_way, number};
use crate::time::{date, datetime};

/// Each value as text: numbers shortest, dates and times in ISO 8601, instants in UTC.
pub(super) fn to_text(array: &ArrayRef) -> Result<ArrayRef, Failure> {
    match array.data_type() {
        DataType::Utf8 => Ok(ArrayRef::clone(array)),
        DataType::Boolean => {
            Ok(Arc::new(array.as_boolean().iter().map(|v| v.map(|v| v.to_string())).collect::<StringArray>()))
        }
        DataType::Int32 => texts::<Int32Type>(array, |v| Some(v.to_string())),
        DataType::Int64 => texts::<Int64Type>(array, |v| Some(v.to_string())),
        // `{:?}` and not `{}`: 1e300 without 300 zeros, and 1.0 still looks like a float.
        DataType::Float32 => texts::<Float32Type>(array, |v| Some(format!("{v:?}"))),
        DataType::Float64 => texts::<Float64Type>(array, |v| Some(format!("{v:?}"))),
        DataType::Decimal128(_, scale) => texts::<Decimal128Type>(array, |v| Some(number::spell(v, *scale))),
        DataType::Date32 => texts::<Date32Type>(array, |v| Some(date(v)?.to_string())),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            texts::<TimestampMicrosecondType>(array, |v| {
                Some(Timestamp::from_microsecond(v).ok()?.to_string())
            })
        }
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            texts::<TimestampMicrosecondType>(array, |v| Some(datetime(v)?.to_string()))
        }
        DataType::Binary => binary_to_text(array),
        _ => Err(no_way(array, &DataType::Utf8)),
    }
}

fn texts<S: ArrowPrimitiveType>(
    array: &ArrayRef,
    spell: impl Fn(S::Native) -> Option<String>,
) -> Result<ArrayRef, Failure> {
    let text = |(row, value): (usize, Option<S::Native>)| match value {
        None => Ok(None),
        Some(value) => spell(value).map(Some).ok_or_else(|| Failure::misfit(row)),
    };
    let texts = array.as_primitive::<S>().iter().enumerate().map(text).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(StringArray::from(texts)))
}
