//! Making staged files visible. Each step can be done again: it looks first at what is there.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use dil_model::boundary::durable;
use dil_model::fingerprint::hex;
use dil_model::manifest::StagedFile;
use dil_model::{Error, ErrorKind, Result};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use sha2::{Digest as _, Sha256};

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

/// The staged file is gone: either its rename was done before, or it is lost.
fn already_published(file: &StagedFile, target: &Path) -> Result<()> {
    let there = target.try_exists().map_err(|cause| Error::storage("looking at", target, &cause))?;
    if !there {
        let message = format!("the staged file {} is gone and was not published", file.staged);
        return Err(Error::new(ErrorKind::Publish, "publish/staged-lost", message)
            .hint("somebody removed it from the staging folder; its unit is read again by the next run"));
    }
    if has_content_of(file, target)? {
        return Ok(());
    }
    let message = format!("{} is not the file that was staged for it", target.display());
    Err(Error::new(ErrorKind::Publish, "publish/changed", message)
        .hint("something else changed it: move it away; its unit is read again by the next run"))
}

/// Whether `target` holds the bytes that were staged.
fn has_content_of(file: &StagedFile, target: &Path) -> Result<bool> {
    let reading = |cause: io::Error| Error::storage("reading", target, &cause);
    let mut open = fs::File::open(target).map_err(reading)?;
    if open.metadata().map_err(reading)?.len() != file.bytes {
        return Ok(false);
    }
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match open.read(&mut buffer).map_err(reading)? {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
    }
    Ok(hex(&hash.finalize()) == file.sha256)
}

/// Undoes [`publish_file`]: the file goes back to where it was staged. One that was not published, or that somebody else
/// changed since, is left alone.
///
/// # Errors
/// `Storage`.
pub fn take_back(file: &StagedFile, target: &Path) -> Result<()> {
    let exists = |path: &Path| path.try_exists().map_err(|cause| Error::storage("looking at", path, &cause));
    let staged = Path::new(&file.staged);
    if exists(staged)? || !exists(target)? || !has_content_of(file, target)? {
        return Ok(());
    }
    match durable("publish.take-back", || fs::rename(target, staged)) {
        // The staging folder itself is gone.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => remove_published(target)?,
        Err(cause) => return Err(Error::storage("taking back", target, &cause)),
        Ok(()) => {}
    }
    target.parent().map_or(Ok(()), sync_folder)
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

#[cfg(test)]
mod tests {
    use dil_model::manifest::Output;

    use super::super::StagingFolder;
    use super::*;

    fn staged(root: &Path) -> (StagedFile, std::path::PathBuf) {
        let mut folder = StagingFolder::create(&root.join("staging")).unwrap();
        let mut writer = folder.file("0.part").unwrap();
        writer.write(b"rows").unwrap();
        let (bytes, sha256) = writer.finish().unwrap();
        let staged = root.join("staging/0.part").to_string_lossy().into_owned();
        let name = "a.jsonl".to_owned();
        (StagedFile { staged, name, output: Output::Write, rows: 1, bytes, sha256 }, root.join("out/a.jsonl"))
    }

    #[test]
    fn a_rename_that_was_done_is_done() {
        let root = tempfile::tempdir().unwrap();
        let (file, target) = staged(root.path());
        publish_file(&file, &target).unwrap();
        publish_file(&file, &target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"rows");
    }

    #[test]
    fn another_file_of_the_same_length_is_not_taken_for_it() {
        let root = tempfile::tempdir().unwrap();
        let (file, target) = staged(root.path());
        publish_file(&file, &target).unwrap();
        fs::write(&target, b"sowr").unwrap();
        assert_eq!(publish_file(&file, &target).unwrap_err().code, "publish/changed");
        take_back(&file, &target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"sowr", "somebody else's file is not taken back");
    }

    #[test]
    fn what_is_taken_back_can_be_published_again() {
        let root = tempfile::tempdir().unwrap();
        let (file, target) = staged(root.path());
        publish_file(&file, &target).unwrap();
        take_back(&file, &target).unwrap();
        assert!(!target.exists());
        publish_file(&file, &target).unwrap();
        fs::remove_dir(root.path().join("staging")).unwrap();
        take_back(&file, &target).unwrap();
        assert!(!target.exists(), "without its staging folder it is removed");
    }
}
