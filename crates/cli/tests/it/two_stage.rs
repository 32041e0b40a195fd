//! The main job: values from one list, a bigger extraction divided by them and by months, typed files.

use std::path::Path;

use dil_testkit::python;
use serde_json::{Value, json};

use crate::lake;
use crate::scene::{BY_CURSOR, Scene, TwoStage};

/// `(path, from)` of each request for events that was answered, in order of the path.
fn intervals_asked(scene: &Scene) -> Vec<(String, String)> {
    let ledger = scene.oracle.ledger();
    let first_pages =
        ledger.iter().filter(|served| served.path.ends_with("/events") && !served.query.contains("cursor="));
    let mut asked: Vec<(String, String)> = first_pages
        .map(|served| {
            let from =
                served.query.split('&').find_map(|pair| pair.strip_prefix("from=")).unwrap_or_default();
            (served.path.clone(), from.to_owned())
        })
        .collect();
    asked.sort();
    asked
}

const JANUARY: &str = "1704067200";
const FEBRUARY: &str = "1706745600";
const MARCH: &str = "1709251200";

#[test]
fn publishes_every_row_of_every_value_and_month() {
    let scene = Scene::small();
    scene.run("2024-03-01", &[]).succeeded();
    scene.assert_exactly_once("2024-03-01");
    assert_eq!(intervals_asked(&scene).len(), 4);
}

#[test]
fn the_second_run_fetches_only_what_is_new() {
    let scene = Scene::small();
    scene.run("2024-03-01", &[]).succeeded();
    scene.oracle.forget();
    scene.run("2024-03-01", &[]).succeeded();
    assert_eq!(intervals_asked(&scene), [], "nothing is new");

    let site = scene.oracle.add_site("active");
    scene.oracle.add_site("closed");
    for site in [1, 2, site] {
        scene.oracle.add_events(site, "2024-03-01", "2024-04-01", 4);
    }
    scene.oracle.add_events(site, "2024-01-01", "2024-02-01", 2);
    scene.oracle.forget();
    scene.run("2024-04-01", &[]).succeeded();
    let path = |site| format!("/cursor/sites/{site}/events");
    let expect =
        [(path(1), MARCH), (path(2), MARCH), (path(3), JANUARY), (path(3), FEBRUARY), (path(3), MARCH)];
    assert_eq!(intervals_asked(&scene), expect.map(|(path, from)| (path, from.to_owned())));
    scene.assert_exactly_once("2024-04-01");
}

#[test]
fn an_interval_that_was_cut_short_is_read_on_from_there() {
    let scene = Scene::small();
    scene.run("2024-02-10", &[]).succeeded();
    scene.assert_exactly_once("2024-02-10");
    scene.oracle.forget();
    scene.run("2024-03-01", &[]).succeeded();
    scene.assert_exactly_once("2024-03-01");
    let again: Vec<_> = scene.oracle.ledger().iter().flat_map(|served| served.rows.clone()).collect();
    let early = scene.oracle.ids_between("2024-01-01", "2024-02-10");
    let events = scene.oracle.ledger();
    let events: Vec<u64> =
        events.iter().filter(|s| s.path.ends_with("/events")).flat_map(|s| s.rows.clone()).collect();
    assert!(events.iter().all(|id| !early.contains(id)), "{again:?} were served again");
}

#[test]
fn late_rows_within_grace_take_the_place_of_what_was_there() {
    let scene = Scene::small();
    scene.write_flow(&TwoStage { time: ", grace: 10d", ..TwoStage::default() });
    scene.run("2024-03-01", &[]).succeeded();
    scene.oracle.add_event(1, "2024-02-20T12:00:00Z", Value::Null);
    scene.oracle.forget();
    scene.run("2024-03-01", &[]).succeeded();
    scene.assert_exactly_once("2024-03-01");
    let asked = intervals_asked(&scene);
    assert!(
        asked.iter().all(|(_, from)| from == FEBRUARY),
        "only what grace covers is read again: {asked:?}"
    );
}

#[test]
fn a_stage_that_was_reset_is_read_again_and_replaces_its_files() {
    let scene = Scene::small();
    scene.run("2024-03-01", &[]).succeeded();
    scene.dil().run(&["state", "reset", "two_stage", "events", "--yes"]).succeeded();
    scene.oracle.forget();
    scene.run("2024-03-01", &[]).succeeded();
    assert_eq!(intervals_asked(&scene).len(), 4, "everything is read again");
    scene.assert_exactly_once("2024-03-01");
}

