//! The flow and its stages.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Connection, Convert, Read, Scalar, Units, Write};
use crate::setting::{ByteSize, HumanDuration, Waits};

/// A flow: stages that read from somewhere, convert and write, each by its own work units.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// The flow's name: letters, digits, `-` and `_`. The ledger keeps its history under this name.
    #[schemars(example = &"qualaroo")]
    pub flow: String,

    /// What the flow is for; shown by `dil plan`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"survey responses, every night")]
    pub description: Option<String>,

    /// Named values that the rest of the file uses as `${name}`. `--var name=value` overrides one,
    /// or gives one that has no value here.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(example = serde_json::json!({ "lake": "./lake" }))]
    pub vars: IndexMap<String, Scalar>,

    /// The systems that the stages talk to, by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(example = serde_json::json!({ "api": { "http": { "base": "https://api.example.com" } } }))]
    pub connections: IndexMap<String, Connection>,

    /// The stages by name. Their order does not matter: a stage runs after those whose rows it uses.
    #[schemars(example = serde_json::json!({ "orders": { "read": { "files": { "path": "in/*.csv" }, "format": "csv" }, "write": { "files": { "path": "out/", "format": "parquet" } } } }))]
    pub stages: IndexMap<String, Stage>,

    /// The most memory that the process may use, as resident set. Parallelism falls to fit; one row that cannot fit is
    /// an error.
    #[serde(default = "default_memory")]
    #[schemars(example = &"512MiB", extend("x-unit" = "size"))]
    pub memory: ByteSize,

    /// The most work units that run at once, over all stages. The memory budget may lower it.
    #[serde(default = "default_parallel")]
    #[schemars(example = 8, range(min = 1, max = 1024))]
    pub parallel: u32,
}

/// One read → convert → write with its own work units and state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// What the stage is for; shown by `dil plan`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"the list of active surveys")]
    pub description: Option<String>,

    /// How the work is divided. Without it the stage is one unit that runs in full every time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = serde_json::json!({ "time": { "from": "2024-01-01", "every": "month" } }))]
    pub units: Option<Units>,

    /// Where the rows come from and how they are spelt there.
    #[schemars(example = serde_json::json!({ "http": { "connection": "api", "path": "/orders" }, "format": "json", "rows_at": "data" }))]
    pub read: Read,

    /// What is done to the rows, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = serde_json::json!([{ "cast": { "amount": "decimal(10,2)" } }]))]
    pub convert: Vec<Convert>,

    /// Where the rows go. A stage without it only feeds later stages: its rows are kept with the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = serde_json::json!({ "files": { "path": "lake/orders/", "format": "parquet" } }))]
    pub write: Option<Write>,

    /// When the rows become visible.
    #[serde(default)]
    #[schemars(example = &"all_units")]
    pub publish: Publish,

    /// How often a unit that failed is tried again within one run.
    #[serde(default)]
    #[schemars(example = serde_json::json!({ "attempts": 5, "within": "2h" }))]
    pub retry: UnitRetry,
}

impl Stage {
    /// The stages whose rows this one uses, each once.
    pub fn upstreams(&self) -> Vec<&str> {
        self.units.as_ref().map(super::Units::upstreams).unwrap_or_default()
    }
}

/// When the rows of a stage become visible.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Publish {
    /// Each unit's rows as soon as the unit is done; one that fails does not hold back the others.
    #[default]
    EachUnit,
    /// Nothing unless every unit of the run succeeded; units that are done wait, staged, for the retry.
    AllUnits,
}

/// How often a unit that failed is tried again within one run. Only failures that may pass are tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnitRetry {
    /// Tries in all, the first one included.
    #[serde(default = "default_unit_attempts")]
    #[schemars(example = 5, range(min = 1, max = 100))]
    pub attempts: u32,

    /// No further try starts this long after the first one did.
    #[serde(default = "default_unit_within")]
    #[schemars(example = &"2h", extend("x-unit" = "duration"))]
    pub within: HumanDuration,

    /// The first and the longest wait between tries; it doubles in between, with jitter.
    #[serde(default = "default_unit_wait")]
    #[schemars(example = &"5s..5m", extend("x-unit" = "duration"))]
    pub wait: Waits,
}

impl Default for UnitRetry {
    fn default() -> Self {
        Self { attempts: default_unit_attempts(), within: default_unit_within(), wait: default_unit_wait() }
    }
}

fn default_memory() -> ByteSize {
    ByteSize::mib(256)
}

fn default_parallel() -> u32 {
    4
}

fn default_unit_attempts() -> u32 {
    3
}

fn default_unit_within() -> HumanDuration {
    HumanDuration::secs(3_600)
}

fn default_unit_wait() -> Waits {
    Waits { first: HumanDuration::secs(1), longest: HumanDuration::secs(60) }
}
