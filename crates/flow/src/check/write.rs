//! Where rows go.

use dil_model::config::{
    Compression, Convert, FileFormat, FilesWrite, OtherColumns, Publish, Stage, Units, Write, WriteMode,
};

use super::report::{At, Report};
use super::units::repeated;
use crate::nearest::{list, suggestion};

pub(crate) fn check(write: &Write, stage: &Stage, at: &At, report: &mut Report) {
    let Write::Files(files) = write;
    let at = at.key("write").key("files");
    local_path(&files.path, &at.key("path"), "write/path", report);
    repeated(files.partition_by.iter().map(String::as_str), &at.key("partition_by"), "the column", report);
    partitions(files, stage, &at.key("partition_by"), report);
    compression(files, &at, report);
    if files.file_size.0 == 0 {
        report.value(
            "write/file-size",
            &at.key("file_size"),
            "a file of no bytes holds no rows",
            "write a size like 128MiB",
        );
    }
    if files.mode == WriteMode::Replace && stage.publish != Publish::AllUnits {
        let message = "`mode: replace` exchanges the folder in one step, and `publish: each_unit` shows one unit at a time";
        report.value("write/replace", &at.key("mode"), message, "add `publish: all_units` to the stage");
    }
    let partly = |units: &Units| {
        let versions = units.lists().any(|each| !each.version.is_empty()).then_some("version");
        let time = units.time.as_ref().map(|_| "time");
        time.or(units.max.map(|_| "max")).or(units.abstinence.as_ref().map(|_| "abstinence")).or(versions)
    };
    if files.mode == WriteMode::Replace
        && let Some(key) = stage.units.as_ref().and_then(partly)
    {
        let message = format!(
            "`mode: replace` exchanges the whole folder, and with `{key}` a run reads only a part of it"
        );
        let hint = format!(
            "use `mode: append`, where a unit that is read again replaces its own files; or leave `{key}` out"
        );
        report.value("write/replace", &at.key("mode"), message, hint);
    }
}

/// That the columns are there and that others remain, where the flow alone tells which columns there are.
fn partitions(files: &FilesWrite, stage: &Stage, at: &At, report: &mut Report) {
    let Some(columns) = columns(stage).filter(|_| !files.partition_by.is_empty()) else { return };
    for (index, name) in files.partition_by.iter().enumerate() {
        if !name.is_empty() && !columns.contains(name) {
            let hint = suggestion(name, columns.iter().map(String::as_str), "the columns are");
            report.value("write/partition", &at.index(index), format!("there is no column `{name}`"), hint);
        }
    }
    if columns.iter().all(|column| files.partition_by.contains(column)) {
        let message = "`partition_by` takes every column, so nothing is left for the files";
        report.value("write/partition", at, message, "leave a column out of it");
    }
}

/// The columns that come to `write`, if no row can bring others.
fn columns(stage: &Stage) -> Option<Vec<String>> {
    let closed = stage.read.other_columns != OtherColumns::Infer;
    let mut known: Option<Vec<String>> = closed.then(|| stage.read.columns.keys().cloned().collect());
    for step in &stage.convert {
        match step {
            Convert::Derive(columns) => add(known.as_mut(), columns.keys()),
            Convert::Cast(columns) => add(known.as_mut(), columns.keys()),
            Convert::Project(project) => {
                if !project.keep.is_empty() {
                    known = Some(project.keep.clone());
                }
                if let Some(known) = &mut known {
                    known.retain(|name| !project.drop.contains(name));
                }
                add(known.as_mut(), project.rename.keys());
                for name in known.iter_mut().flatten() {
                    if let Some(new) = project.rename.get(name) {
                        new.clone_into(name);
                    }
                }
            }
        }
    }
    known
}

/// Adds columns that a conversion makes if they are not there.
fn add<'a>(known: Option<&mut Vec<String>>, names: impl Iterator<Item = &'a String>) {
    let Some(known) = known else { return };
    for name in names {
        if !known.contains(name) {
            known.push(name.clone());
        }
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
        let message = format!("`{}` does not go with `format: {format}`", compression.name());
        let hint = format!("{format} takes {}", list(fitting.iter().map(|one| one.name())));
        report.value("write/compression", &at.key("compression"), message, hint);
    }
}
