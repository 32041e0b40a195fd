//! From staged units to a publication.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use dil_model::config::{FilesWrite, Write, WriteMode};
use dil_model::manifest::Output;
use dil_model::{Error, ErrorKind, KeyRange, Result};
use dil_plan::PlannedUnit;

use super::stage::StageContext;
use super::unit_attempts::unit_name;
use crate::commit;
use crate::event::StageSummary;
use crate::ledger::{Publication, PublishedUnit, Recorded, Swap};

/// Publishes the units of a stage that waits for all of them.
pub(super) async fn publish_all(
    context: &StageContext,
    units: Vec<(PlannedUnit, Recorded)>,
    summary: &mut StageSummary,
) -> Result<()> {
    if units.is_empty() {
        return Ok(());
    }
    let written: Vec<(u64, u64)> = units.iter().map(|(_, recorded)| written(recorded)).collect();
    let replace =
        matches!(&context.stage.write, Some(Write::Files(FilesWrite { mode: WriteMode::Replace, .. })));
    let swap = if replace { tokio::task::block_in_place(|| swap(context))? } else { None };
    publish(context, units, swap).await?;
    for (files, bytes) in written {
        summary.files += files;
        summary.bytes_written += bytes;
    }
    Ok(())
}

fn swap(context: &StageContext) -> Result<Option<Swap>> {
    let Some(place) = &context.folders.write else { return Ok(None) };
    let known = context.run.ledger.published(&context.run.flow, &context.name, None, Output::Write)?;
    let known: BTreeSet<PathBuf> = known.into_iter().map(PathBuf::from).collect();
    let output = Path::new(&place.output);
    let own_staging = output.join(dil_connect::local::STAGING_FOLDER).join(&context.run.ledger.id);
    commit::check_folder(output, &known, &own_staging)?;
    let mark =
        format!("{} {} {} {}", context.run.ledger.id, context.run.run, context.name, context.run.lease.epoch);
    let fresh =
        format!("{}/{}/fresh-{}-{}", place.staging, context.run.run, context.name, context.run.lease.epoch);
    Ok(Some(Swap { fresh, mark }))
}

/// Publishes and records units together.
pub(super) async fn publish(
    context: &StageContext,
    units: Vec<(PlannedUnit, Recorded)>,
    swap: Option<Swap>,
) -> Result<()> {
    tokio::task::block_in_place(|| {
        let publication = publication(context, units, swap)?;
        commit::commit(&context.run.ledger, &context.run.lease, &publication)?;
        context.port.published(publication.schemas());
        Ok(())
    })
}

fn publication(
    context: &StageContext,
    units: Vec<(PlannedUnit, Recorded)>,
    swap: Option<Swap>,
) -> Result<Publication> {
    let run = &context.run;
    let owned =
        |signature: Option<&str>| run.ledger.published(&run.flow, &context.name, signature, Output::Write);
    let mut removes = if swap.is_some() { owned(None)? } else { Vec::new() };
    let mut published = Vec::with_capacity(units.len());
    let schemas = context.port.schemas_with(units.iter().map(|(_, recorded)| &recorded.schemas))?;
    for (unit, recorded) in units {
        if unit.replaces && swap.is_none() {
            removes.extend(owned(Some(&unit.signature))?);
        }
        published.push(PublishedUnit {
            signature: unit.signature,
            high: unit.nominal.and(unit.interval).map(|interval| interval.high),
            key: recorded_key(unit.key.as_ref(), recorded.greatest),
            version: unit.version,
            counts: recorded.counts,
            milliseconds: recorded.milliseconds,
            files: recorded.files,
        });
    }
    Ok(Publication {
        flow: run.flow.clone(),
        stage: context.name.clone(),
        run: run.run.clone(),
        backfill: run.backfill.clone(),
        as_of: Some(run.as_of),
        units: published,
        write_folder: context.folders.write.as_ref().map(|place| place.output.clone()),
        rows_folder: context.folders.rows.as_ref().map(|place| place.output.clone()),
        removes,
        swap,
        read_schema: schemas.read,
        written_schema: schemas.written,
    })
}

/// Up to which key a unit is recorded once it is published.
fn recorded_key(key: Option<&KeyRange>, greatest: Option<serde_json::Value>) -> Option<serde_json::Value> {
    match key? {
        KeyRange::Between { high, .. } => Some((*high).into()),
        KeyRange::Above { .. } => greatest,
    }
}

/// Files in a stage's folder that this ledger did not publish, by the short name of the unit that their name tells.
pub(super) struct UnknownFiles(HashMap<String, PathBuf>);

impl UnknownFiles {
    /// Looks through the stage's folder.
    ///
    /// # Errors
    /// `Storage` if it cannot be listed.
    pub(super) fn find(context: &StageContext) -> Result<Self> {
        let mut found = HashMap::new();
        let Some(place) = &context.folders.write else { return Ok(Self(found)) };
        let mut folders = vec![PathBuf::from(&place.output)];
        while let Some(folder) = folders.pop() {
            let entries = match std::fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => continue,
                Err(cause) => return Err(Error::storage("listing", &folder, &cause)),
            };
            for entry in entries {
                let entry = entry.map_err(|cause| Error::storage("listing", &folder, &cause))?;
                let (path, name) = (entry.path(), entry.file_name());
                let name = name.to_string_lossy();
                if name.starts_with('.') {
                    continue;
                }
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(path);
                    continue;
                }
                // UNIT-ATTEMPT-NUMBER.ext
                if let Some(unit) = name.rsplitn(3, '-').nth(2)
                    && !context.run.ledger.is_published(&path.to_string_lossy())?
                {
                    found.insert(unit.to_owned(), path);
                }
            }
        }
        Ok(Self(found))
    }

    /// Refuses a unit of which there is such a file: another ledger published it, or this one was restored to an earlier
    /// state, and its rows would be there twice.
    ///
    /// # Errors
    /// `Publish`, naming the file.
    pub(super) fn refuse(&self, context: &StageContext, unit: &PlannedUnit) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        self.0.get(&unit_name(context, unit)).map_or(Ok(()), |path| Err(unknown_file(context, path)))
    }
}

fn unknown_file(context: &StageContext, path: &Path) -> Error {
    let message = format!(
        "{} holds rows of this stage, and the ledger in {} did not publish it",
        path.display(),
        context.run.state_dir.display()
    );
    Error::new(ErrorKind::Publish, "publish/unknown-files", message).hint(
        "if another ledger wrote it, name that with --state or restore it; if the folder was moved here, move it back; \
         to read these rows anew, remove such files",
    )
}

/// Files and bytes that a unit staged for the stage's `write`.
pub(super) fn written(recorded: &Recorded) -> (u64, u64) {
    let files = recorded.files.iter().filter(|file| file.output == Output::Write);
    files.fold((0, 0), |(count, bytes), file| (count + 1, bytes + file.bytes))
}
