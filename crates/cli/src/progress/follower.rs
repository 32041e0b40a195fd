//! What bars and lines have in common.

use std::sync::Arc;

use dil_engine::EventSink;

use super::bars::Bars;
use super::lines::Lines;
use crate::terminal::{Log, Terminal};

/// Follows a run and tells about it on stderr.
pub(crate) trait Follower: EventSink {
    /// Tells something that is no event of the run.
    fn note(&self, text: &str);

    /// Tells that the run was asked to stop.
    fn stopping(&self, text: &str);

    /// Takes away what was only for the time of the run.
    fn end(&self);
}

/// The follower that suits the terminal.
pub(crate) fn follower(terminal: Terminal) -> Arc<dyn Follower> {
    match terminal.log {
        Log::Bars => Arc::new(Bars::new(terminal)),
        Log::Text | Log::Json => Arc::new(Lines::new(terminal)),
    }
}
