//! One file being staged.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use dil_model::boundary::durable;
use dil_model::{Error, Result};
use sha2::{Digest, Sha256};

/// The folder below an output's path that holds what is not published yet.
pub const STAGING_FOLDER: &str = ".dil-staging";

/// Writes one staged file and takes its checksum on the way.
pub struct StagedWriter {
    path: PathBuf,
    /// The folders whose entries must be durable for the file to be found: its own, and those that were made for it, up to
    /// the first that was there.
    folders: Vec<PathBuf>,
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl StagedWriter {
    /// Begins a new file; the folders above it are made.
    ///
    /// # Errors
    /// `Storage` if it cannot be made, or is there already: staged names are never used twice.
    pub fn create(path: &Path) -> Result<Self> {
        let mut folders = Vec::new();
        for folder in path.ancestors().skip(1) {
            folders.push(folder.to_owned());
            if folder.is_dir() {
                break;
            }
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|cause| Error::storage("creating the folder", folder, &cause))?;
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(|cause| Error::storage("creating the staged file", path, &cause))?;
        Ok(Self { path: path.to_owned(), folders, file, hash: Sha256::new(), bytes: 0 })
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

    /// Makes the file durable; gives its size in bytes and its SHA-256 in hex.
    ///
    /// # Errors
    /// `Storage` if the file system cannot promise it.
    pub fn finish(self) -> Result<(u64, String)> {
        durable("stage.sync", || self.file.sync_all())
            .map_err(|cause| Error::storage("syncing the staged file", &self.path, &cause))?;
        for folder in &self.folders {
            durable("stage.sync-folder", || File::open(folder).and_then(|folder| folder.sync_all()))
                .map_err(|cause| Error::storage("syncing the folder", folder, &cause))?;
        }
        let digest = self.hash.finalize();
        Ok((self.bytes, digest.iter().map(|byte| format!("{byte:02x}")).collect()))
    }
}
