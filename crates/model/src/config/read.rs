//! Where rows come from.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::setting::{ByteSize, ColumnType, Pattern};

/// Where the rows come from, and how they are spelt there. Exactly one of `http`, `files` and `list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// From an HTTP API, page by page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = serde_json::json!({ "connection": "api", "path": "/orders" }))]
    pub http: Option<HttpRead>,

    /// From local files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = serde_json::json!({ "path": "in/*.csv" }))]
    pub files: Option<FilesRead>,

    /// The names of local files, a row each: `path`, `name`, `size` in bytes and `modified`, in the order of the paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = serde_json::json!({ "path": "in/*.csv" }))]
    pub list: Option<ListRead>,

    /// How the rows are spelt. Of files it is told from the ending of `path` (`.csv`, `.json`, `.ndjson`, `.jsonl`, `.parquet`,
    /// `.avro`) where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"csv")]
    pub format: Option<Format>,

    /// JSON: where the rows are in a page, as keys joined by dots (`data.items`). Without it the page is an array
    /// of rows, or one row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"data.items")]
    pub rows_at: Option<String>,

    /// JSON: what a page means in which there is nothing at `rows_at`, or `null`.
    #[serde(default)]
    #[schemars(example = &"empty")]
    pub rows_missing: RowsMissing,

    /// CSV: how fields and lines are told apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = serde_json::json!({ "delimiter": ";" }))]
    pub csv: Option<CsvOptions>,

    /// Columns whose type is declared. The others are inferred from the first rows and then stay.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(example = serde_json::json!({ "id": "int64", "amount": "decimal(10,2)" }))]
    pub columns: IndexMap<String, ColumnType>,

    /// What becomes of fields that `columns` does not name.
    #[serde(default)]
    #[schemars(example = &"drop")]
    pub other_columns: OtherColumns,
}

impl Read {
    /// How the rows are spelt: as declared, or as the ending of the path says. `None` if neither does.
    pub fn known_format(&self) -> Option<Format> {
        let ending = || self.files.as_ref()?.path.rsplit_once('.').map(|(_, ending)| ending);
        self.format.or_else(|| self.list.as_ref().map(|_| Format::Ndjson)).or_else(|| match ending()? {
            "csv" => Some(Format::Csv),
            "json" => Some(Format::Json),
            "ndjson" | "jsonl" => Some(Format::Ndjson),
            "parquet" => Some(Format::Parquet),
            "avro" => Some(Format::Avro),
            _ => None,
        })
    }

    /// How the rows are spelt. Of a checked flow it is known; elsewhere it is JSON.
    pub fn format(&self) -> Format {
        self.known_format().unwrap_or(Format::Json)
    }

    /// Spells out what follows from the rest: the format, and the columns of a listing.
    pub fn spell_out(&mut self) {
        self.format = self.known_format();
        if self.list.is_some() {
            let types = [("path", "text"), ("name", "text"), ("size", "int64"), ("modified", "timestamp")];
            let column =
                |(name, spelt): (&str, &str)| Some((name.to_owned(), ColumnType::parse(spelt).ok()?));
            self.columns = types.into_iter().filter_map(column).collect();
            self.other_columns = OtherColumns::Drop;
        }
    }
}

/// How rows are spelt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One JSON document a page, with the rows in an array. Of a field that stands twice in a row the last value counts.
    Json,
    /// One JSON object a line. Of a field that stands twice in a row the last value counts.
    Ndjson,
    /// Delimited text (RFC 4180).
    Csv,
    /// Apache Parquet. Only of files.
    Parquet,
    /// Avro object container files. Only of files.
    Avro,
}

impl Format {
    /// Whether rows are read from any place of a file, as batches of typed columns.
    pub fn is_columnar(self) -> bool {
        matches!(self, Self::Parquet | Self::Avro)
    }
}

/// What a page without rows at `rows_at` means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RowsMissing {
    /// Something is wrong: the unit fails.
    #[default]
    Fail,
    /// The page has no rows.
    Empty,
}

/// What becomes of fields that are not declared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OtherColumns {
    /// They are kept, with an inferred type.
    #[default]
    Infer,
    /// They are left out.
    Drop,
    /// One is an error.
    Fail,
}

/// How CSV fields and lines are told apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CsvOptions {
    /// The one ASCII character between fields.
    #[serde(default = "default_delimiter")]
    #[schemars(example = &";")]
    pub delimiter: String,
    /// The one ASCII character around fields that hold delimiters or line ends; doubled inside. Empty if the file quotes
    /// nothing.
    #[serde(default = "default_quote")]
    #[schemars(example = &"'")]
    pub quote: String,
    /// Whether the first line of each page or file names the columns. Without it they are `column_1`, `column_2`, …,
    /// or the declared ones in order.
    #[serde(default = "default_header")]
    #[schemars(example = false)]
    pub header: bool,
    /// Texts that mean null when they stand unquoted. An unquoted empty field of a column that is not text is always
    /// null.
    #[serde(default = "default_null")]
    #[schemars(example = serde_json::json!(["", "NA"]))]
    pub null: Vec<String>,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            delimiter: default_delimiter(),
            quote: default_quote(),
            header: default_header(),
            null: default_null(),
        }
    }
}

