//! Parquet files.
//!
//! A row group is collected as batches, whose size is known exactly, and encoded when it is full: column after column, on a
//! thread or two. What encoding takes (a compressor of most of a megabyte, a dictionary, pages) is therefore there once
//! for each thread and not once for each column, and memory is the same for five columns and for five thousand.
//!
//! Half of what was given is for the batches; the other half is for their encoded bytes on the way out.

use std::sync::Arc;

use dil_model::arrow::array::ArrayRef;
use dil_model::arrow::datatypes::SchemaRef;
use dil_model::arrow::record_batch::RecordBatch;
use dil_model::component::Encoder;
use dil_model::config::{Compression, FilesWrite};
use dil_model::parquet::arrow::ArrowWriter;
use dil_model::parquet::arrow::arrow_writer::ArrowColumnChunk;
use dil_model::parquet::basic::{Compression as Codec, GzipLevel, ZstdLevel};
use dil_model::parquet::errors::ParquetError;
use dil_model::parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use dil_model::parquet::file::writer::SerializedFileWriter;
use dil_model::{Error, ErrorKind, Result};

use super::compression::impossible;
use super::lanes;
use super::parquet_column::{Column, Ways, columns};

/// Rows in a row group at most; readers take a group at a time.
const GROUP_ROWS_MAX: usize = 1 << 20;

/// A dictionary above this is given up. What has so many different values gains little from one, and pays for the
/// attempt with every value up to there.
const DICTIONARY_BYTES_MAX: usize = 128 << 10;

/// Compressed at once; readers skip by page. Smaller where memory is small, because each thread holds two or three.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// A group below this is encoded before a second thread would have begun.
const LANE_BYTES_MIN: usize = 256 << 10;

/// What the file's end tells about one column of one group takes about so much, and is in memory until then.
const FOOTER_ENTRY_BYTES: usize = 1 << 10;

/// How much smaller files are than batches, as long as this file has not shown it.
const SHRINKS_TO: f64 = 0.3;

/// The encoder for Parquet files.
///
/// # Errors
/// `Config` if the schema has no columns that Parquet can hold, or for deflate.
pub(crate) fn encoder(write: &FilesWrite, schema: &SchemaRef, memory: usize) -> Result<Box<dyn Encoder>> {
    let group_bytes_max = (memory / 2).max(1);
    let builder = properties(write, memory, group_bytes_max / schema.flattened_fields().len().max(1))?;
    let ways = Ways {
        plain: Arc::new(builder.clone().set_dictionary_enabled(false).build()),
        with_dictionary: Arc::new(builder.clone().build()),
    };
    let unfit = |cause: ParquetError| {
        let message = format!("parquet cannot hold these columns: {cause}");
        Error::new(ErrorKind::Config, "write/parquet-schema", message)
            .hint("choose other columns with `convert: project`")
    };
    let columns = columns(schema, &ways).map_err(unfit)?;
    // Only this one notes the Arrow schema in the file.
    let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(builder.build())).map_err(unfit)?;
    let (file, _) = writer.into_serialized_writer().map_err(unfit)?;
    Ok(Box::new(ParquetEncoder {
        file,
        columns,
        ways,
        group: Group::default(),
        group_bytes_max,
        footer_entries_max: memory / 4 / FOOTER_ENTRY_BYTES,
        encoded_from: 0,
    }))
}

