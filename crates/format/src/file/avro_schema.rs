//! The Avro schema of a file.

use std::collections::HashSet;

use dil_model::arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use dil_model::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};

/// The name of the record that a row is.
const ROOT: &str = "row";

/// The Avro schema as JSON.
///
/// Avro names are ASCII letters, digits and `_`. A column with another name gets a legal one (`first name` →
/// `first_name`), and its own stands beside it as the attribute `columnName`. Nested records are named after their
/// path, so that no name comes twice.
///
/// # Errors
/// `Config` for a type that Avro has not.
pub(super) fn spell(schema: &Schema) -> Result<Value> {
    let mut names = HashSet::from([ROOT.to_owned()]);
    record(ROOT.to_owned(), schema.fields(), &mut names)
}

fn record(name: String, fields: &Fields, names: &mut HashSet<String>) -> Result<Value> {
    let mut own = HashSet::new();
    let mut spelt = Vec::with_capacity(fields.len());
    for field in fields {
        let field_name = unique(legal(field.name()), &mut own);
        let nested = format!("{name}_{field_name}");
        let mut entry = Map::new();
        entry.insert("name".into(), field_name.clone().into());
        entry.insert("type".into(), nullable(field, nested, names)?);
        if field.is_nullable() {
            entry.insert("default".into(), Value::Null);
        }
        if field_name != *field.name() {
            entry.insert("columnName".into(), field.name().clone().into());
        }
        spelt.push(Value::Object(entry));
    }
    Ok(json!({ "type": "record", "name": name, "fields": spelt }))
}

fn nullable(field: &Field, path: String, names: &mut HashSet<String>) -> Result<Value> {
    let spelt = type_of(field, path, names)?;
    Ok(if field.is_nullable() { json!(["null", spelt]) } else { spelt })
}

fn type_of(field: &Field, path: String, names: &mut HashSet<String>) -> Result<Value> {
    Ok(match field.data_type() {
        DataType::Boolean => json!("boolean"),
        DataType::Int32 => json!("int"),
        DataType::Int64 => json!("long"),
        DataType::Float32 => json!("float"),
        DataType::Float64 => json!("double"),
        DataType::Utf8 => json!("string"),
        DataType::Binary => json!("bytes"),
        DataType::Date32 => json!({ "type": "int", "logicalType": "date" }),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            json!({ "type": "long", "logicalType": "timestamp-micros" })
        }
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            json!({ "type": "long", "logicalType": "local-timestamp-micros" })
        }
        DataType::Decimal128(precision, scale) => {
            json!({ "type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale })
        }
        DataType::List(item) => json!({ "type": "array", "items": nullable(item, path, names)? }),
        DataType::Struct(fields) => record(unique(path, names), fields, names)?,
        other => {
            return Err(Error::new(
                ErrorKind::Config,
                "write/avro-type",
                format!("column `{}` is {other}, which Avro cannot hold", field.name()),
            )
            .hint("leave it out with `convert: project`"));
        }
    })
}

/// The name with `_` for what Avro does not allow.
fn legal(name: &str) -> String {
    let mut legal: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
    if legal.is_empty() || legal.starts_with(|c: char| c.is_ascii_digit()) {
        legal.insert(0, '_');
    }
    legal
}

/// The name, with a number if it is taken.
fn unique(name: String, taken: &mut HashSet<String>) -> String {
    let mut candidate = name.clone();
    let mut number = 2;
    while !taken.insert(candidate.clone()) {
        candidate = format!("{name}_{number}");
        number += 1;
    }
    candidate
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn names_are_legal_and_come_once() {
        let inner = |name: &str| {
            Field::new(name, DataType::Struct(vec![Field::new("x", DataType::Int64, true)].into()), true)
        };
        let nested = Field::new("a", DataType::Struct(vec![inner("b")].into()), true);
        let list = Field::new("l", DataType::List(Arc::new(inner("item"))), true);
        let schema = Schema::new(vec![
            nested,
            inner("a_b"),
            list,
            Field::new("first name", DataType::Utf8, true),
            Field::new("first_name", DataType::Utf8, false),
            Field::new("1", DataType::Utf8, false),
        ]);
        let spelt = spell(&schema).unwrap();
        let fields = spelt["fields"].as_array().unwrap();
        assert_eq!(fields[0]["type"][1]["name"], "row_a");
        assert_eq!(fields[0]["type"][1]["fields"][0]["type"][1]["name"], "row_a_b");
        assert_eq!(fields[1]["type"][1]["name"], "row_a_b_2");
        assert_eq!(fields[2]["type"][1]["items"][1]["name"], "row_l");
        assert_eq!(
            fields[3],
            json!({ "name": "first_name", "type": ["null", "string"], "default": null, "columnName": "first name" })
        );
        assert_eq!(
            fields[4],
            json!({ "name": "first_name_2", "type": "string", "columnName": "first_name" })
        );
        assert_eq!(fields[5]["name"], "_1");
    }
}
