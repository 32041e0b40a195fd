//! `dil demo`: a flow against a bundled sample service, run twice, counted by the service's own ledger.
//!
//! The service (`service.rs`) serves real weather (`data.rs`) and keeps a ledger of what it served. The demonstration
//! (`story.rs`) holds a station and a row back in the first run, and checks what the second one asked for. It works in a folder
//! of its own (`folder.rs`).

mod data;
mod flow;
mod folder;
mod lake;
mod service;
mod story;
mod tally;

pub(crate) use story::{serve, show};
