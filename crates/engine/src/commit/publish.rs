//! Prepare, publish, record.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use dil_connect::local::{
    FOLDER_MARK, STAGING_FOLDER, exchange_folder, is_published_folder, mark_folder, publish_file,
    remove_published, remove_tree, sync_folder,
};
use dil_model::manifest::{Output, StagedFile};
use dil_model::{Error, ErrorKind, Result};

use crate::ledger::{LeaseGuard, Ledger, Publication, Swap, join};

/// Publishes and records what units staged.
///
/// # Errors
/// `Publish` if a final name is taken or a staged file is gone: then nothing of it is published. Anything else leaves the
/// entry prepared, and the next start goes on with it.
pub(crate) fn commit(ledger: &Ledger, lease: &LeaseGuard, publication: &Publication) -> Result<()> {
    refuse_clashes(publication)?;
    let id = ledger.prepare(lease, publication)?;
    finish(ledger, lease, id, publication)
}

/// Publishes and records an entry that is prepared.
///
/// # Errors
/// As [`commit`].
pub(super) fn finish(ledger: &Ledger, lease: &LeaseGuard, id: i64, publication: &Publication) -> Result<()> {
    match publish(ledger, lease, publication) {
        Ok(()) => ledger.record(lease, id, publication),
        Err(error) if error.kind == ErrorKind::Publish => {
            // It can never be finished, so it must not stand in the way of every later run.
            take_back(publication)?;
            ledger.cancel(lease, id, publication, &error)?;
            Err(error)
        }
        Err(error) => Err(error),
    }
}

/// Removes the files of an entry that are published already: their staged ones are gone, which nobody else does.
fn take_back(publication: &Publication) -> Result<()> {
    for (file, target) in targets(publication) {
        let is_published = !Path::new(&file.staged).exists()
            && target.metadata().is_ok_and(|there| there.len() == file.bytes);
        if is_published {
            remove_published(&target)?;
        }
    }
    Ok(())
}

fn refuse_clashes(publication: &Publication) -> Result<()> {
    if publication.swap.is_some() {
        return Ok(());
    }
    for (_, target) in targets(publication) {
        if target.try_exists().map_err(|cause| Error::storage("looking at", &target, &cause))? {
            let message = format!("there is another file under the name {}", target.display());
            return Err(Error::new(ErrorKind::Publish, "publish/name-clash", message)
                .hint("move that file away, or write this stage to a folder of its own"));
        }
    }
    Ok(())
}

/// Each staged file with its final path; the output that is exchanged as a folder is left out.
fn targets(publication: &Publication) -> impl Iterator<Item = (&StagedFile, PathBuf)> {
    publication.units.iter().flat_map(|unit| &unit.files).filter_map(|file| {
        if file.output == Output::Write && publication.swap.is_some() {
            return None;
        }
        let folder = publication.folder(file.output)?;
        Some((file, PathBuf::from(join(folder, &file.name))))
    })
}

fn publish(ledger: &Ledger, lease: &LeaseGuard, publication: &Publication) -> Result<()> {
    let mut folders = BTreeSet::new();
    for (file, target) in targets(publication) {
        publish_file(file, &target)?;
        let root = publication.folder(file.output).map(Path::new).unwrap_or(Path::new("/"));
        // New folders between the output's own and the file are names as well, that must be durable.
        folders.extend(target.ancestors().skip(1).take_while(|at| at.starts_with(root)).map(Path::to_owned));
    }
    for folder in &folders {
        sync_folder(folder)?;
    }
    if let (Some(swap), Some(target)) = (&publication.swap, &publication.write_folder) {
        return publish_folder(ledger, lease, publication, swap, Path::new(target));
    }
    for removed in &publication.removes {
        remove_published(Path::new(removed))?;
    }
    Ok(())
}

/// Fills the fresh folder, exchanges it with the target, and removes what was there.
fn publish_folder(
    ledger: &Ledger,
    lease: &LeaseGuard,
    publication: &Publication,
    swap: &Swap,
    target: &Path,
) -> Result<()> {
    let fresh = Path::new(&swap.fresh);
    if !is_published_folder(target, &swap.mark) {
        for file in
            publication.units.iter().flat_map(|unit| &unit.files).filter(|file| file.output == Output::Write)
        {
            publish_file(file, &fresh.join(&file.name))?;
        }
        mark_folder(fresh, &swap.mark)?;
        sync_tree(fresh)?;
        ledger.fenced(lease, || {
            if is_published_folder(target, &swap.mark) { Ok(()) } else { exchange_folder(fresh, target) }
        })?;
        if let Some(parent) = target.parent() {
            sync_folder(parent)?;
        }
    }
    remove_tree(fresh)
}

fn sync_tree(folder: &Path) -> Result<()> {
    let entries = std::fs::read_dir(folder).map_err(|cause| Error::storage("listing", folder, &cause))?;
    for entry in entries {
        let entry = entry.map_err(|cause| Error::storage("listing", folder, &cause))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sync_tree(&entry.path())?;
        }
    }
    sync_folder(folder)
}

/// Refuses a folder that `mode: replace` would exchange although it holds files that this ledger does not know.
///
/// # Errors
/// `Publish`, naming one of them.
pub(crate) fn check_folder(folder: &Path, known: &BTreeSet<PathBuf>) -> Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(Error::storage("listing", folder, &cause)),
    };
    for entry in entries {
        let entry = entry.map_err(|cause| Error::storage("listing", folder, &cause))?;
        if [STAGING_FOLDER, FOLDER_MARK].iter().any(|own| entry.file_name() == *own) {
            continue;
        }
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            check_folder(&path, known)?;
        } else if !known.contains(&path) {
            let message =
                format!("`mode: replace` would remove {}, which this flow did not write", path.display());
            return Err(Error::new(ErrorKind::Publish, "publish/foreign-file", message)
                .hint("move it away, or give the stage a folder of its own"));
        }
    }
    Ok(())
}
