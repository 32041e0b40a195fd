//! Changes the types of columns, exactly or not at all.
//!
//! Two conversions round, because their target is for that: to `float32`, and from `decimal` to a float. Everything
//! else gives the same value in another type, or an error.

mod json;
pub(crate) mod number;
mod spell;

use std::sync::Arc;

use dil_model::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray as _, BinaryArray, BooleanArray, ListArray, PrimitiveArray,
    StringArray, StructArray, new_null_array,
};
use dil_model::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, FieldRef, Fields, Float32Type, Float64Type, Int32Type,
    Int64Type, TimeUnit, TimestampMicrosecondType,
};
use dil_model::setting::ColumnType;
use dil_model::{Error, ErrorKind, Result};
use indexmap::IndexMap;

use crate::time::{MICROS_PER_DAY, days, iso_date, iso_instant, iso_local, micros};

/// Longest part of a value that a message shows, in characters.
const SHOWN_MAX: usize = 40;

/// The columns that one step casts.
#[derive(Debug)]
pub(crate) struct Casts {
    settings: IndexMap<String, ColumnType>,
    places: Vec<usize>,
}

impl Casts {
    pub(crate) fn new(settings: &IndexMap<String, ColumnType>) -> Self {
        Self { settings: settings.clone(), places: Vec::new() }
    }

    /// The fields that come out.
    ///
    /// # Errors
    /// `Config` if a column's type can never become the other.
    pub(crate) fn fields(&mut self, input: &Fields) -> Result<Fields> {
        let mut output: Vec<FieldRef> = input.iter().cloned().collect();
        self.places.clear();
        for (name, wanted) in &self.settings {
            let place = input.find(name).map_or(output.len(), |(place, _)| place);
            if place == output.len() {
                output.push(Arc::new(Field::new(name, DataType::Null, true)));
            }
            let field = &output[place];
            // An empty column finds out whether the types go together, by the very code that will convert full ones.
            let empty = new_null_array(field.data_type(), 0);
            let made = cast(&empty, wanted).map_err(|failure| failure.tell(name, None, &empty, None))?;
            output[place] =
                Arc::new(Field::clone(field).with_data_type(made.data_type().clone()).with_nullable(true));
            self.places.push(place);
        }
        Ok(output.into())
    }

    /// The columns that come out.
    ///
    /// # Errors
    /// `Type` for a value that does not fit.
    pub(crate) fn columns(&self, input: &[ArrayRef], rows: Rows) -> Result<Vec<ArrayRef>> {
        let mut output = input.to_vec();
        for ((name, wanted), place) in self.settings.iter().zip(&self.places) {
            if *place == output.len() {
                output.push(new_null_array(&DataType::Null, rows.count));
            }
            if let Some(column) = output.get_mut(*place) {
                *column = cast(column, wanted)
                    .map_err(|failure| failure.tell(name, None, column, Some(rows.first)))?;
            }
        }
        Ok(output)
    }

    /// The columns that it names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.settings.keys().map(String::as_str)
    }
}

/// The rows of one batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows {
    /// The number of the first one inside its page.
    pub(crate) first: u64,
    /// How many they are.
    pub(crate) count: usize,
}

/// Why a column did not become another type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No value of the one type is one of the other, or it could mean several.
    Cannot { from: String, wanted: String, hint: String },
    /// The value of this row, counted from 0, is not one of the type.
    Misfit { row: usize, wanted: String },
}

impl Failure {
    pub(crate) fn cannot(from: &DataType, wanted: &str, hint: &str) -> Self {
        Self::Cannot { from: ColumnType::spell(from), wanted: wanted.to_owned(), hint: hint.to_owned() }
    }

    fn misfit(row: usize) -> Self {
        Self::Misfit { row, wanted: String::new() }
    }

    /// Says what was wanted, unless something further inside has said so.
    pub(crate) fn wanting(self, text: &str) -> Self {
        match self {
            Self::Misfit { row, wanted } if wanted.is_empty() => {
                Self::Misfit { row, wanted: text.to_owned() }
            }
            other => other,
        }
    }

    fn at(self, map: impl Fn(usize) -> usize) -> Self {
        match self {
            Self::Misfit { row, wanted } => Self::Misfit { row: map(row), wanted },
            cannot @ Self::Cannot { .. } => cannot,
        }
    }

