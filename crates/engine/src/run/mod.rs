//! Running: the coordinator with its stages, and the pipeline inside one unit.

mod coordinator;
mod declared;
mod follow;
mod key;
pub(crate) mod memory;
pub(crate) mod pipeline;
mod planning;
mod publishing;
mod queue;
mod roll;
mod rows;
mod shuffle;
mod stage;
mod stage_port;
pub(crate) mod unit;
mod unit_attempts;
mod unseen;
pub(crate) mod whole;

pub use coordinator::run;
pub(crate) use declared::check_declared;
pub(crate) use planning::{changed_division, count, origin};
pub(crate) use rows::{row_values, rows_folder};
pub(crate) use unseen::unseen;
