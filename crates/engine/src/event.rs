//! What a run tells while it runs, and what it says at its end.

use std::time::Duration;

use dil_model::Error;
use dil_model::unit::Counts;
use serde::Serialize;

/// Something that happened. Values are ready to be shown: no secret is in them.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The lease is ours and the ledger is recovered.
    RunStarted {
        /// The run's id.
        run: String,
        /// The flow's name.
        flow: String,
        /// Whether an unfinished run is gone on with.
        resumed: bool,
        /// Publications of an interrupted run that were rolled forward.
        recovered: u64,
    },
    /// The stage's units are known.
    StageStarted {
        /// The stage's name.
        stage: String,
        /// Units that will run.
        units: u64,
        /// Why others will not, with their number.
        skipped: Vec<(String, u64)>,
    },
    /// More units of a stage are known: it began before the stages whose rows it uses had ended.
    StageGrew {
        /// The stage's name.
        stage: String,
        /// Units that will have run at its end, as far as is known.
        units: u64,
        /// Why others will not, with their number, once all are known.
        skipped: Vec<(String, u64)>,
    },
    /// A unit is handed to a worker.
    UnitStarted {
        /// The stage's name.
        stage: String,
        /// The unit's name.
        unit: String,
        /// Which try, over the unit's life.
        attempt: u64,
    },
    /// Where a unit stands; may come many times a second.
    UnitProgress {
        /// The stage's name.
        stage: String,
        /// The unit's name.
        unit: String,
        /// Its counters so far.
        counts: Counts,
    },
    /// A try failed and another one follows.
    UnitRetry {
        /// The stage's name.
        stage: String,
        /// The unit's name.
        unit: String,
        /// Why.
        error: Error,
        /// When the next try starts.
        wait_ms: u64,
    },
    /// A unit is done: recorded, or staged for `publish: all_units`.
    UnitDone {
        /// The stage's name.
        stage: String,
        /// The unit's name.
        unit: String,
        /// Its counters.
        counts: Counts,
        /// Files it staged for the stage's `write`.
        files: u64,
        /// Their size.
        bytes_written: u64,
    },
    /// A unit failed for this run.
    UnitFailed {
        /// The stage's name.
        stage: String,
        /// The unit's name.
        unit: String,
        /// Why.
        error: Error,
    },
    /// Something the user should know, that is no failure.
    Warning {
        /// The stage's name.
        stage: String,
        /// What.
        message: String,
    },
    /// The stage is over.
    StageEnded {
        /// What became of it.
        summary: StageSummary,
    },
    /// The run is over.
    RunEnded {
        /// What became of it.
        summary: RunSummary,
    },
}

/// Receives events; called from many tasks, must not block for long.
pub trait EventSink: Send + Sync {
    /// One event.
    fn event(&self, event: &Event);
}

/// How a run or stage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All planned units are recorded.
    Succeeded,
    /// Some unit failed; what succeeded is recorded.
    Failed,
    /// A stage before it failed, so it did not run.
    Blocked,
    /// Stopped on request; what is recorded stays.
    Stopped,
}

/// What became of a stage.
#[derive(Debug, Clone, Serialize)]
pub struct StageSummary {
    /// The stage's name.
    pub stage: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Units recorded in this run, those of its earlier tries included.
    pub units_done: u64,
    /// Units that failed.
    pub units_failed: u64,
    /// Units that were planned and not begun.
    pub units_left: u64,
    /// Why others did not run, with their number.
    pub skipped: Vec<(String, u64)>,
    /// Rows, bytes, pages and requests read.
    pub counts: Counts,
    /// Files published.
    pub files: u64,
    /// Their size.
    pub bytes_written: u64,
    /// Where they are, if the stage writes.
    pub path: Option<String>,
    /// From the stage's start to its end.
    pub elapsed: Duration,
    /// The failed units with their errors; the first hundred. Without a unit's name: the stage itself could not be planned
    /// or published.
    pub errors: Vec<(String, Error)>,
}

/// What became of a run.
#[derive(Debug, Clone, Serialize)]
pub struct RunSummary {
    /// The run's id.
    pub run: String,
    /// The flow's name.
    pub flow: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The stages in the order they run.
    pub stages: Vec<StageSummary>,
    /// From start to end.
    pub elapsed: Duration,
}
