//! All conversions of a stage, one after the other.

use std::sync::Arc;

use dil_model::arrow::array::{Array, ArrayRef, AsArray as _, ListArray, StructArray, new_null_array};
use dil_model::arrow::datatypes::{DataType, Fields, Schema, SchemaRef};
use dil_model::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use dil_model::component::Converter;
use dil_model::config::{Convert, Derive};
use dil_model::schema::typed;
use dil_model::template::Variables;
use dil_model::{Error, ErrorKind, Result};

use crate::cast::{Casts, Rows};
use crate::derive::Derivation;
use crate::project::Projection;
use crate::resolve::resolve;

/// Makes the conversions of one work unit, of steps that the flow's checks let pass; templates are rendered with the
/// unit's `variables`.
///
/// # Errors
/// `Config` if a template fails, `Type` if a rendered value does not fit its type.
pub fn chain(steps: &[Convert], variables: &Variables) -> Result<Chain> {
    let step = |step: &Convert| {
        Ok(match step {
            Convert::Derive(columns) => Step::Derive(Derivation::new(columns, variables)?),
            Convert::Project(project) => Step::Project(Projection::new(project)),
            Convert::Cast(columns) => Step::Cast(Casts::new(columns)),
        })
    };
    Ok(Chain { steps: steps.iter().map(step).collect::<Result<_>>()?, shapes: None, unseen: Vec::new() })
}

/// Makes the same conversions with null in place of all that is rendered, for what does not depend on a unit: the columns
/// that come out, and those that are named but not there.
///
/// # Errors
/// As [`chain`].
pub fn sketch(steps: &[Convert]) -> Result<Chain> {
    let nameless = |step: &Convert| match step {
        Convert::Derive(columns) => {
            let nulls = columns.iter().map(|(name, derive)| {
                let value = derive.value.as_ref().map(|_| "{{ none }}".to_owned());
                (name.clone(), Derive { value, ..derive.clone() })
            });
            Convert::Derive(nulls.collect())
        }
        other => other.clone(),
    };
    chain(&steps.iter().map(nameless).collect::<Vec<_>>(), &Variables::new())
}

/// The conversions of one work unit, in order.
///
/// [`Converter::schema`] is told the whole schema of the rows as read, with the fields of type `null` of which only
/// nulls were seen; batches come without those, as decoders leave them out. What comes out follows the same rule: the
/// schema has the untyped fields, the batches have [`typed`] of it. A column that a step names and the rows do not have
/// counts as an untyped one; [`Chain::unseen`] tells of it. A cast or derived column with a type has that type from
/// the first row on, even if its source is still untyped.
#[derive(Debug)]
pub struct Chain {
    steps: Vec<Step>,
    shapes: Option<Shapes>,
    unseen: Vec<String>,
}

#[derive(Debug)]
struct Shapes {
    input: SchemaRef,
    output: SchemaRef,
    /// What batches come out with.
    written: SchemaRef,
}

#[derive(Debug)]
enum Step {
    Derive(Derivation),
    Project(Projection),
    Cast(Casts),
}

impl Step {
    /// The columns and members that it names.
    fn names(&self) -> Vec<&str> {
        match self {
            Self::Derive(derivation) => derivation.names().collect(),
            Self::Project(projection) => projection.names().collect(),
            Self::Cast(casts) => casts.names().collect(),
        }
    }
}

impl Chain {
    /// The columns, and members of some, that steps name and the last schema does not have.
    pub fn unseen(&self) -> &[String] {
        &self.unseen
    }
}

impl Converter for Chain {
    fn schema(&mut self, input: &SchemaRef) -> Result<SchemaRef> {
        let mut fields = input.fields().clone();
        self.unseen.clear();
        for step in &mut self.steps {
            let unseen = step.names().into_iter().filter(|name| resolve(&fields, name).is_none());
            self.unseen.extend(unseen.map(str::to_owned));
            fields = match step {
                Step::Derive(derivation) => derivation.fields(&fields)?,
                Step::Project(projection) => projection.fields(&fields)?,
                Step::Cast(casts) => casts.fields(&fields)?,
            };
        }
        let output = Arc::new(Schema::new_with_metadata(fields, input.metadata().clone()));
        let written = typed(&output);
        self.shapes = Some(Shapes { input: Arc::clone(input), output: Arc::clone(&output), written });
        Ok(output)
    }

