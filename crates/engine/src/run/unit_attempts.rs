//! One unit with all its tries.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dil_model::config::{Compression, FileFormat, FilesWrite, Stage, Write, WriteMode};
use dil_model::fingerprint;
use dil_model::manifest::{Output, StagedFile};
use dil_model::setting::ByteSize;
use dil_model::unit::{AttemptId, Counts, OutputSpec, Position, UnitSpec};
use dil_model::{Error, ErrorKind, Result, Retry};
use dil_plan::PlannedUnit;

use super::stage::StageContext;
use super::unit::Port;
use crate::event::Event;
use crate::ledger::{Leftover, Recorded};

/// How a unit's tries ended.
pub(crate) enum Tried {
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
pub(crate) async fn try_unit(context: &StageContext<'_>, number: u64, unit: &PlannedUnit) -> Result<Tried> {
    let started = Instant::now();
    let work = work(context, unit);
    let mut tries = 0;
    loop {
        tries += 1;
        let key = (context.run.flow.as_str(), context.name.as_str(), unit.signature.as_str());
        let (attempt, leftover) = tokio::task::block_in_place(|| {
            context.run.ledger.begin_attempt(&context.run.lease, key, &context.run.run, &work)
        })?;
        if let Some(recorded) = leftover.manifest.clone().filter(|manifest| all_there(&manifest.files)) {
            return Ok(Tried::Staged(recorded));
        }
        let id = AttemptId { epoch: context.run.lease.epoch, attempt, unit: number };
        let spec = spec(context, unit, id, leftover);
        context.run.events.event(&Event::UnitStarted {
            stage: context.name.clone(),
            unit: unit.signature.clone(),
            attempt,
        });
        context.port.begin(id, &unit.signature);
        let port = Arc::clone(&context.port) as Arc<dyn Port>;
        let report = context.run.executor.run(spec, port).await;
        context.port.end(id);
        let error = match report.outcome {
            Ok(files) => return Ok(Tried::Staged(Recorded { files, counts: report.counts })),
            Err(error) if error.kind == ErrorKind::Lease || error.kind == ErrorKind::State => {
                return Err(error);
            }
            Err(_) if context.run.halt.is_requested() => return Ok(Tried::Stopped),
            Err(error) => error,
        };
        let Some(wait) = wait_before_retry(context.stage, &error, tries, started) else {
            return Ok(Tried::Failed(error, report.counts));
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
fn work(context: &StageContext<'_>, unit: &PlannedUnit) -> String {
    let interval = unit.interval.map(|interval| interval.to_string()).unwrap_or_default();
    format!("{} {interval}", context.fingerprint)
}

/// A text that names a stage's settings, so that leftovers of other settings are not used.
pub(crate) fn fingerprint(stage: &Stage, connection: Option<&dil_model::config::Connection>) -> String {
    fingerprint::fingerprint(&(stage, connection))
}

fn all_there(files: &[StagedFile]) -> bool {
    files.iter().all(|file| Path::new(&file.staged).metadata().is_ok_and(|there| there.len() == file.bytes))
}

fn spec(context: &StageContext<'_>, unit: &PlannedUnit, id: AttemptId, leftover: Leftover) -> UnitSpec {
    let run = &context.run;
    let resume: Option<Position> = leftover.position.filter(|position| all_there(&position.files));
    UnitSpec {
        id,
        flow: run.flow.clone(),
        stage: context.name.clone(),
        signature: unit.signature.clone(),
        run: run.run.clone(),
        full: context.full,
        each: unit.each.clone(),
        interval: unit.interval,
        connection: context.connection.clone(),
        read: context.stage.read.clone(),
        convert: context.stage.convert.clone(),
        outputs: outputs(context, unit, id.attempt),
        schema: context.port.schemas().read,
        resume,
        memory: run.slots.share,
    }
}

/// Where the unit's rows go: the stage's `write`, and the run's own folder if later stages use them.
fn outputs(context: &StageContext<'_>, unit: &PlannedUnit, attempt: u64) -> Vec<OutputSpec> {
    let name = unit_name(&context.run.flow, &context.name, unit);
    let mut outputs = Vec::new();
    let staging = |root: &str| format!("{root}/{}/{name}/{attempt}", context.run.run);
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

/// A unit's short name, for files: its interval's first day, if it has one, and a hash of its full name.
fn unit_name(flow: &str, stage: &str, unit: &PlannedUnit) -> String {
    let hash = fingerprint::digest(format!("{flow}\n{stage}\n{}", unit.signature).as_bytes(), 12);
    match unit.nominal {
        Some(interval) => {
            let day: String = interval.low.to_string().chars().take(10).filter(|c| *c != '-').collect();
            format!("{day}-{hash}")
        }
        None => hash,
    }
}
