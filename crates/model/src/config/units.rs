//! How a stage's work is divided.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Scalar;
use crate::setting::{CalendarSpan, Every, HumanDuration, Pattern};

/// How a stage's work is divided: a unit for each value times each interval.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Units {
    /// A unit for each of these values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = serde_json::json!({ "rows_of": "surveys", "fields": ["id"] }))]
    pub each: Option<Each>,

    /// Further values: a unit for each combination with those of `each`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = serde_json::json!([{ "values": ["web", "image"], "as": "kind" }]))]
    pub cross: Vec<Each>,

    /// A unit for each of these intervals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = serde_json::json!({ "from": "2024-01-01", "every": "month", "grace": "3d" }))]
    pub time: Option<TimeUnits>,

    /// A unit for each stretch of a key, or one that reads what is greater than all that was seen. Not with `time`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = serde_json::json!({ "field": "id" }))]
    pub key: Option<KeyUnits>,

    /// Read all of every unit in every run, whatever is recorded; a unit's old files are exchanged for the new ones.
    #[serde(default)]
    #[schemars(example = true)]
    pub snapshot: bool,

    /// How long a unit is left alone once it was read, whatever else would have it read again. A unit that failed is not
    /// left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"1d", extend("x-unit" = "calendar span"))]
    pub abstinence: Option<CalendarSpan>,

    /// The most units that one run takes; the rest stay for the next run. Units that owe rows go before ones that are read
    /// again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 500, range(min = 1))]
    pub max: Option<u64>,

    /// The fewest units that a run must find to do; with fewer the stage fails.
    #[serde(default)]
    #[schemars(example = 1)]
    pub min: u64,

    /// The fewest rows that a unit must read; with fewer it fails.
    #[serde(default)]
    #[schemars(example = 1)]
    pub min_rows: u64,

    /// Which intervals go first, and so which ones `max` takes.
    #[serde(default)]
    #[schemars(example = &"newest_first")]
    pub order: Order,

    /// The shortest time from the start of one unit to the start of the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"500ms", extend("x-unit" = "duration"))]
    pub pace: Option<HumanDuration>,
}

impl Units {
    /// The lists of values, in the order of the flow file.
    pub fn lists(&self) -> impl Iterator<Item = &Each> {
        self.each.iter().chain(&self.cross)
    }

    /// The stages whose rows are values, each once.
    pub fn upstreams(&self) -> Vec<&str> {
        let mut stages: Vec<&str> = Vec::new();
        for stage in self.lists().filter_map(|each| each.rows_of.as_deref()) {
            if !stages.contains(&stage) {
                stages.push(stage);
            }
        }
        stages
    }
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

    /// The fields of a row that tell one version of a value from another, like a file's size and time. A unit that is done
    /// is read again when they change, and else not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = serde_json::json!(["size", "modified"]))]
    pub version: Vec<String>,

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

impl Each {
    /// The names that a value binds, in the order of the flow file.
    pub fn names(&self) -> Vec<&str> {
        match &self.name {
            Some(name) if self.rows_of.is_none() => vec![name],
            _ => self.fields.iter().map(String::as_str).collect(),
        }
    }

    /// The columns of the upstream rows that matter.
    pub fn columns(&self) -> Vec<String> {
        let mut columns: Vec<String> = Vec::new();
        for name in self.fields.iter().chain(&self.version).chain(self.filter.keys()) {
            if !columns.contains(name) {
                columns.push(name.clone());
            }
        }
        columns
    }
}

/// The intervals: `[from, to)`, cut every so often.
///
/// Templates see `{{ low }}` and `{{ high }}`, the unit's own half-open interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeUnits {
    /// The first instant: a date, a date and time, or an ISO 8601 duration before now (`P30D`), for which now is rounded
    /// down to the smallest unit that the duration names. Without an offset it is in `timezone`, or in a zone in brackets
    /// behind it (`2024-01-01[Europe/Vienna]`).
    #[schemars(example = &"2024-01-01")]
    pub from: String,

    /// The first instant after the last: `now`, or as for `from`.
    #[serde(default = "default_to")]
    #[schemars(example = &"P0D")]
    pub to: String,

    /// The length of an interval. The k-th boundary is `from` plus k of them, in the zone's calendar; where `from` moves
    /// with now, boundaries stay where the calendar has them, and the first interval is a whole one.
    #[serde(default)]
    #[schemars(example = &"month")]
    pub every: Every,

    /// Other lengths from certain instants on, in the order of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = serde_json::json!([{ "from": "2026-01-01", "every": "day" }]))]
    pub then: Vec<Then>,

    /// The zone of dates without offset and of calendar steps (IANA name).
    #[serde(default = "default_zone")]
    #[schemars(example = &"Europe/Vienna")]
    pub timezone: String,

    /// How far back late rows may still appear: what is done is read again when it ends within this stretch before the
    /// latest recorded instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"3d", extend("x-unit" = "calendar span"))]
    pub grace: Option<CalendarSpan>,

    /// How late rows are read, where there is a `grace`. Must be given for a range that is not cut and grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"append")]
    pub late: Option<Late>,

    /// What becomes of a last interval that `to` cuts short.
    #[serde(default)]
    #[schemars(example = &"drop")]
    pub partial: Partial,
}

/// The keys: of whole numbers `[from, to)`, cut every so many; or of a column in which new rows have greater values than old
/// ones. Exactly one of `every` and `field`.
///
/// Templates see `{{ low }}` and `{{ high }}`, the unit's own half-open stretch; or `{{ after }}`, the greatest value that
/// earlier runs saw, which is not defined as long as there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyUnits {
    /// The first key of the range.
    #[serde(default)]
    #[schemars(example = 1)]
    pub from: i64,

    /// The first key after the range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 5_000_000)]
    pub to: Option<i64>,

    /// How many keys a unit holds. The k-th boundary is `from` plus k times as many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 100_000, range(min = 1))]
    pub every: Option<i64>,

    /// The column, as it is read: whole numbers, texts or timestamps, never null. Rows that are not greater than the greatest
    /// one of earlier runs are left out, so it does not matter whether the source is asked for `>` or for `>=`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"id")]
    pub field: Option<String>,
}

/// Another length of intervals, from an instant on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Then {
    /// The first instant: a date, or a date and time. The interval before it ends here.
    #[schemars(example = &"2026-01-01")]
    pub from: String,

    /// The length of an interval.
    #[schemars(example = &"day")]
    pub every: Every,
}

/// How late rows are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Late {
    /// The whole interval is read again, and the unit's old files are exchanged for the new ones: every row is there once.
    Reread,
    /// Only the last stretch of `grace` is read, and its files are added: rows that were there before come again.
    Append,
}

/// Which intervals go first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The oldest.
    #[default]
    OldestFirst,
    /// The newest. Where `max` falls short and new ones keep coming, old ones wait.
    NewestFirst,
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
