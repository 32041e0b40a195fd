//! Making staged files visible. Each step can be done again: it looks first at what is there.

use std::fs;
use std::io;
use std::path::Path;

use dil_model::boundary::durable;
use dil_model::manifest::StagedFile;
use dil_model::{Error, ErrorKind, Result};
use rustix::fs::{CWD, RenameFlags, renameat_with};

/// The file inside an exchanged folder that names the publication it came from.
pub const FOLDER_MARK: &str = ".dil-publication";

/// Renames a staged file to its final name. A file that is in place already is left alone.
///
/// Never overwrites: another file under the final name is an error of kind `Publish`.
///
/// # Errors
/// `Publish` for a name clash or a staged file that is gone, `Storage` for the file system's refusals.
pub fn publish_file(file: &StagedFile, target: &Path) -> Result<()> {
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).map_err(|cause| Error::storage("creating the folder", folder, &cause))?;
    }
    let staged = Path::new(&file.staged);
    let renamed = durable("publish.rename", || rename_if_absent(staged, target));
    match renamed {
        Ok(()) => Ok(()),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => already_published(file, target),
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => Err(Error::new(
            ErrorKind::Publish,
            "publish/name-clash",
            format!("there is another file under the name {}", target.display()),
        )
        .hint("move that file away, or write this stage to a folder of its own")),
        Err(cause) => Err(Error::storage("publishing", target, &cause)),
    }
}

fn rename_if_absent(staged: &Path, target: &Path) -> io::Result<()> {
    match renameat_with(CWD, staged, CWD, target, RenameFlags::NOREPLACE) {
        // Some file systems know only the plain rename. Only this flow's coordinator writes such names.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
            if target.try_exists()? {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(staged, target)
        }
        other => other.map_err(io::Error::from),
    }
}

fn already_published(file: &StagedFile, target: &Path) -> Result<()> {
    match fs::metadata(target) {
        Ok(there) if there.len() == file.bytes => Ok(()),
        Ok(there) => Err(Error::new(
            ErrorKind::Publish,
            "publish/changed",
            format!("{} has {} bytes, {} were staged", target.display(), there.len(), file.bytes),
        )
        .hint("something else changed the file: move it away; the unit is read again by the next run")),
        Err(_) => Err(Error::new(
            ErrorKind::Publish,
            "publish/staged-lost",
            format!("the staged file {} is gone and was not published", file.staged),
        )
        .hint("somebody removed it from the staging folder; the unit is read again by the next run")),
    }
}

/// Makes the names in a folder durable.
///
/// # Errors
/// `Storage`.
pub fn sync_folder(folder: &Path) -> Result<()> {
    durable("publish.sync-folder", || fs::File::open(folder).and_then(|folder| folder.sync_all()))
        .map_err(|cause| Error::storage("syncing the folder", folder, &cause))
}

/// Removes a published file that another one takes the place of; one that is gone already is fine.
///
/// # Errors
/// `Storage`.
pub fn remove_published(path: &Path) -> Result<()> {
    match durable("publish.remove", || fs::remove_file(path)) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(Error::storage("removing", path, &cause))
        }
        _ => Ok(()),
    }
}

/// Marks a folder as the content of one publication.
///
/// # Errors
/// `Storage`.
pub fn mark_folder(folder: &Path, publication: &str) -> Result<()> {
    let path = folder.join(FOLDER_MARK);
    fs::create_dir_all(folder)
        .and_then(|()| durable("publish.mark", || fs::write(&path, publication)))
        .and_then(|()| fs::File::open(&path)?.sync_all())
        .map_err(|cause| Error::storage("writing", &path, &cause))
}

/// Whether the folder is the content of that publication.
pub fn is_published_folder(folder: &Path, publication: &str) -> bool {
    fs::read_to_string(folder.join(FOLDER_MARK)).is_ok_and(|mark| mark == publication)
}

/// Puts `fresh` in the place of `target` in one step; what was there is then under `fresh`.
///
/// # Errors
/// `Storage`; also on a file system that cannot exchange two folders.
pub fn exchange_folder(fresh: &Path, target: &Path) -> Result<()> {
    let there = target.try_exists().map_err(|cause| Error::storage("looking at", target, &cause))?;
    let flags = if there { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
    durable("publish.exchange", || renameat_with(CWD, fresh, CWD, target, flags)).map_err(|errno| {
        Error::storage("exchanging the folder", target, &errno.into()).hint(
            "`mode: replace` needs a local file system that can exchange folders (ext4, xfs, btrfs, tmpfs)",
        )
    })
}

/// Removes a folder and all below it; one that is gone already is fine.
///
/// # Errors
/// `Storage`.
pub fn remove_tree(folder: &Path) -> Result<()> {
    match durable("publish.remove-tree", || fs::remove_dir_all(folder)) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(Error::storage("removing", folder, &cause))
        }
        _ => Ok(()),
    }
}
