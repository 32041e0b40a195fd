//! What each kind of component promises. Data goes one way: source → framer → decoder → converter → encoder.
//!
//! A source gives pages of bytes. A framer cuts them where rows end and picks out the few facts that paging needs;
//! it is cheap, so the next request can leave while rows are still being decoded. A decoder makes batches of whole
//! rows. Calls across these traits happen per chunk or batch, never per row.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;

use crate::Result;

/// A run of whole rows in the bytes of one page.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The rows' own bytes. JSON: the elements of the array, separators between them left in. NDJSON and CSV: whole
    /// lines, without the header line.
    pub bytes: Bytes,
    /// How many rows are inside; 0 if the framer does not count (`rows` of [`PageFacts`] always counts).
    pub rows: u64,
    /// The page (or file) they come from, counted from 1.
    pub page: u64,
    /// The number of the first of them inside its page, counted from 1.
    pub first_row: u64,
    /// The line of the page that `bytes` begin in, counted from 1; absent where lines mean nothing (JSON documents).
    pub first_line: Option<u64>,
    /// The page's own column names, where the format has a header (CSV).
    pub header: Option<Arc<[String]>>,
    /// The rows themselves, where the format is columnar (Parquet, Avro); then there are no `bytes`.
    pub batch: Option<RecordBatch>,
}

impl Frame {
    /// The bytes of memory that it holds.
    pub fn size(&self) -> usize {
        self.bytes.len() + self.batch.as_ref().map_or(0, RecordBatch::get_array_memory_size)
    }
}

/// What a framer saw of a page once all of it was fed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PageFacts {
    /// Rows in the page.
    pub rows: u64,
    /// The scalars found at the wanted paths outside the rows. A path that was not there is absent. JSON `null` is
    /// `Value::Null`, and so is what lies below a `null` or an empty object.
    pub fields: BTreeMap<String, serde_json::Value>,
    /// For each wanted path that was not there: what is there instead, for a message (`` `meta` has next, total ``).
    pub absent: BTreeMap<String, String>,
}

/// Cuts pages into [`Frame`]s without decoding rows.
///
/// Holds at most one frame's target size plus one row; a row above `row_bytes_max` is an error of kind `Memory`.
pub trait Framer: Send {
    /// Forgets what was fed of an unfinished page; what is fed from now on is the page `number` of its unit, counted
    /// from 1. A new framer is at page 1.
    fn begin_page(&mut self, number: u64);

    /// Feeds the next bytes of the current page; whole frames are appended to `frames`.
    fn feed(&mut self, bytes: &[u8], frames: &mut Vec<Frame>) -> Result<()>;

    /// Ends the page: gives the last frame and the facts. The next page is the following number.
    ///
    /// # Errors
    /// `Truncated` if the bytes stop inside a value; `Content` if the rows are not where they should be.
    fn end_page(&mut self, frames: &mut Vec<Frame>) -> Result<PageFacts>;
}

/// What became of one frame.
#[derive(Debug)]
pub enum Decoded {
    /// All of its rows.
    Batch(RecordBatch),
    /// The frame has fields that the schema lacks, or values in a field that was only null so far. Here is the schema
    /// that would hold them; after [`Decoder::set_schema`] the same frame is decoded again.
    Wider(SchemaRef),
}

/// Makes batches of frames.
///
/// A field of type `Null`, at any depth, is one of which only nulls were seen; batches leave it out.
pub trait Decoder: Send {
    /// The schema that `frame` needs, joined to what is already `known`. Declared columns keep their type.
    ///
    /// # Errors
    /// `Type` if a field's values cannot share a type with each other or with what is known.
    fn infer(&self, frame: &Frame, known: Option<&SchemaRef>) -> Result<SchemaRef>;

    /// Decodes with this schema from now on.
    fn set_schema(&mut self, schema: &SchemaRef) -> Result<()>;

    /// Decodes all rows of a frame.
    ///
    /// # Errors
    /// `Format` for broken bytes, `Type` for a value that does not fit; both name page, row, field and the shortened
    /// value.
    fn decode(&mut self, frame: &Frame) -> Result<Decoded>;
}

/// Maps batches to batches.
pub trait Converter: Send {
    /// The schema that rows of `input` come out with; called before the first batch and again when `input` changes.
    fn schema(&mut self, input: &SchemaRef) -> Result<SchemaRef>;