    /// The error for people: `column` is what comes out, `path` what it is made of, `source` its values, the first of which is
    /// in row `first_row` if they are of rows.
    pub(crate) fn tell(
        self,
        column: &str,
        path: Option<&str>,
        source: &ArrayRef,
        first_row: Option<u64>,
    ) -> Error {
        let made_of =
            path.filter(|path| *path != column).map(|path| format!(" (from `{path}`)")).unwrap_or_default();
        match self {
            Self::Cannot { from, wanted, hint } => {
                let message = format!("column `{column}`{made_of} is {from}, which cannot become {wanted}");
                Error::new(ErrorKind::Config, "convert/no-cast", message).hint(hint)
            }
            Self::Misfit { row, wanted } => {
                let value = shorten(&show(source, row));
                let message = format!("column `{column}`{made_of}: `{value}` does not fit {wanted}");
                let error = Error::new(ErrorKind::Type, "convert/cast", message)
                    .hint(hint(&wanted, source.data_type()));
                match first_row {
                    Some(first) => error.at(format!("row {}", first + row as u64)),
                    None => error,
                }
            }
        }
    }
}

fn hint(wanted: &str, from: &DataType) -> &'static str {
    let text = *from == DataType::Utf8;
    match wanted.split(['(', '<', ' ']).next().unwrap_or_default() {
        _ if wanted.contains(" as ") => {
            "check `as` and `timezone`; or leave `as` out to keep the value as it is"
        }
        "int32" | "int64" if text => {
            "integers are digits with a sign at most; take float64, decimal(p,s) or text"
        }
        "int32" | "int64" => {
            "only whole numbers within range become integers; take int64, float64 or decimal(p,s)"
        }
        "float32" | "float64" if text => {
            "numbers have a decimal point and no thousands separators; take text to keep it as it is"
        }
        "float32" | "float64" => {
            "integers beyond the float's exact range would change; take int64 or decimal(p,0)"
        }
        "decimal" => {
            "it has more digits than the type keeps, or is no plain number; take a wider decimal(p,s), or text"
        }
        "bool" => "only true and false are bools; take text to keep it as it is",
        "date" => "dates are spelt 2024-01-31; for other spellings use `derive` with `as` and `type: date`",
        "timestamp" => {
            "a time needs its offset (2024-01-31T06:00:00Z); else use `derive` with `as` and `timezone`"
        }
        "local_timestamp" => "local times are spelt 2024-01-31T06:00:00, without offset",
        "json" => "only JSON texts fit; to keep any text, take text",
        _ => "take text to keep it as it is",
    }
}

fn show(source: &ArrayRef, row: usize) -> String {
    if row >= source.len() {
        return String::new();
    }
    let one = source.slice(row, 1);
    let spelt = spell::to_text(&one).or_else(|_| json::to_json(&one));
    spelt
        .ok()
        .and_then(|texts| texts.as_string_opt::<i32>().map(|texts| texts.value(0).to_owned()))
        .unwrap_or_else(|| "…".to_owned())
}

fn shorten(value: &str) -> String {
    let escaped: String = value
        .chars()
        .take(SHOWN_MAX + 1)
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect();
    if escaped.chars().count() <= SHOWN_MAX {
        return escaped;
    }
    escaped.chars().take(SHOWN_MAX - 1).chain(['…']).collect()
}

/// Gives the same values in another type.
pub(crate) fn cast(array: &ArrayRef, wanted: &ColumnType) -> Result<ArrayRef, Failure> {
    let made = if wanted.is_json() { json::to_json(array) } else { cast_to(array, wanted.arrow()) };
    made.map_err(|failure| failure.wanting(&wanted.to_string()))
}

