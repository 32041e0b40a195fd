//! One unit with all its tries.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dil_model::config::{Compression, Connection, FileFormat, FilesWrite, Stage, Write, WriteMode};
use dil_model::fingerprint;
use dil_model::manifest::{Output, StagedFile};
use dil_model::schema::StoredSchema;
use dil_model::setting::ByteSize;
use dil_model::unit::{AttemptId, Counts, OutputSpec, Position, UnitSpec};
use dil_model::{Error, ErrorKind, Result, Retry};
use dil_plan::PlannedUnit;
use jiff::tz::TimeZone;

use super::stage::{Folders, OutputFolder, StageContext};
use super::unit::Port;
use crate::event::Event;
use crate::ledger::{BeginAt, Checkpoint, Recorded};

/// How a unit's tries ended.
pub(super) enum Tried {
    /// Its files are staged.
    Staged(Recorded),
    /// It failed for this run.
    Failed(Error, Counts),
    /// The run is being stopped.
    Stopped,
}

/// Runs a unit until it is staged or may not be tried again.
///
/// # Errors
/// What ends the whole run: the ledger, the lease.
pub(super) async fn try_unit(context: &StageContext, number: u64, unit: &PlannedUnit) -> Result<Tried> {
    let started = Instant::now();
    let work = work(context, unit);
    let key = context.key().unit(&unit.signature);
    let mut tries = 0;
    let mut begin = BeginAt::Checkpoint;
    loop {
        tries += 1;
        let (attempt, leftover) = tokio::task::block_in_place(|| {
            context.run.ledger.begin_attempt(&context.run.lease, key, &context.run.run, (&work, begin))
        })?;
        let id = AttemptId { epoch: context.run.lease.epoch, attempt, unit: number };
        if let Some(recorded) = leftover.manifest.filter(|manifest| all_there(&manifest.files))
            && context.port.begin(id, &unit.signature, &recorded.schemas).is_ok()
        {
            context.port.end(id);
            return Ok(Tried::Staged(recorded));
        }
        let checkpoint = leftover.checkpoint.filter(|checkpoint| all_there(&checkpoint.position.files));
        let (error, wait) = match attempt_unit(context, unit, id, checkpoint).await {
            Ended::Staged(recorded) => return Ok(Tried::Staged(recorded)),
            Ended::Failed { error, .. } if matches!(error.kind, ErrorKind::Lease | ErrorKind::State) => {
                return Err(error);
            }
            Ended::Failed { .. } if context.run.halt.is_requested() => return Ok(Tried::Stopped),
            Ended::Failed { error, counts, stuck } => {
                context.port.forget(number);
                if stuck && error.retry == Retry::No {
                    // The other side may have forgotten what the position points to.
                    begin = BeginAt::Start;
                    continue;
                }
                let Some(wait) = wait_before_retry(&context.stage, &error, tries, started) else {
                    return Ok(Tried::Failed(error, counts));
                };
                (error, wait)
            }
        };
        context.run.events.event(&Event::UnitRetry {
            stage: context.name.clone(),
            unit: unit.signature.clone(),
            error,
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        });
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = context.run.halt.requested() => return Ok(Tried::Stopped),
        }
    }
}

/// How one try ended.
enum Ended {
    Staged(Recorded),
    Failed {
        error: Error,
        counts: Counts,
        /// It went on from a checkpoint and got no further.
        stuck: bool,
    },
}

async fn attempt_unit(
    context: &StageContext,
    unit: &PlannedUnit,
    id: AttemptId,
    checkpoint: Option<Checkpoint>,
) -> Ended {
    let before = checkpoint.as_ref().map(|checkpoint| checkpoint.position.counts.pages);
    let earlier = checkpoint.as_ref().map(|checkpoint| checkpoint.schemas.clone()).unwrap_or_default();
    let schemas = match context.port.begin(id, &unit.signature, &earlier) {
        Ok(schemas) => schemas,
        Err(error) => {
            context.port.end(id);
            return Ended::Failed { error, counts: Counts::default(), stuck: before.is_some() };
        }
    };
    let position = checkpoint.map(|checkpoint| checkpoint.position);
    let spec = spec(context, unit, id, position, schemas.read);
    let started = Instant::now();
    context.run.events.event(&Event::UnitStarted {
        stage: context.name.clone(),
        unit: unit.signature.clone(),
        attempt: id.attempt,
    });
    let port = Arc::clone(&context.port) as Arc<dyn Port>;
    let report = context.run.executor.run(spec, port).await;
    context.port.end(id);
    match report.outcome {
        Ok(_) if report.counts.rows < context.min_rows() => {
            let error = too_few_rows(report.counts.rows, context.min_rows());
            Ended::Failed { error, counts: report.counts, stuck: false }
        }
        Ok(files) => {
            let schemas = context.port.used(id.unit);
            let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            let (counts, greatest) = (report.counts, report.greatest);
            Ended::Staged(Recorded { files, counts, schemas, greatest, milliseconds })
        }
        Err(error) => {
            Ended::Failed { error, counts: report.counts, stuck: before == Some(report.counts.pages) }
        }
    }
}