    /// Converts one batch of the schema that was last told; `first_row` is the number of its first row inside the page, as
    /// in [`Frame`].
    ///
    /// # Errors
    /// `Type` for a value that does not fit; names column, value and row.
    fn convert(&mut self, batch: RecordBatch, first_row: u64) -> Result<RecordBatch>;
}

/// Turns batches of one schema into the bytes of one file.
pub trait Encoder: Send {
    /// Appends rows.
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;

    /// Moves the bytes that are final so far to the end of `out`.
    fn drain(&mut self, out: &mut Vec<u8>);

    /// Bytes of memory held for rows whose bytes are not final yet.
    fn buffered(&self) -> usize;

    /// Bytes of file so far, the buffered ones estimated: what `file_size` is compared with.
    fn file_bytes(&self) -> u64;

    /// Whether the file must end although it is small: what it keeps for its end has grown to what it may take.
    fn is_full(&self) -> bool {
        false
    }

    /// Ends the file; the rest of its bytes is appended to `out`.
    fn finish(self: Box<Self>, out: &mut Vec<u8>) -> Result<()>;
}

/// The bytes of one page, in order.
pub type Body = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// A page whose bytes can be read in any order, as columnar formats need.
pub trait RandomAccess: Send + Sync {
    /// Bytes in all.
    fn size(&self) -> u64;

    /// Reads bytes from `offset` on, as many as there are at once, but one at least unless the end is reached.
    ///
    /// # Errors
    /// What the place they are read from says.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> std::io::Result<usize>;
}

/// How the bytes of a page are read.
pub enum PageBody {
    /// From the first to the last.
    Stream(Body),
    /// In any order; only where [`Format::is_columnar`](crate::config::Format::is_columnar).
    Random(Arc<dyn RandomAccess>),
}

/// A page that has begun to arrive.
pub struct OpenPage {
    /// Counted from 1 within the unit.
    pub number: u64,
    /// What to call it in messages: method and URL, or the file's path; secrets masked.
    pub label: String,
    /// Its bytes, already without transfer and content encoding. Ends with an error if it is cut short.
    pub body: PageBody,
}

/// Gives the pages of one work unit, one after the other.
///
/// The caller opens a page, reads its body, and says either `advance` (all of it was read and framed) or `again`.
#[async_trait]
pub trait Source: Send {
    /// The paths (`data.next_cursor`) whose values the framer must put in [`PageFacts::fields`].
    fn wanted(&self) -> Vec<String>;

    /// Opens the current page; `None` when there is no further page. Retries what is safe to repeat by itself.
    async fn open(&mut self) -> Result<Option<OpenPage>>;

    /// The page was read whole: checks what it promised and decides on the next one.
    async fn advance(&mut self, facts: &PageFacts) -> Result<()>;

    /// The page broke off with `error` and none of its rows were used: waits as the retry policy says, then `open`
    /// gives the same page again. Returns the error when the policy's budget is spent or a retry cannot help.
    async fn again(&mut self, error: crate::Error) -> Result<()>;

    /// Where reading stands after the last `advance`; a source opened with it goes on with the next page.
    fn position(&self) -> serde_json::Value;

    /// Requests sent so far, and how many of them were repeats.
    fn requests(&self) -> Requests;

    /// An error as it may leave the unit, whoever made it of what the source gave: without the source's secrets, and not to be
    /// tried again if that would repeat a request that must not be repeated.
    fn report(&self, error: crate::Error) -> crate::Error {
        error
    }
}

/// Requests of a unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Requests {
    /// All that were sent.
    pub sent: u64,
    /// Those among them that repeat an earlier one.
    pub retries: u64,
}

/// The right to have one request under way; given back when dropped.
pub struct Permit(Option<Box<dyn FnOnce() + Send>>);

impl Permit {
    /// A permit that calls `release` when it is dropped.
    pub fn new(release: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(release)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(release) = self.0.take() {
            release();
        }
    }
}

/// The one limiter of all connections, shared by every unit of every worker.
#[async_trait]
pub trait Permits: Send + Sync {
    /// Waits until the named connection may send one more request.
    async fn acquire(&self, connection: &str) -> Result<Permit>;

    /// The other side asked for quiet: no request of this connection leaves for that long.
    fn pause(&self, connection: &str, wait: Duration);
}
