//! The framer and the decoder together.

use std::sync::Arc;

use dil_model::Result;
use dil_model::arrow::array::{Array, AsArray, RecordBatch};
use dil_model::arrow::compute::concat_batches;
use dil_model::arrow::datatypes::{DataType, Int64Type, SchemaRef, TimestampMicrosecondType};
use dil_model::arrow::util::display::array_value_to_string;
use dil_model::component::{Decoded, Frame, PageFacts};
use dil_model::config::{CsvOptions, OtherColumns, Read};
use dil_model::setting::ColumnType;
use dil_model::{Error, ErrorKind};
use proptest::prelude::*;

use super::{decoder, framer};
use crate::FrameLimits;

const LIMITS: FrameLimits = FrameLimits { frame_bytes: 1 << 16, row_bytes_max: 1 << 20 };

/// Reads CSV with the default options.
pub(super) fn csv() -> Read {
    serde_json::from_value(serde_json::json!({ "files": { "path": "x" }, "format": "csv" })).unwrap()
}

fn csv_with(options: &str, columns: &[(&str, &str)]) -> Read {
    let mut read = csv();
    read.csv = Some(serde_json::from_str::<CsvOptions>(options).unwrap());
    read.columns =
        columns.iter().map(|(name, text)| ((*name).to_owned(), ColumnType::parse(text).unwrap())).collect();
    read
}

/// Frames one page that is fed `chunk` bytes at a time.
pub(super) fn frames_of(
    read: &Read,
    text: &[u8],
    chunk: usize,
    limits: FrameLimits,
) -> Result<(Vec<Frame>, PageFacts)> {
    let mut framer = framer(read, &[], limits)?;
    let mut frames = Vec::new();
    for piece in text.chunks(chunk) {
        framer.feed(piece, &mut frames)?;
    }
    let facts = framer.end_page(&mut frames)?;
    Ok((frames, facts))
}

/// Infers from the first frame and decodes all.
fn decode_frames(read: &Read, frames: &[Frame]) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let mut decoder = decoder(read)?;
    let Some(first) = frames.first() else {
        return Ok((Arc::new(dil_model::arrow::datatypes::Schema::empty()), vec![]));
    };
    let mut schema = decoder.infer(first, None)?;
    decoder.set_schema(&schema)?;
    let mut batches = Vec::new();
    for frame in frames {
        match decoder.decode(frame)? {
            Decoded::Batch(batch) => batches.push(batch),
            Decoded::Wider(wider) => {
                schema = wider;
                decoder.set_schema(&schema)?;
                match decoder.decode(frame)? {
                    Decoded::Batch(batch) => batches.push(batch),
                    Decoded::Wider(again) => panic!("still wider: {again:?}"),
                }
            }
        }
    }
    Ok((schema, batches))
}

fn decode(read: &Read, text: &str) -> Result<RecordBatch> {
    let (frames, _) = frames_of(read, text.as_bytes(), 11, LIMITS)?;
    let (_, batches) = decode_frames(read, &frames)?;
    Ok(concat_batches(&batches[0].schema(), &batches).unwrap())
}

fn refusal(read: &Read, text: &str) -> Error {
    decode(read, text).unwrap_err()
}

/// One column as texts, null as `∅`.
fn shown(batch: &RecordBatch, name: &str) -> Vec<String> {
    let array = batch.column_by_name(name).unwrap();
    (0..array.len())
        .map(
            |row| {
                if array.is_null(row) { "∅".to_owned() } else { array_value_to_string(array, row).unwrap() }
            },
        )
        .collect()
}

#[test]
fn infers_and_decodes_types() {
    let text = "i,f,b,t,n,zip\n1,2,true,x,,01234\n-7,2.5,false,\"a,\"\"b\"\"\nc\",,1\n,,,,,\n";
    let batch = decode(&csv(), text).unwrap();
    let types: Vec<_> = batch.schema().fields().iter().map(|f| f.data_type().clone()).collect();
    assert_eq!(
        types,
        [DataType::Int64, DataType::Float64, DataType::Boolean, DataType::Utf8, DataType::Utf8]
    );
    assert_eq!(shown(&batch, "i"), ["1", "-7", "∅"]);
    assert_eq!(shown(&batch, "f"), ["2.0", "2.5", "∅"]);
    assert_eq!(shown(&batch, "b"), ["true", "false", "∅"]);
    assert_eq!(shown(&batch, "t"), ["x", "a,\"b\"\nc", "∅"]);
    assert_eq!(shown(&batch, "zip"), ["01234", "1", "∅"]);
}

