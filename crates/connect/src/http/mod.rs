//! HTTP APIs as a source: requests with templates, paging, retries, and the checks that keep a broken answer from
//! passing for a short one.
//!
//! What is not here: rows. A body goes on as bytes; the framer tells which cursor or total it holds.
//!
//! Limits: [`PAGES_MAX`] pages a unit, 5 redirects a request (same origin, `GET` only). Of transfer codings `gzip` is
//! asked for and taken off as the bytes come, up to a ratio. Proxies are taken from the environment (`HTTP_PROXY`,
//! `HTTPS_PROXY`, `NO_PROXY`), and never used for hosts on this machine.

mod auth;
mod body;
mod check;
mod circle;
mod client;
mod error;
mod gzip;
mod link;
mod mask;
mod paging;
mod request;
mod retry;
mod send;
mod source;

pub use client::Clients;
pub use paging::PAGES_MAX;
pub use source::{HttpSourceSpec, first_request, source};