fn cast_to(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, Failure> {
    match (array.data_type(), wanted) {
        (have, want) if have == want => Ok(ArrayRef::clone(array)),
        (DataType::Null, _) => Ok(new_null_array(wanted, array.len())),
        (DataType::List(_), DataType::List(item)) => cast_list(array, item),
        (DataType::Struct(_), DataType::Struct(members)) => cast_struct(array, members),
        (DataType::Binary, DataType::Utf8) => binary_to_text(array),
        (_, DataType::Utf8) => spell::to_text(array),
        (DataType::Utf8, _) => from_text(array, wanted),
        (DataType::Int32 | DataType::Int64, _) => from_integer(&to_int64(array), wanted),
        (DataType::Float32 | DataType::Float64, _) => from_float(array, wanted),
        (DataType::Decimal128(_, scale), _) => from_decimal(array, *scale, wanted),
        (DataType::Boolean, DataType::Int32) => Ok(from_bool::<Int32Type>(array, i32::from)),
        (DataType::Boolean, DataType::Int64) => Ok(from_bool::<Int64Type>(array, i64::from)),
        (DataType::Date32 | DataType::Timestamp(..), _) => between_times(array, wanted),
        _ => Err(no_way(array, wanted)),
    }
}

fn no_way(array: &ArrayRef, wanted: &DataType) -> Failure {
    let hint = match (array.data_type(), wanted) {
        (DataType::List(_) | DataType::Struct(_), _) => {
            "take json to keep it as text, or derive a member of it: `from: a.b`"
        }
        (DataType::Timestamp(..) | DataType::Date32, DataType::Timestamp(..)) => {
            "the zone is missing; use `derive` with `from`, `timezone` and `type`"
        }
        (
            DataType::Int32 | DataType::Int64 | DataType::Float64,
            DataType::Date32 | DataType::Timestamp(..),
        ) => "say how the number counts: `derive` with `as: epoch_s` or `as: epoch_ms`",
        _ => "take text in between if that is what you mean",
    };
    Failure::cannot(array.data_type(), &ColumnType::spell(wanted), hint)
}

/// Maps each value; the first that gives `None` is the misfit.
pub(crate) fn each_of<S: ArrowPrimitiveType, T: ArrowPrimitiveType>(
    array: &ArrayRef,
    map: impl Fn(S::Native) -> Option<T::Native>,
) -> Result<PrimitiveArray<T>, Failure> {
    let array = array.as_primitive::<S>();
    array.try_unary(|value| map(value).ok_or(())).map_err(|()| {
        let fits = |value: Option<S::Native>| value.is_none_or(|value| map(value).is_some());
        Failure::misfit(array.iter().position(|value| !fits(value)).unwrap_or_default())
    })
}

/// Maps each text; the first that gives `None` is the misfit.
pub(crate) fn each_text<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    map: impl Fn(&str) -> Option<T::Native>,
) -> Result<PrimitiveArray<T>, Failure> {
    let map = |(row, text): (usize, Option<&str>)| match text {
        None => Ok(None),
        Some(text) => map(text).map(Some).ok_or_else(|| Failure::misfit(row)),
    };
    array
        .as_string::<i32>()
        .iter()
        .enumerate()
        .map(map)
        .collect::<Result<Vec<_>, _>>()
        .map(PrimitiveArray::from_iter)
}

/// `int32` or `int64` as `int64`.
pub(crate) fn to_int64(array: &ArrayRef) -> ArrayRef {
    match array.as_primitive_opt::<Int32Type>() {
        Some(narrow) => Arc::new(narrow.unary::<_, Int64Type>(i64::from)),
        None => ArrayRef::clone(array),
    }
}

/// `float32` or `float64` as `float64`, with the shortest decimal notation of the value kept.
pub(crate) fn to_float64(array: &ArrayRef) -> ArrayRef {
    match array.as_primitive_opt::<Float32Type>() {
        Some(narrow) => {
            Arc::new(narrow.unary::<_, Float64Type>(|v| v.to_string().parse().unwrap_or(f64::from(v))))
        }
        None => ArrayRef::clone(array),
    }
}

fn decimals(array: PrimitiveArray<Decimal128Type>, precision: u8, scale: i8) -> Result<ArrayRef, Failure> {
    let bound = number::power(precision);
    if let Some(row) = array
        .iter()
        .position(|value| value.is_some_and(|value| bound.is_none_or(|bound| value.abs() >= bound)))
    {
        return Err(Failure::misfit(row));
    }
    let spelt = ColumnType::spell(&DataType::Decimal128(precision, scale));
    let typed = array.with_precision_and_scale(precision, scale);
    typed
        .map(|made| Arc::new(made) as ArrayRef)
        .map_err(|cause| Failure::cannot(&DataType::Decimal128(precision, scale), &spelt, &cause.to_string()))
}

