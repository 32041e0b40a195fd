//! What a start does about an interrupted run: finish publications, remove what nobody names.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use dil_connect::local::{STAGING_FOLDER, remove_tree};
use dil_model::boundary::durable;
use dil_model::{Error, ErrorKind, Result};

use super::publish::finish;
use crate::ledger::{LeaseGuard, Ledger};

/// What became of the publications that were interrupted.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// How many are finished now.
    pub(crate) finished: u64,
    /// The stages of those that were taken back, each with the reason.
    pub(crate) taken_back: Vec<(String, Error)>,
}

/// Rolls every prepared publication of the flow forward.
///
/// One that can never be finished, because its staged files are gone, is taken back: its units count as failed, and run
/// again.
///
/// # Errors
/// What stands in the way of a publication. Nothing is lost: the next start tries again.
pub(crate) fn recover(ledger: &Ledger, lease: &LeaseGuard, flow: &str) -> Result<Recovered> {
    let mut recovered = Recovered::default();
    for (id, publication) in ledger.prepared(flow)? {
        match finish(ledger, lease, id, &publication) {
            Ok(()) => recovered.finished += 1,
            Err(error) if error.kind == ErrorKind::Publish => {
                recovered.taken_back.push((publication.stage, error))
            }
            Err(error) => {
                return Err(error.at(format!(
                    "while finishing the interrupted publication {id} of stage {}",
                    publication.stage
                )));
            }
        }
    }
    Ok(recovered)
}

/// Removes everything that this ledger staged for the flow and that no checkpoint or waiting manifest names.
///
/// # Errors
/// `Storage`; `Lease` if another run may have staged something since.
pub(crate) fn clear_staging(ledger: &Ledger, lease: &LeaseGuard, flow: &str) -> Result<()> {
    let live: BTreeSet<PathBuf> = ledger.live_staged(flow)?.into_iter().map(PathBuf::from).collect();
    let folders = ledger.staging(flow)?;
    // Inside a transaction, so that nobody takes the lease over while it is removed.
    ledger.fenced(lease, || clear_folders(&folders, &live))
}

fn clear_folders(folders: &[String], live: &BTreeSet<PathBuf>) -> Result<()> {
    for folder in folders {
        clear(Path::new(folder), live)?;
        // `<output>/.dil-staging/<ledger>/<flow>`: the two above go as well once nobody else stages there.
        for above in Path::new(folder)
            .ancestors()
            .take_while(|at| at.components().any(|part| part.as_os_str() == STAGING_FOLDER))
        {
            match fs::remove_dir(above) {
                Ok(()) => {}
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
                Err(_) => break,
            }
        }
    }
    Ok(())
}

fn clear(folder: &Path, live: &BTreeSet<PathBuf>) -> Result<()> {
    if !live.iter().any(|path| path.starts_with(folder)) {
        return remove_tree(folder);
    }
    let entries = fs::read_dir(folder).map_err(|cause| Error::storage("listing", folder, &cause))?;
    for entry in entries {
        let entry = entry.map_err(|cause| Error::storage("listing", folder, &cause))?;
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            clear(&path, live)?;
        } else if !live.contains(&path) {
            durable("staging.remove", || fs::remove_file(&path))
                .map_err(|cause| Error::storage("removing", &path, &cause))?;
        }
    }
    Ok(())
}
