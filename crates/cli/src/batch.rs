//! Rows as a table for people.

use std::sync::Arc;

use dil_model::arrow::array::ArrayRef;
use dil_model::arrow::compute::cast;
use dil_model::arrow::datatypes::{DataType, Field, FieldRef};
use dil_model::arrow::error::ArrowError;
use dil_model::arrow::record_batch::RecordBatch;
use dil_model::arrow::util::display::{ArrayFormatter, FormatOptions};
use dil_model::{Error, ErrorKind};

use crate::exit::Failure;
use crate::table::Table;
use crate::terminal::{Paint, harmless};

/// Characters of one value that are shown.
const VALUE_MAX: usize = 40;

/// How wide rows may be where there is no terminal to ask.
const WIDTH_ELSEWHERE: usize = 160;

/// Rows as a table, as many columns of it as fit; the others are named.
pub(crate) fn rows(paint: Paint, batches: &[RecordBatch]) -> Result<String, Failure> {
    let Some(first) = batches.first() else { return Ok(String::new()) };
    let schema = first.schema();
    let all = table(batches, schema.fields())?;
    let width = terminal_size::terminal_size().map_or(WIDTH_ELSEWHERE, |(width, _)| usize::from(width.0));
    let fitting = all.columns_within(width.saturating_sub(2));
    let (shown, left) = schema.fields().split_at(fitting.min(schema.fields().len()));
    if left.is_empty() {
        return Ok(all.render(paint, "  "));
    }
    let names: Vec<&str> = left.iter().map(|field| field.name().as_str()).collect();
    let note = format!("too wide to show: {}", harmless(&names.join(", ")));
    Ok(format!("{}  {}\n", table(batches, shown)?.render(paint, "  "), paint.dim(&note)))
}

/// A table of the first columns, those of `fields`.
fn table(batches: &[RecordBatch], fields: &[FieldRef]) -> Result<Table, Failure> {
    let name = |field: &FieldRef| {
        format!("{}{}", field.name(), if field.data_type().is_numeric() { "#" } else { "" })
    };
    let mut table = Table::new(&fields.iter().map(name).collect::<Vec<_>>());
    for batch in batches {
        let columns = batch.columns().iter().take(fields.len()).map(texts);
        let columns = columns.collect::<Result<Vec<_>, _>>().map_err(|cause| {
            Error::new(ErrorKind::Internal, "internal/rows", format!("rows cannot be shown: {cause}"))
        })?;
        for row in 0..batch.num_rows() {
            table.row(columns.iter().map(|column| shortened(&column[row])));
        }
    }
    Ok(table)
}

/// The values of a column as text.
pub(crate) fn texts(column: &ArrayRef) -> Result<Vec<String>, ArrowError> {
    let shown = cast(column, &with_offset(column.data_type()))?;
    let options = FormatOptions::default().with_null("–");
    let formatter = ArrayFormatter::try_new(shown.as_ref(), &options)?;
    Ok((0..shown.len()).map(|row| formatter.value(row).to_string()).collect())
}

/// The type with offsets instead of names of zones: Arrow's display knows no names without a table of all zones.
fn with_offset(data_type: &DataType) -> DataType {
    let field = |field: &FieldRef| -> FieldRef {
        Arc::new(Field::new(field.name(), with_offset(field.data_type()), true))
    };
    match data_type {
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("+00:00".into())),
        DataType::List(item) => DataType::List(field(item)),
        DataType::Struct(members) => DataType::Struct(members.iter().map(field).collect()),
        other => other.clone(),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(VALUE_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use dil_model::arrow::array::{StructArray, TimestampMicrosecondArray};

    use super::*;

    #[test]
    fn an_instant_is_shown_at_any_depth() {
        let times: ArrayRef =
            Arc::new(TimestampMicrosecondArray::from(vec![Some(0), None]).with_timezone("UTC"));
        assert_eq!(texts(&times).unwrap(), ["1970-01-01T00:00:00Z", "–"]);
        let field = Arc::new(Field::new("at", times.data_type().clone(), true));
        let rows: ArrayRef = Arc::new(StructArray::from(vec![(field, times)]));
        assert_eq!(texts(&rows).unwrap(), ["{at: 1970-01-01T00:00:00Z}", "{at: –}"]);
    }
}
