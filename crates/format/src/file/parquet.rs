//! Parquet files.
//!
//! A row group is collected as arrays, whose size is known exactly, and encoded when it is full: column after column, on a
//! thread or two, while the next one is collected. What encoding takes (a compressor of most of a megabyte, a dictionary,
//! pages) is therefore there once for each thread and not once for each column.
//!
//! Of what was given, each column takes a little for being there, and what the file's end will tell grows with every group.
//! A third of the rest is for the rows that are collected, a third for those that are encoded, and a third for their
//! encoded bytes on the way out. Where that leaves little for a column, it would all go into small buffers, twice; then
//! collecting waits for encoding.

use std::sync::Arc;

use dil_model::arrow::array::{Array, ArrayRef};
use dil_model::arrow::compute::concat;
use dil_model::arrow::datatypes::SchemaRef;
use dil_model::arrow::error::ArrowError;
use dil_model::arrow::record_batch::RecordBatch;
use dil_model::component::Encoder;
use dil_model::config::{Compression, FilesWrite};
use dil_model::parquet::arrow::ArrowWriter;
use dil_model::parquet::basic::{Compression as Codec, GzipLevel, ZstdLevel};
use dil_model::parquet::errors::ParquetError;
use dil_model::parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use dil_model::parquet::file::writer::SerializedFileWriter;
use dil_model::{Error, ErrorKind};

use super::behind::Behind;
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

/// What being a column of the file takes: its names, types and settings.
const COLUMN_BYTES: usize = 3 << 10;

/// What the file's end tells about one column of one group takes about so much, and is in memory until then.
const FOOTER_ENTRY_BYTES: usize = 1 << 10;

/// With less than this for each column of a group, groups are not collected while others are encoded.
const WIDE_COLUMN_BYTES: usize = 32 << 10;

/// Columns that are encoded before their bytes go to the file.
const SLAB_COLUMNS: usize = 64;

/// Arrays below this many rows take more for being arrays than for their values, so that many are joined to one.
const SMALL_ROWS: usize = 1 << 10;
const SMALL_ARRAYS_MAX: usize = 16;

/// How much smaller files are than batches, as long as this file has not shown it.
const SHRINKS_TO: f64 = 0.3;

/// The encoder for Parquet files.
///
/// # Errors
/// `Config` if the schema has no columns that Parquet can hold, or for deflate.
pub(crate) fn encoder(
    write: &FilesWrite,
    schema: &SchemaRef,
    memory: usize,
) -> dil_model::Result<Box<dyn Encoder>> {
    let column_count = schema.flattened_fields().len().max(1);
    let memory = memory.saturating_sub(column_count * COLUMN_BYTES).max(memory / 4);
    let is_wide = memory / 3 / column_count < WIDE_COLUMN_BYTES;
    let builder = properties(write, memory, memory / parts(is_wide) / column_count)?;
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
    let writer =
        ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(builder.build())).map_err(unfit)?;
    let (file, _) = writer.into_serialized_writer().map_err(unfit)?;
    Ok(Box::new(ParquetEncoder {
        out: Vec::new(),
        written: 0,
        encoded_from: 0,
        group: Group::new(schema.fields().len()),
        encoding: 0,
        groups: 0,
        columns: columns.len(),
        memory,
        is_wide,
        writer: Behind::new(Writer { file, columns, ways }),
    }))
}

