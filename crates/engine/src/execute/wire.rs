//! The worker protocol: JSON lines, coordinator to worker on its standard input, worker to coordinator on its standard output.
//!
//! The pipe is the worker's proof of who speaks; its end tells the worker that the coordinator is gone, and the worker
//! ends at once. Every message about a unit carries the attempt, which holds the run's epoch.

use dil_model::Error;
use dil_model::unit::{AttemptId, CoordinatorReply, UnitEvent, UnitSpec};
use serde::{Deserialize, Serialize};

/// Grows when a message changes its meaning; both sides must have the same.
pub(crate) const VERSION: u32 = 1;

/// Coordinator to worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToWorker {
    /// Run this unit.
    Run(Box<UnitSpec>),
    /// The answer to a schema proposal or a checkpoint of this attempt.
    Reply { id: AttemptId, reply: CoordinatorReply },
    /// The permit that was asked for under this ticket, or why there is none.
    Permit { ticket: u64, refused: Option<Error> },
    /// End all units where they are.
    Halt,
}

/// Worker to coordinator.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FromWorker {
    /// The worker is there.
    Ready { version: u32 },
    /// Something about a unit.
    Unit { id: AttemptId, event: Box<UnitEvent> },
    /// May this connection send one more request?
    Acquire { ticket: u64, connection: String },
    /// The request of that ticket is over.
    Release { ticket: u64 },
    /// The connection's server asked for quiet.
    Pause { connection: String, wait_ms: u64 },
}

/// One message as a line.
pub(crate) fn line<T: Serialize>(message: &T) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(message).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}
