//! Values as JSON texts.

use std::sync::Arc;

use dil_model::arrow::array::{Array as _, ArrayRef, AsArray as _, StringArray, new_null_array};
use dil_model::arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Failure, spell};

/// Each value as JSON text. A text must be JSON already and stays as it is; dates, times and decimals become JSON
/// texts, which alone keep all their digits.
pub(super) fn to_json(array: &ArrayRef) -> Result<ArrayRef, Failure> {
    let mut texts = Vec::with_capacity(array.len());
    match array.data_type() {
        DataType::Null => return Ok(new_null_array(&DataType::Utf8, array.len())),
        DataType::Utf8 => {
            let broken = |text: Option<&str>| {
                text.is_some_and(|text| serde_json::from_str::<&RawValue>(text).is_err())
            };
            return match array.as_string::<i32>().iter().position(broken) {
                Some(row) => Err(Failure::misfit(row)),
                None => Ok(ArrayRef::clone(array)),
            };
        }
        _ => {
            for (row, value) in values(array)?.into_iter().enumerate() {
                texts.push(if array.is_null(row) { None } else { Some(value.to_string()) });
            }
        }
    }
    Ok(Arc::new(StringArray::from(texts)))
}

/// One JSON value for each row; column by column, so that types are looked at once.
fn values(array: &ArrayRef) -> Result<Vec<Value>, Failure> {
    let float = |(row, v): (usize, Option<f64>)| match v {
        None => Ok(Value::Null),
        Some(v) => serde_json::Number::from_f64(v).map(Value::Number).ok_or_else(|| Failure::misfit(row)),
    };
    Ok(match array.data_type() {
        DataType::Null => vec![Value::Null; array.len()],
        DataType::Boolean => array.as_boolean().iter().map(Value::from).collect(),
        DataType::Int32 => array.as_primitive::<Int32Type>().iter().map(Value::from).collect(),
        DataType::Int64 => array.as_primitive::<Int64Type>().iter().map(Value::from).collect(),
        DataType::Float32 => {
            let wide = super::to_float64(array);
            wide.as_primitive::<Float64Type>().iter().enumerate().map(float).collect::<Result<_, _>>()?
        }
        DataType::Float64 => {
            array.as_primitive::<Float64Type>().iter().enumerate().map(float).collect::<Result<_, _>>()?
        }
        DataType::List(_) => lists(array)?,
        DataType::Struct(_) => objects(array)?,
        _ => spell::to_text(array)?.as_string::<i32>().iter().map(Value::from).collect(),
    })
}

fn lists(array: &ArrayRef) -> Result<Vec<Value>, Failure> {
    let list = array.as_list::<i32>();
    let list_of = |row: usize| {
        if list.is_null(row) { Ok(Value::Null) } else { values(&list.value(row)).map(Value::Array) }
    };
    (0..list.len()).map(|row| list_of(row).map_err(|failure| failure.at(|_| row))).collect()
}

fn objects(array: &ArrayRef) -> Result<Vec<Value>, Failure> {
    let parent = array.as_struct();
    let mut objects = vec![serde_json::Map::new(); parent.len()];
    for (field, column) in parent.fields().iter().zip(parent.columns()) {
        for (object, value) in objects.iter_mut().zip(values(column)?) {
            object.insert(field.name().clone(), value);
        }
    }
    let objects = objects.into_iter().enumerate();
    Ok(objects
        .map(|(row, object)| if parent.is_null(row) { Value::Null } else { Value::Object(object) })
        .collect())
}
