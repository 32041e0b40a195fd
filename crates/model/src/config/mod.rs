//! The flow file as types: every key with its meaning, default, example and unit.
//!
//! One declaration serves the YAML reader, `dil schema` and the reference pages. Alternatives are externally tagged (one
//! key names the kind), nothing is flattened or untagged, so that a mistake keeps its place. Text values may hold
//! templates where their docs say so.

mod connection;
mod convert;
mod flow;
mod read;
mod units;
mod write;

pub use connection::*;
pub use convert::*;
pub use flow::*;
pub use read::*;
pub use units::*;
pub use write::*;
