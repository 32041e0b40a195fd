//! Columns that a stage names and no row had: most likely misspelt.
//!
//! One unit cannot tell, for the next one may bring the column; so the whole stage is asked at its end.

use dil_model::arrow::datatypes::SchemaRef;
use dil_model::component::Converter as _;
use dil_model::config::{Stage, Write};

use super::stage_port::StagePort;
use crate::event::Event;

/// Names that help to find the right one; more than this help nobody.
const NAMES_MAX: usize = 40;

/// Warns of the stage's unseen columns, if rows were ever read in it.
pub(crate) fn warn(port: &StagePort, stage: &Stage) {
    let read = port.agreed().read.and_then(|schema| schema.to_arrow().ok());
    if let Some(message) = read.and_then(|read| unseen(stage, &read)) {
        port.events.event(&Event::Warning { stage: port.stage.clone(), message });
    }
}

/// What to tell of the columns that `convert` and `partition_by` name and rows of the schema `read` do not have.
pub(crate) fn unseen(stage: &Stage, read: &SchemaRef) -> Option<String> {
    let mut chain = dil_convert::sketch(&stage.convert).ok()?;
    let written = chain.schema(read).ok()?;
    let partitions = stage.write.iter().flat_map(|Write::Files(files)| &files.partition_by);
    let mut unseen: Vec<&String> = chain.unseen().iter().collect();
    unseen.extend(partitions.filter(|name| written.index_of(name).is_err()));
    let (first, others) = unseen.split_first()?;
    let named = others.iter().fold(format!("column `{first}`"), |text, name| format!("{text}, `{name}`"));
    let mut known: Vec<&str> =
        read.fields().iter().take(NAMES_MAX).map(|field| field.name().as_str()).collect();
    if read.fields().len() > NAMES_MAX {
        known.push("…");
    }
    Some(format!("no row had {named}, which counts as null; the rows have {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dil_model::arrow::datatypes::{DataType, Field, Schema};
    use serde_json::{Value, json};

    use super::*;

    fn check(convert: Value, partition_by: Value, expect: Option<&str>) {
        let stage: Stage = serde_json::from_value(json!({
            "read": { "files": { "path": "x" }, "format": "csv" },
            "convert": convert,
            "write": { "files": { "path": "out", "format": "parquet", "partition_by": partition_by } }
        }))
        .expect("a stage");
        let field = |(name, data_type)| Field::new(name, data_type, true);
        let read = Schema::new([("id", DataType::Int64), ("day", DataType::Null)].map(field).to_vec());
        assert_eq!(unseen(&stage, &Arc::new(read)).as_deref(), expect);
    }

    #[test]
    fn tells_what_no_row_had() {
        check(
            json!([{ "cast": { "idd": "text", "id": "text" } }]),
            json!(["dya", "day"]),
            Some("no row had column `idd`, `dya`, which counts as null; the rows have id, day"),
        );
    }

    #[test]
    fn what_is_null_so_far_or_made_by_convert_was_seen() {
        let made = json!([{ "derive": { "country": { "value": "{{ country }}" } } }]);
        check(made, json!(["country", "day"]), None);
    }
}
