//! Rows that a stage kept for the stages after it.

use std::fs::File;
use std::path::{Path, PathBuf};

use dil_model::arrow::array::{Array, AsArray as _};
use dil_model::arrow::datatypes::{DataType, Float32Type, Float64Type, Int32Type, Int64Type};
use dil_model::arrow::record_batch::RecordBatch;
use dil_model::arrow::util::display::{ArrayFormatter, FormatOptions};
use dil_model::parquet::arrow::ProjectionMask;
use dil_model::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use dil_model::unit::EachRow;
use dil_model::{Error, ErrorKind, Result};
use dil_plan::ValueList;
use serde_json::Value;

use crate::ledger::{KeptFile, Ledger};

/// The folder of the rows that the stages of a run keep.
pub(crate) fn rows_folder(state_dir: &Path, run: &str) -> PathBuf {
    state_dir.join("rows").join(run)
}

/// Pushes the `fields` of every row in files that `stage` kept, those of older runs first.
///
/// A column of the stage's rows of which no value was seen yet is not in the files: it is null in every row.
///
/// # Errors
/// `State` if a kept file cannot be read, and what the list refuses.
pub(crate) fn read_rows(
    ledger: &Ledger,
    (flow, stage): (&str, &str),
    files: &[KeptFile],
    fields: &[String],
    list: &mut ValueList,
) -> Result<()> {
    let known = ledger.stage_schema(flow, stage, "written")?.unwrap_or_default();
    let nulls: Vec<&String> =
        fields.iter().filter(|field| known.0.iter().any(|(name, _)| name == *field)).collect();
    let mut run = None;
    for kept in files {
        if run.replace(&kept.run).is_some_and(|before| *before != kept.run) {
            list.next_generation();
        }
        read_file(Path::new(&kept.path), fields, |mut row| {
            for field in nulls.iter().copied() {
                if !row.contains_key(field) {
                    row.insert(field.clone(), Value::Null);
                }
            }
            list.push(&row)
        })?;
    }
    Ok(())
}

fn read_file(path: &Path, fields: &[String], mut push: impl FnMut(EachRow) -> Result<()>) -> Result<()> {
    let broken = |cause: &dyn std::fmt::Display| {
        Error::new(
            ErrorKind::State,
            "state/rows",
            format!("the kept rows {} cannot be read: {cause}", path.display()),
        )
        .hint("run with --fresh, which reads them again")
    };
    let file = File::open(path).map_err(|cause| broken(&cause))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|cause| broken(&cause))?;
    let columns =
        builder.schema().fields().iter().enumerate().filter(|(_, field)| fields.contains(field.name()));
    let mask =
        ProjectionMask::roots(builder.parquet_schema(), columns.map(|(index, _)| index).collect::<Vec<_>>());
    let reader = builder.with_projection(mask).build().map_err(|cause| broken(&cause))?;
    for batch in reader {
        row_values(&batch.map_err(|cause| broken(&cause))?, &mut push)?;
    }
    Ok(())
}

/// Hands on each row of a batch as values by column name.
pub(crate) fn row_values(batch: &RecordBatch, mut push: impl FnMut(EachRow) -> Result<()>) -> Result<()> {
    let schema = batch.schema();
    for row in 0..batch.num_rows() {
        let values = schema.fields().iter().zip(batch.columns());
        push(values.map(|(field, column)| (field.name().clone(), value(column.as_ref(), row))).collect())?;
    }
    Ok(())
}

/// A cell as a variable of templates: numbers and truth values keep their type, anything else is its text.
fn value(column: &dyn Array, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Boolean => column.as_boolean().value(row).into(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::Float32 => f64::from(column.as_primitive::<Float32Type>().value(row)).into(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).into(),
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        _ => ArrayFormatter::try_new(column, &FormatOptions::default())
            .map_or(Value::Null, |formatter| formatter.value(row).to_string().into()),
    }
}
