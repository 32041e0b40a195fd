//! Prepare, publish, record.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use dil_connect::local::{
    FOLDER_MARK, StagingFolder, exchange_folder, is_published_folder, mark_folder, publish_file,
    remove_published, remove_tree, sync_folder, take_back,
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
    if publication.is_only_recorded() {
        return ledger.record(lease, None, publication);
    }
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
        Ok(()) => ledger.record(lease, Some(id), publication),
        Err(error) if error.kind == ErrorKind::Publish => {
            // It can never be finished, so it must not stand in the way of every later run.
            ledger.cancel(lease, id, publication, &error, || {
                targets(publication).try_for_each(|(file, target)| take_back(file, &target))
            })?;
            Err(error)
        }
        Err(error) => Err(error),
    }
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
    if let (Some(swap), Some(target)) = (&publication.swap, &publication.write_folder)
        && is_published_folder(Path::new(target), &swap.mark)
    {
        // The exchange comes last and cannot be taken back, so all before it is done.
        return remove_tree(Path::new(&swap.fresh));
    }
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
    remove_tree(fresh)
}

/// Makes the folder that a run's units stage below, durably, so that each of them only has to see to its own.
///
/// # Errors
/// `Storage`.
pub(crate) fn open_staging(folder: &Path) -> Result<()> {
    StagingFolder::create(folder)?.sync()
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

/// Refuses a folder that `mode: replace` would exchange although it holds files that this ledger does not know, hidden ones
/// and what others stage there included. `own_staging` is what this ledger may have left there itself.
///
/// # Errors
/// `Publish`, naming one of them.
pub(crate) fn check_folder(folder: &Path, known: &BTreeSet<PathBuf>, own_staging: &Path) -> Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(Error::storage("listing", folder, &cause)),
    };
    for entry in entries {
        let entry = entry.map_err(|cause| Error::storage("listing", folder, &cause))?;
        let path = entry.path();
        if entry.file_name() == FOLDER_MARK || path == own_staging {
            continue;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            check_folder(&path, known, own_staging)?;
        } else if !known.contains(&path) {
            let message =
                format!("`mode: replace` would remove {}, which this flow did not write", path.display());
            return Err(Error::new(ErrorKind::Publish, "publish/foreign-file", message)
                .hint("move it away, or give the stage a folder of its own"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dil_model::unit::Counts;

    use super::*;
    use crate::commit::recover;
    use crate::ledger::{BeginAt, Place, PublishedUnit, StageKey};

    const NONE: Duration = Duration::ZERO;

    fn staged(root: &Path, name: &str, output: Output) -> StagedFile {
        let mut folder = StagingFolder::create(&root.join("staging").join(name)).unwrap();
        let mut writer = folder.file("0.part").unwrap();
        writer.write(name.as_bytes()).unwrap();
        let staged = folder.path().join("0.part").to_string_lossy().into_owned();
        let (bytes, sha256) = writer.finish().unwrap();
        StagedFile { staged, name: name.to_owned(), output, rows: 1, bytes, sha256 }
    }

    fn publication(root: &Path, files: Vec<StagedFile>, swap: Option<Swap>) -> Publication {
        let folder = |name: &str| Some(root.join(name).to_string_lossy().into_owned());
        let signature = "all".to_owned();
        Publication {
            flow: "flow".to_owned(),
            stage: "stage".to_owned(),
            run: "run".to_owned(),
            backfill: String::new(),
            as_of: None,
            units: vec![PublishedUnit {
                signature,
                high: None,
                key: None,
                version: None,
                counts: Counts::default(),
                milliseconds: 0,
                files,
            }],
            write_folder: folder("out"),
            rows_folder: folder("rows"),
            removes: Vec::new(),
            swap,
            read_schema: None,
            written_schema: None,
        }
    }

    /// The attempt that every publication comes from.
    fn begin(ledger: &Ledger, lease: &LeaseGuard) {
        let key = StageKey { flow: "flow", stage: "stage", backfill: "" };
        ledger.begin_attempt(lease, key.unit("all"), "run", ("work", BeginAt::Start)).unwrap();
    }

    #[test]
    fn who_lost_the_lease_takes_nothing_back() {
        let root = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&Place::Folder(root.path().join("state"))).unwrap();
        let files = ["a", "b"].map(|name| staged(root.path(), name, Output::Write)).to_vec();
        let publication = publication(root.path(), files, None);
        let sleeper = ledger.take_lease("flow", NONE).unwrap();
        begin(&ledger, &sleeper);
        let id = ledger.prepare(&sleeper, &publication).unwrap();

        let next = ledger.take_lease("flow", NONE).unwrap();
        assert_eq!(recover(&ledger, &next, "flow").unwrap().finished, 1);
        // A later run takes one of the two files away; the sleeper wakes and does not find it.
        std::fs::remove_file(root.path().join("out/a")).unwrap();
        let refused = finish(&ledger, &sleeper, id, &publication).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Lease);
        assert!(root.path().join("out/b").exists());
    }

    #[test]
    fn a_publication_that_cannot_be_finished_leaves_nothing_visible_and_is_told_once() {
        let root = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&Place::Folder(root.path().join("state"))).unwrap();
        let files = ["a", "b"].map(|name| staged(root.path(), name, Output::Write)).to_vec();
        let lost = files[1].staged.clone();
        let lease = ledger.take_lease("flow", NONE).unwrap();
        begin(&ledger, &lease);
        ledger.prepare(&lease, &publication(root.path(), files, None)).unwrap();
        std::fs::remove_file(lost).unwrap();

        let recovered = recover(&ledger, &lease, "flow").unwrap();
        let told: Vec<_> =
            recovered.taken_back.iter().map(|(stage, error)| (stage.as_str(), error.code.as_str())).collect();
        assert_eq!((recovered.finished, told), (0, vec![("stage", "publish/staged-lost")]));
        assert!(!root.path().join("out/a").exists());
        let again = recover(&ledger, &lease, "flow").unwrap();
        assert!(again.finished == 0 && again.taken_back.is_empty());
    }

    #[test]
    fn a_folder_that_was_exchanged_stays_so() {
        let root = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&Place::Folder(root.path().join("state"))).unwrap();
        let lease = ledger.take_lease("flow", NONE).unwrap();
        begin(&ledger, &lease);
        let fresh = root.path().join("fresh").to_string_lossy().into_owned();
        let swap = Swap { fresh, mark: "mark".to_owned() };
        let files = vec![staged(root.path(), "a", Output::Write), staged(root.path(), "r", Output::Rows)];
        let publication = publication(root.path(), files, Some(swap));
        ledger.prepare(&lease, &publication).unwrap();
        publish(&ledger, &lease, &publication).unwrap();
        // Lost between the exchange and the record: no reason to undo what readers see.
        std::fs::remove_file(root.path().join("rows/r")).unwrap();
        assert_eq!(recover(&ledger, &lease, "flow").unwrap().finished, 1);
        assert!(root.path().join("out/a").exists());
    }

    #[test]
    fn a_folder_with_what_others_stage_is_not_exchanged() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join(".dil-staging/own");
        for ledger in ["own", "other"] {
            StagingFolder::create(&root.path().join(".dil-staging").join(ledger)).unwrap();
        }
        StagingFolder::create(&own).unwrap().file("0.part").unwrap();
        check_folder(root.path(), &BTreeSet::new(), &own).unwrap();
        StagingFolder::create(&root.path().join(".dil-staging/other")).unwrap().file("0.part").unwrap();
        let refused = check_folder(root.path(), &BTreeSet::new(), &own).unwrap_err();
        assert!(refused.message.contains("other/0.part"), "{refused}");
    }
}
