//! One file being staged.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use dil_model::boundary::durable;
use dil_model::fingerprint::hex;
use dil_model::{Error, Result};
use sha2::{Digest, Sha256};

/// The folder below an output's path that holds what is not published yet.
pub const STAGING_FOLDER: &str = ".dil-staging";

/// The folder that one attempt stages its files in.
///
/// A file is found again after a power cut only if its name is durable, and so are the names of the folders above it.
pub struct StagingFolder {
    path: PathBuf,
    /// The folders with entries that are not durable yet, lowest first.
    unsynced: Vec<PathBuf>,
}

impl StagingFolder {
    /// Makes the folder and those above it.
    ///
    /// # Errors
    /// `Storage`.
    pub fn create(path: &Path) -> Result<Self> {
        // Each folder that is made is a new entry of the one above it.
        let missing = path.ancestors().take_while(|folder| !folder.is_dir());
        let unsynced = missing.filter_map(Path::parent).map(Path::to_owned).collect();
        let made = std::fs::create_dir_all(path).or_else(|cause| match cause.kind() {
            // Another flow may have removed a folder that was empty, just before this one was made in it.
            std::io::ErrorKind::NotFound => std::fs::create_dir_all(path),
            _ => Err(cause),
        });
        made.map_err(|cause| Error::storage("creating the folder", path, &cause))?;
        Ok(Self { path: path.to_owned(), unsynced })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a new file in it.
    ///
    /// # Errors
    /// `Storage` if it cannot be made, or is there already: staged names are never used twice.
    pub fn file(&mut self, name: &str) -> Result<StagedWriter> {
        let writer = StagedWriter::create(self.path.join(name))?;
        if !self.unsynced.contains(&self.path) {
            self.unsynced.insert(0, self.path.clone());
        }
        Ok(writer)
    }

    /// Makes the names of all files so far durable; they may be told to others only afterwards.
    ///
    /// # Errors
    /// `Storage` if the file system cannot promise it.
    pub fn sync(&mut self) -> Result<()> {
        for folder in self.unsynced.drain(..) {
            durable("stage.sync-folder", || File::open(&folder).and_then(|folder| folder.sync_all()))
                .map_err(|cause| Error::storage("syncing the folder", &folder, &cause))?;
        }
        Ok(())
    }
}

/// Writes one staged file and takes its checksum on the way.
pub struct StagedWriter {
    path: PathBuf,
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl StagedWriter {
    fn create(path: PathBuf) -> Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|cause| Error::storage("creating the staged file", &path, &cause))?;
        Ok(Self { path, file, hash: Sha256::new(), bytes: 0 })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// `Storage`, for example when the disk is full.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all(bytes)
            .map_err(|cause| Error::storage("writing the staged file", &self.path, &cause))?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Makes the bytes durable; gives their number and their SHA-256 in hex. Its name is made so by
    /// [`StagingFolder::sync`].
    ///
    /// # Errors
    /// `Storage` if the file system cannot promise it.
    pub fn finish(self) -> Result<(u64, String)> {
        durable("stage.sync", || self.file.sync_all())
            .map_err(|cause| Error::storage("syncing the staged file", &self.path, &cause))?;
        let digest = self.hash.finalize();
        Ok((self.bytes, hex(&digest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_was_made_is_synced_from_the_lowest_up_and_once() {
        let root = tempfile::tempdir().unwrap();
        let mut folder = StagingFolder::create(&root.path().join("run/unit")).unwrap();
        folder.file("0.part").unwrap().finish().unwrap();
        folder.file("1.part").unwrap().finish().unwrap();
        let expect = [root.path().join("run/unit"), root.path().join("run"), root.path().to_owned()];
        assert_eq!(folder.unsynced, expect);
        folder.sync().unwrap();
        assert!(folder.unsynced.is_empty());
        folder.file("2.part").unwrap();
        assert_eq!(folder.unsynced, expect[..1]);
    }
}
