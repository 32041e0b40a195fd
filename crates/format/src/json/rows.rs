//! Cuts the array of rows into frames: the loop that sees every byte of a page.

use bytes::Bytes;
use dil_model::component::Frame;
use dil_model::{Error, ErrorKind, Result};

use super::fault::{Parsed, printable, syntax};
use super::scan::{BLOCK, Brackets, StringState};
use super::value::{Cursor, DEPTH_MAX};
use crate::FrameLimits;

/// Copies whole rows into frames, counting brackets outside strings.
#[derive(Debug)]
pub(crate) struct RowCutter {
    limits: FrameLimits,
    page: u64,
    /// Whether the rows are one object instead of an array.
    single: bool,
    strings: StringState,
    /// Open brackets since the row began; 0 between rows.
    depth: usize,
    /// What of the next frame came with earlier chunks.
    held: Vec<u8>,
    /// Bytes of the open row that came with earlier chunks.
    carried: usize,
    /// Rows that ended, in the page and in the frame.
    rows: u64,
    frame_rows: u64,
    /// Commas since the last row.
    commas: u32,
}

/// Where things are in the chunk that is being fed.
struct Chunk<'a> {
    bytes: &'a [u8],
    /// The first byte that must still be copied, while there is one.
    run: Option<usize>,
    /// Where the open row begins, as far as it is in this chunk.
    row: usize,
    /// Where the last row ended, or where the chunk began.
    gap: usize,
}

impl RowCutter {
    pub(crate) fn new(limits: FrameLimits) -> Self {
        Self {
            limits,
            page: 1,
            single: false,
            strings: StringState::default(),
            depth: 0,
            held: Vec::new(),
            carried: 0,
            rows: 0,
            frame_rows: 0,
            commas: 0,
        }
    }

    /// Forgets everything and begins page number `page`.
    pub(crate) fn begin_page(&mut self, page: u64) {
        *self = Self { page, ..Self::new(self.limits) };
    }

    /// The next bytes are one row: an object.
    pub(crate) fn begin_single(&mut self) {
        self.single = true;
    }

    /// Rows of the page that ended.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// The rows that no frame was given for yet.
    pub(crate) fn held(&self) -> &[u8] {
        &self.held
    }

