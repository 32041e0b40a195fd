//! Reads the published files back, as any reader of Parquet would.

use std::fs::File;
use std::path::{Path, PathBuf};

use dil_model::arrow::record_batch::RecordBatch;
use dil_model::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use dil_model::{Error, Result};
use jiff::Timestamp;

use super::folder::differs;
use crate::batch::texts;

/// What lies in the folder of the rows.
pub(super) struct Lake {
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Station and time of every row, in order.
    pub(super) rows: Vec<(String, Timestamp)>,
    /// The first rows of the first file.
    pub(super) first: Option<RecordBatch>,
}

/// Reads all visible Parquet files of a folder.
pub(super) fn read(folder: &Path, first_rows: usize) -> Result<Lake> {
    let mut lake = Lake { files: 0, bytes: 0, rows: Vec::new(), first: None };
    for path in files(folder)? {
        let broken = |cause: &dyn std::fmt::Display| {
            differs(format!("the published file {} cannot be read: {cause}", path.display()))
        };
        let file = File::open(&path).map_err(|cause| Error::storage("opening", &path, &cause))?;
        lake.files += 1;
        lake.bytes += file.metadata().map_err(|cause| Error::storage("reading", &path, &cause))?.len();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|reader| reader.build());
        for batch in reader.map_err(|cause| broken(&cause))? {
            let batch = batch.map_err(|cause| broken(&cause))?;
            let column = |name: &str| {
                let column =
                    batch.column_by_name(name).ok_or_else(|| broken(&format!("it has no {name}")))?;
                texts(column).map_err(|cause| broken(&cause))
            };
            let (stations, times) = (column("station")?, column("time")?);
            for (station, time) in stations.into_iter().zip(times) {
                let time = time.parse().map_err(|cause| broken(&cause))?;
                lake.rows.push((station, time));
            }
            lake.first.get_or_insert_with(|| batch.slice(0, first_rows.min(batch.num_rows())));
        }
    }
    lake.rows.sort_unstable();
    Ok(lake)
}

/// What readers take for data: names that begin with neither `.` nor `_`.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |cause: std::io::Error| Error::storage("reading", folder, &cause);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.ends_with(".parquet") && !name.starts_with(['.', '_']) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
