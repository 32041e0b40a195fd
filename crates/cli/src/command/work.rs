//! `dil work`: runs units for a coordinator.

use tokio::signal::unix::{SignalKind, signal};

use crate::exit::{Exit, Failure};
use crate::running::block_on;

pub(super) fn run() -> Result<Exit, Failure> {
    let code = block_on(async {
        // Ctrl-C goes to every process of the terminal, but only the coordinator decides what stops.
        if let Ok(mut interrupt) = signal(SignalKind::interrupt()) {
            tokio::spawn(async move { while interrupt.recv().await.is_some() {} });
        }
        dil_engine::work().await
    })?;
    Ok(if code == 0 { Exit::Success } else { Exit::Failed })
}
