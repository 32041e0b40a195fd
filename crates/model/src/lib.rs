//! The words and contracts of `dil`: what a flow, a work unit, a watermark and a manifest are, and what a
//! component must promise.
//!
//! Everyone imports this crate, so nothing in it reads a clock, opens a file or knows an executor. It is also the
//! one place through which the data plane's crates are named: `dil_model::arrow` and `dil_model::parquet`.

pub mod boundary;
pub mod component;
pub mod config;
mod dialect;
pub mod error;
pub mod fingerprint;
pub mod interval;
pub mod manifest;
pub mod problem;
pub mod schema;
pub mod secret;
pub mod setting;
pub mod template;
pub mod unit;

pub use arrow;
pub use error::{Error, ErrorKind, Result, Retry};
pub use interval::{Interval, KeyRange};
pub use parquet;
pub use problem::Problem;
