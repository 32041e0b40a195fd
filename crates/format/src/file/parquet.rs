//! Parquet files.
//!
//! A row group is closed when the memory it holds reaches half of what was given, or at a million rows. The other half
//! is for the closed group's bytes on their way out.

use std::sync::Arc;

use dil_model::arrow::datatypes::SchemaRef;
use dil_model::arrow::record_batch::RecordBatch;
use dil_model::component::Encoder;
use dil_model::config::{Compression, FilesWrite};
use dil_model::parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use dil_model::parquet::basic::{Compression as Codec, GzipLevel, Type, ZstdLevel};
use dil_model::parquet::errors::ParquetError;
use dil_model::parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use dil_model::{Error, ErrorKind, Result};

use super::compression::impossible;

/// Rows in a row group at most; readers take a group at a time.
const GROUP_ROWS_MAX: usize = 1 << 20;

/// A dictionary above this is given up. What has so many different values gains little from one, and pays for the
/// attempt with every value up to there.
const DICTIONARY_BYTES_MAX: usize = 128 << 10;

/// Compressed at once; readers skip by page.
const PAGE_BYTES: usize = 1 << 20;

/// Rows that are handed over at once at least, so that a small memory bound does not mean one row at a time.
const SLICE_ROWS_MIN: usize = 64;

/// The encoder for Parquet files.
///
/// # Errors
/// `Config` if the schema has no columns that Parquet can hold, or for deflate.
pub(crate) fn encoder(write: &FilesWrite, schema: &SchemaRef, memory: usize) -> Result<Box<dyn Encoder>> {
    let properties = properties(write, schema)?;
    let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties)).map_err(|cause| {
        Error::new(
            ErrorKind::Config,
            "write/parquet-schema",
            format!("parquet cannot hold these columns: {cause}"),
        )
        .hint("choose other columns with `convert: project`")
    })?;
    Ok(Box::new(ParquetEncoder { writer, group_bytes_max: (memory / 2).max(1) }))
}

fn properties(write: &FilesWrite, schema: &SchemaRef) -> Result<WriterProperties> {
    let codec = match write.compressed() {
        Compression::Zstd => Codec::ZSTD(ZstdLevel::try_new(1).map_err(|cause| failed(&cause))?),
        Compression::None => Codec::UNCOMPRESSED,
        Compression::Snappy => Codec::SNAPPY,
        Compression::Lz4 => Codec::LZ4_RAW,
        Compression::Gzip => Codec::GZIP(GzipLevel::default()),
        other @ Compression::Deflate => return Err(impossible(write, other)),
    };
    let builder = WriterProperties::builder()
        .set_created_by(concat!("dil ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(codec)
        .set_max_row_group_row_count(Some(GROUP_ROWS_MAX))
        .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX)
        .set_data_page_size_limit(PAGE_BYTES);
    Ok(without_hopeless_dictionaries(builder, schema)?.build())
}

/// Floats and timestamps seldom repeat, so they get no dictionary.
fn without_hopeless_dictionaries(
    mut builder: WriterPropertiesBuilder,
    schema: &SchemaRef,
) -> Result<WriterPropertiesBuilder> {
    let columns = ArrowSchemaConverter::new().convert(schema).map_err(|cause| failed(&cause))?;
    for column in columns.columns() {
        let is_instant = matches!(
            column.logical_type_ref(),
            Some(dil_model::parquet::basic::LogicalType::Timestamp { .. })
        );
        if is_instant || matches!(column.physical_type(), Type::FLOAT | Type::DOUBLE) {
            builder = builder.set_column_dictionary_enabled(column.path().clone(), false);
        }
    }
    Ok(builder)
}

struct ParquetEncoder {
    writer: ArrowWriter<Vec<u8>>,
    group_bytes_max: usize,
}

impl Encoder for ParquetEncoder {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(());
        }
        // A slice takes about a quarter of the bound, so that it is noticed in time.
        let row_bytes = (batch.get_array_memory_size() / rows).max(1);
        let slice_rows = (self.group_bytes_max / 4 / row_bytes).max(SLICE_ROWS_MIN);
        let mut from = 0;
        while from < rows {
            let count = slice_rows.min(rows - from);
            self.writer.write(&batch.slice(from, count)).map_err(|cause| failed(&cause))?;
            from += count;
            if self.writer.memory_size() >= self.group_bytes_max {
                self.writer.flush().map_err(|cause| failed(&cause))?;
            }
        }
        Ok(())
    }

    fn drain(&mut self, out: &mut Vec<u8>) {
        out.append(self.writer.inner_mut());
    }

    fn buffered(&self) -> usize {
        self.writer.memory_size()
    }

    fn file_bytes(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    fn finish(self: Box<Self>, out: &mut Vec<u8>) -> Result<()> {
        let mut bytes = self.writer.into_inner().map_err(|cause| failed(&cause))?;
        out.append(&mut bytes);
        Ok(())
    }
}

fn failed(cause: &ParquetError) -> Error {
    Error::new(ErrorKind::Internal, "write/parquet", format!("writing parquet: {cause}"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use dil_model::arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
    use dil_model::arrow::compute::concat_batches;
    use dil_model::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

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
            (
                "f",
                Arc::new(Float64Array::from_iter((0..rows).map(|i| (i % 3 > 0).then_some(i as f64 / 7.0)))),
            ),
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
}
