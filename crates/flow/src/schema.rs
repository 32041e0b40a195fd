//! The JSON Schema of a flow, and a reading of it that the shape check and the reference pages share.

use std::sync::LazyLock;

use dil_model::config::Flow;
use serde_json::{Map, Value};

/// The JSON Schema (draft 2020-12) of a flow file, for editors.
///
/// Generated from the types; `x-unit` tells the unit of a value. It knows the shape of a flow; that a stage's connection
/// exists, for example, only [`crate::load`] finds out.
pub fn json_schema() -> Value {
    let mut schema = schemars::schema_for!(Flow).to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".into(), "dil flow".into());
    }
    schema
}

/// The schema, made once.
pub(crate) static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema { root: json_schema() });

/// A JSON Schema as `schemars` writes it for our types: references, optional values, kinds named by one key.
pub(crate) struct Schema {
    root: Value,
}

/// What a schema asks for.
#[derive(Debug)]
pub(crate) enum Shape<'s> {
    /// Known keys.
    Keys { properties: &'s Map<String, Value>, required: Vec<&'s str> },
    /// Any keys, values of one shape.
    Named(&'s Value),
    /// A list of one shape.
    List(&'s Value),
    /// One of some words or kinds.
    Choice(Vec<Alternative<'s>>),
    /// A text with a spelling of its own; the name of its type.
    Spelt(&'s str),
    /// Any text.
    Text,
    /// A whole number within bounds.
    Integer { min: Option<i64>, max: Option<u64> },
    /// True or false.
    Truth,
    /// A text, a number or a truth value.
    Scalar,
    /// Any value.
    Any,
}

/// One of the possibilities of a choice: a word, or a kind with its settings.
#[derive(Debug)]
pub(crate) struct Alternative<'s> {
    pub(crate) name: &'s str,
    pub(crate) description: Option<&'s str>,
    /// `None` for a word.
    pub(crate) value: Option<&'s Value>,
}

impl Schema {
    pub(crate) fn root(&self) -> &Value {
        &self.root
    }

    /// Follows references and leaves "or nothing" out.
    pub(crate) fn resolve<'s>(&'s self, schema: &'s Value) -> (Option<&'s str>, &'s Value) {
        let mut name = None;
        let mut schema = schema;
        // A chain of references is as long as the types nest optional values; 8 is more than any.
        for _ in 0..8 {
            if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
                name = reference.rsplit('/').next();
                let Some(target) = name.and_then(|name| self.root.get("$defs")?.get(name)) else { break };
                schema = target;
            } else if let Some(some) = schema
                .get("anyOf")
                .and_then(Value::as_array)
                .and_then(|of| of.iter().find(|one| !is_null(one)))
            {
                schema = some;
            } else {
                break;
            }
        }
        (name, schema)
    }

    /// What the schema asks for.
    pub(crate) fn shape<'s>(&'s self, schema: &'s Value) -> Shape<'s> {
        let (name, schema) = self.resolve(schema);
        if let Some(alternatives) = schema.get("oneOf").and_then(Value::as_array) {
            return Shape::Choice(alternatives.iter().flat_map(alternatives_of).collect());
        }
        if schema.get("enum").is_some() {
            return Shape::Choice(alternatives_of(schema));
        }
        let types = types(schema);
        match types.as_slice() {
            ["object"] => match schema.get("properties").and_then(Value::as_object) {
                Some(properties) => Shape::Keys { properties, required: required(schema) },
                None => schema.get("additionalProperties").map_or(Shape::Any, Shape::Named),
            },
            ["array"] => schema.get("items").map_or(Shape::Any, Shape::List),
            ["string"] => match name {
                Some(name) if schema.get("pattern").is_some() => Shape::Spelt(name),
                _ => Shape::Text,
            },
            ["integer"] => Shape::Integer {
                min: schema.get("minimum").and_then(Value::as_i64),
                max: schema.get("maximum").and_then(Value::as_u64),
            },
            ["boolean"] => Shape::Truth,
            [] => Shape::Any,
            _ => Shape::Scalar,
        }
    }
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("null")
}

/// The types it allows, null left out.
fn types(schema: &Value) -> Vec<&str> {
    let names = match schema.get("type") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    names.into_iter().filter(|name| *name != "null").collect()
}

fn required(schema: &Value) -> Vec<&str> {
    schema
        .get("required")
        .and_then(Value::as_array)
        .map(|keys| keys.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default()
}

fn alternatives_of(schema: &Value) -> Vec<Alternative<'_>> {
    let description = schema.get("description").and_then(Value::as_str);
    let word = |name| Alternative { name, description, value: None };
    if let Some(name) = schema.get("const").and_then(Value::as_str) {
        return vec![word(name)];
    }
    if let Some(names) = schema.get("enum").and_then(Value::as_array) {
        return names.iter().filter_map(Value::as_str).map(word).collect();
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    properties
        .into_iter()
        .flatten()
        .map(|(name, value)| Alternative { name, description, value: Some(value) })
        .collect()
}

/// The first sentence of a description, without its full stop.
pub(crate) fn first_sentence(description: &str) -> String {
    let flat = description.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = flat.find(". ").unwrap_or(flat.len());
    flat[..end].trim_end_matches('.').to_owned()
}
