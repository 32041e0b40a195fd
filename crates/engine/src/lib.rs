//! The engine: plans, runs, commits, and keeps the ledger. The only crate that knows the order of a commit.
//!
//! Start reading at [`run()`] (`run/coordinator.rs`), then `run/unit.rs` for what happens inside a unit and
//! `commit/mod.rs` for how its files become visible exactly once.

mod backfill;
mod choice;
mod commit;
mod event;
mod execute;
pub mod faults;
mod ledger;
mod plan;
mod preview;
mod run;
mod scratch;
mod settings;
mod watermark;

pub use backfill::with_range;
pub use choice::Choice;
pub use event::{Event, EventSink, Outcome, RunSummary, StageSummary};
pub use execute::work;
pub use ledger::{LedgerView, MoveReport, Place, ResetReport, RunRow, Server, StageRow, UnitFilter, UnitRow};
pub use plan::{PlanOptions, PlanReport, PlanUnit, SkippedUnit, StagePlan, plan};
pub use preview::{Preview, preview};
pub use run::run;
pub use scratch::{Scratch, auxiliary};
pub use settings::{EnvSecrets, RunOptions, Settings, Stop, default_lease, default_state_dir};
pub use watermark::set_watermark;
