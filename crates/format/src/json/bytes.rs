//! The bytes of a text column: runs one after the other, with their ends.

use super::fault::Parsed;
use super::scan;
use super::value::{Cursor, unescape};

/// Bytes copied at once; more than a run's end may be written, so the buffer is that much longer.
const LANE: usize = 16;

/// The least bytes a buffer grows to.
const GROWTH_MIN: usize = 1024;

/// Runs of bytes, and where each ends.
#[derive(Debug)]
pub(crate) struct ByteRuns {
    offsets: Vec<i32>,
    /// Longer than what is used: its end is overwritten by the next run.
    bytes: Vec<u8>,
    end: usize,
    /// What the last batch used, and most likely the next one will.
    expected: usize,
    /// Where escapes are resolved.
    plain: Vec<u8>,
}

impl Default for ByteRuns {
    fn default() -> Self {
        Self { offsets: vec![0], bytes: Vec::new(), end: 0, expected: 0, plain: Vec::new() }
    }
}

impl ByteRuns {
    pub(crate) fn reserve(&mut self, runs: usize) {
        self.offsets.reserve(runs);
    }

    /// Ends the open run; an empty one if nothing was written.
    #[inline]
    pub(crate) fn end_run(&mut self) {
        self.offsets.push(self.end as i32);
    }

    /// Appends a run.
    pub(crate) fn push(&mut self, run: &[u8]) {
        self.make_room(run.len());
        self.bytes[self.end..self.end + run.len()].copy_from_slice(run);
        self.end += run.len();
        self.end_run();
    }

    /// Forgets all runs from number `length` on.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.offsets.truncate(length + 1);
        self.end = self.offsets.last().map_or(0, |end| *end as usize);
    }

    /// Reads a string, copying while it looks for the end.
    #[inline]
    pub(crate) fn read_text(&mut self, cursor: &mut Cursor<'_>) -> Parsed {
        let mut at = cursor.at + 1;
        let mut end = self.end;
        while let Some(lane) = cursor.bytes.get(at..).and_then(|rest| rest.first_chunk::<LANE>()) {
            let Some(place) = self.bytes.get_mut(end..).and_then(|rest| rest.first_chunk_mut::<LANE>())
            else {
                self.make_room(end - self.end);
                continue;
            };
            *place = *lane;
            let stops = scan::string_stops(lane);
            if stops == 0 {
                at += LANE;
                end += LANE;
                continue;
            }
            let plain = stops.trailing_zeros() as usize;
            if cursor.bytes.get(at + plain) != Some(&b'"') {
                break;
            }
            self.end = end + plain;
            self.end_run();
            cursor.at = at + plain + 1;
            return Ok(());
        }
        self.read_slowly(cursor)
    }

    /// Reads a string with escapes, or one near the frame's end.
    #[inline(never)]
    fn read_slowly(&mut self, cursor: &mut Cursor<'_>) -> Parsed {
        let at = cursor.at + 1;
        let text = cursor.string()?;
        if !text.escaped {
            self.push(text.raw);
            return Ok(());
        }
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        let resolved = unescape(text.raw, at, &mut plain);
        self.push(&plain);
        self.plain = plain;
        resolved
    }

    /// Makes sure that a lane and `more` bytes fit behind the used ones.
    #[cold]
    fn grow(&mut self, more: usize) {
        let needed = self.end + more + LANE;
        let wanted =
            (self.bytes.len() + self.bytes.len() / 2).max(self.expected + self.expected / 16).max(GROWTH_MIN);
        self.bytes.resize(wanted.max(needed), 0);
    }

    #[inline]
    fn make_room(&mut self, more: usize) {
        if self.end + more + LANE > self.bytes.len() {
            self.grow(more);
        }
    }

    /// Gives offsets and bytes away and is empty again.
    pub(crate) fn take(&mut self) -> (Vec<i32>, Vec<u8>) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.truncate(self.end);
        if bytes.capacity() - bytes.len() > bytes.len() / 8 {
            bytes.shrink_to_fit();
        }
        self.expected = self.end;
        self.end = 0;
        (std::mem::replace(&mut self.offsets, vec![0]), bytes)
    }
}