/// From an HTTP API, page by page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpRead {
    /// The connection to use.
    #[schemars(example = &"api")]
    pub connection: String,

    /// The path below the connection's `base`. A template; what is substituted is escaped as one path segment.
    #[schemars(example = &"/surveys/{{ id }}/responses.json")]
    pub path: String,

    /// The request's method.
    #[serde(default)]
    #[schemars(example = &"POST")]
    pub method: Method,

    /// Query parameters. Values are templates; one whose variable is undefined is left out.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(example = serde_json::json!({ "since": "{{ low | iso }}", "per_page": 100 }))]
    pub query: IndexMap<String, Scalar>,

    /// Headers. Values are templates; one whose variable is undefined is left out.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(example = serde_json::json!({ "Accept": "application/json" }))]
    pub headers: IndexMap<String, String>,

    /// A JSON body. Texts inside are templates; one that is a single expression keeps its value's type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = serde_json::json!({ "filter": { "since": "{{ low | epoch }}" } }))]
    pub json: Option<serde_json::Value>,

    /// A form body. Values are templates.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(example = serde_json::json!({ "q": "status:open" }))]
    pub form: IndexMap<String, Scalar>,

    /// How the next page is asked for. Without it there is one page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = serde_json::json!({ "cursor": { "body": "meta.next", "param": "cursor" } }))]
    pub paginate: Option<Paginate>,

    /// Content types that are accepted. Without it those of the `format`; `["*"]` accepts any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = serde_json::json!(["application/json", "text/plain"]))]
    pub content_type: Vec<String>,

    /// Says that the request only reads, so that a POST may be sent again. Without it a unit whose POST may have reached the
    /// server is not tried again.
    #[serde(default)]
    #[schemars(example = true)]
    pub reads: bool,

    /// How many times its packed size an answer may grow to when its gzip is taken off. Looked at from 64 MiB on; what grows
    /// more is refused, because a small answer could fill the disk.
    #[serde(default = "default_gzip_ratio")]
    #[schemars(example = 1000, range(min = 1))]
    pub gzip_ratio: u32,
}

/// A text, a number or a truth value.
#[derive(Debug, Clone, PartialEq)]
pub struct Scalar(pub String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Ok(Self(text)),
            serde_json::Value::Number(number) => Ok(Self(number.to_string())),
            serde_json::Value::Bool(truth) => Ok(Self(truth.to_string())),
            other => Err(serde::de::Error::custom(format!(
                "expected a text, a number or true/false, found {other}"
            ))),
        }
    }
}

impl Serialize for Scalar {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl JsonSchema for Scalar {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scalar".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["string", "number", "boolean"],
            "description": "A text, a number or a truth value.",
        })
    }
}

/// The request's method.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Method {
    /// Reads.
    #[default]
    #[serde(rename = "GET")]
    Get,
    /// Sends a body.
    #[serde(rename = "POST")]
    Post,
}

/// How the next page is asked for.
///
/// What is told apart is how the server says that there is more. Whatever the kind, templates see `{{ cursor }}`, `{{ offset }}`,
/// `{{ page }}` and `{{ size }}` where they are defined; `param` is a short way to put one into the query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Paginate {
    /// Each answer holds a cursor for the next request.
    Cursor(CursorPaging),
    /// Each answer holds the next page's URL.
    Next(NextPaging),
    /// By the number of rows to skip.
    Offset(OffsetPaging),
    /// By page number.
    Page(NumberPaging),
}

/// Each answer holds a cursor for the next request. The last one has none: absent, `null` or empty. A cursor that comes twice is
/// an error, and so is one that a unit's first page lacks altogether (see `absent`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CursorPaging {
    /// Where it is in a JSON body. Either this or `header`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"meta.next_cursor")]
    pub body: Option<String>,
    /// The response header that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"Sforce-Locator")]
    pub header: Option<String>,
    /// The query parameter that sends it. Leave it out when a template uses `{{ cursor }}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"cursor")]
    pub param: Option<String>,
    /// A cursor that matches this (whole text) means the end as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"null|0")]
    pub end: Option<Pattern>,
    /// What it means if a unit's first page has rows and no cursor, not even an empty one.
    #[serde(default)]
    #[schemars(example = &"end")]
    pub absent: Absent,
}

