//! Adds columns made of the unit's variables, or of other columns.

use std::sync::Arc;

use dil_model::arrow::array::{
    Array, ArrayRef, AsArray as _, BooleanArray, Float64Array, Int64Array, StringArray, UInt64Array,
    new_null_array,
};
use dil_model::arrow::compute::{is_null, nullif, take};
use dil_model::arrow::datatypes::{DataType, Field, FieldRef, Fields};
use dil_model::config::Derive;
use dil_model::secret::{Masked, SecretStore};
use dil_model::setting::ColumnType;
use dil_model::template::{Template, Variables};
use dil_model::{Error, ErrorKind, Result};
use indexmap::IndexMap;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::cast::{Failure, Rows, cast};
use crate::resolve::{Found, resolve};
use crate::time::{self, Reading, zone};

/// The columns that one step adds. All of them see the rows as they were before the step.
#[derive(Debug)]
pub(crate) struct Derivation {
    columns: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    name: String,
    origin: Origin,
    reading: Option<Reading>,
    zone: Option<TimeZone>,
    data_type: Option<ColumnType>,
    /// Where it goes among the columns that come out.
    place: usize,
}

#[derive(Debug)]
enum Origin {
    /// One row, converted already.
    Value(ArrayRef),
    From {
        path: String,
        found: Found,
    },
}

impl Derivation {
    /// Renders the values; they are the same for every row of the unit.
    ///
    /// # Errors
    /// `Config` if a template fails or uses what is not defined, `Type` if its value does not fit.
    pub(crate) fn new(settings: &IndexMap<String, Derive>, variables: &Variables) -> Result<Self> {
        let column = |(name, derive): (&String, &Derive)| Column::new(name, derive, variables);
        Ok(Self { columns: settings.iter().map(column).collect::<Result<_>>()? })
    }

    /// The fields that come out: those of `input`, with the derived ones in the place of their namesakes or at the end.
    ///
    /// # Errors
    /// `Config` if a source column cannot become the type.
    pub(crate) fn fields(&mut self, input: &Fields) -> Result<Fields> {
        let mut output: Vec<FieldRef> = input.iter().cloned().collect();
        for column in &mut self.columns {
            let data_type = column.settle(input)?;
            let field = Arc::new(Field::new(&column.name, data_type, true));
            match output.iter().position(|known| *known.name() == column.name) {
                Some(place) => {
                    output[place] = field;
                    column.place = place;
                }
                None => {
                    column.place = output.len();
                    output.push(field);
                }
            }
        }
        Ok(output.into())
    }

    /// The columns that come out.
    ///
    /// # Errors
    /// `Type` for a value that does not fit.
    pub(crate) fn columns(&self, input: &[ArrayRef], rows: Rows) -> Result<Vec<ArrayRef>> {
        let mut output = input.to_vec();
        for column in &self.columns {
            let made = match &column.origin {
                Origin::Value(value) => repeat(value, rows.count)?,
                Origin::From { path, found } => {
                    let source = pick(input, found, rows.count)?;
                    column.convert(&source).map_err(|failure| {
                        failure.tell(&column.name, Some(path), &source, Some(rows.first))
                    })?
                }
            };
            match output.get_mut(column.place) {
                Some(place) => *place = made,
                None => output.push(made),
            }
        }
        Ok(output)
    }

    /// The columns and members that it names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().filter_map(|column| match &column.origin {
            Origin::Value(_) => None,
            Origin::From { path, .. } => Some(path.as_str()),
        })
    }
}

impl Column {
    fn new(name: &str, derive: &Derive, variables: &Variables) -> Result<Self> {
        let wrong = |message: String| Error::new(ErrorKind::Config, "convert/derive", message);
        let reading = derive.reading.as_deref().map(Reading::parse).transpose().map_err(wrong)?;
        let zone = derive.timezone.as_deref().map(zone).transpose().map_err(wrong)?;
        let from = derive.from.clone().unwrap_or_default();
        let origin = Origin::From { path: from, found: Found::Untyped };
        let mut column = Self {
            name: name.to_owned(),
            origin,
            reading,
            zone,
            data_type: derive.data_type.clone(),
            place: 0,
        };
        if let Some(source) = &derive.value {
            let template = Template::parse(source).map_err(wrong)?;
            let secrets: Arc<dyn SecretStore> = Arc::new(Masked);
            let value = template.value(variables, &secrets)?.ok_or_else(|| {
                let message = format!("column `{name}`: `{source}` uses a variable that is not defined");
                let names: Vec<&str> = variables.keys().map(String::as_str).collect();
                wrong(message).hint(format!("defined are {}", names.join(", ")))
            })?;
            let plain = column.reading.is_none() && column.data_type.is_none();
            let value = if plain { text_of(value) } else { array_of(value) };
            let made = column.convert(&value).map_err(|failure| failure.tell(name, None, &value, None))?;
            column.origin = Origin::Value(made);
        }
        Ok(column)
    }

