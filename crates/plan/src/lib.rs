//! Decides which work units a stage runs now, and why.
//!
//! Everything here is pure: the configuration, the instant that counts as now, the rows of another stage and the
//! recorded history go in, decisions come out. No clock, no file, no ledger. Units are streamed, so that a stage with
//! millions of them needs memory for its values and for at most `max` short keys, never for its units.
//!
//! [`decide`] gives a [`Decision`] for each unit, oldest interval first.

mod decide;
mod division;
mod explain;
mod key;
mod keys;
mod limit;
mod partition;
mod range;
mod rules;
mod select;
mod signature;
mod values;

pub use decide::{Decision, History, PlannedUnit, Reason, Skip, StageInput, StagePlan, decide};
pub use division::division;
pub use select::Selection;
pub use signature::has_value;
pub use values::{ValueList, Values};
