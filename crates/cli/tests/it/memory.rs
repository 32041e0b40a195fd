//! `memory:` is a promise: the resident set, seen from outside, stays below it whatever comes in.

use std::fs::File;
use std::path::Path;

use dil_model::parquet::file::reader::{FileReader, SerializedFileReader};
use dil_testkit::flood::Flood;
use dil_testkit::process::{Finished, Program};

use crate::lake;
use crate::scene::DIL;

const MIB: u64 = 1 << 20;

/// Runs a one-stage flow against a flood, and fails the test if it took more memory than the ceiling and a tenth.
fn run(folder: &Path, memory_mib: u64, url: &str, read: &str, files: &str) -> Finished {
    let flow = format!(
        "flow: flood
memory: {memory_mib}MiB
connections: {{ api: {{ http: {{ base: '{url}', timeout: {{ idle: 10m }} }} }} }}
stages:
  rows:
    read: {{ {read} }}
    write: {{ files: {{ path: lake, {files} }} }}
"
    );
    std::fs::write(folder.join("flow.yaml"), flow).expect("the flow can be written");
    let finished = Program::new(DIL, folder).run(&["run", "flow.yaml"]);
    println!("peak {} MiB of {memory_mib} MiB", finished.peak_bytes / MIB);
    assert!(
        finished.peak_bytes <= memory_mib * MIB * 11 / 10,
        "took {} MiB with `memory: {memory_mib}MiB`\n{finished}",
        finished.peak_bytes / MIB
    );
    finished
}

fn rows_in(folder: &Path) -> u64 {
    let rows = |path: &Path| {
        let file = File::open(path).expect("a visible file opens");
        let reader = SerializedFileReader::new(file).expect("a visible file is whole");
        u64::try_from(reader.metadata().file_metadata().num_rows()).expect("a count")
    };
    lake::visible(folder).iter().map(|path| rows(path)).sum()
}

#[test]
fn a_page_of_two_gigabytes_fits_into_the_default_budget() {
    let (flood, folder) = (Flood::start(0), tempfile::tempdir().expect("a folder"));
    let bytes = 2_000_000_000;
    let read = format!(
        "http: {{ connection: api, path: /page, query: {{ bytes: {bytes} }} }}, format: json, rows_at: data.items"
    );
    run(folder.path(), 256, &flood.url(), &read, "format: parquet").succeeded();
    assert_eq!(rows_in(&folder.path().join("lake")), Flood::rows_in_page(bytes));
}

#[test]
fn a_cursor_after_large_pages_fits_into_64_mebibytes() {
    let (flood, folder) = (Flood::start(0), tempfile::tempdir().expect("a folder"));
    let bytes = 150_000_000;
    let read = format!(
        "http: {{ connection: api, path: /page, query: {{ bytes: {bytes}, pages: 3 }}, \
         paginate: {{ cursor: {{ body: meta.next_cursor, param: cursor }} }} }}, format: json, rows_at: data.items"
    );
    run(folder.path(), 64, &flood.url(), &read, "format: parquet").succeeded();
    assert_eq!(rows_in(&folder.path().join("lake")), 3 * Flood::rows_in_page(bytes));
}

#[test]
fn two_thousand_partitions_fit_into_the_default_budget() {
    let (flood, folder) = (Flood::start(0), tempfile::tempdir().expect("a folder"));
    let read = "http: { connection: api, path: /partitions, query: { values: 2000, rounds: 200 } }, format: json, rows_at: data.items";
    run(folder.path(), 256, &flood.url(), read, "format: parquet, partition_by: [part]").succeeded();
    let lake = folder.path().join("lake");
    assert_eq!(rows_in(&lake), 400_000);
    assert_eq!(std::fs::read_dir(&lake).expect("the lake is there").filter(is_partition).count(), 2000);
}

fn is_partition(entry: &std::io::Result<std::fs::DirEntry>) -> bool {
    entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("part="))
}

#[test]
fn a_csv_of_five_hundred_columns_fits_into_the_default_budget() {
    let (flood, folder) = (Flood::start(0), tempfile::tempdir().expect("a folder"));
    let read = "http: { connection: api, path: /csv, query: { rows: 100000, columns: 500 } }, format: csv";
    run(folder.path(), 256, &flood.url(), read, "format: parquet").succeeded();
    assert_eq!(rows_in(&folder.path().join("lake")), 100_000);
}

#[test]
fn two_thousand_columns_fit_into_64_mebibytes() {
    let (flood, folder) = (Flood::start(0), tempfile::tempdir().expect("a folder"));
    let read = "http: { connection: api, path: /csv, query: { rows: 6000, columns: 2000 } }, format: csv";
    run(folder.path(), 64, &flood.url(), read, "format: parquet").succeeded();
    assert_eq!(rows_in(&folder.path().join("lake")), 6000);
}

#[test]
fn five_hundred_columns_and_wide_rows_fit_into_64_mebibytes() {
    let (flood, folder) = (Flood::start(0), tempfile::tempdir().expect("a folder"));
    let read = "http: { connection: api, path: /csv, query: { rows: 20000, columns: 500 } }, format: csv";
    run(folder.path(), 64, &flood.url(), read, "format: avro").succeeded();
}

#[test]
fn a_row_that_cannot_fit_fails_by_name() {
    let (flood, folder) = (Flood::start(0), tempfile::tempdir().expect("a folder"));
    let read = "http: { connection: api, path: /bigrow, query: { bytes: 400000000 } }, format: json, rows_at: data.items";
    let finished = run(folder.path(), 256, &flood.url(), read, "format: parquet");
    assert!(finished.code.is_some_and(|code| code != 0), "{finished}");
    assert!(
        finished.stderr.contains("memory/row-too-large") && finished.stderr.contains("hint:"),
        "{finished}"
    );
    assert_eq!(lake::visible(&folder.path().join("lake")), Vec::<std::path::PathBuf>::new());
}
