//! The flow file: read with places, resolved, checked, and described.
//!
//! [`load`] turns a text into a [`Checked`] flow, or into every problem it has, each with its place and a hint. The types of
//! `dil_model::config` are the only declaration: their JSON Schema drives the check of the file's shape, [`json_schema`] and
//! the reference pages of [`docs`].
//!
//! Nothing here opens a file, reads the environment or knows the time: the caller hands those in, so checking a flow works
//! offline and gives the same answer everywhere.

mod check;
pub mod docs;
mod load;
mod nearest;
mod place;
mod schema;
mod shape;
mod spelling;
mod substitute;
mod tree;
mod yaml;

pub use load::{Checked, Environment, Settings, Source, load};
pub use place::Located;
pub use schema::json_schema;
