//! Parquet and Avro files that other programs wrote, and listings of files, as rows and as values.

use std::fs;

use dil_testkit::python;

use crate::lake;
use crate::scene::Scene;

/// Writes the same rows with pyarrow, DuckDB and fastavro, with every type that these have.
const WRITE: &str = r#"
import datetime, decimal, json, sys, uuid
import duckdb, fastavro, pyarrow as pa, pyarrow.parquet as pq
folder = sys.argv[1]
at = datetime.datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=datetime.timezone.utc)
n = 3000
ids = list(range(n))
some = lambda value: [None if i % 7 == 0 else value(i) for i in ids]
columns = {
    "id": pa.array(ids, pa.int64()),
    "i8": pa.array(some(lambda i: i % 100 - 50), pa.int8()),
    "u16": pa.array(some(lambda i: i), pa.uint16()),
    "u32": pa.array(some(lambda i: 4_294_967_295 - i), pa.uint32()),
    "u64": pa.array(some(lambda i: 18_446_744_073_709_551_615 - i), pa.uint64()),
    "f16": pa.array(some(lambda i: i % 8 / 4), pa.float16()),
    "flag": pa.array(some(lambda i: i % 2 == 0), pa.bool_()),
    "text": pa.array(some(lambda i: f"ä{i}"), pa.large_string()),
    "kind": pa.array(some(lambda i: f"k{i % 3}"), pa.string()).dictionary_encode(),
    "raw": pa.array(some(lambda i: bytes([i % 256, 0])), pa.binary(2)),
    "day": pa.array(some(lambda i: datetime.date(2024, 1, 1) + datetime.timedelta(i)), pa.date32()),
    "ms": pa.array(some(lambda i: at + datetime.timedelta(milliseconds=i)), pa.timestamp("ms", "Europe/Vienna")),
    "ns": pa.array(some(lambda i: at + datetime.timedelta(microseconds=i)), pa.timestamp("ns", "UTC")),
    "local": pa.array(some(lambda i: at.replace(tzinfo=None)), pa.timestamp("us")),
    "clock": pa.array(some(lambda i: datetime.time(12, 30, 0, i)), pa.time64("us")),
    "price": pa.array(some(lambda i: decimal.Decimal(i) / 100), pa.decimal128(12, 2)),
    "huge": pa.array(some(lambda i: decimal.Decimal(10) ** 50 + i), pa.decimal256(60, 0)),
    "tags": pa.array(some(lambda i: [f"t{i}", None]), pa.large_list(pa.string())),
    "pair": pa.array(some(lambda i: [i, i + 1]), pa.list_(pa.int16(), 2)),
    "inner": pa.array(some(lambda i: {"a": i, "b": {"c": str(i)}}), pa.struct([("a", pa.int32()), ("b", pa.struct([("c", pa.string())]))])),
    "map": pa.array(some(lambda i: [("x", i)]), pa.map_(pa.string(), pa.int64())),
    "none": pa.nulls(n),
}
table = pa.table(columns)
pq.write_table(table, f"{folder}/types.parquet", row_group_size=700, compression="zstd")
duckdb.sql(f"copy (select i id, uuid() as key, interval (i) hour as wait, [1, 2] as list, i::hugeint as big from range(100) t(i)) to '{folder}/duck.parquet' (format parquet)")

schema = {"type": "record", "name": "a.b.Row", "fields": [
    {"name": "id", "type": "long"},
    {"name": "small", "type": ["null", "int"], "default": None},
    {"name": "kind", "type": {"type": "enum", "name": "a.c.Kind", "symbols": ["RED", "BLUE"]}},
    {"name": "other", "type": ["null", "a.c.Kind"], "default": None},
    {"name": "key", "type": {"type": "string", "logicalType": "uuid"}},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
    {"name": "inner", "type": ["null", {"type": "record", "name": "Inner", "fields": [{"name": "x", "type": "double"}]}]},
    {"name": "tags", "type": {"type": "array", "items": "string"}},
    {"name": "map", "type": {"type": "map", "values": "int"}},
]}
row = lambda i: {"id": i, "small": None if i % 7 == 0 else i, "kind": ["RED", "BLUE"][i % 2], "other": None if i % 7 == 0 else "RED",
    "key": str(uuid.UUID(int=i)), "at": at.replace(microsecond=123000), "price": decimal.Decimal(i) / 100,
    "inner": None if i % 7 == 0 else {"x": i / 2}, "tags": [str(i)], "map": {"x": i}}
for codec in ["null", "deflate", "snappy", "zstandard", "bzip2", "xz"]:
    with open(f"{folder}/{codec}.avro", "wb") as out:
        fastavro.writer(out, fastavro.parse_schema(schema), (row(i) for i in ids), codec=codec)
print(json.dumps(n))
"#;