/// The settings for a group in which a column has about `column_bytes`.
fn properties(
    write: &FilesWrite,
    memory: usize,
    column_bytes: usize,
) -> dil_model::Result<WriterPropertiesBuilder> {
    let codec = match write.compressed() {
        Compression::Zstd => Codec::ZSTD(ZstdLevel::try_new(1).map_err(|cause| failed(&cause))?),
        Compression::None => Codec::UNCOMPRESSED,
        Compression::Snappy => Codec::SNAPPY,
        Compression::Lz4 => Codec::LZ4_RAW,
        Compression::Gzip => Codec::GZIP(GzipLevel::default()),
        other @ Compression::Deflate => return Err(impossible(write, other)),
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

/// What there is at once: rows that are collected, others that are encoded unless that is waited for, encoded bytes.
fn parts(is_wide: bool) -> usize {
    if is_wide { 2 } else { 3 }
}

struct ParquetEncoder {
    writer: Behind<Writer, Result<Vec<u8>, ParquetError>>,
    /// Final bytes.
    out: Vec<u8>,
    /// How many bytes are final or gone, and the bytes of the arrays that they were made of.
    written: usize,
    encoded_from: usize,
    /// Rows that are not encoded yet.
    group: Group,
    /// Bytes of the arrays that are encoded now.
    encoding: usize,
    /// Groups that are not collected any more.
    groups: usize,
    columns: usize,
    /// For the groups and for the file's end.
    memory: usize,
    /// Collecting waits for encoding.
    is_wide: bool,
}

/// The file, and what encodes its groups.
struct Writer {
    file: SerializedFileWriter<Vec<u8>>,
    columns: Vec<Column>,
    ways: Ways,
}

struct Group {
    /// Of each top-level column.
    arrays: Vec<Vec<ArrayRef>>,
    rows: usize,
    bytes: usize,
    /// How many of each column's last arrays are small, and what they count for in `bytes`.
    small: usize,
    small_bytes: usize,
}

impl Group {
    fn new(columns: usize) -> Self {
        Self { arrays: vec![Vec::new(); columns], rows: 0, bytes: 0, small: 0, small_bytes: 0 }
    }

    /// Adds rows that take `bytes`. They may be a slice of a larger batch, which does not count as a whole.
    fn push(&mut self, batch: &RecordBatch, bytes: usize) -> Result<(), ArrowError> {
        for (arrays, array) in self.arrays.iter_mut().zip(batch.columns()) {
            arrays.push(Arc::clone(array));
        }
        self.rows += batch.num_rows();
        self.bytes += bytes;
        (self.small, self.small_bytes) =
            if batch.num_rows() < SMALL_ROWS { (self.small + 1, self.small_bytes + bytes) } else { (0, 0) };
        if self.small >= SMALL_ARRAYS_MAX { self.join_small() } else { Ok(()) }
    }

    fn join_small(&mut self) -> Result<(), ArrowError> {
        let (mut rows, mut bytes) = (0, 0);
        for arrays in &mut self.arrays {
            let small = arrays.split_off(arrays.len() - self.small);
            let parts: Vec<&dyn Array> = small.iter().map(AsRef::as_ref).collect();
            let joined = concat(&parts)?;
            bytes += joined.get_array_memory_size();
            rows = joined.len();
            arrays.push(joined);
        }
        self.bytes = self.bytes - self.small_bytes + bytes;
        (self.small, self.small_bytes) = if rows < SMALL_ROWS { (1, bytes) } else { (0, 0) };
        Ok(())
    }
}

impl Writer {
    /// Encodes a group; gives what it adds to the file.
    fn encode(&mut self, mut group: Group) -> Result<Vec<u8>, ParquetError> {
        let lanes = if group.bytes < LANE_BYTES_MIN { 1 } else { lanes::lanes() };
        let mut row_group = self.file.next_row_group()?;
        for slab in self.columns.chunks_mut(SLAB_COLUMNS) {
            let (first, last) = (slab[0].field(), slab[slab.len() - 1].field());
            let arrays = &group.arrays;
            let chunks = lanes::each(&mut vec![(); lanes], slab.iter_mut(), |(), column| {
                column.encode(&arrays[column.field()], &self.ways)
            });
            for chunk in chunks {
                chunk?.append_to_row_group(&mut row_group)?;
            }
            // The last field may go on in the next slab.
            group.arrays[first..last].iter_mut().for_each(|arrays| *arrays = Vec::new());
        }
        row_group.close()?;
        Ok(std::mem::take(self.file.inner_mut()))
    }
}

impl ParquetEncoder {
    fn footer_bytes(&self) -> usize {
        self.groups * self.columns * FOOTER_ENTRY_BYTES
    }

    fn group_bytes_max(&self) -> usize {
        (self.memory.saturating_sub(self.footer_bytes()) / parts(self.is_wide)).max(1)
    }

    /// Lets the rows collected so far be encoded.
    fn close_group(&mut self) -> dil_model::Result<()> {
        let fields = self.group.arrays.len();
        let group = std::mem::replace(&mut self.group, Group::new(fields));
        let bytes = group.bytes;
        self.groups += 1;
        if self.is_wide {
            let (_, encoded) = self.writer.run(|writer| writer.encode(group))?;
            self.encoding = bytes;
            return self.take(Some(encoded));
        }
        let before = self.writer.start(move |writer| writer.encode(group))?;
        self.take(before)?;
        self.encoding = bytes;
        Ok(())
    }

    /// Takes the bytes of the group that was encoded.
    fn take(&mut self, encoded: Option<Result<Vec<u8>, ParquetError>>) -> dil_model::Result<()> {
        let Some(encoded) = encoded else { return Ok(()) };
        let mut bytes = encoded.map_err(|cause| failed(&cause))?;
        self.written += bytes.len();
        self.encoded_from += std::mem::take(&mut self.encoding);
        if self.out.is_empty() {
            self.out = bytes;
        } else {
            self.out.append(&mut bytes);
        }
        Ok(())
    }
}

impl Encoder for ParquetEncoder {
    fn write(&mut self, batch: &RecordBatch) -> dil_model::Result<()> {
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(());
        }
        let row_bytes = (size(batch).map_err(|cause| failed(&cause.into()))? / rows).max(1);
        let mut from = 0;
        while from < rows {
            let room = self.group_bytes_max().saturating_sub(self.group.bytes) / row_bytes;
            let count = room.min(GROUP_ROWS_MAX - self.group.rows).min(rows - from);
            if count == 0 && self.group.rows > 0 {
                self.close_group()?;
                continue;
            }
            // A row that is larger than a group is one.
            let count = count.max(1);
            self.group
                .push(&batch.slice(from, count), count * row_bytes)
                .map_err(|cause| failed(&cause.into()))?;
            from += count;
        }
        Ok(())
    }

    fn drain(&mut self, out: &mut Vec<u8>) {
        if out.is_empty() {
            *out = std::mem::take(&mut self.out);
        } else {
            out.append(&mut self.out);
        }
    }

    fn buffered(&self) -> usize {
        self.group.bytes + self.encoding
    }

    fn file_bytes(&self) -> u64 {
        let shrinks_to =
            if self.encoded_from == 0 { SHRINKS_TO } else { self.written as f64 / self.encoded_from as f64 };
        self.written as u64 + (self.buffered() as f64 * shrinks_to) as u64
    }

    fn is_full(&self) -> bool {
        self.footer_bytes() >= self.memory / 4
    }

    fn finish(mut self: Box<Self>, out: &mut Vec<u8>) -> dil_model::Result<()> {
        let group = std::mem::replace(&mut self.group, Group::new(0));
        let (mut writer, before) = self.writer.end()?;
        for encoded in before.into_iter().chain((group.rows > 0).then(|| writer.encode(group))) {
            self.out.append(&mut encoded.map_err(|cause| failed(&cause))?);
        }
        out.append(&mut self.out);
        out.append(&mut writer.file.into_inner().map_err(|cause| failed(&cause))?);
        Ok(())
    }
}

/// What these rows take, without the rest of the buffers they may be a part of.
fn size(batch: &RecordBatch) -> Result<usize, ArrowError> {
    batch
        .columns()
        .iter()
        .map(|array| Ok(size_of_val(array) + array.to_data().get_slice_memory_size()?))
        .sum()
}

fn failed(cause: &ParquetError) -> Error {
    Error::new(ErrorKind::Internal, "write/parquet", format!("writing parquet: {cause}"))
}

#[cfg(test)]
mod tests;
