//! Makes batches of framed rows.

use std::sync::Arc;

use dil_model::arrow::array::{RecordBatch, RecordBatchOptions};
use dil_model::arrow::datatypes::{Field, Schema, SchemaRef};
use dil_model::component::{Decoded, Decoder, Frame};
use dil_model::config::{Format, OtherColumns, Read};
use dil_model::setting::ColumnType;
use dil_model::{Error, ErrorKind, Result};
use indexmap::IndexMap;

use super::column::{Column, Role, Unknown};
use super::fault::{Fault, Parsed, What};
use super::infer::{Conflict, Inference};
use super::members::Members;
use super::rows::{Separator, next_row};
use super::value::Cursor;

/// What the flow says about columns.
#[derive(Debug, Clone)]
pub(super) struct Declared {
    /// The declared columns.
    pub(super) types: IndexMap<String, ColumnType>,
    /// What becomes of the others.
    pub(super) others: OtherColumns,
}

/// A decoder for the rows that a document framer or a line framer cut.
///
/// # Errors
/// `Config` if a declared type is one that JSON is not read into.
pub(crate) fn decoder(read: &Read) -> Result<Box<dyn Decoder>> {
    let declared = Declared { types: read.columns.clone(), others: read.other_columns };
    let separator = if read.format() == Format::Ndjson { Separator::Line } else { Separator::Comma };
    let decoder = JsonDecoder { declared, separator, current: None };
    let fields = decoder.declared.types.iter();
    let fields: Vec<_> =
        fields.map(|(name, declared)| Field::new(name, declared.arrow().clone(), true)).collect();
    decoder.current(&Arc::new(Schema::new(fields)))?;
    Ok(Box::new(decoder))
}

struct JsonDecoder {
    declared: Declared,
    separator: Separator,
    current: Option<Current>,
}

/// A schema and the columns that are made for it.
struct Current {
    schema: SchemaRef,
    /// What batches hold of it.
    typed: SchemaRef,
    rows: Members,
}

impl JsonDecoder {
    fn current(&self, schema: &SchemaRef) -> Result<Current> {
        let mut columns = Vec::with_capacity(schema.fields().len());
        let others = match self.declared.others {
            OtherColumns::Infer => Unknown::Widen,
            OtherColumns::Drop => Unknown::Drop,
            OtherColumns::Fail => Unknown::Fail,
        };
        // A declared struct is all that its user wants of the object.
        let inner = if others == Unknown::Fail { Unknown::Fail } else { Unknown::Drop };
        for field in schema.fields() {
            let declared = self.declared.types.get(field.name());
            let role = match declared {
                Some(_) => Role { declared: true, unknown: inner },
                None => Role { declared: false, unknown: others },
            };
            let json = declared.is_some_and(ColumnType::is_json);
            let column = Column::new(field, role, json).ok_or_else(|| {
                let spelt = dil_model::schema::name_of(field.data_type());
                Error::new(
                    ErrorKind::Config,
                    "json/column-type",
                    format!("JSON is not read into `{}: {spelt}`", field.name()),
                )
                .hint("choose another type in `columns`")
            })?;
            columns.push((Arc::clone(field), column));
        }
        let mut rows = Members::new(columns, others);
        let missing = self.declared.types.keys().filter(|name| schema.index_of(name).is_err()).cloned();
        rows.widen_for(missing);
        let typed = Arc::new(Schema::new(rows.typed()).with_metadata(schema.metadata().clone()));
        Ok(Current { schema: Arc::clone(schema), typed, rows })
    }

    fn schema_for(&self, frame: &Frame, known: Option<&SchemaRef>, strict: bool) -> Result<SchemaRef> {
        let mut row = 0;
        let inference = Inference::read(&self.declared, &frame.bytes, self.separator, &mut row);
        let inferred =
            inference.map_err(Conflict::Values).and_then(|inference| inference.schema(known, strict));
        inferred.map_err(|conflict| match conflict {
            Conflict::Values(fault) => self.placed(frame, *fault),
            Conflict::Kept(error) => error.at(format!("page {}", frame.page)),
        })
    }

