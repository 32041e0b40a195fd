//! Which units of a stage run now: what the plan decides, with the ledger's memory of what was planned before.

use std::path::Path;

use dil_model::config::{FilesWrite, Stage, Units, Write, WriteMode};
use dil_model::{Error, ErrorKind, Result};
use dil_plan::{Decision, StageInput, ValueList, Values};

use super::coordinator::RunContext;
use super::follow::Following;
use super::publishing::UnknownFiles;
use super::queue::Queue;
use super::rows::read_rows;
use super::stage::StageContext;
use crate::ledger::{Ledger, NewBacklog, StageKey};

/// Units that enter the backlog in one transaction; a stage may have millions.
const BACKLOG_BATCH: usize = 4096;

/// What a stage's units are made from, beside its settings.
#[derive(Debug)]
pub(crate) struct Origin {
    /// The values, those of units that were planned before and are not done among them.
    pub(crate) values: Values,
    /// The runs that rows of other stages were kept in.
    pub(crate) runs: Vec<String>,
}

/// Plans a stage: puts what runs into `queue`, and what it owes into the ledger. Gives why others do not run, with their
/// number.
///
/// A stage that follows others is planned several times in a run; `following` is what it has queued already. As long as they have
/// not ended, their rows do not count as used: if this run is abandoned, the next one plans from them.
pub(super) fn plan_units(
    context: &StageContext,
    unknown: &UnknownFiles,
    queue: &mut Queue,
    mut following: Option<&mut Following>,
) -> Result<Vec<(String, u64)>> {
    let StageContext { run, stage, .. } = context;
    let key = context.key();
    let division = changed_division(&run.ledger, key, stage)?;
    let last = following.as_ref().is_none_or(|following| following.ended().is_some());
    let origin = origin(&run.ledger, key, stage, |_| &run.run)?;
    let (latest, _) = run.ledger.stage_progress(key)?;
    let only = run.choice.of(key.stage);
    if is_replaced(stage) && !only.is_empty() {
        let message =
            "the stage's folder is exchanged as a whole (`mode: replace`), so only all of its units can run";
        return Err(Error::new(ErrorKind::Config, "run/part-of-replaced", message)
            .hint("choose the stage by its name alone"));
    }
    let field = stage.units.as_ref().and_then(|units| units.key.as_ref()?.field.as_ref());
    if let (Some(field), false) = (field, key.backfill.is_empty()) {
        let message = format!(
            "stage `{}` reads on from the greatest `{field}`, so there is no range of it to read once more",
            key.stage
        );
        return Err(Error::new(ErrorKind::Config, "run/backfill-key", message)
            .hint("`dil state reset` makes it begin anew; what it reads then takes the place of its files"));
    }
    let input = StageInput {
        units: stage.units.as_ref(),
        now: run.as_of,
        values: &origin.values,
        latest,
        backfill: !key.backfill.is_empty(),
        only: &only,
    };
    let history = |names: &[String]| run.ledger.histories(key, &run.run, names);
    let mut skipped = Vec::new();
    let mut found = 0;
    let uses_rows = !stage.upstreams().is_empty();
    let used = if last { origin.runs } else { Vec::new() };
    let mut new = NewBacklog { division, used, ..NewBacklog::default() };
    let keeps_backlog = uses_rows && !is_replaced(stage);
    for decision in dil_plan::decide(&input, history)? {
        let decision = decision?;
        if keeps_backlog && let Some((signature, each)) = decision.owing() {
            new.owing.push((signature.to_owned(), each.clone()));
            if new.owing.len() >= BACKLOG_BATCH {
                // Twice is once: if the process ends here, the rows do not count as used yet and are planned again.
                let part = NewBacklog { owing: std::mem::take(&mut new.owing), ..NewBacklog::default() };
                run.ledger.add_backlog(&run.lease, key, &run.run, &part)?;
            }
        }
        match decision {
            Decision::Run(unit) => {
                found += 1;
                if following.as_mut().is_none_or(|following| following.take(&unit.signature)) {
                    unknown.refuse(context, &unit)?;
                    queue.push(*unit)?;
                }
            }
            Decision::Skip { why, signature, .. } => {
                if !following.as_ref().is_some_and(|following| following.has_taken(&signature)) {
                    count(&mut skipped, why.to_string());
                }
            }
        }
    }
    if only.is_empty() {
        check_number(stage.units.as_ref(), found, key.stage)?;
    }
    if !new.is_empty() {
        run.ledger.add_backlog(&run.lease, key, &run.run, &new)?;
    }
    Ok(skipped)
}