/// Compares what `dil` published with the files themselves, value by value, as DuckDB and fastavro read them.
const COMPARE: &str = r#"
import datetime, glob, json, sys
import fastavro, pyarrow.parquet as pq, pyarrow as pa
folder = sys.argv[1]
def plain(value):
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).isoformat() if value.tzinfo else value.isoformat()
    if isinstance(value, datetime.time):
        return value.isoformat("milliseconds" if value.microsecond % 1000 == 0 and value.microsecond else "auto")
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], tuple):
        return [{"key": key, "value": plain(inner)} for key, inner in value]
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value if isinstance(value, (float, bool, bytes, type(None))) else str(value)
def published(name):
    tables = [pq.read_table(path) for path in sorted(glob.glob(f"{folder}/lake/{name}/*.parquet"))]
    return sorted((row for table in tables for row in table.to_pylist()), key=lambda row: row["id"])
wrong = []
def compare(name, expected):
    found = published(name)
    if len(found) != len(expected):
        wrong.append(f"{name}: {len(found)} rows for {len(expected)}")
    for got, want in zip(found, expected):
        for field, value in want.items():
            if plain(got.get(field)) != plain(value):
                wrong.append(f"{name}.{field}: {plain(got.get(field))!r} for {plain(value)!r}")
                break
compare("types", pq.read_table(f"{folder}/types.parquet").drop_columns(["none"]).to_pylist())
for codec in ["null", "deflate", "snappy", "zstandard", "bzip2", "xz"]:
    rows = list(fastavro.reader(open(f"{folder}/{codec}.avro", "rb")))
    for row in rows:
        row["map"] = list(row["map"].items())
    compare(codec, rows)
duck = published("duck")
schema = pq.read_schema(glob.glob(f"{folder}/lake/types/*.parquet")[0])
print(json.dumps({"wrong": wrong[:5], "duck": len(duck), "key": duck[0]["key"], "types": {field.name: str(field.type) for field in schema}}))
"#;

#[test]
fn files_of_other_writers_keep_every_value() {
    let scene = Scene::new();
    python::json(WRITE, &[&scene.folder().to_string_lossy()]);
    let files = [
        "types.parquet",
        "duck.parquet",
        "null.avro",
        "deflate.avro",
        "snappy.avro",
        "zstandard.avro",
        "bzip2.avro",
        "xz.avro",
    ];
    let stages: String = files
        .iter()
        .map(|file| {
            let name = file.split('.').next().unwrap_or_default();
            format!("  s_{name}: {{ read: {{ files: {{ path: {file} }} }}, write: {{ files: {{ path: lake/{name}, format: parquet }} }} }}\n")
        })
        .collect();
    scene.write("flow.yaml", &format!("flow: foreign\nstages:\n{stages}"));
    scene.dil().run(&["run", "flow.yaml"]).succeeded();
    let found = python::json(COMPARE, &[&scene.folder().to_string_lossy()]);
    assert_eq!(found["wrong"], serde_json::json!([]), "{found:#}");
    assert_eq!(found["duck"], 100);
    assert_eq!(found["key"].as_str().map(str::len), Some(36), "{found:#}");
    for (column, expect) in [
        ("i8", "int32"),
        ("u32", "int64"),
        ("u64", "decimal128(20, 0)"),
        ("f16", "float"),
        ("kind", "string"),
        ("ms", "timestamp[us, tz=UTC]"),
        ("ns", "timestamp[us, tz=UTC]"),
        ("local", "timestamp[us]"),
        ("clock", "string"),
        ("huge", "string"),
        ("price", "decimal128(12, 2)"),
    ] {
        assert_eq!(found["types"][column], expect, "{column}\n{found:#}");
    }
}

#[test]
fn values_come_from_rows_of_parquet_and_avro_files() {
    let write = r#"
import json, sys
import fastavro, pyarrow as pa, pyarrow.parquet as pq
folder = sys.argv[1]
pq.write_table(pa.table({"site": pa.array(["eu", "us", None]), "on": pa.array([True, True, False])}), f"{folder}/sites.parquet")
schema = {"type": "record", "name": "Kind", "fields": [{"name": "kind", "type": "int"}]}
with open(f"{folder}/kinds.avro", "wb") as out:
    fastavro.writer(out, schema, [{"kind": 1}, {"kind": 2}])
print(json.dumps(1))
"#;
    let scene = Scene::new();
    python::json(write, &[&scene.folder().to_string_lossy()]);
    let mut expected = Vec::new();
    for (site, kind, id) in [("eu", 1, 1), ("eu", 2, 2), ("us", 1, 3), ("us", 2, 4)] {
        scene.write(&format!("{site}-{kind}.ndjson"), &format!("{{\"id\":{id}}}\n"));
        expected.push(id);
    }
    scene.write(
        "flow.yaml",
        "flow: crossed
stages:
  sites: { read: { files: { path: sites.parquet } } }
  kinds: { read: { files: { path: kinds.avro } } }
  rows:
    units:
      each: { rows_of: sites, fields: [site], where: { site: '.+' } }
      cross: [ { rows_of: kinds, fields: [kind] } ]
    read: { files: { path: '{{ site }}-{{ kind }}.ndjson' } }
    write: { files: { path: lake, format: parquet } }
",
    );
    scene.dil().run(&["run", "flow.yaml"]).succeeded();
    assert_eq!(lake::ids(&scene.lake()), expected);
}