/// The settings for a group in which a column has about `column_bytes`.
fn properties(write: &FilesWrite, memory: usize, column_bytes: usize) -> Result<WriterPropertiesBuilder> {
    let codec = match write.compression {
        None | Some(Compression::Zstd) => Codec::ZSTD(ZstdLevel::try_new(1).map_err(|cause| failed(&cause))?),
        Some(Compression::None) => Codec::UNCOMPRESSED,
        Some(Compression::Snappy) => Codec::SNAPPY,
        Some(Compression::Lz4) => Codec::LZ4_RAW,
        Some(Compression::Gzip) => Codec::GZIP(GzipLevel::default()),
        Some(other @ Compression::Deflate) => return Err(impossible(write, other)),
    };
    let page_bytes = (memory / 64).clamp(64 << 10, PAGE_BYTES_MAX);
    let builder = WriterProperties::builder()
        .set_created_by(concat!("dil ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(codec)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX.min(page_bytes))
        .set_data_page_size_limit(page_bytes);
    if column_bytes > page_bytes {
        return Ok(builder);
    }
    // With a page in a column, an index of its pages says what the group's statistics say, and makes wide files larger.
    Ok(builder.set_statistics_enabled(EnabledStatistics::Chunk).set_offset_index_disabled(true))
}

struct ParquetEncoder {
    file: SerializedFileWriter<Vec<u8>>,
    columns: Vec<Column>,
    ways: Ways,
    /// Rows that are not encoded yet.
    group: Group,
    group_bytes_max: usize,
    footer_entries_max: usize,
    /// Bytes of the batches whose groups are closed.
    encoded_from: usize,
}

#[derive(Default)]
struct Group {
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl ParquetEncoder {
    /// Encodes the rows collected so far.
    fn close_group(&mut self) -> std::result::Result<(), ParquetError> {
        let group = std::mem::take(&mut self.group);
        if group.rows == 0 {
            return Ok(());
        }
        let arrays: Vec<Vec<ArrayRef>> = self
            .columns
            .iter()
            .map(|column| group.batches.iter().map(|batch| column.of(batch)).collect())
            .collect::<std::result::Result<_, _>>()?;
        // A column's arrays go as soon as it is encoded.
        drop(group.batches);
        let lanes = if group.bytes < LANE_BYTES_MIN { 1 } else { lanes::lanes() };
        let work = self.columns.iter_mut().zip(arrays);
        let chunks: Vec<ArrowColumnChunk> =
            lanes::each(&mut vec![(); lanes], work, |(), (column, arrays)| column.encode(arrays, &self.ways))
                .into_iter()
                .collect::<std::result::Result<_, _>>()?;
        let size: u64 = chunks.iter().map(|chunk| chunk.close().bytes_written).sum();
        self.file.inner_mut().reserve_exact(usize::try_from(size).unwrap_or_default());
        let mut row_group = self.file.next_row_group()?;
        for chunk in chunks {
            chunk.append_to_row_group(&mut row_group)?;
        }
        row_group.close()?;
        self.encoded_from += group.bytes;
        Ok(())
    }
}

impl Encoder for ParquetEncoder {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(());
        }
        let row_bytes = (batch.get_array_memory_size() / rows).max(1);
        let mut from = 0;
        while from < rows {
            let room = self.group_bytes_max.saturating_sub(self.group.bytes) / row_bytes;
            let count = room.min(GROUP_ROWS_MAX - self.group.rows).min(rows - from);
            if count == 0 && self.group.rows > 0 {
                self.close_group().map_err(|cause| failed(&cause))?;
                continue;
            }
            // A row that is larger than a group is one.
            let count = count.max(1);
            self.group.batches.push(batch.slice(from, count));
            self.group.rows += count;
            self.group.bytes += count * row_bytes;
            from += count;
        }
        Ok(())
    }

    fn drain(&mut self, out: &mut Vec<u8>) {
        let bytes = self.file.inner_mut();
        if out.is_empty() {
            *out = std::mem::take(bytes);
        } else {
            out.append(bytes);
        }
    }

    fn buffered(&self) -> usize {
        self.group.bytes
    }

    fn file_bytes(&self) -> u64 {
        let written = self.file.bytes_written();
        let shrinks_to =
            if self.encoded_from == 0 { SHRINKS_TO } else { written as f64 / self.encoded_from as f64 };
        written as u64 + (self.group.bytes as f64 * shrinks_to) as u64
    }

    fn is_full(&self) -> bool {
        self.file.flushed_row_groups().len() * self.columns.len() >= self.footer_entries_max
    }

    fn finish(mut self: Box<Self>, out: &mut Vec<u8>) -> Result<()> {
        self.close_group().map_err(|cause| failed(&cause))?;
        let mut bytes = self.file.into_inner().map_err(|cause| failed(&cause))?;
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
