//! Parquet and Avro as a source: files that tell their own types, read as batches.
//!
//! A page is a file that can be read in any order ([`RandomAccess`]). Reading it ([`frames`]) gives frames that hold batches, with
//! the types that `dil` knows ([`normal`]); the decoder then only brings them to the stage's schema.
//!
//! Memory: Parquet holds a page of every column, Avro a block; batches are as large as a frame.

mod access;
mod avro;
mod conform;
mod decode;
mod normal;
mod parquet;

use std::sync::Arc;

use dil_model::arrow::array::RecordBatch;
use dil_model::arrow::datatypes::{DataType, Schema, SchemaRef};
use dil_model::component::{Frame, RandomAccess};
use dil_model::config::{Format, OtherColumns, Read};
use dil_model::{Error, ErrorKind, Result};

pub(crate) use decode::decoder;

use self::normal::Normal;
use crate::FrameLimits;

/// Rows of one page, frame by frame.
pub type Frames = Box<dyn Iterator<Item = Result<Frame>> + Send>;

/// What a file's reader gives: its schema, and its batches as the crate that reads it makes them.
struct Opened {
    schema: SchemaRef,
    batches: Box<dyn Iterator<Item = Result<RecordBatch>> + Send>,
}

/// Reads the page `number` of a unit.
///
/// # Errors
/// `Format` for a file that is not of the format, or broken; `Type` for a column that cannot be read.
pub(crate) fn frames(
    read: &Read,
    file: Arc<dyn RandomAccess>,
    limits: FrameLimits,
    number: u64,
) -> Result<Frames> {
    let wanted = Wanted { read: read.clone() };
    let Opened { schema, batches } = match read.format() {
        Format::Parquet => parquet::open(file, &wanted, limits)?,
        _ => avro::open(file, limits)?,
    };
    let columns = wanted.columns(&schema)?;
    let declared = |name: &str| read.columns.get(name).map(|declared| declared.arrow());
    let normal = columns
        .iter()
        .map(|&at| Normal::new(schema.field(at), declared(schema.field(at).name())))
        .collect::<Result<Vec<_>>>()?;
    let target = Arc::new(Schema::new(normal.iter().map(Normal::field).collect::<Vec<_>>()));
    let mut next_row = 1;
    let frames = batches.map(move |batch| {
        let batch = batch.map_err(|error| error.at(format!("after row {}", next_row - 1)))?;
        let first_row = next_row;
        next_row += batch.num_rows() as u64;
        let of = |(normal, &at): (&Normal, &usize)| normal.take(batch.column(at), first_row);
        let arrays = normal.iter().zip(&columns).map(of).collect::<Result<Vec<_>>>()?;
        let rows = batch.num_rows();
        let batch = conform::batch(&target, arrays, rows)?;
        Ok(Frame {
            bytes: bytes::Bytes::new(),
            rows: rows as u64,
            page: number,
            first_row,
            first_line: None,
            header: None,
            batch: Some(batch),
        })
    });
    Ok(Box::new(frames))
}

/// Which columns of a file are read.
struct Wanted {
    read: Read,
}

impl Wanted {
    /// Whether a column of that name is kept.
    fn is_read(&self, name: &str) -> Result<bool> {
        match self.read.other_columns {
            _ if self.read.columns.contains_key(name) => Ok(true),
            OtherColumns::Infer => Ok(true),
            OtherColumns::Drop => Ok(false),
            OtherColumns::Fail => Err(Error::new(
                ErrorKind::Type,
                "file/undeclared-column",
                format!("column `{name}` is not declared"),
            )
            .hint("name it under `columns`, or set `other_columns` to `infer` or `drop`")),
        }
    }

    /// The places of the columns that are kept.
    fn columns(&self, schema: &Schema) -> Result<Vec<usize>> {
        let mut kept = Vec::with_capacity(schema.fields().len());
        let mut names = std::collections::HashSet::new();
        for (at, field) in schema.fields().iter().enumerate() {
            if !self.is_read(field.name())? {
                continue;
            }
            if !names.insert(field.name()) {
                let message = format!("two columns are named `{}`", field.name());
                return Err(Error::new(ErrorKind::Format, "file/column-name", message));
            }
            // Columns of nulls alone hold no rows in files.
            if *field.data_type() != DataType::Null || self.read.columns.contains_key(field.name()) {
                kept.push(at);
            }
        }
        Ok(kept)
    }
}

/// A file that cannot be read as what it is said to be.
fn broken(format: Format, cause: &dyn std::fmt::Display) -> Error {
    let name = if format == Format::Parquet { "Parquet" } else { "Avro" };
    let code = if format == Format::Parquet { "parquet/broken" } else { "avro/broken" };
    Error::new(ErrorKind::Format, code, format!("this is no whole {name} file: {cause}"))
}