#[test]
fn workers_give_the_same_rows() {
    let scene = Scene::small();
    scene.run("2024-03-01", &["--workers", "2"]).succeeded();
    scene.assert_exactly_once("2024-03-01");
}

#[test]
fn every_style_of_paging_gives_every_row() {
    let interval = "from: '{{ low | iso }}', to: '{{ high | iso }}'";
    let query = |more: &str, paginate: &str| format!("query: {{ {interval}{more} }}{paginate}");
    let styles: [(&str, String); 10] = [
        ("cursor", BY_CURSOR.to_owned()),
        (
            "cursor-header",
            query(", limit: 3", ", paginate: { cursor: { header: X-Next-Cursor, param: cursor } }"),
        ),
        (
            "search",
            format!(
                "method: POST, reads: true, json: {{ {interval}, limit: 3, cursor: '{{{{ cursor }}}}' }}, \
                 paginate: {{ cursor: {{ body: meta.next_cursor }} }}"
            ),
        ),
        ("next", query(", limit: 3", ", paginate: { next: { body: links.next } }")),
        ("link", query(", limit: 3", ", paginate: { next: { link: next } }")),
        ("offset", query("", ", paginate: { offset: { param: offset, size_param: limit, size: 3 } }")),
        (
            "total",
            query(
                "",
                ", paginate: { offset: { param: offset, size_param: limit, size: 3, end: { total: meta.total } } }",
            ),
        ),
        ("page", query("", ", paginate: { page: { param: page, size_param: per_page, size: 3 } }")),
        (
            "pages",
            query(
                "",
                ", paginate: { page: { param: page, size_param: per_page, size: 3, end: { total_pages: meta.pages } } }",
            ),
        ),
        ("single", query("", "")),
    ];
    for (style, request) in &styles {
        let scene = Scene::small();
        scene.write_flow(&TwoStage { style, request, ..TwoStage::default() });
        let finished = scene.run("2024-03-01", &[]);
        assert_eq!(finished.code, Some(0), "{style}\n{finished}");
        assert_eq!(lake::ids(&scene.lake()), scene.oracle.ids_between("2024-01-01", "2024-03-01"), "{style}");
        let refused: Vec<_> =
            scene.oracle.ledger().into_iter().filter(|served| served.status != 200).collect();
        assert!(refused.is_empty(), "{style}: the strict server refused {refused:?}");
    }
}

#[test]
fn csv_and_lines_of_json_are_read_as_well() {
    let request = "query: { from: '{{ low | epoch }}', to: '{{ high | epoch }}' }";
    for format in ["csv", "ndjson"] {
        let scene = Scene::small();
        scene.write_flow(&TwoStage { style: format, request, format, ..TwoStage::default() });
        let finished = scene.run("2024-03-01", &[]);
        assert_eq!(finished.code, Some(0), "{format}\n{finished}");
        scene.assert_exactly_once("2024-03-01");
    }
}

/// Reads a folder by every implementation that knows its format; prints `{reader: [sorted ids]}`.
const READ_BACK: &str = r#"
import glob, json, sys
import duckdb, fastavro
import pyarrow.csv, pyarrow.dataset, pyarrow.json
folder, format = sys.argv[1:]
files = sorted(glob.glob(f"{folder}/**/*.{format}", recursive=True))
assert files, f"no .{format} files in {folder}"
found = {}
if format == "parquet":
    found["pyarrow"] = pyarrow.dataset.dataset(files).to_table(columns=["id"])["id"].to_pylist()
    query = f"select id from read_parquet('{folder}/**/*.parquet', union_by_name = true)"
    found["duckdb"] = [row[0] for row in duckdb.sql(query).fetchall()]
elif format == "avro":
    found["fastavro"] = [row["id"] for file in files for row in fastavro.reader(open(file, "rb"))]
elif format == "jsonl":
    found["python"] = [json.loads(line)["id"] for file in files for line in open(file)]
    query = f"select id from read_json('{folder}/**/*.jsonl', format = 'newline_delimited', union_by_name = true)"
    found["duckdb"] = [row[0] for row in duckdb.sql(query).fetchall()]