/// What it means if a unit's first page has rows, but nothing where it should say how to go on. `null`, an empty text, and
/// an object on the way that is `null` or empty are something: there is no other page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Absent {
    /// The place is misspelt: the unit fails, rather than pass one page for all.
    #[default]
    Fail,
    /// There is no other page. For an API that leaves it out where one page is all.
    End,
}

/// Each answer holds the next page's URL, absolute or relative. Exactly one of `body` and `link`. A URL that comes twice
/// and one of another host are errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NextPaging {
    /// Where it is in a JSON body. Absent, `null` or empty means the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"links.next")]
    pub body: Option<String>,
    /// The relation to look for in the `Link` header (RFC 8288). Absent means the end, also on the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"next")]
    pub link: Option<String>,
    /// What it means if a unit's first page has rows and nothing at `body`.
    #[serde(default)]
    #[schemars(example = &"end")]
    pub absent: Absent,
}

/// By the number of rows to skip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OffsetPaging {
    /// The query parameter that sends the offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"offset")]
    pub param: Option<String>,
    /// The query parameter that sends the page size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"limit")]
    pub size_param: Option<String>,
    /// Rows to ask for at once.
    #[schemars(example = 500, range(min = 1))]
    pub size: u64,
    /// The offset of the first row.
    #[serde(default)]
    #[schemars(example = 1)]
    pub start: u64,
    /// What ends the paging.
    #[serde(default)]
    #[schemars(example = serde_json::json!({ "total": "meta.total" }))]
    pub end: PagingEnd,
    /// What a page means that is byte for byte the one before it.
    #[serde(default)]
    #[schemars(example = &"keep")]
    pub equal_pages: EqualPages,
}

/// By page number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NumberPaging {
    /// The query parameter that sends the page number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"page")]
    pub param: Option<String>,
    /// The query parameter that sends the page size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"per_page")]
    pub size_param: Option<String>,
    /// Rows to ask for at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 100, range(min = 1))]
    pub size: Option<u64>,
    /// The number of the first page.
    #[serde(default = "default_first_page")]
    #[schemars(example = 0)]
    pub start: u64,
    /// What ends the paging.
    #[serde(default)]
    #[schemars(example = serde_json::json!({ "total_pages": "meta.pages" }))]
    pub end: PagingEnd,
    /// What a page means that is byte for byte the one before it.
    #[serde(default)]
    #[schemars(example = &"keep")]
    pub equal_pages: EqualPages,
}

/// What a page with rows means that is byte for byte the one before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EqualPages {
    /// The server takes no notice of the paging's parameters, and the same rows would be read for ever: the unit fails.
    #[default]
    Fail,
    /// They are rows like others. For rows in which nothing tells one from another. A thousand equal pages in a row fail all the
    /// same.
    Keep,
}

/// What ends the paging. It is declared, never guessed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PagingEnd {
    /// A page without rows.
    #[default]
    Empty,
    /// A page with fewer rows than were asked for. Only for servers that fill every page but the last.
    Short,
    /// As many rows as the body says at this path. Fewer rows than that are an error.
    Total(String),
    /// As many pages as the body says at this path.
    TotalPages(String),
}

/// From local files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilesRead {
    /// A path or a glob (`in/2024-*/**/*.csv`). Several matches are read in the order of their names. A template; what is
    /// substituted is part of one name: wildcards in it mean themselves, a `/` in it is an error. Where a value may hold
    /// folders, write `{{ name | safe }}`; what `strftime` gives may hold them anyway. `..` and a leading `/` never come from a value.
    #[schemars(example = &"in/*.csv")]
    pub path: String,
    /// What no match means.
    #[serde(default)]
    #[schemars(example = &"empty")]
    pub no_match: RowsMissing,
    /// Bytes to read at once.
    #[serde(default = "default_chunk")]
    #[schemars(example = &"1MiB", extend("x-unit" = "size"))]
    pub chunk: ByteSize,
}

/// Which names are listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListRead {
    /// A path or a glob, as in `files`. Folders are not listed, nor hidden files that it does not name.
    #[schemars(example = &"in/**/*.csv")]
    pub path: String,
    /// What no match means.
    #[serde(default)]
    #[schemars(example = &"empty")]
    pub no_match: RowsMissing,
}

fn default_delimiter() -> String {
    ",".to_owned()
}

fn default_quote() -> String {
    "\"".to_owned()
}

fn default_header() -> bool {
    true
}

fn default_null() -> Vec<String> {
    vec![String::new()]
}

fn default_first_page() -> u64 {
    1
}

fn default_gzip_ratio() -> u32 {
    200
}

fn default_chunk() -> ByteSize {
    ByteSize(256 << 10)
}
