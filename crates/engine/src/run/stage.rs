//! One stage of a run: plan its units, run them, publish what they staged.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use dil_model::config::{Connection, FilesWrite, Publish, Stage, Write, WriteMode};
use dil_model::manifest::Output;
use dil_model::unit::EachRow;
use dil_model::{Error, ErrorKind, Result};
use dil_plan::{Decision, History, PlannedUnit, Reason, StageInput};
use futures::StreamExt as _;

use super::coordinator::RunContext;
use super::stage_port::{Schemas, StagePort};
use super::unit_attempts::{Tried, fingerprint, try_unit};
use super::{each_rows, rows_folder, unseen};
use crate::commit;
use crate::event::{Event, Outcome, StageSummary};
use crate::ledger::{Publication, PublishedUnit, Recorded, Swap};

/// Errors that a summary keeps; a stage with a million failed units must not fill the memory.
const ERRORS_KEPT: usize = 100;

/// What the units of a stage share.
pub(crate) struct StageContext<'a> {
    pub(crate) run: Arc<RunContext>,
    pub(crate) name: String,
    pub(crate) stage: &'a Stage,
    pub(crate) connection: Option<(String, Connection)>,
    pub(crate) fingerprint: String,
    pub(crate) full: bool,
    pub(crate) port: Arc<StagePort>,
    pub(crate) folders: Folders,
    pub(crate) kept_columns: Vec<String>,
}

/// Where a stage's outputs are and where they are staged; absolute paths.
#[derive(Debug, Clone, Default)]
pub(crate) struct Folders {
    pub(crate) write: Option<OutputFolder>,
    pub(crate) rows: Option<OutputFolder>,
}

/// One output's folder, and the staging folder of this ledger and flow for it.
#[derive(Debug, Clone)]
pub(crate) struct OutputFolder {
    pub(crate) output: String,
    pub(crate) staging: String,
}

/// What was planned for a stage.
struct Planned {
    units: Vec<PlannedUnit>,
    skipped: Vec<(String, u64)>,
}

/// Runs one stage.
///
/// # Errors
/// What ends the whole run: the ledger, the lease, a publication that could not be finished. A failed unit is in the
/// summary.
pub(crate) async fn run_stage(
    run: Arc<RunContext>,
    name: &str,
    stage: &Stage,
    kept: Option<Vec<String>>,
) -> Result<StageSummary> {
    let started = Instant::now();
    let mut summary = empty_summary(name, stage);
    if tokio::task::block_in_place(|| run.ledger.is_stage_over(&run.run, name))? {
        summary.skipped.push(("already recorded in this run".to_owned(), 1));
        run.events.event(&Event::StageStarted {
            stage: name.to_owned(),
            units: 0,
            skipped: summary.skipped.clone(),
        });
        return Ok(summary);
    }
    let planned = tokio::task::block_in_place(|| plan_units(&run, name, stage))?;
    let context = tokio::task::block_in_place(|| prepare(&run, name, stage, kept))?;
    summary.skipped = planned.skipped;
    run.events.event(&Event::StageStarted {
        stage: name.to_owned(),
        units: planned.units.len() as u64,
        skipped: summary.skipped.clone(),
    });
    let waiting = run_units(&context, planned.units, &mut summary).await?;
    if context.stage.publish == Publish::AllUnits && summary.units_failed == 0 && summary.units_left == 0 {
        publish_all(&context, waiting, &mut summary).await?;
    }
    if summary.units_done > 0 {
        unseen::warn(&context.port, stage);
    }
    summary.outcome = match (summary.units_failed, run.halt.is_requested() && summary.units_left > 0) {
        (0, false) => Outcome::Succeeded,
        (0, true) => Outcome::Stopped,
        _ => Outcome::Failed,
    };
    if summary.outcome == Outcome::Succeeded {
        tokio::task::block_in_place(|| run.ledger.end_stage(&run.lease, &run.run, name))?;
    }
    summary.elapsed = started.elapsed();
    Ok(summary)
}

