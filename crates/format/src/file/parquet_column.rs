//! One column of a Parquet row group, made on its own.
//!
//! Parquet has no nested columns: an object with two members is two columns, each with the levels that say which of its
//! parents are there. So a column is encoded from arrays in which every parent has this one descendant, and nothing of
//! its neighbours is needed.

use std::sync::Arc;

use dil_model::arrow::array::{Array as _, ArrayRef, AsArray as _, ListArray, StructArray};
use dil_model::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use dil_model::parquet::arrow::ArrowSchemaConverter;
use dil_model::parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, compute_leaves};
use dil_model::parquet::basic::{Encoding, PageType, Type};
use dil_model::parquet::errors::{ParquetError, Result};
use dil_model::parquet::file::properties::WriterPropertiesPtr;
use dil_model::parquet::file::writer::SerializedFileWriter;

/// How columns are written: one setting for those that may have a dictionary, one for the others.
#[derive(Clone)]
pub(super) struct Ways {
    pub(super) with_dictionary: WriterPropertiesPtr,
    pub(super) plain: WriterPropertiesPtr,
}

/// A column of the file.
pub(super) struct Column {
    /// The place of its top-level field, then the place of the member in each object on the way down.
    path: Vec<usize>,
    /// Its top-level field, with this one descendant.
    field: FieldRef,
    writers: ArrowRowGroupWriterFactory,
    has_dictionary: bool,
}

/// The columns of a schema, in the order that Parquet wants them.
pub(super) fn columns(schema: &SchemaRef, ways: &Ways) -> Result<Vec<Column>> {
    let mut columns = Vec::new();
    for (place, field) in schema.fields().iter().enumerate() {
        let mut paths = Vec::new();
        walk(field.data_type(), &mut vec![place], &mut paths);
        for path in paths {
            columns.push(Column::new(field, path, ways)?);
        }
    }
    Ok(columns)
}

/// Collects the paths of all leaves, from the left to the right.
fn walk(data_type: &DataType, path: &mut Vec<usize>, paths: &mut Vec<Vec<usize>>) {
    match data_type {
        DataType::Struct(members) => {
            for (place, member) in members.iter().enumerate() {
                path.push(place);
                walk(member.data_type(), path, paths);
                path.pop();
            }
        }
        DataType::List(item) => walk(item.data_type(), path, paths),
        _ => paths.push(path.clone()),
    }
}

impl Column {
    fn new(field: &FieldRef, path: Vec<usize>, ways: &Ways) -> Result<Self> {
        let field = narrow_field(field, &path[1..]);
        let (writers, has_dictionary) = writers(&field, ways, true)?;
        Ok(Self { path, field, writers, has_dictionary })
    }

    /// The place of its top-level field.
    pub(super) fn field(&self) -> usize {
        self.path[0]
    }

    /// Encodes and compresses one row group of this column; `arrays` are those of its top-level field.
    pub(super) fn encode(&mut self, arrays: &[ArrayRef], ways: &Ways) -> Result<ArrowColumnChunk> {
        let only = |count: usize| ParquetError::General(format!("{count} columns where one was asked for"));
        let mut made = self.writers.create_column_writers(0)?;
        let count = made.len();
        let (Some(mut writer), true) = (made.pop(), count == 1) else { return Err(only(count)) };
        for array in arrays {
            for leaf in compute_leaves(&self.field, &narrow(array, &self.path[1..])?)? {
                writer.write(&leaf)?;
            }
        }
        let chunk = writer.close()?;
        if self.has_dictionary && outgrew_its_dictionary(&chunk) {
            (self.writers, self.has_dictionary) = writers(&self.field, ways, false)?;
        }
        Ok(chunk)
    }
}

/// Floats and timestamps seldom repeat, so they get no dictionary.
fn writers(field: &FieldRef, ways: &Ways, dictionary: bool) -> Result<(ArrowRowGroupWriterFactory, bool)> {
    let schema = Arc::new(Schema::new(vec![Arc::clone(field)]));
    let converted = ArrowSchemaConverter::new().convert(&schema)?;
    let hopeless = converted.columns().iter().any(|column| {
        let is_instant = matches!(
            column.logical_type_ref(),
            Some(dil_model::parquet::basic::LogicalType::Timestamp { .. })
        );
        is_instant || matches!(column.physical_type(), Type::FLOAT | Type::DOUBLE)
    });
    let has_dictionary = dictionary && !hopeless;
    let way = if has_dictionary { &ways.with_dictionary } else { &ways.plain };
    // The column is written into a file of many; this one only tells how.
    let alone = SerializedFileWriter::new(std::io::sink(), converted.root_schema_ptr(), Arc::clone(way))?;
    Ok((ArrowRowGroupWriterFactory::new(&alone, schema), has_dictionary))
}

/// Whether so many values differed that the dictionary was given up midway. What did so in one group will in the next.
fn outgrew_its_dictionary(chunk: &ArrowColumnChunk) -> bool {
    let pages = chunk.close().metadata.page_encoding_stats();
    pages.is_some_and(|pages| {
        pages.iter().any(|page| page.page_type == PageType::DATA_PAGE && page.encoding == Encoding::PLAIN)
    })
}

/// The field with one descendant: the one that the path leads to.
fn narrow_field(field: &FieldRef, path: &[usize]) -> FieldRef {
    let narrowed = match field.data_type() {
        DataType::Struct(members) => match path.split_first() {
            Some((place, rest)) => DataType::Struct([narrow_field(&members[*place], rest)].into()),
            None => return Arc::clone(field),
        },
        DataType::List(item) => DataType::List(narrow_field(item, path)),
        _ => return Arc::clone(field),
    };
    Arc::new(Field::clone(field).with_data_type(narrowed))
}

/// The array with one descendant. Copies nothing.
fn narrow(array: &ArrayRef, path: &[usize]) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Struct(members) => {
            let Some((place, rest)) = path.split_first() else { return Ok(Arc::clone(array)) };
            let object = array.as_struct();
            let member = narrow(object.column(*place), rest)?;
            let field = narrow_field(&members[*place], rest);
            let nulls = object.nulls().cloned();
            Arc::new(StructArray::try_new_with_length([field].into(), vec![member], nulls, array.len())?)
        }
        DataType::List(item) => {
            let list = array.as_list::<i32>();
            let items = narrow(list.values(), path)?;
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Arc::new(ListArray::try_new(narrow_field(item, path), offsets, items, nulls)?)
        }
        _ => Arc::clone(array),
    })
}
