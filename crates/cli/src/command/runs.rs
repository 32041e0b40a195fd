//! `dil runs`: the runs that the ledger knows.

use dil_engine::{LedgerView, RunRow};

use super::known::refuse_unknown;
use crate::argument::{Common, RunsArguments};
use crate::exit::{Exit, Failure};
use crate::flow_file;
use crate::quantity::count;
use crate::table::{Table, list};
use crate::terminal::{Paint, Terminal};

const NAMES: [&str; 9] =
    ["run", "flow", "state", "started", "ended", "units_done", "units_failed", "rows", "error"];

pub(super) fn run(common: &Common, arguments: &RunsArguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let flow = arguments.flow.as_deref().map(flow_file::name).transpose()?;
    let ledger = LedgerView::open(&common.settings()?.place())?;
    refuse_unknown(&ledger, flow.as_deref(), None)?;
    let runs = ledger.runs(flow.as_deref(), arguments.limit)?;
    list(terminal, arguments.format, &runs, &NAMES, |runs| table(terminal.out, runs))?;
    Ok(Exit::Success)
}

fn table(paint: Paint, runs: &[RunRow]) -> String {
    if runs.is_empty() {
        return "no runs\n".to_owned();
    }
    let mut table =
        Table::new(&["run", "flow", "state", "started", "ended", "units#", "failed#", "rows#", "error"]);
    for run in runs {
        table.row([
            run.run.clone(),
            run.flow.clone(),
            run.state.clone(),
            seconds(&run.started),
            run.ended.as_deref().map(seconds).unwrap_or_default(),
            count(run.units_done),
            count(run.units_failed),
            count(run.rows),
            run.error.clone().unwrap_or_default(),
        ]);
    }
    table.render(paint, "")
}

/// An RFC 3339 time without its fraction of a second.
pub(super) fn seconds(time: &str) -> String {
    match time.parse::<jiff::Timestamp>() {
        Ok(time) => format!("{time:.0}"),
        Err(_) => time.to_owned(),
    }
}