/// Counts one more for a reason.
pub(crate) fn count(skipped: &mut Vec<(String, u64)>, why: String) {
    match skipped.iter_mut().find(|(known, _)| *known == why) {
        Some((_, number)) => *number += 1,
        None => skipped.push((why, 1)),
    }
}

/// # Errors
/// `Content` if there are fewer units than the stage must have.
fn check_number(units: Option<&Units>, found: u64, name: &str) -> Result<()> {
    let min = units.map_or(0, |units| units.min);
    if found >= min {
        return Ok(());
    }
    let message = format!("stage `{name}` has {found} units to run, and must have {min} at least");
    Err(Error::new(ErrorKind::Content, "units/too-few", message)
        .hint("is a list empty that should not be? `dil plan` tells why units are left out; `units.min` is the bound"))
}

/// What the units of a stage are made from; `run` tells in which run another stage kept the rows that count.
pub(crate) fn origin<'r>(
    ledger: &Ledger,
    key: StageKey<'_>,
    stage: &Stage,
    run: impl Fn(&str) -> &'r str,
) -> Result<Origin> {
    let units = stage.units.as_ref();
    let mut runs: Vec<String> = Vec::new();
    let mut lists = Vec::new();
    for each in units.into_iter().flat_map(Units::lists) {
        let mut list = ValueList::new(each);
        if let Some(upstream) = &each.rows_of {
            let files = ledger.rows_for(key, upstream, run(upstream))?;
            runs.extend(files.iter().map(|file| file.run.clone()));
            read_rows(ledger, (key.flow, upstream), &files, &each.columns(), &mut list)?;
        }
        lists.push(list);
    }
    runs.sort();
    runs.dedup();
    let mut backlog = ValueList::backlog(units);
    // What a folder is exchanged for is what the list says now.
    if !stage.upstreams().is_empty() && !is_replaced(stage) {
        ledger.each_backlog(key, |each| backlog.push(each))?;
    }
    Ok(Origin { values: Values::new(lists, backlog)?, runs })
}

fn is_replaced(stage: &Stage) -> bool {
    matches!(&stage.write, Some(Write::Files(FilesWrite { mode: WriteMode::Replace, .. })))
}

/// How the stage is divided, if that is not on record yet.
///
/// # Errors
/// `Config` if it is divided otherwise than what is recorded: every unit would have another name, and all rows would be
/// read and published a second time.
pub(crate) fn changed_division(ledger: &Ledger, key: StageKey<'_>, stage: &Stage) -> Result<Option<String>> {
    let StageKey { flow, stage: name, .. } = key;
    let now = dil_plan::division(stage.units.as_ref())?;
    let known = ledger.division(flow, name)?;
    if known.as_ref() == Some(&now) {
        return Ok(None);
    }
    let (_, done_before) = ledger.stage_progress(StageKey { backfill: "", ..key })?;
    match known {
        Some(known) if done_before && !key.backfill.is_empty() => {
            let message = format!(
                "the backfill would divide stage `{name}` by {now}, and it is divided by {known}: rows would be published \
                 a second time, by units of other names"
            );
            Err(Error::new(ErrorKind::Config, "run/backfill-division", message)
                .hint("begin where an interval of the stage begins"))
        }
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
