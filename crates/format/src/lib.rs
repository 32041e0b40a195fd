//! Bytes ⇄ batches. Sans I/O: it is fed bytes and gives bytes, and knows nothing of where they come from.
//!
//! Reading has two halves. A framer ([`framer`]) runs beside the connection: it finds where rows end and picks out the
//! facts that paging needs. A decoder ([`decoder`]) runs on another thread and makes batches of what was framed.
//! Writing has one: an encoder ([`encoder`]) turns batches into the bytes of one file.

mod columnar;
mod csv;
mod file;
mod json;
mod scalar;

use std::sync::Arc;

use dil_model::arrow::datatypes::SchemaRef;
use dil_model::component::{Decoder, Encoder, Framer, RandomAccess};
use dil_model::config::{FileFormat, FilesWrite, Format, Read};
use dil_model::{Error, ErrorKind, Result};

pub use columnar::Frames;

/// How much a framer may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// A frame is given away once it is this large. Larger frames decode a little faster and cost as much memory.
    pub frame_bytes: usize,
    /// A row above this is an error; the buffer grows up to it.
    pub row_bytes_max: usize,
}

/// The framer for what `read` describes; it puts the scalars at the `wanted` paths into the page facts.
///
/// # Errors
/// `Config` if the format cannot give a wanted path (CSV and NDJSON have no place outside rows), or is columnar: [`frames`] reads
/// such files.
pub fn framer(read: &Read, wanted: &[String], limits: FrameLimits) -> Result<Box<dyn Framer>> {
    match read.format() {
        Format::Json => json::document_framer(read, wanted, limits),
        Format::Ndjson => json::line_framer(wanted, limits),
        Format::Csv => csv::framer(read, wanted, limits),
        Format::Parquet | Format::Avro => {
            let message = "Parquet and Avro are read from files, not from what streams in";
            Err(Error::new(ErrorKind::Config, "read/format", message))
        }
    }
}

/// The rows of a file whose format is columnar, as frames; `number` is the page's, counted from 1 in its unit. It waits for the
/// place that the file is read from.
///
/// # Errors
/// `Format` for a file that is not of the format, or broken; `Type` for a column or value that cannot be read.
pub fn frames(read: &Read, file: Arc<dyn RandomAccess>, limits: FrameLimits, number: u64) -> Result<Frames> {
    columnar::frames(read, file, limits, number)
}

/// The decoder for what `read` describes.
///
/// # Errors
/// `Config` if its options contradict each other.
pub fn decoder(read: &Read) -> Result<Box<dyn Decoder>> {
    match read.format() {
        Format::Json | Format::Ndjson => json::decoder(read),
        Format::Csv => csv::decoder(read),
        Format::Parquet | Format::Avro => Ok(columnar::decoder(read)),
    }
}

/// An encoder for one file of `schema`; `memory` bounds the bytes it holds for rows that are not final yet.
///
/// # Errors
/// `Config` if the format cannot hold the schema or the compression.
pub fn encoder(write: &FilesWrite, schema: &SchemaRef, memory: usize) -> Result<Box<dyn Encoder>> {
    if schema.fields().is_empty() && matches!(write.format, FileFormat::Parquet | FileFormat::Csv) {
        let message = format!(
            "no column of these rows has a value, and {} cannot hold rows without columns",
            write.format.extension()
        );
        return Err(Error::new(ErrorKind::Config, "write/no-columns", message)
            .hint("name the columns and their types under `read: columns`, or write jsonl or avro"));
    }
    match write.format {
        FileFormat::Parquet => file::parquet::encoder(write, schema, memory),
        FileFormat::Avro => file::avro::encoder(write, schema, memory),
        FileFormat::Jsonl => file::jsonl::encoder(write, schema),
        FileFormat::Csv => file::csv::encoder(write, schema),
    }
}

/// The ending of the files that [`encoder`] makes, without the first dot (`parquet`, `csv.gz`).
pub fn extension(write: &FilesWrite) -> String {
    file::extension(write)
}
