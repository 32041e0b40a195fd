//! A strict REST API of sites and their events, which keeps its own books.
//!
//! `GET /{style}/sites` lists the sites, `GET /{style}/sites/{id}/events?from=&to=` a site's events in `[from, to)`; both rows at
//! `data.items`. The style is how the next page is asked for ([`Style`]). An unknown parameter, half an interval, a foreign
//! cursor are answered with 400, so that a client that guesses is found out. What was served stands in the ledger.
//!
//! Rows and sites can be added and faults ordered while it runs: by a test through [`Oracle`], by a person through
//! `/admin/sites`, `/admin/rows`, `/admin/faults` and `/admin/ledger`.

mod admin;
mod data;
mod fault;
mod paging;
mod server;

pub use data::{Event, Site};
pub use fault::{Fault, FaultKind};
pub use paging::Style;
pub use server::{Oracle, Served, Settings};
