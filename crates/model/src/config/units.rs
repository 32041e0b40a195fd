//! How a stage's work is divided.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Scalar;
use crate::setting::{CalendarSpan, Pattern};

/// How a stage's work is divided: a unit for each value times each interval.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Units {
    /// A unit for each of these values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = serde_json::json!({ "rows_of": "surveys", "fields": ["id"] }))]
    pub each: Option<Each>,

    /// A unit for each of these intervals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = serde_json::json!({ "from": "2024-01-01", "every": "month", "grace": "3d" }))]
    pub time: Option<TimeUnits>,

    /// The most units that one run takes, oldest first; the rest stay for the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 500, range(min = 1))]
    pub max: Option<u64>,
}

/// The values: rows of another stage, or a literal list. Exactly one of `rows_of` and `values`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Each {
    /// The stage whose rows are the values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"surveys")]
    pub rows_of: Option<String>,

    /// The fields of a row that make the unit; each is a variable of the same name. Rows that are equal in them are one
    /// unit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = serde_json::json!(["id"]))]
    pub fields: Vec<String>,

    /// Only rows whose field matches, as a whole text, this regular expression. A null matches nothing.
    #[serde(default, rename = "where", skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(example = serde_json::json!({ "status": "active|paused" }))]
    pub filter: IndexMap<String, Pattern>,

    /// The values themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = serde_json::json!(["us", "eu"]))]
    pub values: Vec<Scalar>,

    /// The variable that each of `values` is bound to.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"region")]
    pub name: Option<String>,
}

/// The intervals: `[from, to)`, cut every so often.
///
/// Templates see `{{ low }}` and `{{ high }}`, the unit's own half-open interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeUnits {
    /// The first instant: a date, or a date and time. Without an offset it is in `timezone`.
    #[schemars(example = &"2024-01-01")]
    pub from: String,

    /// The first instant after the last: a date, a date and time, or `now`.
    #[serde(default = "default_to")]
    #[schemars(example = &"2025-01-01")]
    pub to: String,

    /// The length of an interval. The k-th boundary is `from` plus k of them, in the zone's calendar.
    #[serde(default)]
    #[schemars(example = &"month")]
    pub every: Every,

    /// The zone of dates without offset and of calendar steps (IANA name).
    #[serde(default = "default_zone")]
    #[schemars(example = &"Europe/Vienna")]
    pub timezone: String,

    /// How far back late rows may still appear: what is done is read again when it ends within this stretch before the
    /// latest recorded instant. Its old files are exchanged for the new ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"3d", extend("x-unit" = "calendar span"))]
    pub grace: Option<CalendarSpan>,

    /// What becomes of a last interval that `to` cuts short.
    #[serde(default)]
    #[schemars(example = &"drop")]
    pub partial: Partial,
}

/// The length of an interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Every {
    /// The whole range is one interval.
    #[default]
    None,
    /// Calendar days.
    Day,
    /// Calendar months.
    Month,
}

/// What becomes of a last interval that `to` cuts short.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Partial {
    /// It is read as far as `to`, and the next run reads on from there.
    #[default]
    Keep,
    /// It waits until it is whole.
    Drop,
}

fn default_to() -> String {
    "now".to_owned()
}

fn default_zone() -> String {
    "UTC".to_owned()
}
