//! What a unit has staged, so that it can be published by somebody else.

use serde::{Deserialize, Serialize};

/// One staged file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedFile {
    /// Where it lies now, under a staging prefix; a path as the writer opened it.
    pub staged: String,
    /// Its name once published, relative to the stage's output path (`month=2024-01/….parquet`).
    pub name: String,
    /// Which of the stage's outputs it belongs to.
    pub output: Output,
    /// Rows inside.
    pub rows: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
}

/// Where the rows of a stage go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// The path of the stage's `write`.
    Write,
    /// The run's own folder, for the stages that read this one's rows.
    Rows,
}