const LISTED: &str = "flow: listed
stages:
  names: { read: { list: { path: 'in/**/*.ndjson' } } }
  rows:
    units: { each: { rows_of: names, fields: [path], version: [size, modified] } }
    read: { files: { path: '{{ path | safe }}', }, format: ndjson }
    write: { files: { path: lake, format: parquet } }
";

#[test]
fn files_of_a_listing_are_read_once_and_again_when_they_change() {
    let scene = Scene::new();
    fs::create_dir_all(scene.path("in/deep")).expect("a folder");
    scene.write("flow.yaml", LISTED);
    scene.write("in/a.ndjson", "{\"id\":1}\n");
    scene.write("in/deep/b [x].ndjson", "{\"id\":2}\n");
    scene.write("in/.hidden.ndjson", "{\"id\":99}\n");
    let run = || scene.dil().run(&["run", "flow.yaml"]).succeeded().stdout;
    run();
    assert_eq!(lake::ids(&scene.lake()), [1, 2]);
    assert!(run().contains("2 units skipped: already done"));
    scene.write("in/a.ndjson", "{\"id\":1}\n{\"id\":3}\n");
    scene.write("in/c.ndjson", "{\"id\":4}\n");
    let told = run();
    assert!(told.contains("1 unit skipped: already done"), "{told}");
    assert_eq!(lake::ids(&scene.lake()), [1, 2, 3, 4]);
}

#[test]
fn what_is_no_whole_file_is_said_and_publishes_nothing() {
    let scene = Scene::new();
    python::json(WRITE, &[&scene.folder().to_string_lossy()]);
    for (from, code) in [("types.parquet", "parquet/broken"), ("zstandard.avro", "avro/broken")] {
        let whole = fs::read(scene.path(from)).expect("the file");
        let ending = from.rsplit('.').next().unwrap_or_default();
        let mut bent = whole.clone();
        let middle = bent.len() / 2;
        bent[middle..middle + 200].fill(0xff);
        let broken: [(&str, &[u8]); 5] = [
            ("empty", &[]),
            ("text", b"id\n1\n"),
            ("header", &whole[..20]),
            ("half", &whole[..whole.len() / 2]),
            ("bent", &bent),
        ];
        for (name, bytes) in broken {
            let path = scene.path(&format!("broken.{ending}"));
            fs::write(&path, bytes).expect("a file");
            let flow = format!(
                "flow: broken\nstages:\n  s: {{ read: {{ files: {{ path: broken.{ending} }} }}, write: {{ files: {{ path: broken-{ending}-{name}, format: parquet }} }} }}\n"
            );
            scene.write("broken.yaml", &flow);
            let finished = scene.dil().run(&["run", "broken.yaml", "--fresh"]);
            assert_eq!(finished.code, Some(1), "{name} {from}\n{finished}");
            assert!(finished.stderr.contains(code), "{name} {from}\n{finished}");
            assert!(finished.stderr.contains(&format!("broken.{ending}")), "{name} {from}\n{finished}");
            assert!(
                !scene.path(&format!("broken-{ending}-{name}")).exists()
                    || lake::ids(&scene.path(&format!("broken-{ending}-{name}"))).is_empty()
            );
        }
    }
}

#[test]
fn a_value_that_would_be_bent_is_refused_and_kept_as_text() {
    let write = r#"
import json, sys
import pyarrow as pa, pyarrow.parquet as pq
folder = sys.argv[1]
pq.write_table(pa.table({"id": [1, 2], "at": pa.array([1_700_000_000_000_000_000, 1_700_000_000_000_000_001], pa.timestamp("ns"))}), f"{folder}/in.parquet")
print(json.dumps(1))
"#;
    let scene = Scene::new();
    python::json(write, &[&scene.folder().to_string_lossy()]);
    let flow = |columns: &str| {
        let text = format!(
            "flow: bent\nstages:\n  s: {{ read: {{ files: {{ path: in.parquet }}{columns} }}, write: {{ files: {{ path: lake, format: jsonl }} }} }}\n"
        );
        scene.write("flow.yaml", &text);
        scene.dil().run(&["run", "flow.yaml", "--fresh"])
    };
    let refused = flow("");
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(refused.stderr.contains("`at`") && refused.stderr.contains("columns: { at: text }"), "{refused}");
    flow(", columns: { at: text }").succeeded();
    let written = fs::read_dir(scene.lake())
        .expect("the lake")
        .flatten()
        .find(|file| file.path().is_file())
        .expect("a file");
    let text = fs::read_to_string(written.path()).expect("the rows");
    assert!(text.contains("2023-11-14T22:13:20.000000001"), "{text}");
    scene.dil().run(&["state", "reset", "bent", "s", "--yes"]).succeeded();
    let refused = flow(", columns: { at: date }");
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(refused.stderr.contains("column `at`"), "{refused}");
}
