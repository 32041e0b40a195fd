//! Cuts pages into whole records.

use std::sync::Arc;

use bytes::Bytes;
use dil_model::component::{Frame, Framer, PageFacts};
use dil_model::config::Read;
use dil_model::{Error, ErrorKind, Result};

use super::block::{BLOCK, Finder, Quoting};
use super::dialect::{Dialect, shorten};
use crate::FrameLimits;

/// The framer for CSV.
///
/// # Errors
/// `Config` if a path is wanted, or the CSV options contradict each other.
pub(crate) fn framer(read: &Read, wanted: &[String], limits: FrameLimits) -> Result<Box<dyn Framer>> {
    if let Some(path) = wanted.first() {
        return Err(Error::new(
            ErrorKind::Config,
            "csv/wanted",
            format!("`{path}` is to be read from the body, but CSV has nothing outside its rows"),
        )
        .hint("take it from a response header, or page by `offset` or `page`"));
    }
    Ok(Box::new(CsvFramer::new(Dialect::new(read)?, limits)))
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The first line that is not blank, which tells CSV from HTML and may hold the names.
    FirstLine,
    /// Rows.
    Rows,
}

#[derive(Debug)]
struct CsvFramer {
    dialect: Dialect,
    finder: Finder,
    limits: FrameLimits,
    /// The page being fed, counted from 1.
    page: u64,
    stage: Stage,
    header: Option<Arc<[String]>>,
    /// Rows that no frame has yet, the last one perhaps in part.
    buffer: Vec<u8>,
    /// Bytes of `buffer` up to the last record end.
    whole: usize,
    quoting: Quoting,
    /// The last byte was a line end outside quotes, or there was none: a line end now ends no row.
    blank: bool,
    /// Whole rows of this page so far.
    rows: u64,
    /// Whole rows of this page that frames already have.
    rows_given: u64,
    /// Line feeds of this page before `buffer`.
    lines: u64,
}

impl CsvFramer {
    fn new(dialect: Dialect, limits: FrameLimits) -> Self {
        Self {
            finder: Finder::new(dialect.marks),
            dialect,
            limits,
            page: 1,
            stage: Stage::FirstLine,
            header: None,
            buffer: Vec::new(),
            whole: 0,
            quoting: Quoting::default(),
            blank: true,
            rows: 0,
            rows_given: 0,
            lines: 0,
        }
    }

    fn start_page(&mut self) {
        self.stage = Stage::FirstLine;
        self.header = None;
        self.buffer.clear();
        self.whole = 0;
        self.quoting = Quoting::default();
        self.blank = true;
        self.rows = 0;
        self.rows_given = 0;
        self.lines = 0;
    }

