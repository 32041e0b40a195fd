//! Running: the coordinator with its stages, and the pipeline inside one unit.

mod coordinator;
pub(crate) mod memory;
pub(crate) mod pipeline;
mod roll;
mod rows;
mod shuffle;
mod stage;
mod stage_port;
pub(crate) mod unit;
mod unit_attempts;

pub use coordinator::run;
pub(crate) use coordinator::upstream;
pub(crate) use rows::{each_rows, row_values, rows_folder};
pub(crate) use stage::needed_columns;