pub(crate) fn empty_summary(name: &str, stage: &Stage) -> StageSummary {
    StageSummary {
        stage: name.to_owned(),
        outcome: Outcome::Succeeded,
        units_done: 0,
        units_failed: 0,
        units_left: 0,
        skipped: Vec::new(),
        counts: dil_model::unit::Counts::default(),
        files: 0,
        bytes_written: 0,
        path: stage.write.as_ref().map(|Write::Files(files)| files.path.clone()),
        elapsed: std::time::Duration::ZERO,
        errors: Vec::new(),
    }
}

fn plan_units(run: &RunContext, name: &str, stage: &Stage) -> Result<Planned> {
    let rows = upstream_rows(run, stage)?;
    let (latest, _) = run.ledger.stage_progress(&run.flow, name)?;
    let input = StageInput { units: stage.units.as_ref(), now: run.as_of, rows: rows.as_deref(), latest };
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
    let mut counts: Vec<(String, u64)> = Vec::new();
    let mut count = |why: String| match counts.iter_mut().find(|(known, _)| *known == why) {
        Some((_, number)) => *number += 1,
        None => counts.push((why, 1)),
    };
    for decision in dil_plan::decide(&input, history)? {
        match decision? {
            Decision::Run(unit) if again_here(&unit, &done_here.borrow()) => {
                count("already recorded in this run".to_owned())
            }
            Decision::Run(unit) => planned.units.push(unit),
            Decision::Skip { why, .. } => count(why.to_string()),
        }
    }
    planned.skipped = counts;
    Ok(planned)
}

/// Whether a unit that is read again in every run was read in this one already.
fn again_here(unit: &PlannedUnit, done_here: &HashSet<String>) -> bool {
    matches!(unit.reason, Reason::Late | Reason::Snapshot) && done_here.contains(&unit.signature)
}

/// The rows that the stage's units come from.
fn upstream_rows(run: &RunContext, stage: &Stage) -> Result<Option<Vec<EachRow>>> {
    let Some(each) = stage.units.as_ref().and_then(|units| units.each.as_ref()) else { return Ok(None) };
    let Some(upstream) = &each.rows_of else { return Ok(None) };
    each_rows(&run.ledger, &run.flow, upstream, &run.run, &needed_columns(each)).map(Some)
}

/// The columns of the upstream rows that units need.
pub(crate) fn needed_columns(each: &dil_model::config::Each) -> Vec<String> {
    let mut columns = each.fields.clone();
    columns.extend(each.filter.keys().filter(|name| !each.fields.contains(name)).cloned());
    columns
}

fn prepare<'a>(
    run: &Arc<RunContext>,
    name: &str,
    stage: &'a Stage,
    kept: Option<Vec<String>>,
) -> Result<StageContext<'a>> {
    let connection = stage.read.http.as_ref().and_then(|http| {
        run.connections.get(&http.connection).map(|connection| (http.connection.clone(), connection.clone()))
    });
    let folders = folders(run, stage, kept.is_some())?;
    let staging: Vec<String> =
        [&folders.write, &folders.rows].into_iter().flatten().map(|place| place.staging.clone()).collect();
    run.ledger.add_staging(&run.lease, &run.flow, &staging)?;
    let (_, done_before) = run.ledger.stage_progress(&run.flow, name)?;
    let schemas = Schemas {
        read: run.ledger.stage_schema(&run.flow, name, "read")?,
        written: run.ledger.stage_schema(&run.flow, name, "written")?,
    };
    let port = StagePort {
        flow: run.flow.clone(),
        stage: name.to_owned(),
        ledger: Arc::clone(&run.ledger),
        lease: run.lease.clone(),
        events: Arc::clone(&run.events),
        schemas: Mutex::new(schemas),
        current: Mutex::new(HashMap::new()),
    };
    Ok(StageContext {
        fingerprint: fingerprint(stage, connection.as_ref().map(|(_, connection)| connection)),
        run: Arc::clone(run),
        name: name.to_owned(),
        stage,
        connection,
        full: !done_before,
        port: Arc::new(port),
        folders,
        kept_columns: kept.unwrap_or_default(),
    })
}

