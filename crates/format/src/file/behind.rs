//! Work that goes on behind the one who asked for it: one piece at a time, each with the same worker.

use std::thread::JoinHandle;

use dil_model::{Error, ErrorKind, Result};

/// A worker, and what it has under way. A piece that is under way when this is dropped is done, for nobody.
pub(super) struct Behind<W, R>(State<W, R>);

enum State<W, R> {
    Idle(W),
    Busy(JoinHandle<(W, R)>),
    /// The worker was given to somebody, or to a thread that could not be started.
    Gone,
}

impl<W: Send + 'static, R: Send + 'static> Behind<W, R> {
    pub(super) fn new(worker: W) -> Self {
        Self(State::Idle(worker))
    }

    /// Starts a piece of work when the one before is done, whose result it gives.
    ///
    /// # Errors
    /// `Internal` if the system has no more threads.
    pub(super) fn start(&mut self, work: impl FnOnce(&mut W) -> R + Send + 'static) -> Result<Option<R>> {
        let (mut worker, before) = self.end()?;
        let thread = std::thread::Builder::new().name("encode".to_owned());
        let started = thread.spawn(move || {
            let result = work(&mut worker);
            (worker, result)
        });
        let handle = started.map_err(|cause| {
            Error::new(ErrorKind::Internal, "write/thread", format!("no thread for encoding: {cause}"))
                .hint("raise the bound on threads (`ulimit -u`), or lower `parallel`")
        })?;
        self.0 = State::Busy(handle);
        Ok(before)
    }

    /// Does a piece of work at once, after the one under way; gives both results.
    ///
    /// # Errors
    /// As [`end`](Self::end).
    pub(super) fn run(&mut self, work: impl FnOnce(&mut W) -> R) -> Result<(Option<R>, R)> {
        let (mut worker, before) = self.end()?;
        let result = work(&mut worker);
        self.0 = State::Idle(worker);
        Ok((before, result))
    }

    /// Waits for the work under way; gives the worker and the result. There is no work after that.
    ///
    /// # Errors
    /// `Internal` if there is no worker, because it was given already or a thread could not be started.
    pub(super) fn end(&mut self) -> Result<(W, Option<R>)> {
        match std::mem::replace(&mut self.0, State::Gone) {
            State::Idle(worker) => Ok((worker, None)),
            State::Busy(handle) => {
                // A panic goes on here.
                let (worker, result) = handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                Ok((worker, Some(result)))
            }
            State::Gone => {
                Err(Error::new(ErrorKind::Internal, "write/thread", "the encoder was given up before"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_each_result_when_the_next_piece_begins() {
        let mut behind = Behind::new(0);
        let mut results = Vec::new();
        for piece in 1..=3 {
            let add = move |sum: &mut i32| {
                *sum += piece;
                *sum
            };
            results.push(behind.start(add).unwrap());
        }
        assert_eq!(results, [None, Some(1), Some(3)]);
        assert_eq!(behind.run(|sum| *sum * 2).unwrap(), (Some(6), 12));
        assert_eq!(behind.end().unwrap(), (6, None));
        assert_eq!(behind.end().unwrap_err().code, "write/thread");
    }
}
