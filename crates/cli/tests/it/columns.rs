//! Columns that are named in the flow: those that come late, those that never come, those whose type was another one.

use dil_testkit::process::{Finished, Program};
use dil_testkit::python;
use serde_json::json;
use tempfile::TempDir;

use crate::scene::DIL;

/// A folder with a flow that reads lines of JSON, one file a unit, one unit at a time.
struct Folder(TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        for (name, lines) in files {
            folder.write(&format!("{name}.ndjson"), lines);
        }
        folder
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).expect("a file can be written");
    }

    fn run(&self, names: &str, read: &str, more: &str) -> Finished {
        self.write(
            "flow.yaml",
            &format!(
                "flow: columns\nparallel: 1\nstages:\n  rows:\n    units: {{ each: {{ values: {names}, as: name }} }}\n    \
                 read: {{ files: {{ path: '{{{{ name }}}}.ndjson' }}, format: ndjson{read} }}\n{more}"
            ),
        );
        self.dil(&["run"])
    }

    fn dil(&self, arguments: &[&str]) -> Finished {
        Program::new(DIL, self.0.path()).env("NO_COLOR", "1").run(arguments)
    }

    fn rows(&self, select: &str) -> serde_json::Value {
        let script = "
import json, sys, duckdb
query = sys.argv[2] + f\" from read_parquet('{sys.argv[1]}/**/*.parquet', union_by_name = true, hive_partitioning = true) order by id\"
print(json.dumps(duckdb.sql(query).fetchall()))
";
        python::json(script, &[&self.0.path().join("out").to_string_lossy(), select])
    }
}

#[track_caller]
fn assert_told(finished: &Finished, told: &[&str]) {
    for text in told {
        assert!(finished.stderr.contains(text), "stderr should tell `{text}`\n{finished}");
    }
}

const WRITE: &str = "    write: { files: { path: out, format: parquet } }\n";

#[test]
fn a_column_that_comes_late_fails_no_unit() {
    let folder = Folder::new(&[
        ("a", "{\"id\":1}\n{\"id\":2}\n"),
        ("b", "{\"id\":3,\"country\":null}\n"),
        ("c", "{\"id\":4,\"country\":\"at\",\"amount\":5,\"old\":\"x\",\"at\":{\"day\":\"2024-01-31\"}}\n"),
    ]);
    let more = "    convert:\n      - derive: { day: { from: at.day, type: date } }\n      \
         - project: { keep: [id, country, amount, old, day], rename: { old: new } }\n      \
         - cast: { amount: 'decimal(10,2)' }\n    \
         write: { files: { path: out, format: parquet, partition_by: [country] } }\n";
    let finished = folder.run("[a, b, c]", "", more).succeeded();
    assert!(!finished.stderr.contains("warning"), "every column was seen in some unit\n{finished}");
    assert_eq!(
        folder.rows("select id, country, amount::text, new, day::text"),
        json!([
            [1, null, null, null, null],
            [2, null, null, null, null],
            [3, null, null, null, null],
            [4, "at", "5.00", "x", "2024-01-31"],
        ])
    );
}

#[test]
fn a_column_that_never_comes_is_warned_of_once() {
    let folder = Folder::new(&[("a", "{\"id\":1}\n"), ("b", "{\"id\":2}\n")]);
    let more = "    convert: [{ cast: { idd: text } }]\n    \
         write: { files: { path: out, format: parquet, partition_by: [contry] } }\n";
    let finished = folder.run("[a, b]", "", more).succeeded();
    let told =
        "warning: stage rows: no row had column `idd`, `contry`, which counts as null; the rows have id";
    assert_eq!(finished.stderr.matches(told).count(), 1, "{finished}");
    let preview = folder.dil(&["preview"]).succeeded();
    assert_told(&preview, &["warning: no row had column `idd`, `contry`"]);
}