fn folders(run: &RunContext, stage: &Stage, keeps_rows: bool) -> Result<Folders> {
    let below = |folder: PathBuf| {
        folder.join(dil_connect::local::STAGING_FOLDER).join(&run.ledger.id).join(&run.flow)
    };
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let write = match &stage.write {
        Some(Write::Files(files)) => {
            let output = std::path::absolute(&files.path)
                .map_err(|cause| Error::storage("resolving", std::path::Path::new(&files.path), &cause))?;
            // A folder that is exchanged as a whole cannot hold its own staging.
            let beside =
                if files.mode == WriteMode::Replace { output.parent().map(PathBuf::from) } else { None };
            let staging = below(beside.unwrap_or_else(|| output.clone()));
            Some(OutputFolder { output: text(output), staging: text(staging) })
        }
        None => None,
    };
    let rows = keeps_rows.then(|| {
        let output = rows_folder(&run.state_dir, &run.run);
        OutputFolder { staging: text(below(run.state_dir.join("rows"))), output: text(output) }
    });
    Ok(Folders { write, rows })
}

/// Runs all units; those that wait for a common publication are returned.
async fn run_units(
    context: &StageContext<'_>,
    units: Vec<PlannedUnit>,
    summary: &mut StageSummary,
) -> Result<Vec<(PlannedUnit, Recorded)>> {
    let all = units.len() as u64;
    let mut waiting = Vec::new();
    let at_once = context.run.slots.units.max(1) as usize;
    let mut running = futures::stream::iter(units)
        .map(|unit| async move {
            let _slot = context.run.slot().await;
            if context.run.halt.is_requested() {
                return Ok((unit, None));
            }
            let tried = try_unit(context, context.run.next_unit(), &unit).await?;
            Ok::<_, Error>((unit, Some(tried)))
        })
        .buffer_unordered(at_once);
    let mut fatal = None;
    while let Some(ended) = running.next().await {
        let settled = match ended {
            Ok((unit, Some(Tried::Staged(recorded)))) => {
                settle_staged(context, unit, recorded, summary).await.map(|staged| waiting.extend(staged))
            }
            Ok((unit, Some(Tried::Failed(error, counts)))) => {
                add(&mut summary.counts, counts);
                settle_failed(context, &unit, error, summary).await
            }
            Ok((_, Some(Tried::Stopped) | None)) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = settled {
            // Units under way must end before the run does; the first cause is told.
            context.run.halt.request();
            fatal.get_or_insert(error);
        }
    }
    summary.units_left = all.saturating_sub(summary.units_done + summary.units_failed);
    fatal.map_or(Ok(waiting), Err)
}

async fn settle_staged(
    context: &StageContext<'_>,
    unit: PlannedUnit,
    recorded: Recorded,
    summary: &mut StageSummary,
) -> Result<Option<(PlannedUnit, Recorded)>> {
    let (files, bytes) = written(&recorded);
    let done = Event::UnitDone {
        stage: context.name.clone(),
        unit: unit.signature.clone(),
        counts: recorded.counts,
        files,
        bytes_written: bytes,
    };
    let counts = recorded.counts;
    let key = (context.run.flow.as_str(), context.name.as_str(), unit.signature.as_str());
    let waiting = if context.stage.publish == Publish::AllUnits {
        tokio::task::block_in_place(|| context.run.ledger.stage_unit(&context.run.lease, key, &recorded))?;
        Some((unit, recorded))
    } else {
        let committed = publish(context, vec![(unit.clone(), recorded)], None).await;
        match committed {
            Ok(()) => None,
            Err(error) if error.kind == ErrorKind::Publish => {
                settle_failed(context, &unit, error, summary).await?;
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
    };
    summary.units_done += 1;
    add(&mut summary.counts, counts);
    if waiting.is_none() {
        summary.files += files;
        summary.bytes_written += bytes;
    }
    context.run.events.event(&done);
    Ok(waiting)
}

async fn settle_failed(
    context: &StageContext<'_>,
    unit: &PlannedUnit,
    error: Error,
    summary: &mut StageSummary,
) -> Result<()> {
    summary.units_failed += 1;
    let key = (context.run.flow.as_str(), context.name.as_str(), unit.signature.as_str());
    tokio::task::block_in_place(|| context.run.ledger.fail_unit(&context.run.lease, key, &error))?;
    if summary.errors.len() < ERRORS_KEPT {
        summary.errors.push((unit.signature.clone(), error.clone()));
    }
    context.run.events.event(&Event::UnitFailed {
        stage: context.name.clone(),
        unit: unit.signature.clone(),
        error,
    });
    Ok(())
}

/// Publishes the units of a stage that waits for all of them.
async fn publish_all(
    context: &StageContext<'_>,
    units: Vec<(PlannedUnit, Recorded)>,
    summary: &mut StageSummary,
) -> Result<()> {
    let replace =
        matches!(&context.stage.write, Some(Write::Files(FilesWrite { mode: WriteMode::Replace, .. })));
    if units.is_empty() {
        return Ok(());
    }
    for (_, recorded) in &units {
        let (files, bytes) = written(recorded);
        summary.files += files;
        summary.bytes_written += bytes;
    }
    let swap = if replace { swap(context)? } else { None };
    publish(context, units, swap).await
}

fn swap(context: &StageContext<'_>) -> Result<Option<Swap>> {
    let Some(place) = &context.folders.write else { return Ok(None) };
    let known = context.run.ledger.published(&context.run.flow, &context.name, None, Output::Write)?;
    let known: BTreeSet<PathBuf> = known.into_iter().map(PathBuf::from).collect();
    commit::check_folder(std::path::Path::new(&place.output), &known)?;
    let mark =
        format!("{} {} {} {}", context.run.ledger.id, context.run.run, context.name, context.run.lease.epoch);
    let fresh =
        format!("{}/{}/fresh-{}-{}", place.staging, context.run.run, context.name, context.run.lease.epoch);
    Ok(Some(Swap { fresh, mark }))
}

async fn publish(
    context: &StageContext<'_>,
    units: Vec<(PlannedUnit, Recorded)>,
    swap: Option<Swap>,
) -> Result<()> {
    let run = &context.run;
    let mut removes = Vec::new();
    if swap.is_some() {
        removes = run.ledger.published(&run.flow, &context.name, None, Output::Write)?;
    }
    let mut published = Vec::with_capacity(units.len());
    for (unit, recorded) in units {
        if unit.replaces && swap.is_none() {
            removes.extend(run.ledger.published(
                &run.flow,
                &context.name,
                Some(&unit.signature),
                Output::Write,
            )?);
        }
        published.push(PublishedUnit {
            signature: unit.signature,
            high: unit.interval.map(|interval| interval.high),
            counts: recorded.counts,
            files: recorded.files,
        });
    }
    let schemas = context.port.schemas();
    let publication = Publication {
        flow: run.flow.clone(),
        stage: context.name.clone(),
        run: run.run.clone(),
        units: published,
        write_folder: context.folders.write.as_ref().map(|place| place.output.clone()),
        rows_folder: context.folders.rows.as_ref().map(|place| place.output.clone()),
        removes,
        swap,
        read_schema: schemas.read,
        written_schema: schemas.written,
    };
    tokio::task::block_in_place(|| commit::commit(&run.ledger, &run.lease, &publication))
}

/// Files and bytes that a unit staged for the stage's `write`.
fn written(recorded: &Recorded) -> (u64, u64) {
    let files = recorded.files.iter().filter(|file| file.output == Output::Write);
    files.fold((0, 0), |(count, bytes), file| (count + 1, bytes + file.bytes))
}

fn add(sum: &mut dil_model::unit::Counts, counts: dil_model::unit::Counts) {
    sum.rows += counts.rows;
    sum.bytes += counts.bytes;
    sum.pages += counts.pages;
    sum.requests.sent += counts.requests.sent;
    sum.requests.retries += counts.requests.retries;
}
