//! Encoders: batches of one schema become the bytes of one file.
//!
//! Parquet comes from the `parquet` crate. Avro, JSON lines and CSV are written here, because they are a few lines per
//! type and their speed is what users wait for.

pub(crate) mod avro;
mod avro_schema;
mod behind;
mod compression;
pub(crate) mod csv;
pub(crate) mod jsonl;
mod lanes;
pub(crate) mod parquet;
mod parquet_column;
mod sink;
mod text;

pub(crate) use compression::extension;
