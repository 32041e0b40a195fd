//! Makes batches of framed records.

use std::borrow::Cow;
use std::sync::Arc;

use dil_model::arrow::array::ArrayRef;
use dil_model::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use dil_model::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use dil_model::component::{Decoded, Decoder, Frame};
use dil_model::config::{CsvOptions, OtherColumns, Read};
use dil_model::schema::{self, Joining};
use dil_model::{Error, ErrorKind, Result};
use indexmap::IndexMap;

use super::block::Finder;
use super::column::{Column, Nulls, Reading, Refused, too_large};
use super::dialect::{Dialect, Marks, QUOTE_HINT, numbered, shorten};
use super::index::{Broken, Index, Why};
use super::infer::Guess;

/// The decoder for CSV.
///
/// # Errors
/// `Config` if the CSV options contradict each other, or a declared type cannot stand in CSV.
pub(crate) fn decoder(read: &Read) -> Result<Box<dyn Decoder>> {
    let dialect = Dialect::new(read)?;
    for (name, column_type) in &read.columns {
        if Column::new(column_type.arrow()).is_none() {
            return Err(Error::new(
                ErrorKind::Config,
                "csv/nested",
                format!("column `{name}` is declared as {column_type}, which CSV cannot hold"),
            )
            .hint("declare it as text"));
        }
    }
    let nulls = match &read.csv {
        Some(options) => Nulls::new(&options.null),
        None => Nulls::new(&CsvOptions::default().null),
    };
    Ok(Box::new(CsvDecoder {
        finder: Finder::new(dialect.marks),
        reading: Reading { marks: dialect.marks, nulls },
        declared: read.columns.iter().map(|(name, t)| (name.clone(), t.arrow().clone())).collect(),
        other: read.other_columns,
        schema: Arc::new(Schema::empty()),
        output: Arc::new(Schema::empty()),
        columns: Vec::new(),
        mapped: None,
        index: Index::default(),
    }))
}

#[derive(Debug)]
struct CsvDecoder {
    finder: Finder,
    reading: Reading,
    declared: IndexMap<String, DataType>,
    other: OtherColumns,
    /// What was told, with columns that have been null so far.
    schema: SchemaRef,
    /// What batches have.
    output: SchemaRef,
    /// One for each field of `schema`.
    columns: Vec<Column>,
    /// The last page's names and where they lead.
    mapped: Option<(Arc<[String]>, Mapping)>,
    index: Index,
}

/// Where a page's columns lead.
#[derive(Debug, Clone)]
enum Mapping {
    /// For each column of the page the field of the schema; `None` is left out.
    Known(Arc<[Option<usize>]>),
    /// There is a column that the schema lacks.
    Wider,
}

impl CsvDecoder {
    /// The names of a frame's columns: the page's own, or numbered and declared ones.
    fn names(&self, frame: &Frame) -> Result<Arc<[String]>> {
        if let Some(header) = &frame.header {
            return Ok(Arc::clone(header));
        }
        let width = Index::width(&self.finder, &frame.bytes).unwrap_or(0);
        let declared = self.declared.len();
        // Every page must be as wide as the first; what is not declared is dropped behind the declared ones.
        let wanted = match self.other {
            OtherColumns::Drop => width.max(declared),
            OtherColumns::Fail => declared,
            OtherColumns::Infer if self.schema.fields().is_empty() => width.max(declared),
            OtherColumns::Infer => self.schema.fields().len(),
        };
        if width != wanted {
            return Err(field_count(width, wanted).at(place(frame, self.reading.marks, 0)));
        }
        if let Some((names, _)) = self.mapped.as_ref().filter(|(names, _)| names.len() == width) {
            return Ok(Arc::clone(names));
        }
        let name = |at| match self.declared.get_index(at) {
            Some((name, _)) => name.clone(),
            None => numbered(at),
        };
        Ok((0..width).map(name).collect())
    }

    fn map(&mut self, names: &Arc<[String]>) -> Result<Mapping> {
        if let Some((known, mapping)) = &self.mapped
            && (Arc::ptr_eq(known, names) || known == names)
        {
            return Ok(mapping.clone());
        }
        let by_name: std::collections::HashMap<&str, usize> =
            self.schema.fields().iter().enumerate().map(|(at, field)| (field.name().as_str(), at)).collect();
        let mut fields = Vec::with_capacity(names.len());
        let mut wider = false;
        for name in names.iter() {
            let field = by_name.get(name.as_str()).copied();
            let field = if self.is_read(name)? {
                field.or_else(|| {
                    wider = true;
                    None
                })
            } else {
                None
            };
            fields.push(field);
        }
        let mapping = if wider { Mapping::Wider } else { Mapping::Known(fields.into()) };
        self.mapped = Some((Arc::clone(names), mapping.clone()));
        Ok(mapping)
    }

