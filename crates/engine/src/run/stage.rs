//! One stage of a run: plan its units, run them, publish what they staged.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use dil_model::config::{Connection, Publish, Stage, Write, WriteMode};
use dil_model::{Error, ErrorKind, Result};
use dil_plan::PlannedUnit;
use tokio::task::JoinSet;

use super::coordinator::RunContext;
use super::follow::Following;
use super::planning;
use super::publishing::{UnknownFiles, publish, publish_all, written};
use super::queue::Queue;
use super::rows_folder;
use super::stage_port::{SchemaBook, StagePort};
use super::unit_attempts::{Tried, fingerprint, try_unit};
use super::unseen;
use crate::commit;
use crate::event::{Event, Outcome, StageSummary};
use crate::ledger::{Recorded, Schemas, StageKey};

/// Errors that a summary keeps; a stage with a million failed units must not fill the memory.
const ERRORS_KEPT: usize = 100;

/// What the units of a stage share.
pub(super) struct StageContext {
    pub(super) run: Arc<RunContext>,
    pub(super) name: String,
    pub(super) stage: Stage,
    pub(super) connection: Option<(String, Connection)>,
    pub(super) fingerprint: String,
    pub(super) full: bool,
    pub(super) port: Arc<StagePort>,
    pub(super) folders: Folders,
    pub(super) kept_columns: Vec<String>,
}

impl StageContext {
    /// The stage, as the ledger knows it.
    pub(super) fn key(&self) -> StageKey<'_> {
        self.run.stage_key(&self.name)
    }

    /// The fewest rows that a unit must read.
    pub(super) fn min_rows(&self) -> u64 {
        self.stage.units.as_ref().map_or(0, |units| units.min_rows)
    }
}

/// Where a stage's outputs are and where they are staged; absolute paths.
#[derive(Debug, Clone, Default)]
pub(super) struct Folders {
    pub(super) write: Option<OutputFolder>,
    pub(super) rows: Option<OutputFolder>,
}

/// One output's folder, and the staging folder of this ledger and flow for it.
#[derive(Debug, Clone)]
pub(super) struct OutputFolder {
    pub(super) output: String,
    pub(super) staging: String,
}

impl Folders {
    /// Makes the folders that units of this run stage below.
    fn open_staging(&self, run: &str) -> Result<()> {
        let places = [&self.write, &self.rows].into_iter().flatten();
        places.map(|place| place.below(run)).try_for_each(|folder| commit::open_staging(&folder))
    }
}

impl OutputFolder {
    /// The staging folder of one run.
    fn below(&self, run: &str) -> PathBuf {
        PathBuf::from(&self.staging).join(run)
    }
}

/// Runs one stage.
///
/// # Errors
/// What ends the whole run: the ledger, the lease, a publication that could not be finished. A failed unit, or a stage
/// that cannot be planned or published, is in the summary.
pub(super) async fn run_stage(
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
    match run_planned(&run, name, stage, kept, &mut summary).await {
        Ok(()) => {}
        Err(error) if ends_run(&error) => return Err(error),
        Err(error) => {
            summary.outcome = Outcome::Failed;
            summary.errors.push((String::new(), error));
        }
    }
    // Of a stage of which only a part was to run, the rows that it keeps are not all there are.
    if summary.outcome == Outcome::Succeeded && run.choice.of(name).is_empty() {
        tokio::task::block_in_place(|| run.ledger.end_stage(&run.lease, &run.run, name))?;
    }
    summary.elapsed = started.elapsed();
    Ok(summary)
}

/// Whether nothing else of the run can go on either.
fn ends_run(error: &Error) -> bool {
    matches!(
        error.kind,
        ErrorKind::State | ErrorKind::Lease | ErrorKind::Storage | ErrorKind::Cancelled | ErrorKind::Internal
    )
}

