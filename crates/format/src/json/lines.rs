//! NDJSON: cuts pages after line ends.

use bytes::Bytes;
use dil_model::component::{Frame, Framer, PageFacts};
use dil_model::{Error, ErrorKind, Result};

use super::fault::printable;
use super::rows::row_too_large;
use crate::FrameLimits;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// A framer for one JSON object a line.
///
/// # Errors
/// `Config` if a value outside the rows is wanted: there is nothing outside them.
pub(crate) fn line_framer(wanted: &[String], limits: FrameLimits) -> Result<Box<dyn Framer>> {
    if let Some(path) = wanted.first() {
        return Err(Error::new(
            ErrorKind::Config,
            "ndjson/wanted",
            format!("paging wants `{path}` from the body, but `format: ndjson` has nothing besides rows"),
        )
        .hint("page by a header, an offset or a page number"));
    }
    Ok(Box::new(LineFramer::new(limits)))
}

struct LineFramer {
    limits: FrameLimits,
    page: u64,
    /// Whole lines of the next frame, then the beginning of the open line.
    held: Vec<u8>,
    /// Where in `held` the open line begins.
    line: usize,
    rows: u64,
    frame_rows: u64,
    /// Whether this is still the first line.
    first: bool,
}

impl LineFramer {
    fn new(limits: FrameLimits) -> Self {
        Self { limits, page: 1, held: Vec::new(), line: 0, rows: 0, frame_rows: 0, first: true }
    }

    /// The open line is complete in `held`; a blank one is dropped.
    fn end_line(&mut self, frames: &mut Vec<Frame>) -> Result<()> {
        let line = &self.held[self.line..];
        let line = if self.first { line.strip_prefix(BOM).unwrap_or(line) } else { line };
        self.first = false;
        let row = line.trim_ascii();
        if row.is_empty() {
            self.held.truncate(self.line);
            return Ok(());
        }
        if !(row.starts_with(b"{") && row.ends_with(b"}")) {
            return Err(self.not_a_row(row));
        }
        if row.len() > self.limits.row_bytes_max {
            return Err(row_too_large(self.rows + 1, self.limits.row_bytes_max));
        }
        let mark = line.len();
        // Only a byte order mark makes the two differ.
        let skipped = self.held.len() - self.line - mark;
        self.held.drain(self.line..self.line + skipped);
        self.rows += 1;
        self.frame_rows += 1;
        self.line = self.held.len();
        if self.held.len() >= self.limits.frame_bytes {
            self.emit(frames);
        }
        Ok(())
    }

    fn emit(&mut self, frames: &mut Vec<Frame>) {
        let mut bytes = std::mem::take(&mut self.held);
        bytes.shrink_to_fit();
        self.line = 0;
        let first_row = self.rows - self.frame_rows + 1;
        frames.push(Frame {
            bytes: Bytes::from(bytes),
            rows: self.frame_rows,
            page: self.page,
            first_row,
            first_line: None,
            header: None,
            batch: None,
        });
        self.frame_rows = 0;
    }

    fn hold(&mut self, bytes: &[u8]) -> Result<()> {
        let line = self.held.len() - self.line + bytes.len();
        // Blanks around the row and a byte order mark do not count, but there is an end to them.
        if line > self.limits.row_bytes_max.saturating_add(64) {
            return Err(row_too_large(self.rows + 1, self.limits.row_bytes_max));
        }
        let needed = self.held.len() + bytes.len();
        if needed > self.held.capacity() {
            let target =
                (self.held.capacity() * 2).min(self.limits.frame_bytes + self.limits.frame_bytes / 64);
            self.held.reserve_exact(needed.max(target) - self.held.len());
        }
        self.held.extend_from_slice(bytes);
        Ok(())
    }

    fn not_a_row(&self, line: &[u8]) -> Error {
        Error::new(
            ErrorKind::Format,
            "ndjson/line",
            format!("row {} is not a JSON object in one line: `{}`", self.rows + 1, printable(line, 60)),
        )
        .hint("use `format: json` for one document a page, or ask the sender for one object a line")
    }
}

impl LineFramer {
    fn split(&mut self, bytes: &[u8], frames: &mut Vec<Frame>) -> Result<()> {
        let mut from = 0;
        for end in memchr::memchr2_iter(b'\n', b'\r', bytes) {
            self.hold(&bytes[from..=end])?;
            self.end_line(frames)?;
            from = end + 1;
        }
        self.hold(&bytes[from..])
    }

    /// Ends the last line, which needs no line end.
    fn end_last(&mut self, frames: &mut Vec<Frame>) -> Result<()> {
        let open = self.held[self.line..].trim_ascii();
        if open.starts_with(b"{") && !open.ends_with(b"}") {
            let message = format!("the page ends inside row {}", self.rows + 1);
            return Err(Error::new(ErrorKind::Truncated, "json/truncated", message)
                .hint("the answer was cut short; it is read again where that is safe")
                .retryable());
        }
        self.end_line(frames)
    }

    fn at_page(&self, error: Error) -> Error {
        error.at(format!("page {}", self.page))
    }
}

impl Framer for LineFramer {
    fn feed(&mut self, bytes: &[u8], frames: &mut Vec<Frame>) -> Result<()> {
        self.split(bytes, frames).map_err(|error| self.at_page(error))
    }

    fn end_page(&mut self, frames: &mut Vec<Frame>) -> Result<PageFacts> {
        self.end_last(frames).map_err(|error| self.at_page(error))?;
        if self.frame_rows > 0 {
            self.emit(frames);
        }
        let facts = PageFacts { rows: self.rows, ..PageFacts::default() };
        self.begin_page(self.page + 1);
        Ok(facts)
    }

    fn begin_page(&mut self, number: u64) {
        *self = Self { page: number, ..Self::new(self.limits) };
    }
}