    /// Whether a column of that name is kept.
    fn is_read(&self, name: &str) -> Result<bool> {
        match self.other {
            _ if self.declared.contains_key(name) => Ok(true),
            OtherColumns::Infer => Ok(true),
            OtherColumns::Drop => Ok(false),
            OtherColumns::Fail => Err(Error::new(
                ErrorKind::Type,
                "csv/undeclared-column",
                format!("column `{}` is not declared", shorten(name.as_bytes())),
            )
            .hint("name it under `columns`, or set `other_columns` to `infer` or `drop`")),
        }
    }

    /// The type that is declared; `null` declares nothing.
    fn declared_type(&self, name: &str) -> Option<&DataType> {
        self.declared.get(name).filter(|data_type| **data_type != DataType::Null)
    }

    /// The schema that a frame needs. With `Agreed`, only columns without a type get one.
    fn widen(&self, frame: &Frame, known: Option<&SchemaRef>, joining: Joining) -> Result<SchemaRef> {
        let names = self.names(frame)?;
        let mut fields: Vec<Option<Field>> = Vec::with_capacity(names.len());
        let mut guesses: Vec<(usize, Guess)> = Vec::new();
        for (at, name) in names.iter().enumerate() {
            if !self.is_read(name).map_err(|error| error.at(format!("page {}", frame.page)))? {
                fields.push(None);
                continue;
            }
            let known_type = known.and_then(|schema| schema.field_with_name(name).ok()).map(Field::data_type);
            let fixed = match (self.declared_type(name), known_type) {
                (Some(declared), _) => Some(declared),
                // Text holds every text, whatever else it looks like.
                (None, Some(DataType::Utf8)) => Some(&DataType::Utf8),
                (None, Some(known)) if joining == Joining::Agreed && *known != DataType::Null => Some(known),
                (None, _) => None,
            };
            if fixed.is_none() {
                guesses.push((at, Guess::default()));
            }
            fields.push(Some(Field::new(name, fixed.cloned().unwrap_or(DataType::Null), true)));
        }
        self.guess(frame, names.len(), &mut guesses)?;
        for (at, guess) in guesses {
            if let Some(Some(field)) = fields.get_mut(at) {
                *field = std::mem::replace(field, Field::new("", DataType::Null, true))
                    .with_data_type(guess.data_type());
            }
        }
        let mut fields: Vec<Field> = fields.into_iter().flatten().collect();
        // A declared column that the page lacks is there as well: all null.
        for (name, data_type) in &self.declared {
            if !names.contains(name) {
                fields.push(Field::new(name, data_type.clone(), true));
            }
        }
        let new = Schema::new(fields);
        match known {
            None => Ok(Arc::new(new)),
            Some(known) => {
                schema::join(known, &new, joining).map_err(|error| error.at(format!("page {}", frame.page)))
            }
        }
    }

    fn guess(&self, frame: &Frame, columns: usize, guesses: &mut [(usize, Guess)]) -> Result<()> {
        if guesses.is_empty() {
            return Ok(());
        }
        let mut index = Index::default();
        let (mut from, mut row) = (0, 0);
        while from < frame.bytes.len() {
            let filled = index.fill(&self.finder, &frame.bytes, from, columns);
            from =
                filled.map_err(|broken| describe_broken(frame, self.reading.marks, &broken, row, columns))?;
            row += index.rows();
            for (column, guess) in guesses.iter_mut() {
                guess.read(&self.reading, &frame.bytes, &index, *column);
            }
        }
        Ok(())
    }

    /// Reads all records into the columns; gives how many, or `None` if a column without a type has a value.
    fn read_all(
        &mut self,
        frame: &Frame,
        names: &[String],
        fields: &[Option<usize>],
    ) -> Result<Option<usize>> {
        let mut is_there = vec![false; self.columns.len()];
        fields.iter().flatten().for_each(|field| is_there[*field] = true);
        let (mut from, mut rows) = (0, 0);
        while from < frame.bytes.len() {
            let filled = self.index.fill(&self.finder, &frame.bytes, from, names.len());
            from = filled
                .map_err(|broken| describe_broken(frame, self.reading.marks, &broken, rows, names.len()))?;
            for (at, field) in fields.iter().enumerate() {
                let Some(column) = field.and_then(|field| self.columns.get_mut(field)) else { continue };
                match column.read(&self.reading, &frame.bytes, &self.index, at) {
                    Ok(()) => {}
                    Err(Refused::NotNull) => return Ok(None),
                    Err(Refused::TooLarge) => {
                        return Err(too_large().at(place(frame, self.reading.marks, rows)));
                    }
                    Err(Refused::Type { row, value }) => {
                        let data_type = field.map(|field| self.schema.field(field).data_type().clone());
                        return Err(wrong_type(&names[at], data_type, &value).at(place(
                            frame,
                            self.reading.marks,
                            row,
                        )));
                    }
                }
            }
            rows += self.index.rows();
        }
        for (column, _) in self.columns.iter_mut().zip(is_there).filter(|(_, is_there)| !is_there) {
            column.skip(rows);
        }
        Ok(Some(rows))
    }

