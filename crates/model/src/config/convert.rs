//! What is done to rows.
//!
//! A column that the rows do not have is one of nulls, whichever unit comes first.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::setting::ColumnType;

/// One conversion. A column that it names and the rows do not have is null in all of them; if no unit's rows had it, a
/// warning at the stage's end says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Convert {
    /// Adds columns, by name, or replaces them.
    Derive(IndexMap<String, Derive>),
    /// Chooses, orders and renames columns.
    Project(Project),
    /// Changes columns' types. A value that does not fit fails the unit.
    Cast(IndexMap<String, ColumnType>),
}

/// A column made of the unit's variables or of another column. Exactly one of `value` and `from`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Derive {
    /// A template over the unit's variables; the same for every row of the unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"{{ id }}")]
    pub value: Option<String>,

    /// The column to start from; `a.b` is member `b` of column `a`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"created")]
    pub from: Option<String>,

    /// How the source column spells a time: `epoch_s`, `epoch_ms`, `iso`, or a strptime pattern (`%d/%m/%Y`). Gives a
    /// `timestamp` unless `type` says otherwise.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"epoch_ms")]
    pub reading: Option<String>,

    /// The zone of times without offset, and of dates taken from instants (IANA name).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"UTC")]
    pub timezone: Option<String>,

    /// The column's type. Without it `value` gives text and `from` keeps its type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"int64")]
    pub data_type: Option<ColumnType>,
}

/// Chooses, orders and renames columns. `keep` or `drop`, not both; renaming comes last.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// The columns to keep, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = serde_json::json!(["id", "amount"]))]
    pub keep: Vec<String>,
    /// The columns to leave out. One that the rows do not have is left out already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = serde_json::json!(["internal_note"]))]
    pub drop: Vec<String>,
    /// New names, by old name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(example = serde_json::json!({ "createdAt": "created_at" }))]
    pub rename: IndexMap<String, String>,
}
