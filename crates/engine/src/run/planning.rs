//! Which units of a stage run now: what the plan decides, with the ledger's memory of what was planned before.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::Path;

use dil_model::config::{Each, FilesWrite, Stage, Units, Write, WriteMode};
use dil_model::unit::EachRow;
use dil_model::{Error, ErrorKind, Result};
use dil_plan::{Decision, History, PlannedUnit, StageInput};

use super::coordinator::RunContext;
use super::rows::read_rows;
use crate::ledger::{Ledger, NewBacklog};

/// Units that enter the backlog in one transaction; a stage may have millions.
const BACKLOG_BATCH: usize = 4096;

/// What was planned for a stage.
pub(super) struct Planned {
    pub(super) units: Vec<PlannedUnit>,
    pub(super) skipped: Vec<(String, u64)>,
}

/// What a stage's units are made from, beside its settings.
#[derive(Debug, Default)]
pub(crate) struct Origin {
    /// Rows of the stage that gives the values.
    pub(crate) rows: Option<Vec<EachRow>>,
    /// Values of units that were planned before and are not done.
    pub(crate) backlog: Vec<EachRow>,
    /// The runs that the rows were kept in.
    pub(crate) runs: Vec<String>,
}

/// Plans a stage, and puts what it owes into the ledger.
pub(super) fn plan_units(run: &RunContext, name: &str, stage: &Stage) -> Result<Planned> {
    let division = changed_division(&run.ledger, &run.flow, name, stage)?;
    let origin = origin(&run.ledger, &run.flow, name, stage, &run.run)?;
    let (latest, _) = run.ledger.stage_progress(&run.flow, name)?;
    let input = StageInput {
        units: stage.units.as_ref(),
        now: run.as_of,
        rows: origin.rows.as_deref(),
        backlog: &origin.backlog,
        latest,
    };
    // Units that this very run has recorded already: it was interrupted, and goes on.
    let done_here = RefCell::new(HashSet::new());
    let history = |signature: &str| {
        let found = run.ledger.history(&run.flow, name, signature)?;
        if found.as_ref().is_some_and(|unit| unit.done_run.as_deref() == Some(run.run.as_str())) {
            done_here.borrow_mut().insert(signature.to_owned());
        }
        Ok(found.as_ref().map(History::from))
    };
    let mut planned = Planned { units: Vec::new(), skipped: Vec::new() };
    let mut count = |why: String| match planned.skipped.iter_mut().find(|(known, _)| *known == why) {
        Some((_, number)) => *number += 1,
        None => planned.skipped.push((why, 1)),
    };
    let mut new = NewBacklog { division, used: origin.runs, ..NewBacklog::default() };
    let keeps_backlog = origin.rows.is_some() && !is_replaced(stage);
    for decision in dil_plan::decide(&input, history)? {
        let decision = decision?;
        if keeps_backlog && let Some((signature, each)) = decision.owing() {
            new.owing.push((signature.to_owned(), each.clone()));
            if new.owing.len() >= BACKLOG_BATCH {
                // Twice is once: if the process ends here, the rows do not count as used yet and are planned again.
                let part = NewBacklog { owing: std::mem::take(&mut new.owing), ..NewBacklog::default() };
                run.ledger.add_backlog(&run.lease, (&run.flow, name), &run.run, &part)?;
            }
        }
        match decision {
            Decision::Run(unit) if unit.again && done_here.borrow().contains(&unit.signature) => {
                count("already recorded in this run".to_owned())
            }
            Decision::Run(unit) => planned.units.push(unit),
            Decision::Skip { why, .. } => count(why.to_string()),
        }
    }
    if !new.is_empty() {
        run.ledger.add_backlog(&run.lease, (&run.flow, name), &run.run, &new)?;
    }
    Ok(planned)
}

/// What the units of a stage are made from in `run`.
pub(crate) fn origin(ledger: &Ledger, flow: &str, name: &str, stage: &Stage, run: &str) -> Result<Origin> {
    let Some((each, upstream)) = values_from(stage.units.as_ref()) else { return Ok(Origin::default()) };
    let files = ledger.rows_for(flow, upstream, name, run)?;
    let mut runs: Vec<String> = files.iter().map(|file| file.run.clone()).collect();
    runs.sort();
    runs.dedup();
    let rows = read_rows(ledger, flow, upstream, &files, &needed_columns(each))?;
    // What a folder is exchanged for is what the list says now.
    let backlog = if is_replaced(stage) { Vec::new() } else { ledger.backlog(flow, name)? };
    Ok(Origin { rows: Some(rows), backlog, runs })
}

/// The stage that gives the values, if one does.
pub(crate) fn values_from(units: Option<&Units>) -> Option<(&Each, &str)> {
    let each = units?.each.as_ref()?;
    Some((each, each.rows_of.as_deref()?))
}

/// The columns of the upstream rows that units need.
pub(crate) fn needed_columns(each: &Each) -> Vec<String> {
    let mut columns = each.fields.clone();
    columns.extend(each.filter.keys().filter(|name| !each.fields.contains(name)).cloned());
    columns
}

fn is_replaced(stage: &Stage) -> bool {
    matches!(&stage.write, Some(Write::Files(FilesWrite { mode: WriteMode::Replace, .. })))
}

/// How the stage is divided, if that is not on record yet.
///
/// # Errors
/// `Config` if it is divided otherwise than what is recorded: every unit would have another name, and all rows would be
/// read and published a second time.
pub(crate) fn changed_division(
    ledger: &Ledger,
    flow: &str,
    name: &str,
    stage: &Stage,
) -> Result<Option<String>> {
    let now = dil_plan::division(stage.units.as_ref())?;
    let known = ledger.division(flow, name)?;
    if known.as_ref() == Some(&now) {
        return Ok(None);
    }
    let (_, done_before) = ledger.stage_progress(flow, name)?;
    match known {
        Some(known) if done_before => {
            let message = format!(
                "stage `{name}` is divided by {now} now, and by {known} in the ledger: all of its units would be new, \
                 and their rows published a second time"
            );
            Err(Error::new(ErrorKind::Config, "state/division-changed", message).hint(format!(
                "to begin anew, `dil state reset {flow} {name}` and remove the stage's published files; \
                 or give the stage another name and folder"
            )))
        }
        _ => Ok(Some(now)),
    }
}

/// What to say about files of others in the folder that a stage writes to.
pub(super) fn neighbour_warning(run: &RunContext, name: &str, folder: &str) -> Result<Option<String>> {
    let found = run.ledger.neighbour(folder, &run.flow, name)?;
    Ok(found.map(|(flow, stage)| {
        format!(
            "{} also holds files of stage `{stage}` of flow `{flow}`; if that is this stage under its old name, its rows \
             are there twice now",
            Path::new(folder).display()
        )
    }))
}