    /// Takes bytes up to the end of the first line that is not blank; gives how many.
    ///
    /// One byte at a time, which does not matter for one line.
    fn feed_first_line(&mut self, bytes: &[u8]) -> Result<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            self.buffer.push(*byte);
            if self.buffer == BYTE_ORDER_MARK {
                self.buffer.clear();
                continue;
            }
            self.lines += u64::from(*byte == b'\n');
            if Some(*byte) == self.dialect.marks.quote {
                self.quoting.step(1);
            } else if matches!(byte, b'\r' | b'\n') && !self.quoting.is_inside() {
                self.buffer.pop();
                if !self.buffer.is_empty() {
                    self.end_first_line(*byte)?;
                    return Ok(at + 1);
                }
            }
            if self.buffer.len() > self.limits.row_bytes_max {
                self.refuse_markup()?;
                return Err(self.row_too_large());
            }
        }
        Ok(bytes.len())
    }

    fn end_first_line(&mut self, end: u8) -> Result<()> {
        self.refuse_markup()?;
        self.stage = Stage::Rows;
        self.blank = true;
        if self.dialect.header {
            self.header = Some(self.dialect.marks.names(&self.buffer).map_err(|e| e.at(self.place()))?);
            self.buffer.clear();
        } else {
            self.buffer.push(end);
            // It is in the buffer now, line feeds and all.
            self.lines = 0;
            self.whole = self.buffer.len();
            self.rows = 1;
        }
        Ok(())
    }

    /// A server that answers with an error page or a login form must not become a column named `<html>`.
    fn refuse_markup(&self) -> Result<()> {
        let text = self.buffer.trim_ascii_start();
        let begins = |word: &[u8]| text.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
        let markup = if self.dialect.header {
            text.first() == Some(&b'<')
        } else {
            [b"<!doctype".as_slice(), b"<html", b"<?xml"].iter().any(|word| begins(word))
        };
        if !markup {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Content,
            "csv/not-csv",
            format!("the body is not CSV, it begins with `{}`", shorten(text)),
        )
        .hint("look at what the source answers; it may want another login, path or `Accept` header")
        .at(self.place()))
    }

    fn place(&self) -> String {
        format!("page {}", self.page)
    }

    /// Scans bytes and appends them to the buffer.
    fn take(&mut self, bytes: &[u8]) {
        let start = self.buffer.len();
        let mut blocks = bytes.chunks_exact(BLOCK);
        let mut at = start;
        for block in &mut blocks {
            let Ok(block) = <&[u8; BLOCK]>::try_from(block) else { break };
            let found = self.finder.find(block);
            let ends = found.line_ends & !self.quoting.step(found.quotes);
            self.note_ends(ends, at, BLOCK);
            at += BLOCK;
        }
        let tail = blocks.remainder();
        if !tail.is_empty() {
            let found = self.finder.find_short(tail);
            let ends = found.line_ends & !self.quoting.step(found.quotes);
            self.note_ends(ends, at, tail.len());
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Counts the rows that end in `len` bytes from `at` on.
    #[inline(always)]
    fn note_ends(&mut self, ends: u64, at: usize, len: usize) {
        // A line end right after another ends no row: the second half of CRLF, or a blank line.
        self.rows += u64::from((ends & !(ends << 1 | u64::from(self.blank))).count_ones());
        self.blank = ends >> (len - 1) & 1 == 1;
        if ends != 0 {
            self.whole = at + BLOCK - ends.leading_zeros() as usize;
        }
    }

    /// Gives the whole rows away and keeps the part of a row after them.
    fn cut(&mut self, frames: &mut Vec<Frame>, capacity: usize) {
        let rows = self.rows - self.rows_given;
        let rest = self.buffer.get(self.whole..).unwrap_or_default();
        let mut next = Vec::with_capacity(if capacity == 0 { 0 } else { capacity.max(rest.len()) });
        next.extend_from_slice(rest);
        let mut bytes = std::mem::replace(&mut self.buffer, next);
        bytes.truncate(self.whole);
        self.whole = 0;
        let first_line = self.lines + 1;
        self.lines += memchr::memchr_iter(b'\n', &bytes).count() as u64;
        if rows > 0 {
            frames.push(Frame {
                bytes: Bytes::from(bytes),
                rows,
                page: self.page,
                first_row: self.rows_given + 1,
                first_line: Some(first_line),
                header: self.header.clone(),
                batch: None,
            });
        }
        self.rows_given = self.rows;
    }

    fn row_too_large(&self) -> Error {
        let hint = if self.quoting.is_inside() {
            "look for a quote that is never closed; if the rows are that large, raise `memory:` or lower `parallel:`"
        } else {
            "raise `memory:` or lower `parallel:`; if the rows are not that large, check the line ends"
        };
        Error::new(
            ErrorKind::Memory,
            "memory/row-too-large",
            format!("a row is larger than {} bytes", self.limits.row_bytes_max),
        )
        .hint(hint)
        .at(self.row_place())
    }

    /// Where the row is that has not ended yet.
    fn row_place(&self) -> String {
        match self.stage {
            Stage::FirstLine if self.dialect.header => format!("header of page {}", self.page),
            Stage::FirstLine | Stage::Rows => {
                let row = self.buffer.get(self.whole..).unwrap_or_default();
                let before = self.buffer.get(..self.whole).unwrap_or_default();
                // A line end may still stand before the row: the second half of CRLF, or a blank line.
                let blank = row.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
                let feeds = blank.chain(before).filter(|byte| **byte == b'\n').count() as u64;
                format!("line {} (row {}) of page {}", self.lines + feeds + 1, self.rows + 1, self.page)
            }
        }
    }

    fn unclosed(&self) -> Error {
        Error::new(ErrorKind::Truncated, "csv/unclosed-quote", "the body ends inside a quoted field")
            .hint("the body was cut short, or a quote inside a field is not doubled")
            .at(self.row_place())
            .retryable()
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Bytes taken at once where a row has no end yet, so that one above the limit is noticed.
const STEP: usize = 16 << 10;

impl Framer for CsvFramer {
    fn feed(&mut self, bytes: &[u8], frames: &mut Vec<Frame>) -> Result<()> {
        let mut rest = bytes;
        if self.stage == Stage::FirstLine {
            let taken = self.feed_first_line(rest)?;
            rest = rest.get(taken..).unwrap_or_default();
        }
        while !rest.is_empty() {
            let room = self.limits.frame_bytes.saturating_sub(self.buffer.len()).max(STEP);
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.take(now);
            rest = later;
            if self.buffer.len() >= self.limits.frame_bytes && self.rows > self.rows_given {
                // More of the page is likely to follow, so the next frame gets its whole buffer at once.
                self.cut(frames, self.limits.frame_bytes.saturating_add(STEP));
            }
            if self.buffer.len() - self.whole > self.limits.row_bytes_max {
                return Err(self.row_too_large());
            }
        }
        Ok(())
    }

    fn end_page(&mut self, frames: &mut Vec<Frame>) -> Result<PageFacts> {
        if self.stage == Stage::FirstLine && !self.buffer.is_empty() {
            self.refuse_markup()?;
        }
        if self.quoting.is_inside() {
            return Err(self.unclosed());
        }
        if self.stage == Stage::FirstLine && !self.buffer.is_empty() {
            self.end_first_line(b'\n')?;
        }
        if self.buffer.len() > self.whole {
            self.rows += u64::from(!self.blank);
            self.whole = self.buffer.len();
        }
        self.cut(frames, 0);
        let facts = PageFacts { rows: self.rows, ..PageFacts::default() };
        self.page += 1;
        self.start_page();
        Ok(facts)
    }

    fn begin_page(&mut self, number: u64) {
        self.page = number;
        self.start_page();
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{csv, frames_of};
    use super::*;

    fn limits(frame_bytes: usize, row_bytes_max: usize) -> FrameLimits {
        FrameLimits { frame_bytes, row_bytes_max }
    }

    fn rows(text: &str) -> u64 {
        frames_of(&csv(), text.as_bytes(), 7, limits(16, 1000)).map(|(_, facts)| facts.rows).unwrap()
    }

    fn refusal(text: &str) -> Error {
        frames_of(&csv(), text.as_bytes(), 5, limits(64, 1000)).unwrap_err()
    }

    #[test]
    fn counts_records_not_lines() {
        assert_eq!(rows("a,b\n1,2\n3,4\n"), 2);
        assert_eq!(rows("a,b\r\n1,2\r\n\r\n\r\n3,4"), 2);
        assert_eq!(rows("a,b\r1,2\r3,4\r"), 2);
        assert_eq!(rows("\n\na,b\n\"x\ny\",\"\"\"\r\n\"\n\n"), 1);
        assert_eq!(rows("a,b"), 0);
        assert_eq!(rows(""), 0);
        assert_eq!(rows("\u{feff}a,b\n1,2"), 1);
    }

    #[test]
    fn a_frame_holds_whole_rows_and_says_where_they_are() {
        let text = "id,text\n".to_owned() + &"1,\"x\ny\"\n".repeat(50);
        let (frames, facts) = frames_of(&csv(), text.as_bytes(), 3, limits(40, 1000)).unwrap();
        assert!(frames.len() > 1);
        let mut next = 1;
        for frame in &frames {
            assert_eq!(frame.first_row, next);
            assert_eq!(frame.bytes.len() as u64, frame.rows * 8);
            assert_eq!(frame.header.as_deref().unwrap(), ["id", "text"]);
            next += frame.rows;
        }
        assert_eq!((next, facts.rows), (51, 50));
    }

    #[test]
    fn each_page_has_its_own_header_and_number() {
        let mut framer = framer(&csv(), &[], limits(100, 100)).unwrap();
        let mut frames = Vec::new();
        for (number, page) in [(4, "a,b\n1,2\n"), (5, "b,a\n2,1\n")] {
            framer.feed(b"half of a page that ", &mut frames).unwrap();
            framer.begin_page(number);
            framer.feed(page.as_bytes(), &mut frames).unwrap();
            framer.end_page(&mut frames).unwrap();
        }
        let seen: Vec<_> =
            frames.iter().map(|f| (f.page, f.first_row, f.header.clone().unwrap()[0].clone())).collect();
        assert_eq!(seen, [(4, 1, "a".to_owned()), (5, 1, "b".to_owned())]);
    }

    #[test]
    fn a_body_that_ends_inside_quotes_is_truncated() {
        let error = refusal("a,b\n1,\"2\"\n3,\"4\n5,6\n");
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Truncated, "csv/unclosed-quote"));
        assert_eq!(error.context, ["line 3 (row 2) of page 1"]);
        assert_eq!(refusal("a,\"b").context, ["header of page 1"]);
    }

    #[test]
    fn a_row_above_the_limit_fails_by_name() {
        let error = refusal(&format!("a,b\n1,2\n\"{}", "x\n".repeat(40_000)));
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Memory, "memory/row-too-large"));
        assert_eq!(error.context, ["line 3 (row 2) of page 1"]);
        assert!(error.hint.unwrap().contains("never closed"));
        assert_eq!(refusal(&"x".repeat(2000)).kind, ErrorKind::Memory);
    }

    #[test]
    fn html_is_not_csv() {
        for text in ["<!DOCTYPE html>\n<p>\"", "\n  <html>", "<a href=\"x>"] {
            assert_eq!(refusal(text).code, "csv/not-csv", "{text}");
        }
        let mut read = csv();
        read.csv = Some(dil_model::config::CsvOptions { header: false, ..Default::default() });
        let framed = |text: &str| frames_of(&read, text.as_bytes(), 4, limits(64, 1000));
        assert_eq!(framed("<me@here>,1\n").unwrap().1.rows, 1);
        assert_eq!(framed("<HTML><body>").unwrap_err().code, "csv/not-csv");
    }

    #[test]
    fn a_header_names_each_column_once() {
        assert_eq!(refusal("a,b,a\n").code, "csv/duplicate-name");
        assert_eq!(refusal("a,b\"\"\n1,2\n").code, "csv/quote");
        let (frames, _) = frames_of(&csv(), b"\"a \"\"x\"\"\",,c\n1,2,3", 1, limits(64, 1000)).unwrap();
        assert_eq!(frames[0].header.as_deref().unwrap(), ["a \"x\"", "column_2", "c"]);
    }

    #[test]
    fn wants_nothing_outside_rows() {
        let error = framer(&csv(), &["meta.next".into()], limits(1, 1)).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Config);
    }
}
