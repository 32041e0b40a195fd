//! A work unit as a value: what goes to a worker and what comes back.
//!
//! A [`UnitSpec`] goes in, [`UnitEvent`]s come out, the last one a report. All of them are JSON, so that a unit can run in
//! this process, in a child, or on another machine. Every message carries the run's epoch and the unit's attempt;
//! the coordinator refuses stale ones. Nothing here holds a secret: `${secret:NAME}` travels unresolved.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::component::Requests;
use crate::config::{Connection, Convert, FilesWrite, Read};
use crate::manifest::StagedFile;
use crate::schema::StoredSchema;
use crate::setting::ByteSize;
use crate::{Error, Interval, KeyRange};

/// The values that make a unit, by field, in the order of the flow file's `fields`.
pub type EachRow = IndexMap<String, serde_json::Value>;

/// Names one try of one unit within one run of the coordinator; carried by every message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The lease epoch under which it was handed out; grows with every coordinator that takes the flow over.
    pub epoch: u64,
    /// Counted from 1 over the unit's whole life, never used twice.
    pub attempt: u64,
    /// The unit's number in the coordinator's queue.
    pub unit: u64,
}

/// All that a worker needs to run one unit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UnitSpec {
    /// Which try this is.
    pub id: AttemptId,
    /// The flow's name.
    pub flow: String,
    /// The stage's name.
    pub stage: String,
    /// The unit's name in the ledger, for ever.
    pub signature: String,
    /// The run, for templates and messages.
    pub run: String,
    /// Whether no unit of the stage was ever recorded before this run.
    pub full: bool,
    /// The variables that the unit's *each* row binds.
    pub each: EachRow,
    /// The interval to read, if the stage has any.
    pub interval: Option<Interval>,
    /// The keys to read, if the stage is divided by them.
    pub key: Option<KeyRange>,
    /// The connection that `read` uses, with its name.
    pub connection: Option<(String, Connection)>,
    /// Where rows come from.
    pub read: Read,
    /// What is done to them.
    pub convert: Vec<Convert>,
    /// Where they go.
    pub outputs: Vec<OutputSpec>,
    /// The stage's schema as agreed so far.
    pub schema: Option<StoredSchema>,
    /// Where an earlier attempt stood, if it got to a checkpoint.
    pub resume: Option<Position>,
    /// The share of the memory budget that this unit may use.
    pub memory: ByteSize,
}

/// One place that the unit's rows go to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OutputSpec {
    /// Which one.
    pub output: crate::manifest::Output,
    /// Format, compression, partitions, file size; `path` is the output's final folder.
    pub files: FilesWrite,
    /// The folder to stage under; this attempt's own.
    pub staging: String,
    /// The start of every final file name: the unit's short name and the attempt.
    pub stem: String,
    /// Only these columns, if any are named.
    pub columns: Vec<String>,
}

/// How far a unit got, with the closed files that hold every row before that.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// The source's own note; only the source that wrote it can read it.
    pub source: serde_json::Value,
    /// Files that were closed at that point, fsynced.
    pub files: Vec<StagedFile>,
    /// Counters up to there.
    pub counts: Counts,
    /// The greatest key that was seen, if keys are looked at.
    #[serde(default)]
    pub greatest: Option<serde_json::Value>,
}

/// What a unit has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rows read.
    pub rows: u64,
    /// Bytes read, after transfer and content encoding were taken off.
    pub bytes: u64,
    /// Pages or files read.
    pub pages: u64,
    /// Requests sent.
    pub requests: Requests,
}

/// What a worker tells.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnitEvent {
    /// Where it stands; may be dropped or merged.
    Progress(Counts),
    /// A schema that this unit's rows need: the reader's and the one that is written. The worker waits for
    /// [`CoordinatorReply::Schema`].
    Schema {
        /// Of the rows as read.
        read: StoredSchema,
        /// Of the rows as written.
        written: StoredSchema,
    },
    /// Durable progress. The worker waits for [`CoordinatorReply::Durable`] before it goes on.
    Checkpoint(Position),
    /// The end, good or bad.
    Report(UnitReport),
}

/// What the coordinator answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CoordinatorReply {
    /// The stage's schema, which holds what was asked for and perhaps more.
    Schema(StoredSchema),
    /// The checkpoint is on disk.
    Durable,
    /// The request cannot be granted; the unit ends with this error.
    Refused(Error),
}

/// How a unit ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UnitReport {
    /// Counters of the whole unit, resumed part included.
    pub counts: Counts,
    /// The greatest key that was seen, if keys are looked at and there were any.
    #[serde(default)]
    pub greatest: Option<serde_json::Value>,
    /// The staged files, or why there are none.
    pub outcome: Result<Vec<StagedFile>, Error>,
}
