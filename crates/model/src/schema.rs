//! How schemas of one stage are joined, and how they are kept.
//!
//! A stage has one schema. It only grows: a new field is added at the end, a field of which only nulls were seen gets
//! its type with the first value. Two different types never become one silently, with the single exception of a
//! sample, where integers and floats mixed give floats ([`Joining::Sample`]).

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};

use crate::{Error, ErrorKind, Result};

/// How strict a join is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joining {
    /// Values of one sample that nobody has seen yet: `int64` with `float64` gives `float64`.
    Sample,
    /// A type that was agreed on stays.
    Agreed,
}

/// The schema that holds rows of both, fields of `known` first.
///
/// # Errors
/// `Type` naming the field and both types.
pub fn join(known: &Schema, new: &Schema, joining: Joining) -> Result<SchemaRef> {
    Ok(Arc::new(Schema::new(join_fields(known.fields(), new.fields(), joining, "")?)))
}

fn join_fields(known: &Fields, new: &Fields, joining: Joining, path: &str) -> Result<Fields> {
    let mut fields: Vec<FieldRef> = Vec::with_capacity(known.len().max(new.len()));
    for field in known {
        let joined = match new.find(field.name()) {
            None => Arc::clone(field),
            Some((_, other)) => {
                let place = place(path, field.name());
                let data_type = join_types(field.data_type(), other.data_type(), joining, &place)?;
                Arc::new(Field::new(field.name(), data_type, true).with_metadata(field.metadata().clone()))
            }
        };
        fields.push(joined);
    }
    fields.extend(new.iter().filter(|field| known.find(field.name()).is_none()).cloned());
    Ok(fields.into())
}

fn place(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn join_types(known: &DataType, new: &DataType, joining: Joining, path: &str) -> Result<DataType> {
    match (known, new) {
        (a, b) if a == b => Ok(a.clone()),
        (DataType::Null, other) | (other, DataType::Null) => Ok(other.clone()),
        (DataType::Struct(a), DataType::Struct(b)) => Ok(DataType::Struct(join_fields(a, b, joining, path)?)),
        (DataType::List(a), DataType::List(b)) => {
            let item = join_types(a.data_type(), b.data_type(), joining, &place(path, "[]"))?;
            Ok(DataType::List(Arc::new(Field::new(a.name(), item, true))))
        }
        (DataType::Int64, DataType::Float64) | (DataType::Float64, DataType::Int64)
            if joining == Joining::Sample =>
        {
            Ok(DataType::Float64)
        }
        (DataType::Float64, DataType::Int64) => Ok(DataType::Float64),
        (a, b) => Err(Error::new(
            ErrorKind::Type,
            "schema/type-conflict",
            format!("field `{path}` is {} in some rows and {} in others", name_of(a), name_of(b)),
        )
        .hint(format!(
            "declare the type that holds both, for example `columns: {{ {path}: text }}` under `read`"
        ))),
    }
}

/// The name a user writes for a type (`int64`, `list<text>`).
pub fn name_of(data_type: &DataType) -> String {
    crate::setting::ColumnType::spell(data_type)
}

/// The schema without fields of which only nulls were seen, at any depth: what a file can hold.
///
/// A list of which only empty ones were seen and an object without a typed member go as well.
pub fn typed(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(typed_fields(schema.fields())))
}

fn typed_fields(fields: &Fields) -> Fields {
    fields.iter().filter_map(typed_field).collect()
}

fn typed_field(field: &FieldRef) -> Option<FieldRef> {
    match field.data_type() {
        DataType::Null => None,
        DataType::Struct(members) => {
            let members = typed_fields(members);
            if members.is_empty() {
                return None;
            }
            Some(Arc::new(field.as_ref().clone().with_data_type(DataType::Struct(members))))
        }
        DataType::List(item) => {
            let item = typed_field(item)?;
            Some(Arc::new(field.as_ref().clone().with_data_type(DataType::List(item))))
        }
        _ => Some(Arc::clone(field)),
    }
}

/// A schema as it is kept in the ledger and sent with a unit: names and spelt types, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct StoredSchema(pub Vec<(String, String)>);

impl StoredSchema {
    /// Spells a schema.
    pub fn from_arrow(schema: &Schema) -> Self {
        Self(schema.fields().iter().map(|f| (f.name().clone(), name_of(f.data_type()))).collect())
    }

    /// Reads it back.
    ///
    /// # Errors
    /// `State` if a spelling is unknown, which means another version wrote it.
    pub fn to_arrow(&self) -> Result<SchemaRef> {
        let field = |(name, spelt): &(String, String)| {
            crate::setting::ColumnType::parse(spelt)
                .map(|t| Field::new(name, t.arrow().clone(), true))
                .map_err(|cause| {
                    Error::new(
                        ErrorKind::State,
                        "state/schema",
                        format!("the kept schema is unreadable: {cause}"),
                    )
                })
        };
        Ok(Arc::new(Schema::new(self.0.iter().map(field).collect::<Result<Vec<_>>>()?)))
    }
}
