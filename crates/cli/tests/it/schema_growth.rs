//! Columns that come late, are null first, or grow inside: all files of a dataset stay readable together.

use dil_testkit::python;
use serde_json::{Value, json};

use crate::scene::{Scene, TwoStage};

/// A site whose rows change shape from month to month, one run a month.
fn grown() -> Scene {
    let scene = Scene::new();
    scene.write_flow(&TwoStage::default());
    let site = scene.oracle.add_site("active");
    let months = [
        ("2024-01", "2024-02-01", json!({ "empty_first": null, "device": { "os": "linux" } })),
        (
            "2024-02",
            "2024-03-01",
            json!({ "empty_first": 5, "device": { "os": "linux", "screen": { "width": 80 } } }),
        ),
        (
            "2024-03",
            "2024-04-01",
            json!({ "late": "new", "device": { "os": "ios", "screen": { "width": 80, "height": 24 } } }),
        ),
        ("2024-04", "2024-05-01", json!({ "late": null, "list": [{ "a": 1 }], "device": null })),
        ("2024-05", "2024-06-01", json!({ "list": [{ "a": 2, "b": "x" }], "empty_first": 7 })),
    ];
    for (month, to, extra) in months {
        for day in 1..=3 {
            scene.oracle.add_event(site, &format!("{month}-0{day}T00:00:00Z"), extra.clone());
        }
        scene.run(to, &[]).succeeded();
    }
    scene.assert_exactly_once("2024-06-01");
    scene
}

#[test]
fn duckdb_reads_all_files_together() {
    let scene = grown();
    let script = r#"
import json, sys
import duckdb
# Whole rows first: DuckDB 2.0.0 fails on a member that only some of the files have when it is asked for alone.
duckdb.sql(f"create table rows as from read_parquet('{sys.argv[1]}/*.parquet', union_by_name = true)")
rows = duckdb.sql("""
    select id, empty_first, late, device.os, device.screen.width, device.screen.height, list[1].a, list[1].b
    from rows order by id
""").fetchall()
print(json.dumps(rows))
"#;
    let rows = python::json(script, &[&scene.lake().to_string_lossy()]);
    let every_third: Vec<&Value> = rows.as_array().expect("rows").iter().step_by(3).collect();
    assert_eq!(
        json!(every_third),
        json!([
            [1, null, null, "linux", null, null, null, null],
            [4, 5, null, "linux", 80, null, null, null],
            [7, null, "new", "ios", 80, 24, null, null],
            [10, null, null, null, null, null, 1, null],
            [13, 7, null, rows[12][3], null, null, 2, "x"],
        ])
    );
}

#[test]
fn pyarrow_reads_all_files_together() {
    let scene = grown();
    let script = r#"
import glob, json, sys
import pyarrow as pa, pyarrow.dataset, pyarrow.parquet
files = sorted(glob.glob(sys.argv[1] + "/*.parquet"))
schema = pa.unify_schemas([pyarrow.parquet.read_schema(file).remove_metadata() for file in files])
table = pyarrow.dataset.dataset(files, schema=schema).to_table().sort_by("id")
print(json.dumps(table.select(["id", "empty_first", "late"]).to_pylist()[::3]))
"#;
    let rows = python::json(script, &[&scene.lake().to_string_lossy()]);
    let row = |id, first: Value, late: Value| json!({ "id": id, "empty_first": first, "late": late });
    let null = || Value::Null;
    let expect = [
        row(1, null(), null()),
        row(4, json!(5), null()),
        row(7, null(), json!("new")),
        row(10, null(), null()),
        row(13, json!(7), null()),
    ];
    assert_eq!(rows, json!(expect));
}