#[test]
fn decodes_declared_types() {
    let columns = [
        ("d", "date"),
        ("at", "timestamp"),
        ("m", "decimal(10,2)"),
        ("i", "int32"),
        ("bin", "binary"),
        ("gone", "int64"),
    ];
    let read = csv_with(r#"{"delimiter":";","null":["","NA"]}"#, &columns);
    let text = "bin;i;m;at;d;x\nab;7;12.5;2024-01-02T03:04:05Z;2024-01-02;1\nNA;\"\";NA;;NA;\"NA\"\n";
    let batch = decode(&read, text).unwrap();
    assert_eq!(shown(&batch, "d"), ["2024-01-02", "∅"]);
    let at = batch.column_by_name("at").unwrap();
    assert_eq!(at.data_type(), read.columns["at"].arrow());
    let at: Vec<_> = at.as_primitive::<TimestampMicrosecondType>().iter().collect();
    assert_eq!(at, [Some(1_704_164_645_000_000), None]);
    assert_eq!(shown(&batch, "m"), ["12.50", "∅"]);
    assert_eq!(shown(&batch, "i"), ["7", "∅"]);
    assert_eq!(shown(&batch, "bin"), ["6162", "∅"]);
    assert_eq!(shown(&batch, "gone"), ["∅", "∅"]);
    assert_eq!(shown(&batch, "x"), ["1", "NA"], "a quoted null word is a text");
}

#[test]
fn empty_and_quoted_empty_differ_in_text_only() {
    let batch = decode(&csv(), "i,t\n1,a\n\"\",\"\"\n,\n\"2\",b\n").unwrap();
    assert_eq!(shown(&batch, "i"), ["1", "∅", "∅", "2"]);
    assert_eq!(shown(&batch, "t"), ["a", "", "∅", "b"]);
    let keeps_empty = csv_with(r#"{"null":["\\N"]}"#, &[]);
    let batch = decode(&keeps_empty, "i,t\n1,a\n,\n\\N,\\N\n").unwrap();
    assert_eq!(shown(&batch, "i"), ["1", "∅", "∅"]);
    assert_eq!(shown(&batch, "t"), ["a", "", "∅"]);
}

#[test]
fn a_null_word_may_look_like_a_value() {
    let read = csv_with(r#"{"null":["","-1"]}"#, &[]);
    assert_eq!(shown(&decode(&read, "i,j\n5,1\n-1,2\n\"-1\",3\n").unwrap(), "i"), ["5", "∅", "-1"]);
}

#[test]
fn columns_are_matched_by_name() {
    let mut pages = framer(&csv(), &[], LIMITS).unwrap();
    let mut frames = Vec::new();
    for page in ["a,b\n1,x\n", "b,a\ny,2\n", "a\n3\n"] {
        pages.feed(page.as_bytes(), &mut frames).unwrap();
        pages.end_page(&mut frames).unwrap();
    }
    let (_, batches) = decode_frames(&csv(), &frames).unwrap();
    let batch = concat_batches(&batches[0].schema(), &batches).unwrap();
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().values(), &[1, 2, 3]);
    assert_eq!(shown(&batch, "b"), ["x", "y", "∅"]);
}

#[test]
fn a_new_column_or_first_value_widens() {
    let mut pages = framer(&csv(), &[], LIMITS).unwrap();
    let mut frames = Vec::new();
    for page in ["a,n\n1,\n", "a,n,new\n2,5,2.5\n", "a,n\n3,6\n"] {
        pages.feed(page.as_bytes(), &mut frames).unwrap();
        pages.end_page(&mut frames).unwrap();
    }
    let (schema, batches) = decode_frames(&csv(), &frames).unwrap();
    let spelt: Vec<_> = schema.fields().iter().map(|f| (f.name().as_str(), f.data_type().clone())).collect();
    assert_eq!(spelt, [("a", DataType::Int64), ("n", DataType::Int64), ("new", DataType::Float64)]);
    assert_eq!(batches[0].num_columns(), 1, "a column that was only null is left out");
    assert_eq!(shown(&batches[1], "new"), ["2.5"]);
    assert_eq!(shown(&batches[2], "new"), ["∅"]);
}

#[test]
fn widening_never_changes_an_agreed_type() {
    let mut decoder = decoder(&csv()).unwrap();
    let frame = |text: &str| frames_of(&csv(), text.as_bytes(), 9, LIMITS).unwrap().0.remove(0);
    let schema = decoder.infer(&frame("n,a\n,1\n"), None).unwrap();
    decoder.set_schema(&schema).unwrap();
    let Decoded::Wider(wider) = decoder.decode(&frame("n,a\nx,1.5\n")).unwrap() else { panic!("not wider") };
    assert_eq!(wider.field(1).data_type(), &DataType::Int64);
    decoder.set_schema(&wider).unwrap();
    assert_eq!(decoder.decode(&frame("n,a\nx,1.5\n")).unwrap_err().kind, ErrorKind::Type);
}

#[test]
fn a_sample_grows_from_int_to_float_and_text_stays_text() {
    let decoder = decoder(&csv()).unwrap();
    let frame = |text: &str| frames_of(&csv(), text.as_bytes(), 9, LIMITS).unwrap().0.remove(0);
    let known = decoder.infer(&frame("a,t\n1,x\n"), None).unwrap();
    let known = decoder.infer(&frame("a,t\n1.5,7\n"), Some(&known)).unwrap();
    assert_eq!(known.field(0).data_type(), &DataType::Float64);
    assert_eq!(known.field(1).data_type(), &DataType::Utf8);
    assert_eq!(decoder.infer(&frame("a\nx\n"), Some(&known)).unwrap_err().code, "schema/type-conflict");
}

#[test]
fn other_columns_are_dropped_or_refused() {
    let mut read = csv_with("{}", &[("b", "text")]);
    read.other_columns = OtherColumns::Drop;
    let batch = decode(&read, "a,b\n1,2\n").unwrap();
    assert_eq!((batch.num_columns(), shown(&batch, "b")), (1, vec!["2".to_owned()]));
    read.other_columns = OtherColumns::Fail;
    assert_eq!(refusal(&read, "a,b\n1,2\n").code, "csv/undeclared-column");
    assert_eq!(decode(&read, "b\n2\n").unwrap().num_rows(), 1);
}

#[test]
fn columns_without_header_are_numbered_or_declared_in_order() {
    let read = csv_with(r#"{"header":false}"#, &[]);
    let batch = decode(&read, "1,x\n2,y\n").unwrap();
    assert_eq!(shown(&batch, "column_1"), ["1", "2"]);
    let declared = csv_with(r#"{"header":false}"#, &[("id", "text"), ("v", "float64")]);
    let batch = decode(&declared, "1,2,z\n").unwrap();
    assert_eq!((shown(&batch, "id"), shown(&batch, "v")), (vec!["1".to_owned()], vec!["2.0".to_owned()]));
    assert_eq!(shown(&batch, "column_3"), ["z"]);
    assert_eq!(refusal(&declared, "1\n").code, "csv/field-count");
}

#[test]
fn errors_say_where_and_what() {
    let wide = format!("a,b\n1,2\n3,{}\n", "x".repeat(100));
    let read = csv_with("{}", &[("b", "int64")]);
    let error = refusal(&read, &wide);
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Type, "csv/type"));
    assert_eq!(error.message, format!("column `b` is int64, but a value is `{}…`", "x".repeat(40)));
    assert_eq!(error.context, ["line 3 (row 2) of page 1"]);
    assert_eq!(error.hint.as_deref(), Some("declare `columns: { b: text }` under `read`"));
    let error = refusal(&csv(), "a,b\n1,2\n3\n");
    assert_eq!(error.to_string(), "a row has 1 fields where there are 2 columns, line 3 (row 2) of page 1");
    let error = refusal(&csv(), "a,b\n1,2\n3,x\"y\"\n");
    assert_eq!((error.code.as_str(), error.context[0].as_str()), ("csv/quote", "line 3 (row 2) of page 1"));
    assert!(error.message.contains("`b`"));
}

#[test]
fn text_that_is_not_utf8_names_its_row() {
    let (frames, _) = frames_of(&csv(), b"a\nx\n\xff\n", 3, LIMITS).unwrap();
    let error = decode_frames(&csv(), &frames).unwrap_err();
    assert_eq!((error.code.as_str(), error.context[0].as_str()), ("csv/utf8", "line 3 (row 2) of page 1"));
    // Half a character in one field and the other half in the next are not a character.
    let (frames, _) = frames_of(&csv(), b"a\n\xc3\n\xa4\n", 3, LIMITS).unwrap();
    assert_eq!(decode_frames(&csv(), &frames).unwrap_err().code, "csv/utf8");
}

#[test]
fn a_decoder_goes_on_after_an_error() {
    let mut decoder = decoder(&csv()).unwrap();
    let frame = |text: &str| frames_of(&csv(), text.as_bytes(), 9, LIMITS).unwrap().0.remove(0);
    let good = frame("a,b\n1,x\n");
    decoder.set_schema(&decoder.infer(&good, None).unwrap()).unwrap();
    assert!(decoder.decode(&frame("a,b\n1,x\ny,2\n")).is_err());
    let Decoded::Batch(batch) = decoder.decode(&good).unwrap() else { panic!("wider") };
    assert_eq!((shown(&batch, "a"), shown(&batch, "b")), (vec!["1".to_owned()], vec!["x".to_owned()]));
}

#[test]
fn five_hundred_columns_decode() {
    let header: Vec<String> = (0..500).map(|i| format!("c{i}")).collect();
    let row: Vec<String> = (0..500).map(|i| (i * 7).to_string()).collect();
    let text = format!("{}\n{}", header.join(","), format!("{}\n", row.join(",")).repeat(300));
    let batch = decode(&csv(), &text).unwrap();
    assert_eq!((batch.num_rows(), batch.num_columns()), (300, 500));
    assert!(batch.column(499).as_primitive::<Int64Type>().values().iter().all(|v| *v == 499 * 7));
}

#[test]
fn nested_types_and_bad_options_are_refused() {
    assert_eq!(decoder(&csv_with("{}", &[("a", "list<text>")])).err().unwrap().code, "csv/nested");
    for options in
        [r#"{"delimiter":"ab"}"#, r#"{"delimiter":""}"#, r#"{"quote":"\n"}"#, r#"{"delimiter":"\""}"#]
    {
        assert_eq!(decoder(&csv_with(options, &[])).err().unwrap().kind, ErrorKind::Config, "{options}");
    }
    let unquoted = csv_with(r#"{"quote":"","delimiter":"\t"}"#, &[]);
    assert_eq!(shown(&decode(&unquoted, "a\tb\n\"x\t5\"\n").unwrap(), "a"), ["\"x"]);
}

/// A cell, and whether it is written with quotes that it does not need.
type Cell = (Option<String>, bool);

fn cells() -> impl Strategy<Value = Vec<Vec<Cell>>> {
    let text = prop_oneof!["[a-z]{0,40}", "[ -~]{0,12}", "[\",\r\n\u{e4}\u{1f600}x]{0,8}", "[0-9]{1,4}"];
    let cell = (proptest::option::weighted(0.9, text), any::<bool>());
    (1usize..6).prop_flat_map(move |columns| {
        proptest::collection::vec(proptest::collection::vec(cell.clone(), columns), 1..40)
    })
}

fn spell(table: &[Vec<Cell>], line_end: &str) -> String {
    let mut text = String::new();
    for row in table {
        let single = row.len() == 1;
        let fields: Vec<String> = row
            .iter()
            .map(|(value, quoted)| match value {
                // A line that is blank is no row.
                None if single => "\"\"".to_owned(),
                None => String::new(),
                Some(value) if *quoted || value.is_empty() || value.contains(['"', ',', '\r', '\n']) => {
                    format!("\"{}\"", value.replace('"', "\"\""))
                }
                Some(value) => value.clone(),
            })
            .collect();
        text += &fields.join(",");
        text += line_end;
    }
    text
}

fn table_of(table: &[Vec<Cell>], chunk: usize, line_end: &str, frame_bytes: usize) {
    let columns = table[0].len();
    let header: Vec<Vec<Cell>> = vec![(0..columns).map(|i| (Some(format!("c{i}")), false)).collect()];
    let text = spell(&header, line_end) + &spell(table, line_end);
    let names: Vec<(String, &str)> = (0..columns).map(|i| (format!("c{i}"), "text")).collect();
    let names: Vec<(&str, &str)> = names.iter().map(|(name, t)| (name.as_str(), *t)).collect();
    let read = csv_with("{}", &names);
    let limits = FrameLimits { frame_bytes, row_bytes_max: 10_000 };
    let (frames, facts) = frames_of(&read, text.as_bytes(), chunk, limits).unwrap();
    let (_, batches) = decode_frames(&read, &frames).unwrap();
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    assert_eq!((facts.rows, rows), (table.len() as u64, table.len()));
    for (frame, batch) in frames.iter().zip(&batches) {
        assert_eq!(frame.rows, batch.num_rows() as u64);
    }
    let batch = concat_batches(&batches[0].schema(), &batches).unwrap();
    for (at, column) in batch.columns().iter().enumerate() {
        let found: Vec<Option<&str>> = column.as_string::<i32>().iter().collect();
        let wanted: Vec<Option<&str>> = table
            .iter()
            .map(|row| row[at].0.as_deref().or(if columns == 1 { Some("") } else { None }))
            .collect();
        assert_eq!(found, wanted);
    }
}

proptest! {
    #[test]
    fn gives_the_same_cells(
        table in cells(),
        chunk in 1usize..200,
        line_end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r"), Just("\n\n")],
        frame_bytes in 1usize..500,
    ) {
        table_of(&table, chunk, line_end, frame_bytes);
    }

    #[test]
    fn no_bytes_panic(
        text in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..400),
            proptest::collection::vec(prop_oneof![Just(b','), Just(b'"'), Just(b'\n'), Just(b'\r'), Just(b'1'), Just(b'x')], 0..400),
        ],
        chunk in 1usize..100,
        frame_bytes in 1usize..100,
        header in any::<bool>(),
    ) {
        let read = csv_with(&format!("{{\"header\":{header}}}"), &[]);
        let limits = FrameLimits { frame_bytes, row_bytes_max: 1000 };
        if let Ok((frames, facts)) = frames_of(&read, &text, chunk, limits) {
            let rows: u64 = frames.iter().map(|frame| frame.rows).sum();
            prop_assert_eq!(rows, facts.rows);
            if let Ok((_, batches)) = decode_frames(&read, &frames) {
                let decoded: usize = batches.iter().map(RecordBatch::num_rows).sum();
                prop_assert_eq!(decoded as u64, facts.rows);
            }
        }
    }

    #[test]
    fn a_cut_file_gives_whole_rows_or_an_error(table in cells(), chunk in 1usize..100) {
        // Every field is quoted, so half of one cannot look whole.
        let table: Vec<Vec<Cell>> =
            table.into_iter().map(|row| row.into_iter().map(|(v, _)| (Some(v.unwrap_or_default()), true)).collect()).collect();
        let header: Vec<Vec<Cell>> = vec![(0..table[0].len()).map(|i| (Some(format!("c{i}")), true)).collect()];
        let text = spell(&header, "\n") + &spell(&table, "\n");
        let mut read = csv();
        for i in 0..table[0].len() {
            read.columns.insert(format!("c{i}"), ColumnType::parse("text").unwrap());
        }
        let mut row_ends = Vec::new();
        for rows in 1..=table.len() {
            row_ends.push(spell(&header, "\n").len() + spell(&table[..rows], "\n").len());
        }
        for cut in 0..text.len() {
            let framed = frames_of(&read, &text.as_bytes()[..cut], chunk, LIMITS);
            let decoded = framed.and_then(|(frames, _)| decode_frames(&read, &frames));
            let quotes = text.as_bytes()[..cut].iter().filter(|byte| **byte == b'"').count();
            prop_assert!(quotes % 2 == 0 || decoded.is_err(), "half of a quoted field became a row");
            let Ok((_, batches)) = decoded else { continue };
            // The last line may look whole after one half of a doubled quote; those before it are.
            let whole = row_ends.iter().filter(|end| **end <= cut).count();
            let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
            prop_assert!(rows == whole || rows == whole + 1, "{} rows of {}", rows, whole);
            for (at, row) in table.iter().enumerate().take(whole) {
                for (column, (value, _)) in batches[0].columns().iter().zip(row) {
                    prop_assert_eq!(Some(column.as_string::<i32>().value(at)), value.as_deref());
                }
            }
        }
    }
}