    fn finish(&mut self, frame: &Frame, rows: usize) -> Result<RecordBatch> {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.output.fields().len());
        for (column, field) in self.columns.iter_mut().zip(self.schema.fields()) {
            let array = column.finish(field.data_type()).map_err(|row| {
                let message = format!("column `{}` has a text that is not UTF-8", field.name());
                Error::new(ErrorKind::Format, "csv/utf8", message)
                    .hint("ask the source for UTF-8, or declare the column as binary")
                    .at(place(frame, self.reading.marks, row))
            })?;
            if *field.data_type() != DataType::Null {
                arrays.push(array);
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.output), arrays, &options)
            .map_err(|cause| Error::new(ErrorKind::Internal, "csv/batch", format!("making a batch: {cause}")))
    }
}

impl Decoder for CsvDecoder {
    fn infer(&self, frame: &Frame, known: Option<&SchemaRef>) -> Result<SchemaRef> {
        check_size(frame)?;
        self.widen(frame, known, Joining::Sample)
    }

    fn set_schema(&mut self, schema: &SchemaRef) -> Result<()> {
        let mut columns = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            columns.push(Column::new(field.data_type()).ok_or_else(|| {
                let type_name = schema::name_of(field.data_type());
                let message =
                    format!("column `{}` is {type_name} in this stage, which CSV cannot hold", field.name());
                Error::new(ErrorKind::Type, "csv/nested", message)
                    .hint("read it from another format, or rename it")
            })?);
        }
        self.columns = columns;
        self.schema = Arc::clone(schema);
        self.output = schema::typed(schema);
        self.mapped = None;
        Ok(())
    }

    fn decode(&mut self, frame: &Frame) -> Result<Decoded> {
        check_size(frame)?;
        let names = self.names(frame)?;
        let mapping = self.map(&names).map_err(|error| error.at(format!("page {}", frame.page)))?;
        if let Mapping::Known(fields) = mapping {
            self.columns.iter_mut().for_each(Column::clear);
            if let Some(rows) = self.read_all(frame, &names, &fields)? {
                return self.finish(frame, rows).map(Decoded::Batch);
            }
        }
        let schema = Arc::clone(&self.schema);
        self.widen(frame, Some(&schema), Joining::Agreed).map(Decoded::Wider)
    }
}

/// Positions inside a frame are kept in 32 bits.
fn check_size(frame: &Frame) -> Result<()> {
    if u32::try_from(frame.bytes.len() + super::block::BLOCK).is_ok() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Memory, "memory/frame-too-large", "a frame is larger than 4 GiB")
        .hint("lower `memory:`, so that frames become smaller")
        .at(format!("page {}", frame.page)))
}

/// Where the row number `row` of a frame, from 0, is.
fn place(frame: &Frame, marks: Marks, row: usize) -> String {
    let number = frame.first_row + row as u64;
    match frame.first_line {
        Some(first) => {
            let line = first + marks.line_feeds_before(&frame.bytes, row);
            format!("line {line} (row {number}) of page {}", frame.page)
        }
        None => format!("row {number} of page {}", frame.page),
    }
}

fn field_count(found: usize, wanted: usize) -> Error {
    Error::new(
        ErrorKind::Format,
        "csv/field-count",
        format!("a row has {found} fields where there are {wanted} columns"),
    )
    .hint("check `csv.delimiter`, and that fields with a delimiter or a line end inside are quoted")
}

fn describe_broken(
    frame: &Frame,
    marks: Marks,
    broken: &Broken,
    rows_before: usize,
    columns: usize,
) -> Error {
    let error = match broken.why {
        Why::Fields { found } => field_count(found, columns),
        Why::Quote { column } => {
            let name = frame.header.as_ref().and_then(|names| names.get(column).cloned());
            let name = name.unwrap_or_else(|| numbered(column));
            let message = format!("column `{}` has a quote where none may stand", shorten(name.as_bytes()));
            Error::new(ErrorKind::Format, "csv/quote", message).hint(QUOTE_HINT)
        }
    };
    error.at(place(frame, marks, rows_before + broken.row))
}

fn wrong_type(name: &str, data_type: Option<DataType>, value: &[u8]) -> Error {
    let wanted =
        data_type.map_or(Cow::Borrowed("typed"), |data_type| Cow::Owned(schema::name_of(&data_type)));
    let message =
        format!("column `{}` is {wanted}, but a value is `{}`", shorten(name.as_bytes()), shorten(value));
    Error::new(ErrorKind::Type, "csv/type", message)
        .hint(format!("declare `columns: {{ {}: text }}` under `read`", shorten(name.as_bytes())))
}