    /// Finds the source and gives the type that comes out.
    fn settle(&mut self, input: &Fields) -> Result<DataType> {
        let (path, source) = match &mut self.origin {
            Origin::Value(value) => return Ok(value.data_type().clone()),
            Origin::From { path, found } => {
                *found = resolve(input, path).unwrap_or(Found::Untyped);
                let source = type_at(input, found);
                (path.clone(), source)
            }
        };
        // What an empty column becomes tells the type, by the very code that will convert the full ones.
        let empty = new_null_array(&source, 0);
        self.convert(&empty)
            .map(|made| made.data_type().clone())
            .map_err(|failure| failure.tell(&self.name, Some(&path), &empty, None))
    }

    fn convert(&self, source: &ArrayRef) -> Result<ArrayRef, Failure> {
        let utc = || self.zone.clone().unwrap_or(TimeZone::UTC);
        let read = match &self.reading {
            Some(reading) => time::instants(source, reading, &utc())
                .map_err(|failure| failure.wanting(&format!("timestamp as {reading}")))?,
            None => ArrayRef::clone(source),
        };
        let Some(wanted) = &self.data_type else { return Ok(read) };
        let zoned = self.reading.is_some() || self.zone.is_some();
        if zoned && let Some(made) = time::across_zone(&read, wanted.arrow(), &utc())? {
            return Ok(made);
        }
        cast(&read, wanted)
    }
}

fn type_at(fields: &Fields, found: &Found) -> DataType {
    let Found::At(path) = found else { return DataType::Null };
    let mut data_type = DataType::Struct(fields.clone());
    for at in path {
        data_type = match &data_type {
            DataType::Struct(members) => {
                members.get(*at).map_or(DataType::Null, |member| member.data_type().clone())
            }
            _ => DataType::Null,
        };
    }
    data_type
}

/// The column or member at `found`; a member of a null is null.
fn pick(columns: &[ArrayRef], found: &Found, rows: usize) -> Result<ArrayRef> {
    let lost = || Error::new(ErrorKind::Internal, "internal/convert", "a source column is not where it was");
    let Found::At(path) = found else { return Ok(new_null_array(&DataType::Null, rows)) };
    let (first, rest) = path.split_first().ok_or_else(lost)?;
    let mut current = ArrayRef::clone(columns.get(*first).ok_or_else(lost)?);
    for at in rest {
        let parent = current.as_struct_opt().ok_or_else(lost)?;
        let member = ArrayRef::clone(parent.columns().get(*at).ok_or_else(lost)?);
        let masked = parent.null_count() > 0 && *member.data_type() != DataType::Null;
        current = if masked {
            is_null(parent).and_then(|mask| nullif(&member, &mask)).map_err(|_| lost())?
        } else {
            member
        };
    }
    Ok(current)
}

fn repeat(value: &ArrayRef, rows: usize) -> Result<ArrayRef> {
    let first = UInt64Array::from_value(0, rows);
    take(value, &first, None)
        .map_err(|cause| Error::new(ErrorKind::Internal, "internal/convert", cause.to_string()))
}

/// A template's value as a column of one row, as typed as it is.
fn array_of(value: Value) -> ArrayRef {
    match &value {
        Value::Null => new_null_array(&DataType::Null, 1),
        Value::Bool(truth) => Arc::new(BooleanArray::from(vec![*truth])),
        Value::Number(number) => match (number.as_i64(), number.as_f64().filter(|_| number.is_f64())) {
            (Some(integer), _) => Arc::new(Int64Array::from(vec![integer])),
            (None, Some(float)) => Arc::new(Float64Array::from(vec![float])),
            (None, None) => text_of(value),
        },
        _ => text_of(value),
    }
}

fn text_of(value: Value) -> ArrayRef {
    let text = match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    };
    Arc::new(StringArray::from(vec![text]))
}
