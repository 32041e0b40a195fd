//! What a start does about an interrupted run: finish publications, remove what nobody names.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use dil_connect::local::{STAGING_FOLDER, remove_tree};
use dil_model::boundary::durable;
use dil_model::{Error, Result};

use super::publish::finish;
use crate::ledger::{LeaseGuard, Ledger};

/// Rolls every prepared publication of the flow forward; gives their number.
///
/// # Errors
/// What stands in the way of a publication. Nothing is lost: the next start tries again.
pub(crate) fn recover(ledger: &Ledger, lease: &LeaseGuard, flow: &str) -> Result<u64> {
    let prepared = ledger.prepared(flow)?;
    for (id, publication) in &prepared {
        finish(ledger, lease, *id, publication).map_err(|error| {
            error.at(format!(
                "while finishing the interrupted publication {id} of stage {}",
                publication.stage
            ))
        })?;
    }
    Ok(prepared.len() as u64)
}

/// Removes everything that this ledger staged for the flow and that no checkpoint or waiting manifest names.
///
/// # Errors
/// `Storage`.
pub(crate) fn clear_staging(ledger: &Ledger, flow: &str) -> Result<()> {
    let live: BTreeSet<PathBuf> = ledger.live_staged(flow)?.into_iter().map(PathBuf::from).collect();
    for folder in ledger.staging(flow)? {
        clear(Path::new(&folder), &live)?;
        // `<output>/.dil-staging/<ledger>/<flow>`: the two above go as well once nobody else stages there.
        for above in Path::new(&folder)
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