    /// Feeds the bytes of `bytes` from `from` on; gives the position after the rows' end if it is among them.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        from: usize,
        frames: &mut Vec<Frame>,
    ) -> Result<Option<usize>> {
        let run = (self.depth > 0).then_some(from);
        let mut chunk = Chunk { bytes, run, row: from, gap: from };
        let mut at = from;
        while let Some(block) = bytes[at..].first_chunk::<BLOCK>() {
            let brackets = self.strings.block(block);
            if !self.stays_in_row(brackets)
                && let Some(end) = self.walk(brackets, at, &mut chunk, frames)?
            {
                return Ok(Some(end));
            }
            at += BLOCK;
        }
        if at < bytes.len() {
            let brackets = self.strings.tail(&bytes[at..]);
            if let Some(end) = self.walk(brackets, at, &mut chunk, frames)? {
                return Ok(Some(end));
            }
        }
        self.keep(&chunk)?;
        Ok(None)
    }

    /// Gives the last frame.
    pub(crate) fn finish(&mut self, frames: &mut Vec<Frame>) {
        if !self.held.is_empty() {
            self.emit(frames);
        }
    }

    /// Counts the brackets of a block that cannot end the open row, whatever their order; false if it may.
    #[inline(always)]
    fn stays_in_row(&mut self, brackets: Brackets) -> bool {
        if brackets.open | brackets.close == 0 {
            return true;
        }
        let closes = brackets.close.count_ones() as usize;
        if closes >= self.depth {
            return false;
        }
        let depth = self.depth + brackets.open.count_ones() as usize - closes;
        if depth > DEPTH_MAX {
            return false;
        }
        self.depth = depth;
        true
    }

    /// Follows the brackets of the block that begins at `base`.
    fn walk(
        &mut self,
        brackets: Brackets,
        base: usize,
        chunk: &mut Chunk<'_>,
        frames: &mut Vec<Frame>,
    ) -> Result<Option<usize>> {
        let mut both = brackets.open | brackets.close;
        while both != 0 {
            let bit = both.trailing_zeros();
            let at = base + bit as usize;
            both &= both - 1;
            if brackets.open >> bit & 1 == 1 {
                if self.depth == 0 {
                    self.open_row(at, chunk)?;
                }
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return Err(self.too_deep());
                }
            } else if self.depth == 0 {
                self.end_rows(at, chunk)?;
                return Ok(Some(at + 1));
            } else {
                self.depth -= 1;
                if self.depth == 0 {
                    self.close_row(at + 1, chunk, frames)?;
                    if self.single {
                        self.keep(chunk)?;
                        return Ok(Some(at + 1));
                    }
                }
            }
        }
        Ok(None)
    }

    #[inline]
    fn open_row(&mut self, at: usize, chunk: &mut Chunk<'_>) -> Result<()> {
        let gap = &chunk.bytes[chunk.gap..at];
        // What stands between the rows of nearly every document.
        if !(gap == b"," && self.commas == 0 && self.rows > 0) {
            self.pass_gap(gap)?;
            if self.commas != u32::from(self.rows > 0) {
                return Err(self.bad_gap("expected one comma between two rows"));
            }
        }
        self.commas = 0;
        if chunk.bytes[at] != b'{' {
            return Err(self.not_an_object("an array"));
        }
        chunk.row = at;
        if chunk.run.is_none() {
            chunk.run = Some(at);
            if !self.held.is_empty() {
                self.held.push(b',');
            }
        }
        Ok(())
    }

    #[inline]
    fn close_row(&mut self, end: usize, chunk: &mut Chunk<'_>, frames: &mut Vec<Frame>) -> Result<()> {
        self.check_row_size(self.carried + end - chunk.row)?;
        self.carried = 0;
        self.rows += 1;
        self.frame_rows += 1;
        chunk.gap = end;
        let run = chunk.run.unwrap_or(end);
        if self.held.len() + end - run >= self.limits.frame_bytes && !self.single {
            self.hold(&chunk.bytes[run..end]);
            self.emit(frames);
            chunk.run = None;
        }
        Ok(())
    }

    /// The array's own closing bracket is at `at`.
    fn end_rows(&mut self, at: usize, chunk: &mut Chunk<'_>) -> Result<()> {
        self.pass_gap(&chunk.bytes[chunk.gap..at])?;
        if self.commas > 0 {
            return Err(self.bad_gap("a comma after the last row"));
        }
        if chunk.bytes[at] != b']' {
            return Err(self.bad_gap("the rows' array ends with `}`"));
        }
        self.hold_rows(chunk);
        Ok(())
    }

    /// Keeps what the end of the chunk leaves open.
    fn keep(&mut self, chunk: &Chunk<'_>) -> Result<()> {
        if self.depth == 0 {
            self.pass_gap(if self.single { &[] } else { &chunk.bytes[chunk.gap..] })?;
            self.hold_rows(chunk);
            return Ok(());
        }
        self.carried += chunk.bytes.len() - chunk.row;
        self.check_row_size(self.carried)?;
        if let Some(run) = chunk.run {
            self.hold(&chunk.bytes[run..]);
        }
        Ok(())
    }

    /// Keeps the rows that ended in the chunk, without what follows the last.
    fn hold_rows(&mut self, chunk: &Chunk<'_>) {
        if let Some(run) = chunk.run {
            self.hold(&chunk.bytes[run..chunk.gap]);
        }
    }

    fn hold(&mut self, bytes: &[u8]) {
        let needed = self.held.len() + bytes.len();
        if needed > self.held.capacity() {
            // Doubling beyond the target would hold memory that nobody counted.
            let target =
                (self.held.capacity() * 2).min(self.limits.frame_bytes + self.limits.frame_bytes / 64);
            self.held.reserve_exact(needed.max(target) - self.held.len());
        }
        self.held.extend_from_slice(bytes);
    }

    fn emit(&mut self, frames: &mut Vec<Frame>) {
        let mut bytes = std::mem::take(&mut self.held);
        if bytes.capacity() - bytes.len() > bytes.len() / 8 {
            bytes.shrink_to_fit();
        }
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

    /// Counts the commas between two rows, where only they and blanks may stand.
    fn pass_gap(&mut self, gap: &[u8]) -> Result<()> {
        for (at, byte) in gap.iter().enumerate() {
            match byte {
                b',' => self.commas += 1,
                b' ' | b'\n' | b'\r' | b'\t' => {}
                b'"' => return Err(self.not_an_object("a text")),
                b'-' | b'0'..=b'9' => return Err(self.not_an_object("a number")),
                b't' | b'f' => return Err(self.not_an_object("true or false")),
                b'n' => return Err(self.not_an_object("null")),
                _ => {
                    let what = format!("`{}` between two rows", printable(&gap[at..], 20));
                    return Err(self.bad_gap(&what));
                }
            }
        }
        Ok(())
    }

    fn check_row_size(&self, bytes: usize) -> Result<()> {
        if bytes <= self.limits.row_bytes_max {
            return Ok(());
        }
        Err(row_too_large(self.rows + 1, self.limits.row_bytes_max))
    }

    #[cold]
    fn not_an_object(&self, found: &str) -> Error {
        Error::new(
            ErrorKind::Content,
            "json/row-type",
            format!("row {} is {found} instead of an object", self.rows + 1),
        )
        .hint("`rows_at` must name an array of objects; check the path")
    }

    #[cold]
    fn bad_gap(&self, what: &str) -> Error {
        let message = format!("the page is not JSON: {what}, after row {}", self.rows);
        Error::new(ErrorKind::Format, "json/syntax", message)
            .hint("ask the sender to send valid JSON (RFC 8259)")
    }

    #[cold]
    fn too_deep(&self) -> Error {
        Error::new(
            ErrorKind::Format,
            "json/depth",
            format!("row {} is nested deeper than {DEPTH_MAX} levels", self.rows + 1),
        )
        .hint("no real record is; look at what the other side sends")
    }
}

