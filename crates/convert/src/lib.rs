//! Maps rows to rows: derive, project, cast.
//!
//! Pure: the same batches, settings and variables give the same batches. A value that does not fit its new type is an
//! error that names column, row and value; nothing becomes null on the way. A column that the rows do not have counts as
//! null in all of them, so that no unit fails because another one came later.
//!
//! - [`chain`] makes the [`Converter`](dil_model::component::Converter) of one work unit;
//! - [`sketch`] makes one that belongs to no unit: it tells columns and types, and which columns are not there.

mod cast;
mod chain;
mod derive;
mod project;
mod resolve;
mod time;

pub use chain::{Chain, chain, sketch};
