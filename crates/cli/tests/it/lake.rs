//! What a reader of the published files sees.

use std::fs::File;
use std::path::{Path, PathBuf};

use dil_model::arrow::array::{Array, AsArray};
use dil_model::arrow::datatypes::{DataType, Int64Type};
use dil_model::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// The visible files below a folder, in order: those that Hive, Spark and DuckDB would read.
pub(crate) fn visible(folder: &Path) -> Vec<PathBuf> {
    let mut found = files_below(folder, &|name| !name.starts_with('.') && !name.starts_with('_'));
    found.sort();
    found
}

/// The files below a folder that lie in a staging prefix.
pub(crate) fn staged(folder: &Path) -> Vec<PathBuf> {
    let mut found = files_below(folder, &|_| true);
    found.retain(|path| path.components().any(|part| part.as_os_str().to_string_lossy().contains("staging")));
    found
}

fn files_below(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.map(|entry| entry.expect("an entry can be read")) {
        let path = entry.path();
        if !wanted(&entry.file_name().to_string_lossy()) {
            continue;
        }
        if path.is_dir() {
            found.extend(files_below(&path, wanted));
        } else {
            found.push(path);
        }
    }
    found
}

/// The values of `id` in all visible Parquet files of a folder, sorted; a row that is there twice is there twice.
pub(crate) fn ids(folder: &Path) -> Vec<u64> {
    let mut ids: Vec<u64> = visible(folder).iter().flat_map(|path| ids_of(path)).collect();
    ids.sort_unstable();
    ids
}

fn ids_of(path: &Path) -> Vec<u64> {
    let file = File::open(path).unwrap_or_else(|cause| panic!("opening {}: {cause}", path.display()));
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .unwrap_or_else(|cause| panic!("a visible file must be whole: {}: {cause}", path.display()));
    let mut ids = Vec::new();
    for batch in reader {
        let batch = batch.unwrap_or_else(|cause| panic!("reading {}: {cause}", path.display()));
        let column = batch.column_by_name("id").unwrap_or_else(|| panic!("{} has no id", path.display()));
        assert_eq!(column.data_type(), &DataType::Int64);
        let values = column.as_primitive::<Int64Type>();
        ids.extend((0..values.len()).map(|row| values.value(row)).filter_map(|id| u64::try_from(id).ok()));
    }
    ids
}
