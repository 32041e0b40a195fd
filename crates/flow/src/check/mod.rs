//! What the shape of a file cannot tell: that names exist, settings fit together and templates use what there is.
//!
//! [`flow`] goes over the whole, the others over the part of a stage that they are named after.

mod convert;
mod flow;
mod order;
mod paginate;
mod read;
mod report;
mod template;
mod units;
mod write;

pub(crate) use flow::{Outline, check};
