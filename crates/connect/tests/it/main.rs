//! Sources against real servers on the loopback and real files.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod api;
mod auth;
mod faults;
mod files;
mod pages;
mod raw;
mod reading;
mod requests;