async fn run_planned(
    run: &Arc<RunContext>,
    name: &str,
    stage: &Stage,
    kept: Option<Vec<String>>,
    summary: &mut StageSummary,
) -> Result<()> {
    let mut following = run.feeds.follow(stage);
    tokio::select! {
        () = following.settle() => {}
        () = run.halt.requested() => {}
    }
    let following = following.ended().is_none().then_some(following);
    let (context, work) = tokio::task::block_in_place(|| {
        let context = Arc::new(prepare(run, name, stage, kept)?);
        let unknown = UnknownFiles::find(&context)?;
        let mut work = Work { queue: Queue::new(&run.state_dir), all: 0, following, unknown, opened: false };
        work.plan(&context, summary)?;
        Ok::<_, Error>((context, work))
    })?;
    run.events.event(&Event::StageStarted {
        stage: name.to_owned(),
        units: work.all,
        skipped: summary.skipped.clone(),
    });
    let (waiting, unfollowed) = run_units(&context, work, summary).await?;
    summary.outcome =
        match (summary.units_failed, run.halt.is_requested() && (summary.units_left > 0 || unfollowed)) {
            (0, false) => Outcome::Succeeded,
            (0, true) => Outcome::Stopped,
            _ => Outcome::Failed,
        };
    if summary.outcome == Outcome::Succeeded {
        // Not all of its values may have come.
        summary.outcome = match run.feeds.follow(stage).ended() {
            None | Some(Outcome::Succeeded) => Outcome::Succeeded,
            Some(Outcome::Stopped) => Outcome::Stopped,
            Some(Outcome::Failed | Outcome::Blocked) => Outcome::Blocked,
        };
    }
    if stage.publish == Publish::AllUnits && summary.outcome == Outcome::Succeeded {
        publish_all(&context, waiting, summary).await?;
    }
    if summary.units_done > 0 {
        unseen::warn(&context.port, stage);
    }
    Ok(())
}

/// The units of a stage that are still to run.
struct Work {
    queue: Queue,
    /// All that were queued so far.
    all: u64,
    /// The stages that it follows, as long as they have not ended.
    following: Option<Following>,
    unknown: UnknownFiles,
    /// Whether the folders are there that units stage below.
    opened: bool,
}

impl Work {
    /// Queues what is to run, as far as is known.
    fn plan(&mut self, context: &StageContext, summary: &mut StageSummary) -> Result<()> {
        let before = self.queue.len();
        let over = self.following.as_ref().is_none_or(|following| following.ended().is_some());
        let planned = planning::plan_units(context, &self.unknown, &mut self.queue, self.following.as_mut());
        match planned {
            Ok(skipped) if over => summary.skipped = skipped,
            Ok(_) => {}
            // What is wrong with the first rows may not be with all of them: a field that none has yet.
            Err(error) if !over && !ends_run(&error) => {}
            Err(error) => return Err(error),
        }
        self.all += self.queue.len() - before;
        if self.all > 0 && !self.opened {
            context.folders.open_staging(&context.run.run)?;
            self.opened = true;
        }
        if over {
            self.following = None;
        }
        Ok(())
    }

    /// Waits until there is more to plan; for ever if there is nothing to wait for.
    async fn changed(&mut self) {
        match &mut self.following {
            Some(following) => following.changed().await,
            None => std::future::pending().await,
        }
    }
}

pub(super) fn empty_summary(name: &str, stage: &Stage) -> StageSummary {
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
        elapsed: Duration::ZERO,
        errors: Vec::new(),
    }
}

