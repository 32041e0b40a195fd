//! Brings the batches of files to the stage's schema.

use std::sync::Arc;

use dil_model::arrow::array::{RecordBatch, new_null_array};
use dil_model::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use dil_model::component::{Decoded, Decoder, Frame};
use dil_model::config::Read;
use dil_model::schema::{self, Joining};
use dil_model::{Error, ErrorKind, Result};
use indexmap::IndexMap;

use super::conform;

/// The decoder for frames that hold batches.
pub(crate) fn decoder(read: &Read) -> Box<dyn Decoder> {
    let declared =
        read.columns.iter().map(|(name, declared)| (name.clone(), declared.arrow().clone())).collect();
    let empty = Arc::new(Schema::empty());
    Box::new(ColumnarDecoder { declared, schema: Arc::clone(&empty), output: empty, fits: None })
}

struct ColumnarDecoder {
    declared: IndexMap<String, DataType>,
    /// What was told, with columns that have been null so far.
    schema: SchemaRef,
    /// What batches have.
    output: SchemaRef,
    /// The schema of the last frame that `schema` holds.
    fits: Option<SchemaRef>,
}

impl ColumnarDecoder {
    /// The columns of a frame, with the types that they are to have.
    fn needed(&self, frame: &RecordBatch, known: Option<&SchemaRef>) -> Result<Schema> {
        let mut fields = Vec::with_capacity(frame.num_columns());
        for field in frame.schema_ref().fields() {
            let known =
                known.and_then(|schema| schema.field_with_name(field.name()).ok()).map(Field::data_type);
            let declared = self.declared.get(field.name()).filter(|declared| **declared != DataType::Null);
            if let Some(declared) = declared
                && !conform::holds(declared, field.data_type())
            {
                let (declared, there) = (schema::name_of(declared), schema::name_of(field.data_type()));
                let message =
                    format!("column `{}` is {there} in the file, and declared as {declared}", field.name());
                return Err(Error::new(ErrorKind::Type, "file/declared-type", message)
                    .hint("declare the type that it has, and change it with `convert: cast`"));
            }
            let wide = known.filter(|known| conform::holds(known, field.data_type()));
            let data_type = declared.or(wide).unwrap_or(field.data_type());
            fields.push(Field::new(field.name(), data_type.clone(), true));
        }
        // A declared column that the file lacks is there as well: all null.
        for (name, data_type) in &self.declared {
            if frame.schema_ref().field_with_name(name).is_err() {
                fields.push(Field::new(name, data_type.clone(), true));
            }
        }
        Ok(Schema::new(fields))
    }

    fn joined(&self, frame: &Frame, known: Option<&SchemaRef>) -> Result<SchemaRef> {
        let page = |error: Error| error.at(format!("page {}", frame.page));
        let needed = self.needed(rows_of(frame)?, known).map_err(page)?;
        match known {
            None => Ok(Arc::new(needed)),
            Some(known) => schema::join(known, &needed, Joining::Agreed).map_err(page),
        }
    }
}

impl Decoder for ColumnarDecoder {
    fn infer(&self, frame: &Frame, known: Option<&SchemaRef>) -> Result<SchemaRef> {
        self.joined(frame, known)
    }

    fn set_schema(&mut self, schema: &SchemaRef) -> Result<()> {
        self.output = schema::typed(schema);
        self.schema = Arc::clone(schema);
        self.fits = None;
        Ok(())
    }

    fn decode(&mut self, frame: &Frame) -> Result<Decoded> {
        let rows = rows_of(frame)?;
        if self.fits.as_ref() != Some(rows.schema_ref()) {
            let joined = self.joined(frame, Some(&self.schema))?;
            if joined.fields() != self.schema.fields() {
                return Ok(Decoded::Wider(joined));
            }
            self.fits = Some(rows.schema());
        }
        let column = |field: &Arc<Field>| match rows.column_by_name(field.name()) {
            Some(column) => conform::array(column, field.data_type()),
            None => Ok(new_null_array(field.data_type(), rows.num_rows())),
        };
        let columns = self.output.fields().iter().map(column).collect::<std::result::Result<Vec<_>, _>>();
        let columns = columns.map_err(|cause| {
            let message = format!("a value does not fit the stage's schema: {cause}");
            Error::new(ErrorKind::Type, "file/value", message)
                .at(format!("rows {} to {}", frame.first_row, frame.first_row + frame.rows.max(1) - 1))
                .at(format!("page {}", frame.page))
        })?;
        Ok(Decoded::Batch(conform::batch(&self.output, columns, rows.num_rows())?))
    }
}

fn rows_of(frame: &Frame) -> Result<&RecordBatch> {
    frame
        .batch
        .as_ref()
        .ok_or_else(|| Error::new(ErrorKind::Internal, "internal/frame", "a frame of a file holds no batch"))
}
