//! Tells what happens while a flow runs: bars on a terminal, lines elsewhere.

mod bars;
mod follower;
mod lines;
mod meter;

pub(crate) use follower::{Follower, follower};