#[test]
fn the_schema_of_the_newest_file_holds_all_others() {
    let scene = grown();
    let script = r#"
import glob, json, os, sys
import pyarrow.dataset, pyarrow.parquet
files = sorted(glob.glob(sys.argv[1] + "/*.parquet"))
newest = pyarrow.parquet.read_schema(max(files, key=os.path.getmtime))
rows = pyarrow.dataset.dataset(files, schema=newest).to_table().sort_by("id").to_pylist()
wanted = ["id", "empty_first", "late", "list", "device"]
print(json.dumps([{name: row[name] for name in wanted} for row in (rows[0], rows[3], rows[6], rows[12])]))
"#;
    let rows = python::json(script, &[&scene.lake().to_string_lossy()]);
    let device = |os: &str, screen: Value| json!({ "os": os, "version": null, "screen": screen });
    assert_eq!(rows[0]["device"], device("linux", Value::Null));
    assert_eq!(rows[1]["device"], device("linux", json!({ "width": 80, "height": null })));
    assert_eq!(rows[2]["device"], device("ios", json!({ "width": 80, "height": 24 })));
    assert_eq!(rows[2]["late"], "new");
    assert_eq!(rows[3]["list"], json!([{ "a": 2, "b": "x" }]));
}

#[test]
fn a_plain_call_reads_every_row_with_the_columns_of_its_first_file() {
    let scene = grown();
    // What docs/reading.md warns of: nothing fails, and the columns that came later are not there.
    let script = r#"
import glob, json, sys
import duckdb, pyarrow.dataset, pyarrow.parquet
files = sorted(glob.glob(sys.argv[1] + "/*.parquet"))
first = pyarrow.parquet.read_schema(files[0]).names
relation = duckdb.sql(f"from read_parquet('{sys.argv[1]}/*.parquet')")
table = pyarrow.dataset.dataset(files).to_table()
print(json.dumps([
    [relation.columns == first, len(relation.fetchall())],
    [table.column_names == first, table.num_rows],
    "late" in first,
]))
"#;
    let found = python::json(script, &[&scene.lake().to_string_lossy()]);
    assert_eq!(found, json!([[true, 15], [true, 15], false]));
}

#[test]
fn a_column_has_one_type_in_all_files() {
    let scene = grown();
    // Spark merges a dataset's files by name and refuses a leaf that has two types.
    let script = r#"
import glob, json, sys
import pyarrow as pa, pyarrow.parquet
types = {}
def walk(path, type):
    if pa.types.is_struct(type):
        for field in type:
            walk(f"{path}.{field.name}", field.type)
    elif pa.types.is_list(type) or pa.types.is_large_list(type):
        walk(path + "[]", type.value_type)
    else:
        types.setdefault(path, set()).add(str(type))
for file in glob.glob(sys.argv[1] + "/*.parquet"):
    for field in pyarrow.parquet.read_schema(file):
        walk(field.name, field.type)
print(json.dumps({path: sorted(found) for path, found in types.items()}))
"#;
    let types = python::json(script, &[&scene.lake().to_string_lossy()]);
    let types = types.as_object().expect("an object");
    assert!(types.contains_key("device.screen.height") && types.contains_key("list[].b"), "{types:?}");
    for (column, found) in types {
        assert_eq!(found.as_array().map(Vec::len), Some(1), "{column} is {found}");
        assert_ne!(found[0], "null", "{column} was written without a type");
    }
}

#[test]
fn a_type_that_changes_is_an_error_and_not_a_text() {
    let scene = Scene::new();
    scene.write_flow(&TwoStage::default());
    let site = scene.oracle.add_site("active");
    scene.oracle.add_event(site, "2024-01-01T00:00:00Z", json!({ "size": 5 }));
    scene.run("2024-02-01", &[]).succeeded();
    scene.oracle.add_event(site, "2024-02-01T00:00:00Z", json!({ "size": "large" }));
    let finished = scene.run("2024-03-01", &[]);
    assert_ne!(finished.code, Some(0), "{finished}");
    assert!(finished.stderr.contains("size"), "the column is named\n{finished}");
    scene.assert_exactly_once("2024-02-01");
}