/// A row that does not fit the memory that is set aside for one.
#[cold]
pub(crate) fn row_too_large(row: u64, limit: usize) -> Error {
    Error::new(
        ErrorKind::Memory,
        "memory/row-too-large",
        format!("row {row} is larger than the {limit} bytes that one row may take"),
    )
    .hint("raise `memory:` or lower `parallel:`")
}

/// What stands between two rows of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Separator {
    /// A comma.
    Comma,
    /// A line end.
    Line,
}

/// Goes to the opening bracket of the next row and notes its position in `row`; false at the frame's end.
#[inline]
pub(crate) fn next_row(
    cursor: &mut Cursor<'_>,
    separator: Separator,
    first: bool,
    row: &mut usize,
) -> Parsed<bool> {
    let before = cursor.at;
    let mut byte = cursor.token();
    if cursor.is_at_end() {
        return Ok(false);
    }
    if !first {
        match separator {
            Separator::Comma if byte == b',' => {
                cursor.at += 1;
                byte = cursor.token();
            }
            Separator::Line if memchr::memchr2(b'\n', b'\r', &cursor.bytes[before..cursor.at]).is_some() => {}
            Separator::Comma => return syntax(cursor.at, "expected a comma between two rows"),
            Separator::Line => return syntax(cursor.at, "more than one value in a line"),
        }
    }
    if byte != b'{' {
        return cursor.unexpected("expected an object");
    }
    *row = cursor.at;
    Ok(true)
}
