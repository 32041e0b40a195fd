//! What the tests and benches of `dil` stand on: servers that keep their own books, and processes watched from outside.
//!
//! Nothing here imports another crate of ours. An oracle that shared code with the engine would share its defects.
//!
//! - [`oracle`]: a strict REST API whose ledger says which rows it served, with faults on demand.
//! - [`database`]: real database servers, started and stopped.
//! - [`flood`]: answers far larger than memory, made while they are sent.
//! - [`pages`]: prepared pages and files at the least cost, for benches.
//! - [`process`]: starts a program, signals it, measures its memory.
//! - [`python`]: runs the other implementations that read files back.

// A helper of tests stops a test by panicking, with a text that says what was expected.
#![expect(clippy::expect_used, clippy::panic, reason = "a helper of tests fails the test")]

pub mod database;
pub mod flood;
pub mod oracle;
pub mod pages;
pub mod process;
pub mod python;
mod raw;
pub mod seeded;
mod serving;
pub mod table;
