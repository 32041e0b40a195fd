//! Runs a flow and follows it: the runtime, the signals, the progress.

use std::future::Future;
use std::sync::Arc;

use dil_engine::{RunOptions, RunSummary, Settings, Stop};
use dil_flow::Checked;
use dil_model::{Error, ErrorKind};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::{Exit, Failure};
use crate::progress::{Follower, follower};
use crate::terminal::Terminal;

/// Runs a future to its end on a runtime with a thread for each processor.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    Ok(runtime()?.block_on(future))
}

fn runtime() -> Result<Runtime, Failure> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Builder::new_multi_thread().worker_threads(threads).enable_all().build().map_err(|cause| {
        Error::new(ErrorKind::Storage, "run/threads", format!("starting {threads} threads: {cause}"))
            .hint("does this user have too many processes or open files?")
            .into()
    })
}

/// Runs a flow, tells its progress, and lets signals stop it.
pub(crate) async fn follow(
    flow: &Checked,
    settings: &Settings,
    options: &RunOptions,
    terminal: &Terminal,
) -> Result<RunSummary, Failure> {
    let follower = follower(*terminal);
    let stop = Stop::new();
    let listening = tokio::spawn(listen(stop.clone(), Arc::clone(&follower)));
    let result =
        dil_engine::run(flow, settings, options, Arc::<dyn Follower>::clone(&follower) as _, stop).await;
    listening.abort();
    follower.end();
    result.map_err(Failure::from)
}

/// The first signal asks the run to stop, the second one ends the process: what is recorded is on disk already.
async fn listen(stop: Stop, follower: Arc<dyn Follower>) {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        follower.note("warning: signals cannot be listened to; Ctrl-C stops at once");
        return;
    };
    let mut next = async || tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} };
    next().await;
    stop.request();
    follower.stopping("stopping: units under way end where they are; Ctrl-C again stops at once");
    next().await;
    follower.end();
    std::process::exit(i32::from(Exit::Stopped.code()));
}
