//! Where rows go.

use dil_model::config::{Compression, FileFormat, FilesWrite, Publish, Units, Write, WriteMode};

use super::report::{At, Report};
use super::units::repeated;
use crate::nearest::list;

pub(crate) fn check(write: &Write, publish: Publish, units: Option<&Units>, stage: &At, report: &mut Report) {
    let Write::Files(files) = write;
    let at = stage.key("write").key("files");
    local_path(&files.path, &at.key("path"), "write/path", report);
    repeated(files.partition_by.iter().map(String::as_str), &at.key("partition_by"), "the column", report);
    compression(files, &at, report);
    if files.file_size.0 == 0 {
        report.value(
            "write/file-size",
            &at.key("file_size"),
            "a file of no bytes holds no rows",
            "write a size like 128MiB",
        );
    }
    if files.mode == WriteMode::Replace && publish != Publish::AllUnits {
        let message = "`mode: replace` exchanges the folder in one step, and `publish: each_unit` shows one unit at a time";
        report.value("write/replace", &at.key("mode"), message, "add `publish: all_units` to the stage");
    }
    let partly = units.is_some_and(|units| units.time.is_some() || units.max.is_some());
    if files.mode == WriteMode::Replace && partly {
        let message = "`mode: replace` exchanges the whole folder, and with `time` or `max` a run reads only a part of it";
        let hint = "use `mode: append`, where a unit that is read again replaces its own files; or leave `time` and `max` out";
        report.value("write/replace", &at.key("mode"), message, hint);
    }
}

/// A path on this machine. Other places look like URLs.
pub(crate) fn local_path(path: &str, at: &At, code: &str, report: &mut Report) {
    if path.trim().is_empty() {
        return report.value(
            code,
            at,
            "the path is empty",
            "write a path; `.` is the folder that dil runs in",
        );
    }
    let Some((scheme, rest)) = path.split_once("://") else { return };
    let hint = match scheme {
        "file" => format!("write the path alone: `{rest}`"),
        "http" | "https" => {
            "only local paths in this version; rows of an API come through `read.http`".to_owned()
        }
        _ => "only local paths in this version".to_owned(),
    };
    report.value(code, at, format!("the path is a URL with the scheme `{scheme}`"), hint);
}

fn compression(files: &FilesWrite, at: &At, report: &mut Report) {
    let Some(compression) = files.compression else { return };
    let (format, fitting): (&str, &[Compression]) = match files.format {
        FileFormat::Parquet => (
            "parquet",
            &[Compression::None, Compression::Zstd, Compression::Snappy, Compression::Lz4, Compression::Gzip],
        ),
        FileFormat::Avro => {
            ("avro", &[Compression::None, Compression::Zstd, Compression::Snappy, Compression::Deflate])
        }
        FileFormat::Jsonl => ("jsonl", &[Compression::None, Compression::Gzip]),
        FileFormat::Csv => ("csv", &[Compression::None, Compression::Gzip]),
    };
    if !fitting.contains(&compression) {
        let message = format!("`{}` does not go with `format: {format}`", name(compression));
        let hint = format!("{format} takes {}", list(fitting.iter().map(|one| name(*one))));
        report.value("write/compression", &at.key("compression"), message, hint);
    }
}

fn name(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        Compression::Zstd => "zstd",
        Compression::Snappy => "snappy",
        Compression::Lz4 => "lz4",
        Compression::Gzip => "gzip",
        Compression::Deflate => "deflate",
    }
}
