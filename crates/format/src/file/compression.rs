//! Which format can be compressed how, and what its files are called.

use dil_model::config::{Compression, FileFormat, FilesWrite};
use dil_model::{Error, ErrorKind};

/// The ending of a file's name, without the first dot.
pub(crate) fn extension(write: &FilesWrite) -> String {
    let ending = write.format.extension();
    match (write.format, write.compression) {
        (FileFormat::Jsonl | FileFormat::Csv, Some(Compression::Gzip)) => format!("{ending}.gz"),
        _ => ending.to_owned(),
    }
}

/// The error for a compression that a format does not have.
pub(super) fn impossible(write: &FilesWrite, compression: Compression) -> Error {
    let possible = match write.format {
        FileFormat::Parquet => "none, zstd, snappy, lz4 or gzip",
        FileFormat::Avro => "none, deflate, snappy or zstd",
        FileFormat::Jsonl | FileFormat::Csv => "none or gzip",
    };
    Error::new(
        ErrorKind::Config,
        "write/compression",
        format!(
            "`compression: {}` is not possible for {} files",
            compression.name(),
            write.format.extension()
        ),
    )
    .hint(format!("choose {possible}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressed_text_says_so_in_its_name() {
        let name = |format: &str, compression: &str| {
            let json = serde_json::json!({ "path": "x", "format": format, "compression": compression });
            extension(&serde_json::from_value(json).unwrap())
        };
        assert_eq!(name("csv", "gzip"), "csv.gz");
        assert_eq!(name("jsonl", "gzip"), "jsonl.gz");
        assert_eq!(name("jsonl", "none"), "jsonl");
        assert_eq!(name("parquet", "gzip"), "parquet");
    }
}
