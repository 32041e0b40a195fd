//! What each verb does, one file each.

mod check;
mod completions;
mod demo;
mod dispatch;
mod init;
mod known;
mod plan;
mod preview;
mod resume;
mod run;
mod runs;
mod schema;
mod state;
mod units;
mod work;

pub(crate) use dispatch::dispatch;