elif format == "csv":
    options = pyarrow.csv.ParseOptions(newlines_in_values=True)
    found["pyarrow"] = [id for file in files for id in pyarrow.csv.read_csv(file, parse_options=options)["id"].to_pylist()]
    query = f"select id from read_csv('{folder}/**/*.csv', union_by_name = true)"
    found["duckdb"] = [row[0] for row in duckdb.sql(query).fetchall()]
print(json.dumps({reader: sorted(ids) for reader, ids in found.items()}))
"#;

fn assert_read_back(folder: &Path, format: &str, ids: &[u64], case: &str) {
    let found = python::json(READ_BACK, &[&folder.to_string_lossy(), format]);
    for (reader, found) in found.as_object().expect("an object") {
        assert_eq!(found, &json!(ids), "{case} by {reader}");
    }
}

#[test]
fn other_implementations_read_every_format() {
    for files in [
        "format: parquet",
        "format: parquet, compression: snappy",
        "format: parquet, compression: lz4",
        "format: parquet, compression: gzip",
        "format: parquet, compression: none",
        "format: avro",
        "format: avro, compression: none",
        "format: avro, compression: deflate",
        "format: avro, compression: snappy",
        "format: avro, compression: zstd",
        "format: jsonl",
        "format: csv",
    ] {
        let format = files["format: ".len()..].split(',').next().unwrap_or_default();
        let scene = Scene::small();
        let convert = if format == "csv" { "[{ project: { drop: [device, tags] } }]" } else { "[]" };
        scene.write_flow(&TwoStage { files, convert, ..TwoStage::default() });
        let finished = scene.run("2024-03-01", &[]);
        assert_eq!(finished.code, Some(0), "{files}\n{finished}");
        assert_read_back(&scene.lake(), format, &scene.oracle.ids_between("2024-01-01", "2024-03-01"), files);
    }
}

#[test]
fn folders_named_by_values_are_read_as_hive_does() {
    let scene = Scene::small();
    scene.write_flow(&TwoStage { files: "format: parquet, partition_by: [kind]", ..TwoStage::default() });
    scene.run("2024-03-01", &[]).succeeded();
    let script = r#"
import json, sys
import duckdb, pyarrow.dataset
folder = sys.argv[1]
table = pyarrow.dataset.dataset(folder, partitioning="hive", exclude_invalid_files=False).to_table(columns=["id", "kind"])
query = f"select id, kind from read_parquet('{folder}/*/*.parquet', hive_partitioning = true, union_by_name = true) order by id"
rows = sorted((row["id"], str(row["kind"])) for row in table.to_pylist())
print(json.dumps({"pyarrow": rows, "duckdb": [list(row) for row in duckdb.sql(query).fetchall()]}))
"#;
    let found = python::json(script, &[&scene.lake().to_string_lossy()]);
    assert_eq!(found["pyarrow"], found["duckdb"]);
    let ids: Vec<u64> =
        found["duckdb"].as_array().expect("rows").iter().filter_map(|row| row[0].as_u64()).collect();
    assert_eq!(ids, scene.oracle.ids_between("2024-01-01", "2024-03-01"));
}

#[test]
fn types_survive_the_way_into_parquet() {
    let scene = Scene::small();
    let convert = "[{ derive: { site: { value: '{{ id }}', type: int64 }, day: { from: at, as: iso, timezone: UTC, type: date } } }, \
         { cast: { amount: 'decimal(12,3)' } }]";
    scene.write_flow(&TwoStage { convert, ..TwoStage::default() });
    scene.run("2024-03-01", &[]).succeeded();
    let script = r#"
import json, sys
import pyarrow.dataset
schema = pyarrow.dataset.dataset(sys.argv[1]).schema
print(json.dumps({field.name: str(field.type) for field in schema}))
"#;
    let types = python::json(script, &[&scene.lake().to_string_lossy()]);
    for (column, expect) in [
        ("id", "int64"),
        ("site", "int64"),
        ("day", "date32[day]"),
        ("amount", "decimal128(12, 3)"),
        ("kind", "string"),
    ] {
        assert_eq!(types[column], expect, "{column} of {types}");
    }
    assert!(types["device"].as_str().is_some_and(|text| text.starts_with("struct<")), "{types}");
}
