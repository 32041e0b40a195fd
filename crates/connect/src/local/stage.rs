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

/// Writes one staged file and takes its checksum on the way.
pub struct StagedWriter {
    path: PathBuf,
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
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|cause| Error::storage("creating the folder", folder, &cause))?;
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(|cause| Error::storage("creating the staged file", path, &cause))?;
        Ok(Self { path: path.to_owned(), file, hash: Sha256::new(), bytes: 0 })
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
        let digest = self.hash.finalize();
        Ok((self.bytes, hex(&digest)))
    }
}
