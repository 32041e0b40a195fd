//! Whole chains: what comes out of them, and what they say when nothing can.

use std::sync::Arc;

use dil_model::arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use dil_model::arrow::buffer::NullBuffer;
use dil_model::arrow::datatypes::Field;
use dil_model::setting::ColumnType;
use serde_json::{Value, json};

use super::*;

fn steps(steps: Value) -> Vec<Convert> {
    serde_json::from_value(steps).unwrap()
}

fn variables() -> Variables {
    let value = json!({ "id": 42, "name": "a\"b", "low": "2024-01-31T23:30:00Z", "ok": true, "big": 1.5 });
    value.as_object().cloned().unwrap()
}

fn schema(columns: &[(&str, &str)]) -> SchemaRef {
    let field = |(name, spelt): &(&str, &str)| {
        Field::new(*name, ColumnType::parse(spelt).unwrap().arrow().clone(), true)
    };
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

fn ints(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn batch(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(
        columns.iter().map(|(name, column)| (*name, Arc::clone(column), true)),
    )
    .unwrap()
}

/// Runs a chain over one batch of exactly its schema, and checks that schema and batch agree.
fn run(given: Value, input: &SchemaRef, batch: RecordBatch) -> Result<RecordBatch> {
    let mut chain = chain(&steps(given), &variables())?;
    let promised = chain.schema(input)?;
    let made = chain.convert(batch, 1_001)?;
    assert_eq!(made.schema(), typed(&promised));
    Ok(made)
}

/// `name: type = values` of each column.
fn columns(batch: &RecordBatch) -> Vec<String> {
    let json = ColumnType::parse("json").unwrap();
    let column = |(field, column): (&Arc<Field>, &ArrayRef)| {
        let texts = crate::cast::cast(
            &match column.data_type() {
                DataType::Utf8 => {
                    let quoted = column
                        .as_string::<i32>()
                        .iter()
                        .map(|text| text.map(|text| Value::from(text).to_string()));
                    Arc::new(StringArray::from_iter(quoted)) as ArrayRef
                }
                _ => Arc::clone(column),
            },
            &json,
        );
        let texts: Vec<String> =
            texts.unwrap().as_string::<i32>().iter().map(|text| text.unwrap_or("null").to_owned()).collect();
        format!("{}: {} = {}", field.name(), ColumnType::spell(field.data_type()), texts.join(" "))
    };
    batch.schema().fields().iter().zip(batch.columns()).map(column).collect()
}

fn check(given: Value, batch: RecordBatch, expect: &[&str]) {
    let made = run(given, &batch.schema(), batch).unwrap();
    assert_eq!(columns(&made), expect);
}

fn error(given: Value, batch: RecordBatch) -> Error {
    run(given, &batch.schema(), batch).unwrap_err()
}

#[test]
fn nothing_to_do_changes_nothing() {
    let rows = batch(&[("a", ints(&[1, 2]))]);
    assert_eq!(run(json!([]), &rows.schema(), rows.clone()).unwrap(), rows);
}

#[test]
fn derives_columns_from_variables() {
    let given = json!([{ "derive": {
        "text": { "value": "{{ id }}" },
        "number": { "value": "{{ id }}", "type": "int64" },
        "mixed": { "value": "n{{ id }}/{{ name }}" },
        "at": { "value": "{{ low }}", "type": "timestamp" },
        "day": { "value": "{{ low }}", "as": "iso", "timezone": "Europe/Vienna", "type": "date" },
        "seconds": { "value": "{{ low | epoch }}", "type": "decimal(12,2)" },
        "fixed": { "value": "7", "type": "int32" },
        "ok": { "value": "{{ ok }}", "type": "bool" }
    } }]);
    check(
        given,
        batch(&[("a", ints(&[1, 2]))]),
        &[
            "a: int64 = 1 2",
            "text: text = \"42\" \"42\"",
            "number: int64 = 42 42",
            "mixed: text = \"n42/a\\\"b\" \"n42/a\\\"b\"",
            "at: timestamp = \"2024-01-31T23:30:00Z\" \"2024-01-31T23:30:00Z\"",
            "day: date = \"2024-02-01\" \"2024-02-01\"",
            "seconds: decimal(12,2) = \"1706743800.00\" \"1706743800.00\"",
            "fixed: int32 = 7 7",
            "ok: bool = true true",
        ],
    );
}

#[test]
fn derives_from_columns_as_they_were_before_the_step() {
    let given = json!([{ "derive": { "a": { "from": "b" }, "c": { "from": "a", "type": "text" } } }]);
    check(
        given,
        batch(&[("a", ints(&[1])), ("b", texts(&["x"]))]),
        &["a: text = \"x\"", "b: text = \"x\"", "c: text = \"1\""],
    );
}

#[test]
fn derives_from_members_and_a_member_of_a_null_is_null() {
    let members = Fields::from(vec![Field::new("b", DataType::Int64, true)]);
    // The second row is null, whatever its member's slot holds.
    let a = StructArray::new(members, vec![ints(&[1, 2])], Some(NullBuffer::from(vec![true, false])));
    let rows = batch(&[("a", Arc::new(a))]);
    let given = json!([{ "derive": { "b": { "from": "a.b" } } }, { "project": { "keep": ["b"] } }]);
    check(given, rows, &["b: int64 = 1 null"]);
}

#[test]
fn reads_times_as_their_sources_spell_them() {
    let rows = batch(&[
        ("s", ints(&[0, 1_704_067_200])),
        ("ms", texts(&["1704067200123", "-1"])),
        ("local", texts(&["2024-07-01T06:00:00", "2024-07-01T06:00:00+00:00"])),
        ("odd", texts(&["31/03/2024 02:30", "27/10/2024 02:30"])),
        ("day", ints(&[20_240_131, 20_240_201])),
    ]);
    let given = json!([
        { "derive": {
            "s": { "from": "s", "as": "epoch_s" },
            "ms": { "from": "ms", "as": "epoch_ms" },
            "local": { "from": "local", "as": "iso", "timezone": "Europe/Vienna" },
            "odd": { "from": "odd", "as": "%d/%m/%Y %H:%M", "timezone": "Europe/Vienna" },
            "day": { "from": "day", "as": "%Y%m%d", "timezone": "America/Los_Angeles", "type": "date" }
        } }
    ]);
    check(
        given,
        rows,
        &[
            "s: timestamp = \"1970-01-01T00:00:00Z\" \"2024-01-01T00:00:00Z\"",
            "ms: timestamp = \"2024-01-01T00:00:00.123Z\" \"1969-12-31T23:59:59.999Z\"",
            "local: timestamp = \"2024-07-01T04:00:00Z\" \"2024-07-01T06:00:00Z\"",
            "odd: timestamp = \"2024-03-31T01:30:00Z\" \"2024-10-27T00:30:00Z\"",
            "day: date = \"2024-01-31\" \"2024-02-01\"",
        ],
    );
}

#[test]
fn takes_dates_and_local_times_in_the_zone() {
    let at: ArrayRef =
        Arc::new(TimestampMicrosecondArray::from(vec![1_706_743_800_000_000]).with_timezone("UTC"));
    let day: ArrayRef = Arc::new(Date32Array::from(vec![0]));
    let given = json!([{ "derive": {
        "utc": { "from": "at", "type": "date" },
        "vienna": { "from": "at", "type": "date", "timezone": "Europe/Vienna" },
        "clock": { "from": "at", "type": "local_timestamp", "timezone": "Europe/Vienna" },
        "midnight": { "from": "day", "type": "timestamp", "timezone": "Europe/Vienna" }
    } }, { "derive": { "back": { "from": "clock", "type": "timestamp", "timezone": "Europe/Vienna" } } }, { "project": { "drop": ["at", "day"] } }]);
    check(
        given,
        batch(&[("at", at), ("day", day)]),
        &[
            "utc: date = \"2024-01-31\"",
            "vienna: date = \"2024-02-01\"",
            "clock: local_timestamp = \"2024-02-01T00:30:00\"",
            "midnight: timestamp = \"1969-12-31T23:00:00Z\"",
            "back: timestamp = \"2024-01-31T23:30:00Z\"",
        ],
    );
}

#[test]
fn keeps_in_the_order_named_drops_and_renames_last() {
    let rows = || batch(&[("a", ints(&[1])), ("b", ints(&[2])), ("c", ints(&[3]))]);
    check(
        json!([{ "project": { "keep": ["c", "a"], "rename": { "c": "x" } } }]),
        rows(),
        &["x: int64 = 3", "a: int64 = 1"],
    );
    check(
        json!([{ "project": { "drop": ["b", "gone"], "rename": { "a": "c", "c": "a" } } }]),
        rows(),
        &["c: int64 = 1", "a: int64 = 3"],
    );
    check(
        json!([{ "project": { "drop": ["a"] } }, { "project": { "rename": { "b": "a" } } }]),
        rows(),
        &["a: int64 = 2", "c: int64 = 3"],
    );
}

#[test]
fn two_columns_do_not_get_one_name() {
    let rows = || batch(&[("id", ints(&[1])), ("name", texts(&["x"]))]);
    for old in ["id", "absent"] {
        let twice = error(json!([{ "project": { "rename": { (old): "name" } } }]), rows());
        assert_eq!(twice.message, "two columns would be named `name`");
    }
}

#[test]
fn a_column_that_is_not_there_is_null_and_told() {
    let rows = || batch(&[("id", ints(&[1, 2]))]);
    let check = |given: Value, unseen: &[&str], expect: &[&str]| {
        let mut chain = chain(&steps(given.clone()), &variables()).unwrap();
        chain.schema(&rows().schema()).unwrap();
        assert_eq!(chain.unseen(), unseen);
        assert_eq!(columns(&run(given, &rows().schema(), rows()).unwrap()), expect);
    };
    check(
        json!([{ "cast": { "x": "date", "id": "text" } }]),
        &["x"],
        &["id: text = \"1\" \"2\"", "x: date = null null"],
    );
    check(
        json!([{ "project": { "keep": ["x", "id"], "rename": { "x": "y" } } }]),
        &["x"],
        &["id: int64 = 1 2"],
    );
    check(json!([{ "project": { "rename": { "x": "y" } } }]), &["x"], &["id: int64 = 1 2"]);
    check(
        json!([{ "derive": { "t": { "from": "x", "as": "iso" }, "u": { "from": "id.y" }, "v": { "value": "{{ id }}" } } }]),
        &["x", "id.y"],
        &["id: int64 = 1 2", "t: timestamp = null null", "v: text = \"42\" \"42\""],
    );
    // Once it is told, later steps find it.
    check(
        json!([{ "project": { "keep": ["x"] } }, { "cast": { "x": "bool" } }]),
        &["x"],
        &["x: bool = null null"],
    );
}

#[test]
fn a_column_that_comes_later_takes_its_place() {
    let given =
        json!([{ "project": { "keep": ["x", "id"], "rename": { "x": "y" } } }, { "cast": { "y": "int32" } }]);
    let mut chain = chain(&steps(given), &variables()).unwrap();
    let first = batch(&[("id", ints(&[1]))]);
    let before = chain.schema(&first.schema()).unwrap();
    assert_eq!(columns(&chain.convert(first, 1).unwrap()), ["y: int32 = null", "id: int64 = 1"]);
    let second = batch(&[("id", ints(&[2])), ("x", ints(&[7]))]);
    assert_eq!(chain.schema(&second.schema()).unwrap(), before);
    assert!(chain.unseen().is_empty());
    assert_eq!(columns(&chain.convert(second, 2).unwrap()), ["y: int32 = 7", "id: int64 = 2"]);
}

#[test]
fn a_sketch_needs_no_variables_and_gives_the_same_columns() {
    let given = steps(json!([
        { "derive": { "a": { "value": "{{ id }}" }, "b": { "value": "{{ id }}", "type": "int64" }, "c": { "from": "gone" } } },
        { "cast": { "a": "json", "b": "text" } }
    ]));
    let input = schema(&[("id", "int64")]);
    let mut sketch = sketch(&given).unwrap();
    assert_eq!(sketch.schema(&input).unwrap(), chain(&given, &variables()).unwrap().schema(&input).unwrap());
    assert_eq!(sketch.unseen(), ["gone"]);
}

#[test]
fn a_column_of_nulls_so_far_is_known_and_typed_by_whoever_types_it() {
    let input = schema(&[
        ("id", "int64"),
        ("gone", "null"),
        ("deep", "struct<x: int64, y: null>"),
        ("all", "struct<z: null>"),
    ]);
    let deep: ArrayRef =
        Arc::new(StructArray::from(vec![(Arc::new(Field::new("x", DataType::Int64, true)), ints(&[5]))]));
    let rows = batch(&[("id", ints(&[1])), ("deep", deep)]);
    let given = json!([
        { "derive": { "from_gone": { "from": "gone", "type": "date" }, "y": { "from": "deep.y" }, "z": { "from": "all.z.q", "as": "iso" } } },
        { "cast": { "all": "struct<z: text>" } },
        { "project": { "keep": ["gone", "id", "from_gone", "y", "z", "deep", "all"], "rename": { "gone": "lost" } } }
    ]);
    let mut chain = chain(&steps(given.clone()), &variables()).unwrap();
    let promised: Vec<String> =
        chain.schema(&input).unwrap().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(promised, ["lost", "id", "from_gone", "y", "z", "deep", "all"]);
    let made = run(given, &input, rows).unwrap();
    assert_eq!(
        columns(&made),
        [
            "id: int64 = 1",
            "from_gone: date = null",
            "z: timestamp = null",
            "deep: struct<x: int64> = {\"x\":5}",
            "all: struct<z: text> = null",
        ]
    );
}

#[test]
fn a_chain_follows_a_schema_that_grows() {
    let mut chain = chain(&steps(json!([{ "project": { "drop": ["b"] } }])), &variables()).unwrap();
    chain.schema(&schema(&[("a", "int64")])).unwrap();
    assert_eq!(columns(&chain.convert(batch(&[("a", ints(&[1]))]), 1).unwrap()), ["a: int64 = 1"]);
    chain.schema(&schema(&[("a", "int64"), ("b", "text"), ("c", "int64")])).unwrap();
    let rows = batch(&[("a", ints(&[1])), ("b", texts(&["x"])), ("c", ints(&[2]))]);
    assert_eq!(columns(&chain.convert(rows, 2).unwrap()), ["a: int64 = 1", "c: int64 = 2"]);
}

#[test]
fn rows_survive_without_any_column() {
    let made = run(
        json!([{ "project": { "drop": ["a"] } }]),
        &schema(&[("a", "int64")]),
        batch(&[("a", ints(&[1, 2]))]),
    )
    .unwrap();
    assert_eq!((made.num_columns(), made.num_rows()), (0, 2));
}

#[test]
fn a_value_that_does_not_fit_is_named_with_its_row() {
    let cast = error(json!([{ "cast": { "n": "int64" } }]), batch(&[("n", texts(&["1", "2", "3,5"]))]));
    assert_eq!((cast.kind, cast.code.as_str()), (ErrorKind::Type, "convert/cast"));
    assert_eq!(cast.to_string(), "column `n`: `3,5` does not fit int64, row 1003");
    assert!(cast.hint.is_some_and(|hint| hint.contains("float64")));

    let time = error(
        json!([{ "derive": { "t": { "from": "n", "as": "%d/%m/%Y" } } }]),
        batch(&[("n", texts(&["1/2/2024", "2/30/2024"]))]),
    );
    assert_eq!(
        time.to_string(),
        "column `t` (from `n`): `2/30/2024` does not fit timestamp as %d/%m/%Y, row 1002"
    );

    let long = error(
        json!([{ "cast": { "n": "bool" } }]),
        batch(&[("n", texts(&["yes\n0123456789012345678901234567890123456789"]))]),
    );
    assert_eq!(long.message, "column `n`: `yes\\n0123456789012345678901234567890123…` does not fit bool");
}

#[test]
fn a_type_that_can_never_fit_is_found_before_the_first_row() {
    let rows = batch(&[("ok", Arc::new(BooleanArray::from(vec![true])) as ArrayRef)]);
    let error = error(json!([{ "cast": { "ok": "date" } }]), rows);
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::Config, "column `ok` is bool, which cannot become date")
    );
}

#[test]
fn an_undefined_variable_is_an_error_that_names_the_defined_ones() {
    let error =
        chain(&steps(json!([{ "derive": { "x": { "value": "{{ idd }}" } } }])), &variables()).unwrap_err();
    assert_eq!(error.message, "column `x`: `{{ idd }}` uses a variable that is not defined");
    assert_eq!(error.hint.as_deref(), Some("defined are id, name, low, ok, big"));
}
