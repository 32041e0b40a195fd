//! `dil` from outside: flows against servers with their own books, killed, starved, fed with nonsense.

#![expect(clippy::expect_used, clippy::panic, reason = "a test's helper fails the test")]

mod backlog;
mod bad_input;
mod cli;
mod columns;
mod commit;
mod demo;
mod fencing;
mod following;
mod foreign_files;
mod full_disk;
mod http;
mod kill_sweep;
mod lake;
mod memory;
mod random_kills;
mod scene;
mod schema_growth;
mod shared_ledger;
mod signals;
mod two_stage;
mod unit_rules;