#[test]
fn partitions_of_every_column_leave_nothing_to_write() {
    let folder = Folder::new(&[("a", "{\"id\":1}\n")]);
    let more = "    write: { files: { path: out, format: parquet, partition_by: [id] } }\n";
    let finished = folder.run("[a]", "", more);
    assert_eq!(finished.code, Some(1), "{finished}");
    assert_told(&finished, &["write/partition", "nothing is left for the files", "hint: leave a column out"]);
}

#[test]
fn a_recorded_type_changes_only_when_the_stage_is_forgotten() {
    let folder = Folder::new(&[("a", "{\"id\":1,\"x\":5}\n"), ("b", "{\"id\":2,\"x\":1.5}\n")]);
    folder.run("[a]", "", WRITE).succeeded();
    let conflict = folder.run("[b]", "", WRITE);
    assert_eq!(conflict.code, Some(1), "{conflict}");
    assert_told(&conflict, &["field `x`", "float64", "`dil state reset columns rows`"]);
    let declared = ", columns: { x: float64 }";
    let refused = folder.run("[a, b]", declared, WRITE);
    assert_eq!(refused.code, Some(2), "{refused}");
    assert_told(
        &refused,
        &["column `x` is declared as float64, and recorded as int64", "`dil state reset columns rows`"],
    );
    assert_told(&folder.dil(&["plan"]), &["schema/declared-differs", "at stage rows"]);
    folder.dil(&["state", "reset", "columns", "rows", "--yes"]).succeeded();
    folder.run("[a, b]", declared, WRITE).succeeded();
    assert_eq!(folder.rows("select id, x"), json!([[1, 5.0], [2, 1.5]]));
}

#[test]
fn a_value_that_does_not_fit_is_told_with_its_row_and_page() {
    let mut lines: String = (1..=1_006).map(|id| format!("{{\"id\":{id},\"n\":\"{id}\"}}\n")).collect();
    lines.push_str("{\"id\":1007,\"n\":\"1,5\"}\n");
    let folder = Folder::new(&[("a", &lines)]);
    let failed = folder.run("[a]", "", &format!("    convert: [{{ cast: {{ n: int64 }} }}]\n{WRITE}"));
    assert_told(&failed, &["column `n`: `1,5` does not fit int64", "row 1007", "page 1", "a.ndjson"]);
}

#[test]
fn a_renamed_column_of_nulls_divides_the_next_stage() {
    let folder = Folder::new(&[("a", "{\"id\":1,\"s\":null}\n{\"id\":2,\"s\":null}\n")]);
    let more = format!(
        "    convert: [{{ project: {{ rename: {{ s: status }} }} }}]\n  parts:\n    \
         units: {{ each: {{ rows_of: rows, fields: [id], where: {{ status: active }} }} }}\n    \
         read: {{ files: {{ path: a.ndjson }}, format: ndjson }}\n{WRITE}"
    );
    let finished = folder.run("[a]", "", &more).succeeded();
    assert!(!finished.stderr.contains("error"), "{finished}");
    folder.dil(&["plan"]).succeeded();
    let preview = folder.dil(&["preview", "flow.yaml", "parts"]);
    assert_told(&preview, &["preview/no-unit"]);
}

#[test]
fn rows_without_a_column_are_not_dropped() {
    for (format, written) in [("parquet", None), ("csv", None), ("jsonl", Some("{}\n{}\n"))] {
        let folder = Folder::new(&[("a", "{\"x\": null}\n{}\n")]);
        let write = format!("    write: {{ files: {{ path: out, format: {format} }} }}\n");
        let finished = folder.run("[a]", "", &write);
        assert_eq!(finished.code, Some(i32::from(written.is_none())), "{finished}");
        assert_eq!(finished.stderr.contains("error[write/no-columns]"), written.is_none(), "{finished}");
        let files = std::fs::read_dir(folder.0.path().join("out")).into_iter().flatten().flatten();
        let texts =
            files.filter(|file| file.path().is_file()).map(|file| std::fs::read_to_string(file.path()));
        assert_eq!(texts.collect::<Result<String, _>>().expect("text"), written.unwrap_or_default());
    }
}
