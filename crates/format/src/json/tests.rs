use std::collections::BTreeMap;

use dil_model::arrow::array::{Array, AsArray, RecordBatch, StructArray};
use dil_model::arrow::datatypes::{
    DataType, Decimal128Type, Float64Type, Int64Type, SchemaRef, TimestampMicrosecondType,
};
use dil_model::component::{Decoded, Decoder, Frame, Framer, PageFacts};
use dil_model::config::Read;
use dil_model::schema::StoredSchema;
use dil_model::{Error, ErrorKind, Result};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::FrameLimits;

const LIMITS: FrameLimits = FrameLimits { frame_bytes: 200, row_bytes_max: 100_000 };

fn read(more: Value) -> Read {
    let mut all = json!({ "files": { "path": "x" }, "format": "json" });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

fn frames_of(framer: &mut dyn Framer, page: &[u8], chunk: usize) -> Result<(Vec<Frame>, PageFacts)> {
    let mut frames = Vec::new();
    for piece in page.chunks(chunk) {
        framer.feed(piece, &mut frames)?;
    }
    let facts = framer.end_page(&mut frames)?;
    assert_eq!(frames.iter().map(|frame| frame.rows).sum::<u64>(), facts.rows);
    Ok((frames, facts))
}

fn frame(read: &Read, wanted: &[&str], page: &[u8], chunk: usize) -> Result<(Vec<Frame>, PageFacts)> {
    let wanted: Vec<String> = wanted.iter().map(|path| (*path).to_owned()).collect();
    frames_of(crate::framer(read, &wanted, LIMITS)?.as_mut(), page, chunk)
}

/// Decodes as the engine does: widens the schema when asked.
fn decode(decoder: &mut dyn Decoder, frame: &Frame) -> Result<RecordBatch> {
    for _ in 0..2 {
        match decoder.decode(frame)? {
            Decoded::Batch(batch) => return Ok(batch),
            Decoded::Wider(schema) => decoder.set_schema(&schema)?,
        }
    }
    panic!("a frame that was made room for does not fit");
}

fn batches(read: &Read, page: &[u8], chunk: usize) -> Result<Vec<RecordBatch>> {
    let (frames, _) = frame(read, &[], page, chunk)?;
    let mut decoder = crate::decoder(read)?;
    frames.iter().map(|frame| decode(decoder.as_mut(), frame)).collect()
}

/// One batch from rows spelt as text.
fn rows(read: &Read, text: &str) -> Result<RecordBatch> {
    let frame = Frame {
        bytes: text.as_bytes().to_vec().into(),
        rows: 0,
        page: 3,
        first_row: 11,
        first_line: None,
        header: None,
        batch: None,
    };
    let mut decoder = crate::decoder(read)?;
    decoder.set_schema(&decoder.infer(&frame, None)?)?;
    decode(decoder.as_mut(), &frame)
}

fn spelt(batch: &RecordBatch) -> String {
    let fields = StoredSchema::from_arrow(&batch.schema()).0;
    fields.iter().map(|(name, spelt)| format!("{name}: {spelt}")).collect::<Vec<_>>().join(", ")
}

fn error(result: Result<impl std::fmt::Debug>, code: &str, parts: &[&str]) {
    let error = result.unwrap_err();
    let all = format!("{error} ({})", error.hint.clone().unwrap_or_default());
    assert_eq!(error.code, code, "{all}");
    for part in parts {
        assert!(all.contains(part), "`{part}` is not in: {all}");
    }
}

/// Whether a cell holds `value`.
fn holds(array: &dyn Array, row: usize, value: &Value) -> bool {
    if value.is_null() {
        return array.is_null(row);
    }
    if array.is_null(row) {
        return false;
    }
    match array.data_type() {
        DataType::Boolean => Some(array.as_boolean().value(row)) == value.as_bool(),
        DataType::Int64 => Some(array.as_primitive::<Int64Type>().value(row)) == value.as_i64(),
        DataType::Float64 => Some(array.as_primitive::<Float64Type>().value(row)) == value.as_f64(),
        DataType::Utf8 => Some(array.as_string::<i32>().value(row)) == value.as_str(),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            let Some(values) = value.as_array() else { return false };
            items.len() == values.len()
                && values.iter().enumerate().all(|(at, value)| holds(&items, at, value))
        }
        DataType::Struct(_) => holds_members(array.as_struct(), row, value),
        other => panic!("{other} is not compared"),
    }
}

