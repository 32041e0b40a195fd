//! Finds the rows of a document and the few values that paging wants, and cuts the rows into frames.

use dil_model::component::{Frame, Framer, PageFacts};
use dil_model::config::{Read, RowsMissing};
use dil_model::{Error, ErrorKind, Result};

use super::fault::printable;
use super::path::Targets;
use super::rows::RowCutter;
use super::walk::{RowsFound, Step, Walk, WalkState};
use crate::FrameLimits;

const BOM: [u8; 3] = *b"\xef\xbb\xbf";

/// Bytes of the page's start that an error shows.
const HEAD_BYTES: usize = 256;

/// A framer for one JSON document a page.
///
/// Inside the rows only brackets are counted; the decoder checks every byte of them. Where the document itself is the one row
/// (no `rows_at`, an object at the top), the wanted values are looked up inside that row.
///
/// # Errors
/// `Config` if a wanted path leads into the rows.
pub(crate) fn document_framer(
    read: &Read,
    wanted: &[String],
    limits: FrameLimits,
) -> Result<Box<dyn Framer>> {
    let rows_at = read.rows_at.as_deref().filter(|path| !path.is_empty());
    Ok(Box::new(DocumentFramer {
        targets: Targets::new(rows_at, wanted)?,
        row_targets: (rows_at.is_none() && !wanted.is_empty()).then(|| Targets::only(wanted)),
        rows_at: rows_at.map(str::to_owned),
        missing: read.rows_missing,
        page: 1,
        cutter: RowCutter::new(limits),
        state: PageState::default(),
    }))
}

struct DocumentFramer {
    targets: Targets,
    /// What to look up in a document that is itself the row.
    row_targets: Option<Targets>,
    rows_at: Option<String>,
    missing: RowsMissing,
    page: u64,
    cutter: RowCutter,
    state: PageState,
}

#[derive(Default)]
struct PageState {
    walk: WalkState,
    /// Bytes of the byte order mark that came; 3 once that question is settled.
    mark: usize,
    /// The page's first bytes.
    head: Vec<u8>,
    /// The page is not JSON; only its head is still collected.
    garbage: bool,
    /// What was looked up in the one row.
    row_facts: Option<WalkState>,
}

impl DocumentFramer {
    /// Passes over a byte order mark.
    fn after_mark(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while self.state.mark < BOM.len() && at < bytes.len() {
            if bytes[at] != BOM[self.state.mark] {
                // One byte of a mark without the others is no JSON; the walk says so.
                self.state.garbage |= self.state.mark > 0;
                self.state.mark = BOM.len();
                break;
            }
            self.state.mark += 1;
            at += 1;
        }
        at
    }

    fn feed_rows(&mut self, bytes: &[u8], at: usize, frames: &mut Vec<Frame>) -> Result<Option<usize>> {
        let Some(end) = self.cutter.feed(bytes, at, frames)? else { return Ok(None) };
        if let Some(targets) = &self.row_targets
            && !self.state.walk.top_is_array
        {
            let mut state = WalkState::default();
            Walk::new(targets, &mut state).feed(self.cutter.held(), 0)?;
            self.state.row_facts = Some(state);
        }
        self.cutter.finish(frames);
        Walk::new(&self.targets, &mut self.state.walk).rows_done(bytes, end)?;
        Ok(Some(end))
    }

    fn walk(&mut self, bytes: &[u8], frames: &mut Vec<Frame>) -> Result<()> {
        let mut at = self.after_mark(bytes);
        if self.state.walk.is_in_rows() {
            let Some(end) = self.feed_rows(bytes, at, frames)? else { return Ok(()) };
            at = end;
        }
        while !self.state.garbage {
            match Walk::new(&self.targets, &mut self.state.walk).feed(bytes, at)? {
                Step::More => return Ok(()),
                Step::NotJson => self.state.garbage = true,
                Step::Rows { at: start, single } => {
                    if single {
                        self.cutter.begin_single();
                    }
                    // An object opens its row with its own bracket; an array's bracket opens none.
                    let Some(end) = self.feed_rows(bytes, start + usize::from(!single), frames)? else {
                        return Ok(());
                    };
                    at = end;
                }
            }
        }
        if self.state.head.len() >= HEAD_BYTES { Err(self.not_json()) } else { Ok(()) }
    }

    fn start_page(&mut self) {
        self.state = PageState::default();
        self.cutter.begin_page(self.page);
    }

    /// What a page without rows means.
    fn check_rows(&self) -> Result<()> {
        if self.state.walk.rows == RowsFound::Yes || self.missing == RowsMissing::Empty {
            return Ok(());
        }
        let place = self.rows_at.as_deref().unwrap_or("its top");
        let found = if self.state.walk.rows == RowsFound::Null { "null" } else { "nothing" };
        let top = self.state.walk.top();
        Err(Error::new(
            ErrorKind::Content,
            "json/rows-missing",
            format!("the page has {found} at `{place}` where its rows should be; {top}"),
        )
        .hint("correct `rows_at`, or set `rows_missing: empty` if such a page means no rows"))
    }

    #[cold]
    fn not_json(&self) -> Error {
        Error::new(
            ErrorKind::Content,
            "json/not-json",
            format!(
                "the page is not JSON; it begins with `{}`",
                printable(self.state.head.trim_ascii_start(), 60)
            ),
        )
        .hint("open the address in a browser: this is often a login or an error page")
    }

    fn check_end(&mut self) -> Result<()> {
        if self.state.walk.is_in_rows() || self.state.walk.is_complete() {
            return Ok(());
        }
        if Walk::new(&self.targets, &mut self.state.walk).end()? == Step::NotJson {
            self.state.garbage = true;
        }
        Ok(())
    }

    fn truncated(&self) -> Error {
        let message = if self.state.walk.is_untouched() {
            "the page is empty".to_owned()
        } else {
            format!("the page ends inside its JSON document, after {} rows", self.cutter.rows())
        };
        Error::new(ErrorKind::Truncated, "json/truncated", message)
            .hint("the answer was cut short; it is read again where that is safe")
            .retryable()
    }

    fn at_page(&self, error: Error) -> Error {
        error.at(format!("page {}", self.page))
    }
}

impl Framer for DocumentFramer {
    fn feed(&mut self, bytes: &[u8], frames: &mut Vec<Frame>) -> Result<()> {
        let room = HEAD_BYTES - self.state.head.len();
        self.state.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.walk(bytes, frames).map_err(|error| self.at_page(error))?;
        self.state.walk.before += bytes.len();
        Ok(())
    }

    fn end_page(&mut self, frames: &mut Vec<Frame>) -> Result<PageFacts> {
        self.check_end().map_err(|error| self.at_page(error))?;
        if self.state.garbage {
            return Err(self.at_page(self.not_json()));
        }
        if !self.state.walk.is_complete() {
            return Err(self.at_page(self.truncated()));
        }
        self.check_rows().map_err(|error| self.at_page(error))?;
        self.cutter.finish(frames);
        let rows = self.cutter.rows();
        let facts = match (&mut self.state.row_facts, &self.row_targets) {
            (Some(row), Some(targets)) => row.take_facts(targets, rows),
            // A document that is an array of rows: no path leads anywhere.
            (None, Some(targets)) => self.state.walk.take_facts(targets, rows),
            _ => self.state.walk.take_facts(&self.targets, rows),
        };
        self.begin_page(self.page + 1);
        Ok(facts)
    }

    fn begin_page(&mut self, number: u64) {
        self.page = number;
        self.start_page();
    }
}
