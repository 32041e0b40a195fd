//! Pages that are read in any order: their rows, beside the unit's other parts.

use std::sync::Arc;

use dil_format::FrameLimits;
use dil_model::Result;
use dil_model::component::{Frame, RandomAccess};
use dil_model::config::Read;
use tokio::sync::mpsc;

/// Reads the frames of a page on a thread of its own, one ahead.
pub(crate) fn frames(
    read: &Read,
    file: Arc<dyn RandomAccess>,
    limits: FrameLimits,
    page: u64,
) -> mpsc::Receiver<Result<Frame>> {
    let (sender, receiver) = mpsc::channel(1);
    let read = read.clone();
    tokio::task::spawn_blocking(move || {
        let frames = match dil_format::frames(&read, file, limits, page) {
            Ok(frames) => frames,
            Err(error) => {
                // Nobody is left to be told if the reader is gone.
                let _ = sender.blocking_send(Err(error));
                return;
            }
        };
        for frame in frames {
            let ends = frame.is_err();
            if sender.blocking_send(frame).is_err() || ends {
                return;
            }
        }
    });
    receiver
}