fn too_few_rows(rows: u64, min: u64) -> Error {
    let message = format!("the unit gave {rows} rows, and must give {min} at least");
    Error::new(ErrorKind::Content, "unit/too-few-rows", message)
        .hint("nothing of it was published; `units.min_rows` is the bound")
}

/// How long to wait before the next try; `None` if there is none.
fn wait_before_retry(stage: &Stage, error: &Error, tries: u32, started: Instant) -> Option<Duration> {
    let retry = &stage.retry;
    let asked = match error.retry {
        Retry::No => return None,
        Retry::Yes => Duration::ZERO,
        Retry::After(wait) => wait,
    };
    // Half of the wait is random, so that units that failed together do not come back together.
    let backoff = retry.wait.before(tries);
    let jittered = backoff / 2 + (backoff / 2).mul_f64(rand::random::<f64>());
    let wait = jittered.max(asked);
    (tries < retry.attempts && started.elapsed() + wait <= retry.within.0).then_some(wait)
}

/// Names everything that a unit's files depend on; what an attempt at other work left is not used.
fn work(context: &StageContext, unit: &PlannedUnit) -> String {
    let interval = unit.interval.map(|interval| interval.to_string()).unwrap_or_default();
    let key = unit.key.as_ref().and_then(|key| serde_json::to_string(key).ok()).unwrap_or_default();
    format!("{} {interval}{key}", context.fingerprint)
}

/// A text that names a stage's settings and outputs, so that leftovers of other settings are not used.
pub(super) fn fingerprint(
    stage: &Stage,
    connection: Option<&Connection>,
    folders: &Folders,
    kept_columns: &[String],
) -> String {
    let place = |place: &Option<OutputFolder>| place.as_ref().map(|place| place.staging.clone());
    // The folder of kept rows is the run's own; whether there is one matters.
    let outputs = (place(&folders.write), folders.rows.is_some(), kept_columns);
    fingerprint::fingerprint(&(stage, connection, outputs))
}

fn all_there(files: &[StagedFile]) -> bool {
    files.iter().all(|file| Path::new(&file.staged).metadata().is_ok_and(|there| there.len() == file.bytes))
}

fn spec(
    context: &StageContext,
    unit: &PlannedUnit,
    id: AttemptId,
    resume: Option<Position>,
    schema: Option<StoredSchema>,
) -> UnitSpec {
    let run = &context.run;
    UnitSpec {
        id,
        flow: run.flow.clone(),
        stage: context.name.clone(),
        signature: unit.signature.clone(),
        run: run.run.clone(),
        full: context.full,
        each: unit.each.clone(),
        interval: unit.interval,
        key: unit.key.clone(),
        connection: context.connection.clone(),
        read: context.stage.read.clone(),
        convert: context.stage.convert.clone(),
        outputs: outputs(context, unit, id.attempt),
        schema,
        resume,
        memory: run.slots.share,
    }
}

/// Where the unit's rows go: the stage's `write`, and the run's own folder if later stages use them.
fn outputs(context: &StageContext, unit: &PlannedUnit, attempt: u64) -> Vec<OutputSpec> {
    let name = unit_name(context, unit);
    let mut outputs = Vec::new();
    let staging = |root: &str| format!("{root}/{}/{name}-{attempt}", context.run.run);
    if let (Some(Write::Files(files)), Some(folders)) = (&context.stage.write, &context.folders.write) {
        let files = FilesWrite { path: folders.output.clone(), ..files.clone() };
        outputs.push(OutputSpec {
            output: Output::Write,
            files,
            staging: staging(&folders.staging),
            stem: format!("{name}-{attempt}"),
            columns: Vec::new(),
        });
    }
    if let Some(folders) = &context.folders.rows {
        outputs.push(OutputSpec {
            output: Output::Rows,
            files: rows_format(&folders.output),
            staging: format!("{}-rows", staging(&folders.staging)),
            stem: format!("{}-{name}-{attempt}", context.name),
            columns: context.kept_columns.clone(),
        });
    }
    outputs
}

/// How kept rows are written.
fn rows_format(path: &str) -> FilesWrite {
    FilesWrite {
        path: path.to_owned(),
        format: FileFormat::Parquet,
        compression: Some(Compression::Zstd),
        partition_by: Vec::new(),
        mode: WriteMode::Append,
        file_size: ByteSize::mib(256),
    }
}

/// A unit's short name, for files: its interval's first day in the stage's zone, if it has one, and a hash of its full name.
pub(super) fn unit_name(context: &StageContext, unit: &PlannedUnit) -> String {
    let (flow, stage) = (&context.run.flow, &context.name);
    let time = context.stage.units.as_ref().and_then(|units| units.time.as_ref());
    let zone = time.and_then(|time| TimeZone::get(&time.timezone).ok()).unwrap_or(TimeZone::UTC);
    let mut name = format!("{flow}\n{stage}\n{}", unit.signature);
    if !context.run.backfill.is_empty() {
        // It counts attempts of its own.
        name.push_str(&format!("\nbackfill {}", context.run.backfill));
    }
    let hash = fingerprint::digest(name.as_bytes(), 20);
    match unit.nominal {
        Some(interval) => {
            let low = interval.low.to_zoned(zone);
            format!("{}-{hash}", low.strftime("%Y%m%d"))
        }
        None => hash,
    }
}