fn from_integer(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, Failure> {
    let exact = |v: i64, bits: u32| v.unsigned_abs() <= 1 << bits;
    Ok(match wanted {
        DataType::Int64 => ArrayRef::clone(array),
        DataType::Int32 => Arc::new(each_of::<Int64Type, Int32Type>(array, |v| i32::try_from(v).ok())?),
        DataType::Float64 => {
            Arc::new(each_of::<Int64Type, Float64Type>(array, |v| exact(v, 53).then_some(v as f64))?)
        }
        DataType::Float32 => {
            Arc::new(each_of::<Int64Type, Float32Type>(array, |v| exact(v, 24).then_some(v as f32))?)
        }
        DataType::Decimal128(precision, scale) => {
            let made =
                each_of::<Int64Type, Decimal128Type>(array, |v| number::rescale(i128::from(v), 0, *scale))?;
            decimals(made, *precision, *scale)?
        }
        DataType::Boolean => {
            let truth = each_of::<Int64Type, Int64Type>(array, |v| (v == 0 || v == 1).then_some(v))?;
            Arc::new(BooleanArray::from_iter(truth.iter().map(|v| v.map(|v| v == 1))))
        }
        _ => return Err(no_way(array, wanted)),
    })
}

fn from_float(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, Failure> {
    // From here to there a float64 is an integer of 64 bits; the upper end itself is not.
    const INTEGERS: std::ops::Range<f64> = -9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0;
    let whole = |v: f64| (v.fract() == 0.0 && INTEGERS.contains(&v)).then_some(v as i64);
    let wide: ArrayRef = match array.as_primitive_opt::<Float32Type>() {
        // A decimal takes the digits that people see; the others take the exact value.
        _ if matches!(wanted, DataType::Decimal128(..)) => to_float64(array),
        Some(narrow) => Arc::new(narrow.unary::<_, Float64Type>(f64::from)),
        None => ArrayRef::clone(array),
    };
    Ok(match wanted {
        DataType::Float32 => {
            let narrow = |v: f64| Some(v as f32).filter(|narrow| narrow.is_finite() || !v.is_finite());
            Arc::new(each_of::<Float64Type, Float32Type>(&wide, narrow)?)
        }
        DataType::Float64 => wide,
        DataType::Int64 => Arc::new(each_of::<Float64Type, Int64Type>(&wide, whole)?),
        DataType::Int32 => {
            Arc::new(each_of::<Float64Type, Int32Type>(&wide, |v| i32::try_from(whole(v)?).ok())?)
        }
        DataType::Decimal128(precision, scale) => {
            let made =
                each_of::<Float64Type, Decimal128Type>(&wide, |v| number::decimal(&v.to_string(), *scale))?;
            decimals(made, *precision, *scale)?
        }
        _ => return Err(no_way(array, wanted)),
    })
}

fn from_decimal(array: &ArrayRef, scale: i8, wanted: &DataType) -> Result<ArrayRef, Failure> {
    let whole = |v: i128| i64::try_from(number::rescale(v, scale, 0)?).ok();
    let float = |v: i128| number::spell(v, scale).parse::<f64>().ok();
    Ok(match wanted {
        DataType::Int64 => Arc::new(each_of::<Decimal128Type, Int64Type>(array, whole)?),
        DataType::Int32 => {
            Arc::new(each_of::<Decimal128Type, Int32Type>(array, |v| i32::try_from(whole(v)?).ok())?)
        }
        DataType::Float64 => Arc::new(each_of::<Decimal128Type, Float64Type>(array, float)?),
        DataType::Float32 => {
            Arc::new(each_of::<Decimal128Type, Float32Type>(array, |v| number::spell(v, scale).parse().ok())?)
        }
        DataType::Decimal128(precision, to_scale) => {
            let made =
                each_of::<Decimal128Type, Decimal128Type>(array, |v| number::rescale(v, scale, *to_scale))?;
            decimals(made, *precision, *to_scale)?
        }
        _ => return Err(no_way(array, wanted)),
    })
}

fn from_bool<T: ArrowPrimitiveType>(array: &ArrayRef, map: impl Fn(bool) -> T::Native) -> ArrayRef {
    Arc::new(array.as_boolean().iter().map(|truth| truth.map(&map)).collect::<PrimitiveArray<T>>())
}

fn from_text(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, Failure> {
    Ok(match wanted {
        DataType::Int32 => Arc::new(each_text::<Int32Type>(array, |text| text.parse().ok())?),
        DataType::Int64 => Arc::new(each_text::<Int64Type>(array, |text| text.parse().ok())?),
        DataType::Float32 => Arc::new(each_text::<Float32Type>(array, |text| {
            text.parse().ok().filter(|v: &f32| v.is_finite() || number::is_spelt_non_finite(text))
        })?),
        DataType::Float64 => Arc::new(each_text::<Float64Type>(array, |text| {
            text.parse().ok().filter(|v: &f64| v.is_finite() || number::is_spelt_non_finite(text))
        })?),
        DataType::Decimal128(precision, scale) => decimals(
            each_text::<Decimal128Type>(array, |text| number::decimal(text, *scale))?,
            *precision,
            *scale,
        )?,
        DataType::Date32 => Arc::new(each_text::<Date32Type>(array, |text| days(iso_date(text)?))?),
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) => {
            let made = each_text::<TimestampMicrosecondType>(array, iso_instant)?;
            Arc::new(made.with_timezone(Arc::clone(zone)))
        }
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            Arc::new(each_text::<TimestampMicrosecondType>(array, |text| micros(iso_local(text)?))?)
        }
        DataType::Boolean => {
            let truth = each_text::<Int32Type>(array, |text| match text {
                "true" | "True" | "TRUE" => Some(1),
                "false" | "False" | "FALSE" => Some(0),
                _ => None,
            })?;
            Arc::new(BooleanArray::from_iter(truth.iter().map(|v| v.map(|v| v == 1))))
        }
        DataType::Binary => Arc::new(BinaryArray::from_iter(array.as_string::<i32>().iter())),
        _ => return Err(no_way(array, wanted)),
    })
}

fn binary_to_text(array: &ArrayRef) -> Result<ArrayRef, Failure> {
    let text = |(row, bytes): (usize, Option<&[u8]>)| match bytes {
        None => Ok(None),
        Some(bytes) => {
            std::str::from_utf8(bytes).map(|text| Some(text.to_owned())).map_err(|_| Failure::misfit(row))
        }
    };
    let texts = array.as_binary::<i32>().iter().enumerate().map(text).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(StringArray::from(texts)))
}

