//! `dil run`: runs a flow, or goes on with its interrupted run.

use dil_engine::{Choice, RunOptions};
use dil_model::Error;
use jiff::Timestamp;

use crate::argument::{Common, FlowFile, HowToRun, RunArguments};
use crate::exit::{Exit, Failure};
use crate::terminal::Terminal;
use crate::{flow_file, running, summary};

pub(super) fn run(common: &Common, arguments: &RunArguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let begin = if arguments.fresh { Begin::Fresh } else { Begin::Either };
    start(common, &arguments.flow, &arguments.how, begin, terminal)
}

/// What is done about an interrupted run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// Gone on with, if there is one.
    Either,
    /// Abandoned.
    Fresh,
    /// Gone on with; an error if there is none.
    Resume,
}

/// Runs a flow file to its summary.
pub(super) fn start(
    common: &Common,
    file: &FlowFile,
    how: &HowToRun,
    begin: Begin,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let now = Timestamp::now();
    let mut flow = flow_file::load(file)?;
    if how.from.is_some() || how.to.is_some() {
        flow = dil_engine::with_range(&flow, how.from.as_deref(), how.to.as_deref(), now)?;
    }
    let program = std::env::current_exe()
        .map_err(|cause| Error::storage("finding the program", "dil".as_ref(), &cause))?;
    let options = RunOptions {
        workers: how.workers,
        worker_command: vec![program.into_os_string(), "work".into()],
        fresh: begin == Begin::Fresh,
        resume_only: begin == Begin::Resume,
        now,
        choice: Choice::parse(&how.only, how.retry_failed, &flow, now)?,
        backfill: how.backfill.clone(),
    };
    let settings = common.settings()?;
    let ended = running::block_on(running::follow(&flow, &settings, &options, terminal))??;
    summary::tell(terminal, &ended)
}