fn holds_members(array: &StructArray, row: usize, value: &Value) -> bool {
    let Some(members) = value.as_object() else { return false };
    let kept = array.column_names();
    let left_out = |(name, value): (&String, &Value)| kept.contains(&name.as_str()) || is_untyped(value);
    members.iter().all(left_out)
        && kept
            .iter()
            .zip(array.columns())
            .all(|(name, column)| holds(column, row, members.get(*name).unwrap_or(&Value::Null)))
}

/// Whether a value tells no type.
fn is_untyped(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().all(is_untyped),
        Value::Object(members) => members.values().all(is_untyped),
        _ => false,
    }
}

fn check_rows(batches: &[RecordBatch], expect: &[Value]) -> Result<(), TestCaseError> {
    let mut values = expect.iter();
    for batch in batches {
        let array = StructArray::from(batch.clone());
        for row in 0..batch.num_rows() {
            let value = values.next();
            prop_assert!(
                value.is_some_and(|value| holds_members(&array, row, value)),
                "row {row}: {value:?} in {array:?}"
            );
        }
    }
    prop_assert_eq!(values.next(), None);
    Ok(())
}

#[test]
fn finds_rows_and_facts_around_them() {
    let page = br#" {"a":{"data":[9]},"meta":{"next":"x\u0041","n":7,"o":{"k":[1,"]"]},"gone":null},"data":{"x":"]}","items":[
        {"id":1,"s":"}{"} , {"id":2,"s":"\\"},{"id":3}] },"links":[{"href":"/a"},{"href":"/b"}],"esc\"aped":1} "#;
    let read = read(json!({ "rows_at": "data.items" }));
    let wanted =
        ["meta.next", "meta.n", "meta.o", "meta.gone", "meta.absent", "links.1.href", "links.7.href"];
    for chunk in [1, 2, 3, 7, 64, 65, 1000] {
        let (frames, facts) = frame(&read, &wanted, page, chunk).unwrap();
        assert_eq!(facts.rows, 3);
        let fields = [("meta.next", json!("xA")), ("meta.n", json!(7)), ("meta.o", json!({"k": [1, "]"]}))];
        let others = [("meta.gone", Value::Null), ("links.1.href", json!("/b"))];
        let expect: BTreeMap<String, Value> =
            fields.into_iter().chain(others).map(|(path, value)| (path.to_owned(), value)).collect();
        assert_eq!(facts.fields, expect);
        let text: Vec<String> =
            frames.iter().map(|f| String::from_utf8_lossy(&f.bytes).replace([' ', '\n'], "")).collect();
        assert_eq!(text, [r#"{"id":1,"s":"}{"},{"id":2,"s":"\\"},{"id":3}"#], "chunks of {chunk}");
    }
}

#[test]
fn tells_what_is_there_instead_of_a_wanted_path() {
    let page =
        br#"{"meta":{"next":"x","total":7},"none":null,"empty":{},"paging":{"next":{}},"n":1,"rows":[{"id":1}]}"#;
    let read = read(json!({ "rows_at": "rows" }));
    let wanted =
        ["meta.nxt", "meat.next", "n.next", "none.next", "empty.next", "paging.next.after", "paging.prev"];
    let top = "the document has meta, none, empty, paging, n, rows";
    let absent = [
        ("meta.nxt", "`meta` has next, total"),
        ("meat.next", top),
        ("n.next", top),
        ("paging.prev", "`paging` has next"),
    ];
    let nothing = ["none.next", "empty.next", "paging.next.after"];
    for chunk in [1, 7, 1000] {
        let (_, facts) = frame(&read, &wanted, page, chunk).unwrap();
        let expect = absent.map(|(path, there)| (path.to_owned(), there.to_owned()));
        assert_eq!(facts.absent, expect.into(), "chunks of {chunk}");
        assert_eq!(facts.fields, nothing.map(|path| (path.to_owned(), Value::Null)).into());
    }
}

#[test]
fn tells_what_is_there_instead_where_the_document_is_the_rows() {
    let read = read(json!({}));
    for (page, there) in [
        (&br#"[{"next":"x"},{"next":"y"}]"#[..], "the document is an array"),
        (br#"{"id":1,"nxt":"x"}"#, "the document has id, nxt"),
    ] {
        let (_, facts) = frame(&read, &["next"], page, 3).unwrap();
        assert_eq!(facts.absent["next"], there);
        assert!(facts.fields.is_empty());
    }
}

#[test]
fn counts_pages_and_rows_across_frames() {
    let mut framer =
        crate::framer(&read(json!({})), &[], FrameLimits { frame_bytes: 30, row_bytes_max: 100 }).unwrap();
    for page in 1..=2 {
        let (frames, facts) = frames_of(
            framer.as_mut(),
            br#"[{"a":1},{"a":2},{"a":3},{"a":"a longer one, alone"},{"a":5}]"#,
            5,
        )
        .unwrap();
        assert_eq!(facts.rows, 5);
        let places: Vec<_> = frames.iter().map(|frame| (frame.page, frame.first_row, frame.rows)).collect();
        assert_eq!(places, [(page, 1, 4), (page, 5, 1)]);
    }
    let mut frames = Vec::new();
    framer.feed(br#"[{"a":1},{"#, &mut frames).unwrap();
    framer.begin_page(3);
    let (frames, _) = frames_of(framer.as_mut(), br#"[{"a":1}]"#, 100).unwrap();
    assert_eq!((frames[0].page, frames[0].first_row), (3, 1));
}

#[test]
fn an_object_at_the_top_is_one_row_that_can_be_asked() {
    let page = br#"{"state":"Done","items":[{"id":1}],"next":{"cursor":"c"}}"#;
    let (frames, facts) = frame(&read(json!({})), &["state", "next.cursor", "no"], page, 3).unwrap();
    assert_eq!((frames.len(), facts.rows), (1, 1));
    assert_eq!(
        facts.fields,
        BTreeMap::from([("state".into(), json!("Done")), ("next.cursor".into(), json!("c"))])
    );
}

#[test]
fn an_empty_array_and_a_marked_document_are_fine() {
    assert_eq!(frame(&read(json!({})), &[], b"\xef\xbb\xbf [ ] ", 1).unwrap().1.rows, 0);
    assert_eq!(frame(&read(json!({})), &[], b"\xef\xbb\xbf[{}]", 1).unwrap().1.rows, 1);
}

#[test]
fn says_what_is_wrong_with_a_page() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("<!DOCTYPE html>\n<html>", "json/not-json", &["<!DOCTYPE html>\\n<html>", "page 1"]),
        ("not found", "json/not-json", &["not found"]),
        ("nope", "json/not-json", &["nope"]),
        ("", "json/truncated", &["empty"]),
        (" \n", "json/truncated", &["empty"]),
        (
            r#"{"error":"x","code":1}"#,
            "json/rows-missing",
            &["nothing at `data.items`", "error, code", "rows_missing"],
        ),
        (r#"{"data":{"items":null}}"#, "json/rows-missing", &["null at `data.items`"]),
        (r#"[{"id":1}]"#, "json/rows-missing", &["the document is an array"]),
        (r#"{"data":{"items":{"a":1}}}"#, "json/rows-type", &["found an object"]),
        (r#"{"data":{"items":"x"}}"#, "json/rows-type", &["found a text"]),
        (r#"{"data":{"items":[1,2]}}"#, "json/row-type", &["row 1 is a number", "page 1"]),
        (r#"{"data":{"items":[{},[]]}}"#, "json/row-type", &["row 2 is an array"]),
        (r#"{"data":{"items":[{},null]}}"#, "json/row-type", &["is null"]),
        (r#"{"data":{"items":[{},]}}"#, "json/syntax", &["a comma after the last row"]),
        (r#"{"data":{"items":[{}{}]}}"#, "json/syntax", &["one comma"]),
        (r#"{"data":{"items":[,{}]}}"#, "json/syntax", &["one comma"]),
        (r#"{"data":{"items":[{}}"#, "json/syntax", &["ends with `}`"]),
        (r#"{"data":{"items":[{}],"items":[]}}"#, "json/rows-twice", &[]),
        (r#"{"data":{"items":[]}} x"#, "json/trailing", &["byte 22"]),
        (r#"{"data":{"items":[]}]"#, "json/syntax", &["`]` at byte 20"]),
        (r#"{"data":{"items":[{"a":1}"#, "json/truncated", &["after 1 rows"]),
        (r#"{"data":{"items":[]},"x":nul}"#, "json/syntax", &[]),
        (r#"{"data" 1}"#, "json/syntax", &[]),
    ];
    for (page, code, parts) in cases {
        for chunk in [1, 1000] {
            error(frame(&read(json!({ "rows_at": "data.items" })), &[], page.as_bytes(), chunk), code, parts);
        }
    }
    let empty = read(json!({ "rows_at": "data.items", "rows_missing": "empty" }));
    for page in [r#"{"data":{"items":null}}"#, r#"{"x":1}"#, "null"] {
        assert_eq!(frame(&empty, &[], page.as_bytes(), 1).unwrap().1.rows, 0);
    }
}

#[test]
fn refuses_what_does_not_fit_memory() {
    let row = format!(r#"[{{}},{{"a":"{}"}}]"#, "x".repeat(1000));
    let limits = FrameLimits { frame_bytes: 100, row_bytes_max: 500 };
    for chunk in [7, 10_000] {
        let mut framer = crate::framer(&read(json!({})), &[], limits).unwrap();
        error(
            frames_of(framer.as_mut(), row.as_bytes(), chunk),
            "memory/row-too-large",
            &["row 2 is larger", "page 1", "500", "`memory:`"],
        );
    }
    let long = format!(r#"{{"next":"{}","rows":[]}}"#, "x".repeat(70_000));
    error(
        frame(&read(json!({ "rows_at": "rows" })), &["next"], long.as_bytes(), 999),
        "json/value-too-large",
        &["`next`"],
    );
    for (open, close) in [("[", "]"), ("{\"a\":", "1}")] {
        let deep = format!(r#"[{{"a":{}1{}}}]"#, open.repeat(600), close.repeat(600));
        error(frame(&read(json!({})), &[], deep.as_bytes(), 100), "json/depth", &["512"]);
    }
}

#[test]
fn infers_types_from_all_rows_of_a_frame() {
    let batch = rows(
        &read(json!({})),
        r#"{"n":null,"i":1,"f":1,"b":true,"t":"x","l":[],"s":{"a":null}},
           {"f":1.5,"l":[[1],null],"s":{"a":{"x":-1e3}},"new":"\ud83d\ude00\n","e":[],"o":{}}"#,
    );
    let batch = batch.unwrap();
    assert_eq!(
        spelt(&batch),
        "i: int64, f: float64, b: bool, t: text, l: list<list<int64>>, s: struct<a: struct<x: float64>>, new: text"
    );
    let array = StructArray::from(batch);
    assert!(holds(&array, 0, &json!({"i":1,"f":1.0,"b":true,"t":"x","l":[],"s":{}})));
    assert!(holds(&array, 1, &json!({"f":1.5,"l":[[1],null],"s":{"a":{"x":-1000.0}},"new":"\u{1f600}\n"})));
}

#[test]
fn declared_columns_win() {
    let read = read(json!({
        "columns": { "id": "text", "price": "decimal(10,2)", "at": "timestamp", "raw": "json", "day": "date",
                     "unseen": "int64", "small": "int32", "part": "struct<a: float64>", "bytes": "binary" },
        "other_columns": "drop",
    }));
    let batch = rows(
        &read,
        r#"{"x":[1,{"y":"z"}],"id":17,"price":"12.5","at":"2024-01-01T00:00:00\u005a","raw":{ "k":[1] },"day":"2024-02-29","small":-3,"part":{"b":1,"a":2},"bytes":"AQI="},
           {"id":"x","price":1e1,"raw":"s"},{"id":true,"raw":null,"part":null}"#,
    );
    let batch = batch.unwrap();
    assert_eq!(
        spelt(&batch),
        "id: text, price: decimal(10,2), at: timestamp, raw: text, day: date, small: int32, part: struct<a: float64>, bytes: binary, unseen: int64"
    );
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let texts =
        |name: &str| column(name).as_string::<i32>().iter().map(|t| t.map(str::to_owned)).collect::<Vec<_>>();
    assert_eq!(texts("id"), [Some("17".into()), Some("x".into()), Some("true".into())]);
    assert_eq!(texts("raw"), [Some(r#"{ "k":[1] }"#.into()), Some(r#""s""#.into()), None]);
    assert_eq!(
        column("price").as_primitive::<Decimal128Type>().iter().collect::<Vec<_>>(),
        [Some(1250), Some(1000), None]
    );
    assert_eq!(column("at").as_primitive::<TimestampMicrosecondType>().value(0), 1_704_067_200_000_000);
    assert_eq!(column("bytes").as_binary::<i32>().value(0), [1, 2]);
    assert_eq!(column("unseen").null_count(), 3);
}

#[test]
fn a_value_that_does_not_fit_is_named() {
    let plain = read(json!({}));
    let int = r#"{"a":{"i":1}},{"a":{"i":VALUE}}"#;
    let check = |read: &Read, first: &str, second: &str, code: &str, parts: &[&str]| {
        let frame = |text: &str, first_row| Frame {
            bytes: text.as_bytes().to_vec().into(),
            rows: 0,
            page: 3,
            first_row,
            first_line: None,
            header: None,
            batch: None,
        };
        let mut decoder = crate::decoder(read).unwrap();
        decode(decoder.as_mut(), &frame(first, 1)).unwrap();
        error(decoder.decode(&frame(second, 11)), code, parts);
        // The decoder goes on with good rows afterwards.
        assert!(matches!(decoder.decode(&frame(first, 1)), Ok(Decoded::Batch(_))));
    };
    for value in ["1.0", "1.5", "\"5\"", "true", "9223372036854775808", "[]", "{}"] {
        let parts: &[&str] = &["`a.i` is int64", &format!("`{value}`"), "row 12, page 3", "columns"];
        check(&plain, &int.replace("VALUE", "2"), &int.replace("VALUE", value), "json/type", parts);
    }
    check(&plain, r#"{"t":"x"}"#, r#"{"t":1}"#, "json/type", &["`t` is text", "`1`", "row 11", "t: text"]);
    check(
        &plain,
        r#"{"l":[{"a":1}]}"#,
        r#"{"l":[{"a":1},3]}"#,
        "json/type",
        &["`l[]` is struct<a: int64>", "`3`", "json"],
    );
    check(
        &plain,
        r#"{"i":1}"#,
        &format!(r#"{{"i":"{}"}}"#, "long".repeat(30)),
        "json/type",
        &["longlong", "…"],
    );
    let declared = read(json!({ "columns": { "d": "decimal(4,2)", "t": "date" }, "other_columns": "fail" }));
    check(&declared, r#"{"d":1}"#, r#"{"d":1.005}"#, "json/type", &["`d` is decimal(4,2)", "1.005"]);
    check(&declared, r#"{"d":1}"#, r#"{"t":"2023-02-29"}"#, "json/type", &["`t` is date", "2023-02-29"]);
    check(&declared, r#"{"d":1}"#, r#"{"d":1,"x":1}"#, "json/undeclared-field", &["`x`", "row 11"]);
    error(rows(&declared, r#"{"d":1},{"x":1}"#), "json/undeclared-field", &["`x`", "row 12"]);
}

#[test]
fn values_without_a_common_type_ask_for_a_declaration() {
    let read = read(json!({}));
    error(
        rows(&read, r#"{"a":1},{"a":"x"}"#),
        "json/type",
        &["an integer and a text", "`\"x\"`", "row 12", "a: …"],
    );
    error(rows(&read, r#"{"a":[1,{}]}"#), "json/type", &["`a[]`", "json"]);
    error(rows(&read, r#"{"a":18446744073709551615}"#), "json/type", &["beyond 64 bits", "decimal(38,0)"]);
    assert_eq!(
        rows(&read, r#"{"a":18446744073709551615},{"a":0.5}"#).map(|b| spelt(&b)).unwrap(),
        "a: float64"
    );
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(100), "]".repeat(100));
    error(rows(&read, &deep), "json/type", &["nested deeper", "json"]);
    // Strict: the kept type stays.
    let known = rows(&read, r#"{"a":1}"#).unwrap().schema();
    let frame = Frame {
        bytes: br#"{"a":2},{"a":1.5}"#.to_vec().into(),
        rows: 2,
        page: 1,
        first_row: 1,
        first_line: None,
        header: None,
        batch: None,
    };
    error(
        crate::decoder(&read).unwrap().infer(&frame, Some(&known)),
        "json/type",
        &["int64 so far", "row 2"],
    );
}

#[test]
fn broken_rows_are_errors_with_their_place() {
    for (row, part) in [
        (r#"{"a":01}"#, "leading zero"),
        (r#"{"a":+1}"#, "expected a value"),
        (r#"{"a":1.}"#, "digit"),
        (r#"{"a":.5}"#, "expected a value"),
        (r#"{"a":1e}"#, "digit"),
        (r#"{"a":-}"#, "digit"),
        (r#"{"a":1x}"#, "comma or `}`"),
        (r#"{"a":nul}"#, "expected a value"),
        (r#"{"a":tru}"#, "expected a value"),
        (r#"{"a":NaN}"#, "expected a value"),
        (r#"{"a":"\x"}"#, "unknown escape"),
        (r#"{"a":"\u12"}"#, "hexadecimal"),
        ("{\"a\":\"tab\there, and more text\"}", "control character"),
        (r#"{"a":1,}"#, "field name"),
        (r#"{"a" 1}"#, "colon"),
        (r#"{a:1}"#, "field name"),
        (r#"{"a":[1,]}"#, "expected a value"),
        (r#"{"a":[1 2]}"#, "comma or `]`"),
        (r#"{"a":1]"#, "comma or `}`"),
    ] {
        for read in [read(json!({})), read(json!({ "columns": { "a": "json" } }))] {
            error(
                rows(&read, &format!(r#"{{"b":1}},{row}"#)),
                "json/syntax",
                &[part, "byte", "row 12, page 3"],
            );
        }
    }
    let mut bytes = br#"{"a":"good"},{"a":"bad "#.to_vec();
    bytes.extend(b"\xff\"}");
    let frame = Frame {
        bytes: bytes.into(),
        rows: 2,
        page: 1,
        first_row: 1,
        first_line: None,
        header: None,
        batch: None,
    };
    error(
        decode(crate::decoder(&read(json!({}))).unwrap().as_mut(), &frame),
        "json/syntax",
        &["UTF-8", "row 2"],
    );
}

#[test]
fn half_a_surrogate_pair_is_no_character() {
    for value in [r#""\ud800""#, r#""a\udc00b""#, r#""\ud800\ud800""#, r#""\ud83d\u0041""#] {
        let text = format!(r#"{{"a":"x","s":[{{"t":"y"}}]}},{{"a":"x","s":[{{"t":{value}}}]}}"#);
        let told = ["field `s[].t` holds `\\u", "row 12", "page 3", "columns: { s: json }"];
        error(rows(&read(json!({})), &text), "json/surrogate", &told);
        let kept = read(json!({ "columns": { "s": "json" } }));
        let batch = rows(&kept, &text).unwrap();
        let texts = batch.column_by_name("s").unwrap().as_string::<i32>();
        assert_eq!(texts.value(1), format!(r#"[{{"t":{value}}}]"#));
        let dropped = read(json!({ "columns": { "a": "text" }, "other_columns": "drop" }));
        assert_eq!(rows(&dropped, &text).unwrap().num_columns(), 1);
    }
    error(rows(&read(json!({})), r#"{"a\ud800":1}"#), "json/surrogate", &["a field name"]);
}

#[test]
fn a_name_outside_the_rows_may_hold_half_a_surrogate_pair() {
    let read = read(json!({ "rows_at": "rows" }));
    let page = br#"{"next\ud800":1,"rows":[{"a":1}],"next":2}"#;
    let (_, facts) = frame(&read, &["next"], page, 7).unwrap();
    assert_eq!(facts.fields.get("next"), Some(&json!(2)));
}

#[test]
fn a_name_that_comes_twice_counts_last() {
    let text = r#"{"a":1,"s":{"x":1,"y":[1]},"t":"one","s":{"y":[2,3]},"a":2,"t":null},{"t":"two","a":3}"#;
    let array = StructArray::from(rows(&read(json!({})), text).unwrap());
    assert!(holds(&array, 0, &json!({"a":2,"s":{"y":[2,3]}})), "{array:?}");
    assert!(holds(&array, 1, &json!({"a":3,"t":"two"})));
}

#[test]
fn lines_are_rows() {
    let read = read(json!({ "format": "ndjson" }));
    let page = b"\xef\xbb\xbf{\"a\":1}\r\n\n  {\"a\":2} \n{\"a\":3}";
    for chunk in [1, 4, 100] {
        let batches = batches(&read, page, chunk).unwrap();
        check_rows(&batches, &[json!({"a":1}), json!({"a":2}), json!({"a":3})]).unwrap();
    }
    error(frame(&read, &[], b"{\"a\":1}\n{\"a\":", 3), "json/truncated", &["row 2"]);
    error(frame(&read, &[], b"{\"a\":1}\n[1]\n", 3), "ndjson/line", &["row 2", "[1]"]);
    error(batches(&read, b"{\"a\":1}{\"a\":2}\n", 100).map(drop), "json/syntax", &["more than one value"]);
    error(frame(&read, &["next"], b"", 1), "ndjson/wanted", &["`next`"]);
}

#[test]
fn the_schema_grows_only_where_it_is_new() {
    let mut decoder = crate::decoder(&read(json!({}))).unwrap();
    let frame = |text: &str| Frame {
        bytes: text.as_bytes().to_vec().into(),
        rows: 1,
        page: 1,
        first_row: 1,
        first_line: None,
        header: None,
        batch: None,
    };
    let mut schema_after =
        |text: &str| -> Result<SchemaRef> { Ok(decode(decoder.as_mut(), &frame(text))?.schema()) };
    let spelt = |schema: SchemaRef| StoredSchema::from_arrow(&schema).0;
    let first = spelt(schema_after(r#"{"b":1,"a":null,"s":[{"x":null}]}"#).unwrap());
    assert_eq!(first, [("b".to_owned(), "int64".to_owned())]);
    let second = spelt(schema_after(r#"{"s":[{"y":"t"}],"c":true,"a":1.5}"#).unwrap());
    let expect = [("b", "int64"), ("a", "float64"), ("s", "list<struct<y: text>>"), ("c", "bool")];
    assert_eq!(second, expect.map(|(name, spelt)| (name.to_owned(), spelt.to_owned())));
    error(schema_after(r#"{"new":1,"b":"x"}"#), "json/type", &["`b` is int64"]);
}

fn scalar_of(field: usize) -> BoxedStrategy<Value> {
    match field % 4 {
        0 => any::<i64>().prop_map(Value::from).boxed(),
        1 => any::<f64>().prop_filter("finite", |v| v.is_finite()).prop_map(|v| json!(v)).boxed(),
        2 => "([a-z \"\\\\\u{1}\n€😀]|\\PC){0,40}".prop_map(Value::from).boxed(),
        _ => any::<bool>().prop_map(Value::from).boxed(),
    }
}

fn value_of(field: usize, depth: usize) -> BoxedStrategy<Value> {
    let inner = match field {
        4 => proptest::collection::vec(value_of(0, 0), 0..4).prop_map(Value::from).boxed(),
        5 if depth > 0 => object(depth - 1).boxed(),
        6 if depth > 0 => proptest::collection::vec(object(depth - 1), 0..3).prop_map(Value::from).boxed(),
        other => scalar_of(other),
    };
    prop_oneof![4 => inner, 1 => Just(Value::Null)].boxed()
}

/// Objects whose fields have the same types everywhere, in any order, and may be missing.
fn object(depth: usize) -> impl Strategy<Value = Value> {
    let members: Vec<_> = (0..7)
        .map(|field| {
            let name = ["id", "amount €", "a long name of a text", "flag", "list", "in\"ner", "many"][field];
            let member = value_of(field, depth).prop_map(move |value| (name.to_owned(), value));
            proptest::option::weighted(0.8, member)
        })
        .collect();
    members.prop_flat_map(|members| {
        let members: Vec<_> = members.into_iter().flatten().collect();
        Just(members).prop_shuffle().prop_map(|members| Value::Object(members.into_iter().collect()))
    })
}

fn documents() -> impl Strategy<Value = (Vec<Value>, String)> {
    let rows = proptest::collection::vec(object(2), 0..12);
    (rows, any::<bool>(), any::<bool>()).prop_map(|(rows, pretty, after)| {
        let mut document = serde_json::Map::new();
        let data = json!({ "skip": [[], {"]": "}\\\""}], "items": rows, "count": 2 });
        let meta = json!({ "next": "c\u{e9}\\", "page": { "n": 1 } });
        for (name, part) in
            if after { [("data", data), ("meta", meta)] } else { [("meta", meta), ("data", data)] }
        {
            document.insert(name.to_owned(), part);
        }
        let document = Value::Object(document);
        (rows, if pretty { format!("{document:#}") } else { document.to_string() })
    })
}

fn fails_as_cut_short(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::Truncated | ErrorKind::Format | ErrorKind::Content)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn reads_what_serde_json_reads((rows, text) in documents(), chunk in 1usize..300, frame_bytes in 1usize..3000) {
        let read = read(json!({ "rows_at": "data.items" }));
        let wanted = ["meta.next".to_owned(), "meta.page".to_owned()];
        let mut framer = crate::framer(&read, &wanted, FrameLimits { frame_bytes, row_bytes_max: 100_000 }).unwrap();
        let (frames, facts) = frames_of(framer.as_mut(), text.as_bytes(), chunk).unwrap();
        prop_assert_eq!(facts.fields.get("meta.next"), Some(&json!("c\u{e9}\\")));
        prop_assert_eq!(facts.fields.get("meta.page"), Some(&json!({ "n": 1 })));
        let mut decoder = crate::decoder(&read).unwrap();
        let batches: Result<Vec<_>> = frames.iter().map(|frame| decode(decoder.as_mut(), frame)).collect();
        check_rows(&batches.unwrap(), &rows)?;
    }

    #[test]
    fn no_cut_goes_unnoticed((_, text) in documents(), chunk in 1usize..100, part in 0.0f64..1.0) {
        let read = read(json!({ "rows_at": "data.items" }));
        let cut = (text.len() as f64 * part) as usize;
        let result = frame(&read, &[], &text.as_bytes()[..cut], chunk);
        prop_assert!(result.is_err_and(|error| fails_as_cut_short(&error)));
    }

    #[test]
    fn a_changed_byte_never_panics((_, text) in documents(), at in any::<prop::sample::Index>(), byte: u8, chunk in 1usize..100) {
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = batches(&read(json!({ "rows_at": "data.items" })), &bytes, chunk);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(prop_oneof![
        proptest::sample::select(b"{}[]\",:\\ \n019.-eEtfnu".to_vec()), any::<u8>()], 0..200), chunk in 1usize..50) {
        let _ = batches(&read(json!({})), &bytes, chunk);
        let _ = batches(&read(json!({ "format": "ndjson" })), &bytes, chunk);
        let frame = Frame { bytes: bytes.into(), rows: 0, page: 1, first_row: 1, first_line: None, header: None, batch: None };
        let _ = crate::decoder(&read(json!({ "columns": { "a": "json" } }))).unwrap().infer(&frame, None);
    }

    #[test]
    fn numbers_are_what_serde_json_says(whole in "-?(0|[1-9][0-9]{0,24})", fraction in "(\\.[0-9]{1,30})?", exponent in "([eE][+-]?[0-9]{1,3})?") {
        let text = format!("{whole}{fraction}{exponent}");
        let read = read(json!({ "columns": { "a": "float64" } }));
        let batch = rows(&read, &format!(r#"{{"a":{text}}}"#));
        match text.parse::<f64>().unwrap() {
            value if value.is_finite() => {
                prop_assert_eq!(batch.unwrap().column(0).as_primitive::<Float64Type>().value(0).to_bits(), value.to_bits());
            }
            _ => prop_assert!(batch.is_err_and(|error| error.kind == ErrorKind::Type)),
        }
    }
}