/// An instant's date is its date in UTC, and a date is its midnight in UTC.
fn between_times(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, Failure> {
    const US: TimeUnit = TimeUnit::Microsecond;
    Ok(match (array.data_type(), wanted) {
        (DataType::Timestamp(US, _), DataType::Date32) => {
            let date = |v: i64| i32::try_from(v.div_euclid(MICROS_PER_DAY)).ok();
            Arc::new(each_of::<TimestampMicrosecondType, Date32Type>(array, date)?)
        }
        (DataType::Date32, DataType::Timestamp(US, zone)) => {
            let midnight = |v: i32| i64::from(v).checked_mul(MICROS_PER_DAY);
            let made = each_of::<Date32Type, TimestampMicrosecondType>(array, midnight)?;
            Arc::new(made.with_timezone_opt(zone.clone()))
        }
        // Other names of the same zone.
        (DataType::Timestamp(US, Some(_)), DataType::Timestamp(US, Some(zone))) => {
            Arc::new(array.as_primitive::<TimestampMicrosecondType>().clone().with_timezone(Arc::clone(zone)))
        }
        _ => return Err(no_way(array, wanted)),
    })
}

fn cast_list(array: &ArrayRef, item: &FieldRef) -> Result<ArrayRef, Failure> {
    let list = array.as_list::<i32>();
    // Values that no row owns do not take part: they may be anything.
    let (first, last) = (list.value_offsets()[0] as usize, list.value_offsets()[list.len()] as usize);
    let owned = list.values().slice(first, last - first);
    let lengths = list.offsets().windows(2).map(|pair| (pair[1] - pair[0]) as usize);
    let offsets = dil_model::arrow::buffer::OffsetBuffer::from_lengths(lengths);
    let row_of = |at: usize| offsets.partition_point(|offset| *offset as usize <= at).saturating_sub(1);
    let spelt = ColumnType::spell(item.data_type());
    let values = cast_to(&owned, item.data_type()).map_err(|failure| failure.wanting(&spelt).at(row_of))?;
    let made = ListArray::try_new(Arc::clone(item), offsets, values, list.nulls().cloned());
    made.map(|made| Arc::new(made) as ArrayRef)
        .map_err(|cause| Failure::cannot(array.data_type(), &spelt, &cause.to_string()))
}

fn cast_struct(array: &ArrayRef, members: &Fields) -> Result<ArrayRef, Failure> {
    let parent = array.as_struct();
    let spelt = ColumnType::spell(&DataType::Struct(members.clone()));
    let cannot = |hint: String| Failure::cannot(array.data_type(), &spelt, &hint);
    if let Some(extra) = parent.fields().iter().find(|field| members.find(field.name()).is_none()) {
        return Err(cannot(format!("name member `{}` in the type too", extra.name())));
    }
    let mut columns = Vec::with_capacity(members.len());
    for member in members {
        let column = parent
            .column_by_name(member.name())
            .ok_or_else(|| cannot(format!("the rows have no member `{}`", member.name())))?;
        let inner = ColumnType::spell(member.data_type());
        columns.push(cast_to(column, member.data_type()).map_err(|failure| failure.wanting(&inner))?);
    }
    let made =
        StructArray::try_new_with_length(members.clone(), columns, parent.nulls().cloned(), parent.len());
    made.map(|made| Arc::new(made) as ArrayRef).map_err(|cause| cannot(cause.to_string()))
}

#[cfg(test)]
mod tests;