    /// The error of a fault, with page and row.
    fn placed(&self, frame: &Frame, fault: Fault) -> Error {
        let (index, start) = self.row_at(&frame.bytes, fault.at);
        let row = frame.first_row + index;
        fault.into_error(&frame.bytes, start).at(format!("row {row}")).at(format!("page {}", frame.page))
    }

    /// The number, counted from 0, and the first byte of the row that `at` is in.
    fn row_at(&self, bytes: &[u8], at: usize) -> (u64, usize) {
        let mut cursor = Cursor::new(bytes, 0);
        let (mut index, mut row) = (0, 0);
        while let Ok(true) = next_row(&mut cursor, self.separator, index == 0, &mut row) {
            if cursor.skip_value().is_err() || cursor.at > at {
                return (index, row);
            }
            index += 1;
        }
        (index, cursor.at)
    }

    /// Text that is not UTF-8, or what else Arrow refuses.
    #[cold]
    fn refused(&self, frame: &Frame, cause: &dil_model::arrow::error::ArrowError) -> Error {
        match std::str::from_utf8(&frame.bytes) {
            Err(bad) => {
                let what = What::Syntax("text that is not UTF-8");
                self.placed(frame, Fault { at: bad.valid_up_to(), what, path: Vec::new() })
            }
            Ok(_) => Error::new(
                ErrorKind::Internal,
                "json/batch",
                format!("making a batch of rows failed: {cause}"),
            )
            .at(format!("page {}", frame.page)),
        }
    }

    fn check_size(frame: &Frame) -> Result<()> {
        if i32::try_from(frame.bytes.len()).is_ok() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Memory, "memory/frame-too-large", "a frame of rows is larger than 2 GiB")
            .hint("lower `memory:`"))
    }
}

impl Current {
    fn read_rows(&mut self, frame: &Frame, separator: Separator) -> Parsed {
        let mut cursor = Cursor::new(&frame.bytes, 0);
        let mut row = 0;
        while next_row(&mut cursor, separator, self.rows.len() == 0, &mut row)? {
            cursor.at += 1;
            self.rows.read(&mut cursor)?;
        }
        Ok(())
    }
}

impl Decoder for JsonDecoder {
    fn infer(&self, frame: &Frame, known: Option<&SchemaRef>) -> Result<SchemaRef> {
        self.schema_for(frame, known, true)
    }

    fn set_schema(&mut self, schema: &SchemaRef) -> Result<()> {
        self.current = Some(self.current(schema)?);
        Ok(())
    }

    fn decode(&mut self, frame: &Frame) -> Result<Decoded> {
        Self::check_size(frame)?;
        let Some(mut current) = self.current.take() else {
            return Ok(Decoded::Wider(self.schema_for(frame, None, true)?));
        };
        current.rows.reserve(usize::try_from(frame.rows).unwrap_or_default());
        if let Err(fault) = current.read_rows(frame, self.separator) {
            // What was read of the frame is given up with the columns.
            self.current = Some(self.current(&current.schema)?);
            if !matches!(fault.what, What::Wider) {
                return Err(self.placed(frame, *fault));
            }
            let wider = self.schema_for(frame, Some(&current.schema), false)?;
            return if wider == current.schema {
                Err(self.placed(frame, *fault))
            } else {
                Ok(Decoded::Wider(wider))
            };
        }
        let rows = current.rows.len();
        if frame.rows != 0 && frame.rows != rows as u64 {
            self.current = Some(self.current(&current.schema)?);
            let message = format!("{} rows were framed, but {rows} decoded", frame.rows);
            return Err(Error::new(ErrorKind::Format, "json/rows-differ", message)
                .hint("the rows are not valid JSON; look at the page")
                .at(format!("page {}", frame.page)));
        }
        let batch = current.rows.finish().and_then(|arrays| {
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            RecordBatch::try_new_with_options(Arc::clone(&current.typed), arrays, &options)
        });
        match batch {
            Ok(batch) => {
                self.current = Some(current);
                Ok(Decoded::Batch(batch))
            }
            Err(cause) => {
                self.current = Some(self.current(&current.schema)?);
                Err(self.refused(frame, &cause))
            }
        }
    }
}
