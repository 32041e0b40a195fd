//! Batches brought to another schema that holds theirs.

use std::sync::Arc;

use dil_model::arrow::array::{Array as _, ArrayRef, AsArray as _, ListArray, StructArray, new_null_array};
use dil_model::arrow::datatypes::{DataType, SchemaRef};
use dil_model::arrow::error::ArrowError;
use dil_model::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use dil_model::{Error, ErrorKind, Result};

use super::normal::cast;

/// Makes a batch of columns.
pub(super) fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(|cause| {
        Error::new(ErrorKind::Internal, "internal/columns", format!("making a batch of rows failed: {cause}"))
    })
}

/// Whether every value of type `other` is one of `known` as well.
pub(super) fn holds(known: &DataType, other: &DataType) -> bool {
    match (known, other) {
        (a, b) if a == b => true,
        (_, DataType::Null) => true,
        (DataType::Int64, DataType::Int32) => true,
        (DataType::Float64, DataType::Float32 | DataType::Int32) => true,
        (DataType::Decimal128(precision, scale), DataType::Int32 | DataType::Int64) => {
            let digits = if *other == DataType::Int32 { 10 } else { 19 };
            *scale >= 0 && i16::from(*precision) - i16::from(*scale) >= digits
        }
        (DataType::Decimal128(precision, scale), DataType::Decimal128(other_precision, other_scale)) => {
            let whole = i16::from(*precision) - i16::from(*scale);
            scale >= other_scale && whole >= i16::from(*other_precision) - i16::from(*other_scale)
        }
        (DataType::List(known), DataType::List(other)) => holds(known.data_type(), other.data_type()),
        (DataType::Struct(known), DataType::Struct(other)) => other.iter().all(|member| {
            known.find(member.name()).is_some_and(|(_, known)| holds(known.data_type(), member.data_type()))
        }),
        _ => false,
    }
}

/// The values in a type that [`holds`] theirs.
pub(super) fn array(values: &ArrayRef, to: &DataType) -> std::result::Result<ArrayRef, ArrowError> {
    match (to, values.data_type()) {
        (to, from) if to == from => Ok(Arc::clone(values)),
        (to, DataType::Null) => Ok(new_null_array(to, values.len())),
        (DataType::Struct(members), DataType::Struct(_)) => {
            let from = values.as_struct();
            let column =
                |member: &Arc<dil_model::arrow::datatypes::Field>| match from.column_by_name(member.name()) {
                    Some(column) => array(column, member.data_type()),
                    None => Ok(new_null_array(member.data_type(), from.len())),
                };
            let columns = members.iter().map(column).collect::<std::result::Result<Vec<_>, _>>()?;
            let (nulls, rows) = (from.nulls().cloned(), from.len());
            Ok(Arc::new(StructArray::try_new_with_length(members.clone(), columns, nulls, rows)?))
        }
        (DataType::List(item), DataType::List(_)) => {
            let from = values.as_list::<i32>();
            let items = array(from.values(), item.data_type())?;
            let (offsets, nulls) = (from.offsets().clone(), from.nulls().cloned());
            Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, items, nulls)?))
        }
        (to, _) => cast(values, to),
    }
}
