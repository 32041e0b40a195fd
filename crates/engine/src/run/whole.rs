//! Pages that are read in any order: their rows, beside the unit's other parts.

use std::sync::Arc;

use dil_format::FrameLimits;
use dil_model::component::{Frame, RandomAccess};
use dil_model::config::Read;
use dil_model::{Error, ErrorKind, Result};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The frames of a page, read on a thread of their own, one ahead.
pub(crate) struct WholePage {
    frames: mpsc::Receiver<Result<Frame>>,
    reader: Option<JoinHandle<()>>,
}

impl WholePage {
    /// Begins to read.
    pub(crate) fn read(read: &Read, file: Arc<dyn RandomAccess>, limits: FrameLimits, page: u64) -> Self {
        let (sender, frames) = mpsc::channel(1);
        let read = read.clone();
        let reader =
            tokio::task::spawn_blocking(move || match dil_format::frames(&read, file, limits, page) {
                Ok(frames) => {
                    for frame in frames {
                        let ends = frame.is_err();
                        if sender.blocking_send(frame).is_err() || ends {
                            return;
                        }
                    }
                }
                // Nobody is left to be told if the other side is gone.
                Err(error) => drop(sender.blocking_send(Err(error))),
            });
        Self { frames, reader: Some(reader) }
    }

    /// The next frame; none behind the last.
    ///
    /// # Errors
    /// What the reader says; `Format` if it died over the file.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>> {
        if let Some(frame) = self.frames.recv().await {
            return frame.map(Some);
        }
        let Some(reader) = self.reader.take() else { return Ok(None) };
        // A reader that died must not look like one that is done.
        let died = |_| {
            Error::new(
                ErrorKind::Format,
                "file/broken",
                "the file is broken in a way that its reader does not bear",
            )
        };
        reader.await.map_err(died).map(|()| None)
    }
}
