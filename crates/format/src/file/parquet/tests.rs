use bytes::Bytes;
use dil_model::arrow::array::{
    ArrayBuilder, Float64Array, Int64Array, Int64Builder, ListBuilder, StringArray, StringBuilder,
    StructArray, StructBuilder,
};
use dil_model::arrow::compute::concat_batches;
use dil_model::arrow::datatypes::{DataType, Field};
use dil_model::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use dil_model::parquet::file::reader::{FileReader as _, SerializedFileReader};

use super::*;

fn write(compression: &str) -> FilesWrite {
    serde_json::from_value(
        serde_json::json!({ "path": "x", "format": "parquet", "compression": compression }),
    )
    .unwrap()
}

fn batch(rows: usize) -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..rows as i64))),
        ("f", Arc::new(Float64Array::from_iter((0..rows).map(|i| (i % 3 > 0).then_some(i as f64 / 7.0))))),
        (
            "t",
            Arc::new(StringArray::from_iter_values(
                (0..rows).map(|i| format!("text number {}", i * 31 % 1009)),
            )),
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
        .unwrap()
}

fn read(bytes: Vec<u8>) -> (RecordBatch, usize, String) {
    let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).unwrap();
    let metadata = Arc::clone(builder.metadata());
    let creator = metadata.file_metadata().created_by().unwrap().to_owned();
    let schema = Arc::clone(builder.schema());
    let batches: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
    (concat_batches(&schema, &batches).unwrap(), metadata.num_row_groups(), creator)
}

#[test]
fn every_compression_comes_back() {
    let rows = batch(5000);
    for compression in ["none", "zstd", "snappy", "lz4", "gzip"] {
        let mut encoder = encoder(&write(compression), &rows.schema(), 64 << 20).unwrap();
        encoder.write(&rows).unwrap();
        let mut out = Vec::new();
        encoder.finish(&mut out).unwrap();
        let (back, _, creator) = read(out);
        assert_eq!(back, rows, "{compression}");
        assert!(creator.starts_with("dil "));
    }
    assert_eq!(encoder(&write("deflate"), &rows.schema(), 1).err().unwrap().code, "write/compression");
}

fn encoded(batches: &[RecordBatch], memory: usize) -> Vec<u8> {
    let mut encoder = encoder(&write("zstd"), &batches[0].schema(), memory).unwrap();
    let mut out = Vec::new();
    for batch in batches {
        encoder.write(batch).unwrap();
        encoder.drain(&mut out);
    }
    encoder.finish(&mut out).unwrap();
    out
}

/// Lists of objects with texts, lists and nulls at every level.
fn nested(rows: usize) -> RecordBatch {
    let mut lists = ListBuilder::new(StructBuilder::from_fields(
        vec![
            Field::new("a", DataType::Utf8, true),
            Field::new("b", DataType::new_list(DataType::Int64, true), true),
        ],
        0,
    ));
    for row in 0..rows {
        for item in 0..row % 4 {
            let object = lists.values();
            let text = object.field_builder::<StringBuilder>(0).unwrap();
            text.append_option((item != 1).then(|| format!("{row}-{item}")));
            let numbers = object.field_builder::<ListBuilder<Box<dyn ArrayBuilder>>>(1).unwrap();
            let values = numbers.values().as_any_mut().downcast_mut::<Int64Builder>().unwrap();
            (0..item).for_each(|number| values.append_option((number != 1).then_some(number as i64)));
            numbers.append(row % 7 > 0);
            object.append(row % 5 > 0);
        }
        lists.append(row % 3 > 0);
    }
    let lists: ArrayRef = Arc::new(lists.finish());
    let field = Arc::new(Field::new("lists", lists.data_type().clone(), true));
    let nulls: Vec<bool> = (0..rows).map(|row| row % 6 > 0).collect();
    let object: ArrayRef =
        Arc::new(StructArray::new(vec![field].into(), vec![Arc::clone(&lists)], Some(nulls.into())));
    RecordBatch::try_from_iter_with_nullable([("lists", lists, true), ("object", object, true)]).unwrap()
}

#[test]
fn nested_columns_come_back() {
    let rows = nested(3000);
    assert_eq!(read(encoded(std::slice::from_ref(&rows), 64 << 20)).0, rows);
    let slices: Vec<_> = (0..300).map(|from| rows.slice(from * 10, 10)).collect();
    assert_eq!(read(encoded(&slices, 64 << 20)).0, rows);
}

#[test]
fn pages_of_few_rows_fill_the_same_groups() {
    let rows = batch(20_000);
    let many: Vec<_> =
        (0..2000).map(|page| concat_batches(&rows.schema(), [&rows.slice(page * 10, 10)]).unwrap()).collect();
    let (back, groups, _) = read(encoded(&many, 4 << 20));
    assert_eq!(back, rows);
    assert_eq!(groups, read(encoded(&[rows], 4 << 20)).1);
}

#[test]
fn a_column_that_outgrew_its_dictionary_gets_none_in_the_next_group() {
    let texts = |from: u64| {
        StringArray::from_iter_values((from..from + 40_000).map(|i| format!("{:032}", i * 0x9e37)))
    };
    let batches: Vec<_> = (0..4)
        .map(|group| {
            RecordBatch::try_from_iter([("t", Arc::new(texts(group * 40_000)) as ArrayRef)]).unwrap()
        })
        .collect();
    let file = SerializedFileReader::new(Bytes::from(encoded(&batches, 4 << 20))).unwrap();
    let dictionaries: Vec<bool> = file
        .metadata()
        .row_groups()
        .iter()
        .map(|group| group.column(0).dictionary_page_offset().is_some())
        .collect();
    assert!(dictionaries.len() > 1 && dictionaries[0], "{dictionaries:?}");
    assert!(!dictionaries[1..].contains(&true), "{dictionaries:?}");
}

#[test]
fn many_columns_end_the_file_before_its_end_is_too_large() {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100));
    let rows = RecordBatch::try_from_iter((0..1000).map(|i| (format!("c{i}"), Arc::clone(&column)))).unwrap();
    let mut encoder = encoder(&write("zstd"), &rows.schema(), 16 << 20).unwrap();
    let mut written = 0;
    while !encoder.is_full() {
        encoder.write(&rows).unwrap();
        written += rows.num_rows();
        assert!(written < 1_000_000);
    }
    let mut out = Vec::new();
    encoder.finish(&mut out).unwrap();
    let (back, groups, _) = read(out);
    assert_eq!(back.num_rows(), written);
    assert!(groups > 1);
}

#[test]
fn holds_its_memory_bound_however_large_the_batch() {
    const MEMORY: usize = 1 << 20;
    let rows = batch(200_000);
    let mut encoder = encoder(&write("none"), &rows.schema(), MEMORY).unwrap();
    let mut out = Vec::new();
    for _ in 0..2 {
        encoder.write(&rows).unwrap();
        assert!(encoder.buffered() <= MEMORY, "{}", encoder.buffered());
        encoder.drain(&mut out);
    }
    let told = encoder.file_bytes();
    encoder.finish(&mut out).unwrap();
    assert!(told.abs_diff(out.len() as u64) < out.len() as u64 / 10, "{told} {}", out.len());
    let (back, groups, _) = read(out);
    assert_eq!(back.num_rows(), 400_000);
    assert_eq!(back.slice(200_000, 200_000), rows);
    assert!(groups > 4);
}