    fn convert(&mut self, batch: RecordBatch, first_row: u64) -> Result<RecordBatch> {
        if self.steps.is_empty() {
            return Ok(batch);
        }
        let shapes = self.shapes.as_ref().ok_or_else(|| internal("a batch came before its schema"))?;
        let rows = Rows { first: first_row, count: batch.num_rows() };
        let mut columns = lift(&batch, shapes.input.fields())?;
        for step in &self.steps {
            columns = match step {
                Step::Derive(derivation) => derivation.columns(&columns, rows)?,
                Step::Project(projection) => projection.columns(&columns, rows.count),
                Step::Cast(casts) => casts.columns(&columns, rows)?,
            };
        }
        let mut written = Vec::with_capacity(shapes.written.fields().len());
        for field in shapes.written.fields() {
            let column = shapes.output.fields().find(field.name()).and_then(|(at, _)| columns.get(at));
            let column = column.ok_or_else(|| internal("a column got lost"))?;
            written.push(reshape(Some(column), field.data_type(), rows.count)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.count));
        RecordBatch::try_new_with_options(Arc::clone(&shapes.written), written, &options)
            .map_err(|cause| internal(&cause.to_string()))
    }
}

fn internal(message: &str) -> Error {
    Error::new(ErrorKind::Internal, "internal/convert", format!("converting rows: {message}"))
}

/// The batch's columns in the order and with the types of `fields`, untyped ones included.
fn lift(batch: &RecordBatch, fields: &Fields) -> Result<Vec<ArrayRef>> {
    let schema = batch.schema();
    if let Some(stranger) = schema.fields().iter().find(|field| fields.find(field.name()).is_none()) {
        return Err(internal(&format!(
            "the batch has a column `{}` that its schema has not",
            stranger.name()
        )));
    }
    fields
        .iter()
        .map(|field| reshape(batch.column_by_name(field.name()), field.data_type(), batch.num_rows()))
        .collect()
}

/// The same values with untyped members added or left out, at any depth, so that the type is `wanted`.
fn reshape(column: Option<&ArrayRef>, wanted: &DataType, rows: usize) -> Result<ArrayRef> {
    let Some(column) = column else { return Ok(new_null_array(wanted, rows)) };
    match (column.data_type(), wanted) {
        (have, want) if have == want => Ok(ArrayRef::clone(column)),
        (DataType::Struct(_), DataType::Struct(members)) => {
            let parent = column.as_struct();
            let member =
                |name: &str, data_type: &DataType| reshape(parent.column_by_name(name), data_type, rows);
            let columns = members
                .iter()
                .map(|field| member(field.name(), field.data_type()))
                .collect::<Result<Vec<_>>>()?;
            let made =
                StructArray::try_new_with_length(members.clone(), columns, parent.nulls().cloned(), rows);
            made.map(|made| Arc::new(made) as ArrayRef).map_err(|cause| internal(&cause.to_string()))
        }
        (DataType::List(_), DataType::List(item)) => {
            let parent = column.as_list::<i32>();
            let values = reshape(Some(parent.values()), item.data_type(), parent.values().len())?;
            let made = ListArray::try_new(
                Arc::clone(item),
                parent.offsets().clone(),
                values,
                parent.nulls().cloned(),
            );
            made.map(|made| Arc::new(made) as ArrayRef).map_err(|cause| internal(&cause.to_string()))
        }
        (have, want) => Err(internal(&format!("a column is {have} and not {want}, as its schema says"))),
    }
}

#[cfg(test)]
mod tests;
