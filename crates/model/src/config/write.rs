//! Where rows go.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::setting::ByteSize;

/// Where the rows go, by kind of place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Write {
    /// To files in a local folder.
    Files(FilesWrite),
}

/// To files in a local folder. Nothing under their final names is ever incomplete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilesWrite {
    /// The folder; made if it is not there.
    #[schemars(example = &"lake/orders/")]
    pub path: String,

    /// The files' format.
    #[schemars(example = &"parquet")]
    pub format: FileFormat,

    /// How their contents are compressed. Without it zstd for Parquet, deflate for Avro, and not at all for text; `dil plan`
    /// says which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"snappy")]
    pub compression: Option<Compression>,

    /// Columns whose values become folders (`country=at/`), in Hive's spelling; they are left out of the files. A row whose
    /// value is null, empty or absent goes to `country=__HIVE_DEFAULT_PARTITION__/`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = serde_json::json!(["country"]))]
    pub partition_by: Vec<String>,

    /// Whether a run adds to what is there or takes its place.
    #[serde(default)]
    #[schemars(example = &"replace")]
    pub mode: WriteMode,

    /// A file is closed, and the next one begun, at about this size.
    #[serde(default = "default_file_size")]
    #[schemars(example = &"64MiB", extend("x-unit" = "size"))]
    pub file_size: ByteSize,
}

impl FilesWrite {
    /// How the files' contents are compressed: as named, or as the format has it by default.
    pub fn compressed(&self) -> Compression {
        self.compression.unwrap_or(match self.format {
            FileFormat::Parquet => Compression::Zstd,
            FileFormat::Avro => Compression::Deflate,
            FileFormat::Jsonl | FileFormat::Csv => Compression::None,
        })
    }
}

/// A file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileFormat {
    /// Apache Parquet.
    Parquet,
    /// Avro object container files.
    Avro,
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated text with a header (RFC 4180).
    Csv,
}

impl FileFormat {
    /// The ending of its files' names, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Avro => "avro",
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
        }
    }
}

/// How a file's contents are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    None,
    /// Zstandard (Parquet, Avro).
    Zstd,
    /// Snappy (Parquet, Avro).
    Snappy,
    /// LZ4 (Parquet).
    Lz4,
    /// Gzip (Parquet; JSON lines and CSV as `.gz` files).
    Gzip,
    /// Deflate (Avro).
    Deflate,
}

impl Compression {
    /// The name in a flow file.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Zstd => "zstd",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }
}

/// Whether a run adds to what is there or takes its place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WriteMode {
    /// Files are added; a unit that is read again exchanges its own.
    #[default]
    Append,
    /// The folder's contents are exchanged for the run's, in one step. Needs `publish: all_units` and a folder that only
    /// this stage writes to.
    Replace,
}

fn default_file_size() -> ByteSize {
    ByteSize::mib(128)
}
