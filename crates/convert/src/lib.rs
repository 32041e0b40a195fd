//! Maps rows to rows: derive, project, cast.
//!
//! Pure: the same batches, settings and variables give the same batches. A value that does not fit its new type is an
//! error that names column, row and value; nothing becomes null on the way.
//!
//! - [`check`] says what is wrong with the steps of a stage before anything runs;
//! - [`chain`] makes the [`Converter`](dil_model::component::Converter) of one work unit.

mod cast;
mod chain;
mod derive;
mod project;
mod resolve;
mod time;

pub use chain::{Chain, chain};