fn prepare(
    run: &Arc<RunContext>,
    name: &str,
    stage: &Stage,
    kept: Option<Vec<String>>,
) -> Result<StageContext> {
    let connection = stage.read.http.as_ref().and_then(|http| {
        run.connections.get(&http.connection).map(|connection| (http.connection.clone(), connection.clone()))
    });
    let folders = folders(run, stage, kept.is_some())?;
    let staging: Vec<String> =
        [&folders.write, &folders.rows].into_iter().flatten().map(|place| place.staging.clone()).collect();
    run.ledger.add_staging(&run.lease, &run.flow, &staging)?;
    let (_, done_before) = run.ledger.stage_progress(run.stage_key(name))?;
    if let Some(place) = &folders.write
        && let Some(message) = planning::neighbour_warning(run, name, &place.output)?
    {
        run.events.event(&Event::Warning { stage: name.to_owned(), message });
    }
    let schemas = Schemas {
        read: run.ledger.stage_schema(&run.flow, name, "read")?,
        written: run.ledger.stage_schema(&run.flow, name, "written")?,
    };
    let port = StagePort {
        flow: run.flow.clone(),
        stage: name.to_owned(),
        backfill: run.backfill.clone(),
        ledger: Arc::clone(&run.ledger),
        lease: run.lease.clone(),
        events: Arc::clone(&run.events),
        schemas: Mutex::new(SchemaBook::new(schemas)),
        current: Mutex::new(HashMap::new()),
    };
    let kept_columns = kept.unwrap_or_default();
    let known = connection.as_ref().map(|(_, connection)| connection);
    Ok(StageContext {
        fingerprint: fingerprint(stage, known, &folders, &kept_columns),
        run: Arc::clone(run),
        name: name.to_owned(),
        stage: stage.clone(),
        connection,
        full: run.backfill.is_empty() && !done_before
            || stage.units.as_ref().is_some_and(|units| units.snapshot),
        port: Arc::new(port),
        folders,
        kept_columns,
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
            // What is exchanged is the folder that a link leads to, not the link.
            let output = match output.canonicalize() {
                Ok(target) if files.mode == WriteMode::Replace => target,
                _ => output,
            };
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

/// Runs all units; those that wait for a common publication are returned, and whether the stage was stopped before all of its
/// units were known.
///
/// Each unit is a task of its own, so that one reads on while another is published.
async fn run_units(
    context: &Arc<StageContext>,
    mut work: Work,
    summary: &mut StageSummary,
) -> Result<(Vec<(PlannedUnit, Recorded)>, bool)> {
    let halt = &context.run.halt;
    let mut waiting = Vec::new();
    // Twice as many tasks as slots: when a unit ends, the next one begins at once, also while we publish.
    let tasks_max = 2 * context.run.slots.units.max(1) as usize;
    let mut tasks = JoinSet::new();
    let mut pace = context.stage.units.as_ref().and_then(|units| units.pace).map(|pace| Pace::new(pace.0));
    let mut fatal = None;
    loop {
        while tasks.len() < tasks_max && !halt.is_requested() {
            let unit = match work.queue.pop() {
                Ok(Some(unit)) => unit,
                Ok(None) => break,
                Err(error) => {
                    halt.request();
                    fatal.get_or_insert(error);
                    break;
                }
            };
            // Asking for the slot here, and not in the task, keeps the units in their order.
            let mut slot = Box::pin(context.run.slot());
            let now = if pace.is_none() { futures::poll!(&mut slot) } else { Poll::Pending };
            let start = pace.as_mut().map(Pace::next);
            let context = Arc::clone(context);
            tasks.spawn(async move {
                if let Some(start) = start {
                    tokio::select! {
                        () = tokio::time::sleep_until(start) => {}
                        () = context.run.halt.requested() => return Ok((unit, Tried::Stopped)),
                    }
                }
                let _slot = match now {
                    Poll::Ready(slot) => slot,
                    Poll::Pending => slot.await,
                };
                run_unit(&context, unit).await
            });
        }
        if tasks.is_empty() && (work.following.is_none() || halt.is_requested()) {
            break;
        }
        let first = tokio::select! {
            Some(ended) = tasks.join_next() => ended,
            () = work.changed() => {
                if let Err(error) = tokio::task::block_in_place(|| work.plan(context, summary)) {
                    if ends_run(&error) {
                        halt.request();
                        fatal.get_or_insert(error);
                    } else {
                        work.following = None;
                        summary.errors.push((String::new(), error));
                        summary.units_failed += 1;
                        work.all += 1;
                    }
                    continue;
                }
                context.run.events.event(&Event::StageGrew {
                    stage: context.name.clone(),
                    units: work.all,
                    skipped: summary.skipped.clone(),
                });
                continue;
            }
            () = halt.requested(), if tasks.is_empty() => continue,
        };
        let mut ended = vec![first];
        while let Some(more) = tasks.try_join_next() {
            ended.push(more);
        }
        let died = |_| {
            Error::new(ErrorKind::Internal, "internal/panic", "a unit's task died; this is a defect in dil")
        };
        let ended = ended.into_iter().map(|ended| ended.unwrap_or_else(|cause| Err(died(cause))));
        let settled = settle(context, ended, summary).await;
        waiting.extend(settled.waiting);
        if let Some(error) = settled.fatal {
            // Units under way must end before the run does; the first cause is told.
            halt.request();
            fatal.get_or_insert(error);
        }
    }
    summary.units_left = work.all.saturating_sub(summary.units_done + summary.units_failed);
    let unfollowed = work.following.is_some();
    fatal.map_or(Ok((waiting, unfollowed)), Err)
}

/// When units may start: so long after each other, and not in bursts after a wait.
struct Pace {
    length: Duration,
    next: tokio::time::Instant,
}

impl Pace {
    fn new(length: Duration) -> Self {
        Self { length, next: tokio::time::Instant::now() }
    }

    fn next(&mut self) -> tokio::time::Instant {
        let start = self.next.max(tokio::time::Instant::now());
        self.next = start + self.length;
        start
    }
}

type Ended = Result<(PlannedUnit, Tried)>;

async fn run_unit(context: &StageContext, unit: PlannedUnit) -> Ended {
    if context.run.halt.is_requested() {
        return Ok((unit, Tried::Stopped));
    }
    let tried = try_unit(context, context.run.next_unit(), &unit).await?;
    Ok((unit, tried))
}

/// What came of units that ended together.
#[derive(Default)]
struct Settled {
    waiting: Vec<(PlannedUnit, Recorded)>,
    fatal: Option<Error>,
}

async fn settle(
    context: &StageContext,
    ended: impl Iterator<Item = Ended>,
    summary: &mut StageSummary,
) -> Settled {
    let mut settled = Settled::default();
    let mut staged = Vec::new();
    for ended in ended {
        let noted = match ended {
            Ok((unit, Tried::Staged(recorded))) => {
                staged.push((unit, recorded));
                Ok(())
            }
            Ok((unit, Tried::Failed(error, counts))) => {
                add(&mut summary.counts, counts);
                note_failed(context, &unit, error, summary)
            }
            Ok((_, Tried::Stopped)) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = noted {
            settled.fatal.get_or_insert(error);
        }
    }
    if settled.fatal.is_some() || staged.is_empty() {
        return settled;
    }
    let done = if context.stage.publish == Publish::AllUnits {
        keep_staged(context, staged, summary).map(|waiting| settled.waiting = waiting)
    } else {
        publish_each(context, staged, summary).await
    };
    settled.fatal = done.err();
    settled
}

/// Keeps units staged until all of the stage's are.
fn keep_staged(
    context: &StageContext,
    staged: Vec<(PlannedUnit, Recorded)>,
    summary: &mut StageSummary,
) -> Result<Vec<(PlannedUnit, Recorded)>> {
    for (unit, recorded) in &staged {
        let key = context.key().unit(&unit.signature);
        tokio::task::block_in_place(|| context.run.ledger.stage_unit(&context.run.lease, key, recorded))?;
        note_done(context, unit, recorded, summary);
    }
    Ok(staged)
}

/// Publishes units that ended together; if that is refused, each alone, so that one with a bad name fails alone.
async fn publish_each(
    context: &StageContext,
    staged: Vec<(PlannedUnit, Recorded)>,
    summary: &mut StageSummary,
) -> Result<()> {
    match publish(context, staged.clone(), None).await {
        Ok(()) => {
            for (unit, recorded) in &staged {
                note_published(context, unit, recorded, summary);
            }
            context.run.feeds.recorded(&context.name, staged.len() as u64);
            return Ok(());
        }
        Err(error) if error.kind != ErrorKind::Publish => return Err(error),
        Err(_) => {}
    }
    for (unit, recorded) in staged {
        match publish(context, vec![(unit.clone(), recorded.clone())], None).await {
            Ok(()) => {
                note_published(context, &unit, &recorded, summary);
                context.run.feeds.recorded(&context.name, 1);
            }
            Err(error) if error.kind == ErrorKind::Publish => note_failed(context, &unit, error, summary)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn note_published(
    context: &StageContext,
    unit: &PlannedUnit,
    recorded: &Recorded,
    summary: &mut StageSummary,
) {
    let (files, bytes) = written(recorded);
    summary.files += files;
    summary.bytes_written += bytes;
    note_done(context, unit, recorded, summary);
}

fn note_done(context: &StageContext, unit: &PlannedUnit, recorded: &Recorded, summary: &mut StageSummary) {
    let (files, bytes_written) = written(recorded);
    summary.units_done += 1;
    add(&mut summary.counts, recorded.counts);
    context.run.events.event(&Event::UnitDone {
        stage: context.name.clone(),
        unit: unit.signature.clone(),
        counts: recorded.counts,
        files,
        bytes_written,
    });
}

fn note_failed(
    context: &StageContext,
    unit: &PlannedUnit,
    error: Error,
    summary: &mut StageSummary,
) -> Result<()> {
    summary.units_failed += 1;
    let key = context.key().unit(&unit.signature);
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

fn add(sum: &mut dil_model::unit::Counts, counts: dil_model::unit::Counts) {
    sum.rows += counts.rows;
    sum.bytes += counts.bytes;
    sum.pages += counts.pages;
    sum.requests.sent += counts.requests.sent;
    sum.requests.retries += counts.requests.retries;
}
