//! Walks a document outside its rows, fed in pieces of any size.
//!
//! Only containers on the way to a target are walked token by token; all others are passed over as blocks. A container that
//! is passed over is checked for its end and nothing else.

use std::collections::BTreeMap;

use dil_model::component::PageFacts;
use dil_model::{Error, ErrorKind, Result};
use serde_json::Value;

use super::fault::{What, printable};
use super::path::Targets;
use super::scan::{BLOCK, StringState};
use super::value::{self, Cursor, DEPTH_MAX};

/// A wanted value above this is an error: a cursor is never that large.
const CAPTURE_BYTES_MAX: usize = 64 << 10;

/// Names longer than this are on no path.
const NAME_BYTES_MAX: usize = 4 << 10;

/// A number or a word above this is not JSON that anybody sends.
const SCALAR_BYTES_MAX: usize = 4 << 10;

/// Names in one object that a message lists.
const NAMES_MAX: usize = 20;

/// What a call to [`Walk::feed`] ended at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The chunk is used up.
    More,
    /// The rows begin at this position: at the bracket of an array, or of the one object.
    Rows {
        /// The position of the bracket.
        at: usize,
        /// Whether an object is the one row.
        single: bool,
    },
    /// Not JSON at all.
    NotJson,
}

/// What was found where the rows should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowsFound {
    /// Nothing.
    No,
    /// `null`.
    Null,
    /// Rows.
    Yes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Value,
    FirstItem,
    FirstName,
    Name,
    InName,
    Colon,
    After,
    Text,
    Scalar,
    Skip,
    Rows,
    End,
}

#[derive(Debug, Clone, Copy)]
struct Level {
    object: bool,
    node: usize,
    index: usize,
}

#[derive(Debug)]
struct Capture {
    path: String,
    /// Where it begins in the captured bytes.
    from: usize,
    /// Containers around it.
    depth: usize,
}

/// The state between two chunks.
#[derive(Debug)]
pub(crate) struct Walk<'t> {
    targets: &'t Targets,
    state: &'t mut WalkState,
}

/// What a walk remembers.
#[derive(Debug)]
pub(crate) struct WalkState {
    phase: Phase,
    levels: Vec<Level>,
    /// The target of the value that is next or open.
    node: Option<usize>,
    name: Vec<u8>,
    /// A backslash stands before the next byte.
    escaped: bool,
    scalar: Vec<u8>,
    strings: StringState,
    depth: usize,
    captures: Vec<Capture>,
    captured: Vec<u8>,
    /// Where in the chunk the captured bytes go on.
    capture_from: usize,
    /// Bytes of the page before the chunk, for messages.
    pub(crate) before: usize,
    /// The values found at wanted paths.
    fields: BTreeMap<String, Value>,
    /// The names of the first members of each object that was walked, by its place; none for a `null` where one
    /// could have been.
    names: BTreeMap<usize, Vec<String>>,
    /// Whether the document is an array.
    pub(crate) top_is_array: bool,
    /// What was found where the rows should be.
    pub(crate) rows: RowsFound,
}

impl Default for WalkState {
    fn default() -> Self {
        Self {
            phase: Phase::Value,
            levels: Vec::new(),
            node: Some(0),
            name: Vec::new(),
            escaped: false,
            scalar: Vec::new(),
            strings: StringState::default(),
            depth: 0,
            captures: Vec::new(),
            captured: Vec::new(),
            capture_from: 0,
            before: 0,
            fields: BTreeMap::new(),
            names: BTreeMap::new(),
            top_is_array: false,
            rows: RowsFound::No,
        }
    }
}

impl WalkState {
    /// Whether the document is complete.
    pub(crate) fn is_complete(&self) -> bool {
        self.phase == Phase::End
    }

    /// Whether nothing but blanks came.
    pub(crate) fn is_untouched(&self) -> bool {
        self.phase == Phase::Value && self.levels.is_empty()
    }

    /// What is at the top, for a message.
    pub(crate) fn top(&self) -> String {
        match self.names.get(&0).map(Vec::as_slice) {
            _ if self.top_is_array => "the document is an array".to_owned(),
            None | Some([]) => "the document has no fields".to_owned(),
            Some(names) => format!("the document has {}", names.join(", ")),
        }
    }

    /// What paging wants to know of a page with so many rows.
    pub(crate) fn take_facts(&mut self, targets: &Targets, rows: u64) -> PageFacts {
        let mut facts = PageFacts { rows, fields: std::mem::take(&mut self.fields), absent: BTreeMap::new() };
        for path in targets.wanted() {
            if facts.fields.contains_key(path) {
                continue;
            }
            match self.instead(targets, path) {
                None => _ = facts.fields.insert(path.to_owned(), Value::Null),
                Some(there) => _ = facts.absent.insert(path.to_owned(), there),
            }
        }
        facts
    }

    /// What is there instead of a path, for a message; `None` if there is nothing that could be meant.
    fn instead(&self, targets: &Targets, path: &str) -> Option<String> {
        let mut there = self.top();
        let (mut node, mut walked) = (0, 0);
        for name in path.split('.') {
            match self.names.get(&node).map(Vec::as_slice) {
                Some([]) => return None,
                Some(names) if walked > 0 => {
                    there = format!("`{}` has {}", &path[..walked - 1], names.join(", "));
                }
                Some(_) => {}
                None => break,
            }
            let Some(child) = targets.child(node, name.as_bytes()) else { break };
            (node, walked) = (child, walked + name.len() + 1);
        }
        Some(there)
    }

    /// Whether the next byte belongs to the rows.
    pub(crate) fn is_in_rows(&self) -> bool {
        self.phase == Phase::Rows
    }
}

impl<'t> Walk<'t> {
    pub(crate) fn new(targets: &'t Targets, state: &'t mut WalkState) -> Self {
        Self { targets, state }
    }

    /// Walks `bytes` from `from` on.
    ///
    /// # Errors
    /// `Format` if they are not JSON, `Content` if something else stands where the rows should be.
    pub(crate) fn feed(&mut self, bytes: &[u8], from: usize) -> Result<Step> {
        self.state.capture_from = from;
        let mut at = from;
        while at < bytes.len() {
            match self.state.phase {
                Phase::Skip => at = self.skip(bytes, at)?,
                Phase::Text => at = self.text(bytes, at)?,
                Phase::InName => at = self.in_name(bytes, at)?,
                Phase::Scalar => match self.scalar(bytes, at)? {
                    Some(next) => at = next,
                    None => return Ok(Step::NotJson),
                },
                Phase::Rows => return Ok(Step::Rows { at, single: bytes[at] == b'{' }),
                _ if matches!(bytes[at], b' ' | b'\n' | b'\r' | b'\t') => at += 1,
                _ => match self.token(bytes, at)? {
                    Some(next) => at = next,
                    None => return Ok(Step::NotJson),
                },
            }
        }
        self.keep_captured(bytes, bytes.len())?;
        Ok(Step::More)
    }

    /// The rows ended before `at`.
    pub(crate) fn rows_done(&mut self, bytes: &[u8], at: usize) -> Result<()> {
        self.state.capture_from = at;
        self.value_done(bytes, at)
    }

    /// The document ends here; a number at its top has no other end.
    pub(crate) fn end(&mut self) -> Result<Step> {
        if self.state.phase == Phase::Scalar && self.state.levels.is_empty() && !self.end_scalar(&[], 0)? {
            return Ok(Step::NotJson);
        }
        Ok(Step::More)
    }

    /// Handles one byte that is not blank; `None` if this is no JSON document at all.
    fn token(&mut self, bytes: &[u8], at: usize) -> Result<Option<usize>> {
        let byte = bytes[at];
        match (self.state.phase, byte) {
            (Phase::FirstItem, b']') | (Phase::FirstName, b'}') => self.close(bytes, at)?,
            (Phase::Value | Phase::FirstItem, _) => return self.value(bytes, at),
            (Phase::FirstName | Phase::Name, b'"') => {
                self.state.name.clear();
                self.state.phase = Phase::InName;
            }
            (Phase::Colon, b':') => self.state.phase = Phase::Value,
            (Phase::After, b',') => self.next_member(),
            (Phase::After, b'}' | b']') => self.close(bytes, at)?,
            (Phase::End, _) => return Err(self.trailing(bytes, at)),
            _ => return Err(self.broken(bytes, at)),
        }
        Ok(Some(at + 1))
    }

    fn next_member(&mut self) {
        let Some(level) = self.state.levels.last_mut() else { return };
        if level.object {
            self.state.phase = Phase::Name;
            return;
        }
        level.index += 1;
        self.state.node = self.targets.element(level.node, level.index);
        self.state.phase = Phase::Value;
    }

    fn close(&mut self, bytes: &[u8], at: usize) -> Result<()> {
        match self.state.levels.pop() {
            Some(level) if level.object == (bytes[at] == b'}') => self.value_done(bytes, at + 1),
            _ => Err(self.broken(bytes, at)),
        }
    }

    /// A value begins at `at`.
    fn value(&mut self, bytes: &[u8], at: usize) -> Result<Option<usize>> {
        let byte = bytes[at];
        let top = self.state.levels.is_empty();
        if !matches!(byte, b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') {
            return if top { Ok(None) } else { Err(self.broken(bytes, at)) };
        }
        self.state.top_is_array |= top && byte == b'[';
        let target = self.state.node.map(|node| self.targets.node(node));
        if target.is_some_and(|target| target.rows) && byte != b'n' {
            return self.rows_begin(bytes, at);
        }
        if let Some(path) = target.and_then(|target| target.wanted.clone()) {
            if self.state.captures.is_empty() {
                self.state.captured.clear();
                self.state.capture_from = at;
            } else {
                self.keep_captured(bytes, at)?;
            }
            let (from, depth) = (self.state.captured.len(), self.state.levels.len());
            self.state.captures.push(Capture { path, from, depth });
        }
        let leads_on = target.is_some_and(|target| target.leads_on());
        match byte {
            b'{' | b'[' if leads_on => self.open(byte == b'{'),
            b'{' | b'[' => {
                self.state.phase = Phase::Skip;
                (self.state.strings, self.state.depth) = (StringState::default(), 0);
                return Ok(Some(at));
            }
            b'"' => self.state.phase = Phase::Text,
            _ => {
                self.state.scalar.clear();
                self.state.phase = Phase::Scalar;
                return Ok(Some(at));
            }
        }
        Ok(Some(at + 1))
    }

    fn open(&mut self, object: bool) {
        let node = self.state.node.unwrap_or_default();
        self.state.levels.push(Level { object, node, index: 0 });
        if object {
            self.state.names.entry(node).or_default();
            self.state.phase = Phase::FirstName;
        } else {
            self.state.node = self.targets.element(node, 0);
            self.state.phase = Phase::FirstItem;
        }
    }

    fn rows_begin(&mut self, bytes: &[u8], at: usize) -> Result<Option<usize>> {
        let byte = bytes[at];
        if byte == b'[' || (byte == b'{' && self.state.levels.is_empty()) {
            if self.state.rows == RowsFound::Yes {
                return Err(Error::new(
                    ErrorKind::Content,
                    "json/rows-twice",
                    "the rows' field stands in the document twice",
                )
                .hint("ask the sender which of them is meant; JSON names must be unique"));
            }
            self.state.rows = RowsFound::Yes;
            self.state.phase = Phase::Rows;
            return Ok(Some(at));
        }
        let found = match byte {
            b'{' => "an object",
            b'"' => "a text",
            b't' | b'f' => "true or false",
            _ => "a number",
        };
        let shown = printable(&bytes[at..], 60);
        Err(Error::new(
            ErrorKind::Content,
            "json/rows-type",
            format!("expected an array of rows, found {found}: `{shown}`"),
        )
        .hint("point `rows_at` at the array that holds the rows"))
    }

    /// A value ended before `at`.
    fn value_done(&mut self, bytes: &[u8], at: usize) -> Result<()> {
        let depth = self.state.levels.len();
        while self.state.captures.last().is_some_and(|capture| capture.depth == depth) {
            self.keep_captured(bytes, at)?;
            let Some(capture) = self.state.captures.pop() else { break };
            let text = &self.state.captured[capture.from..];
            let value = serde_json::from_slice(text).map_err(|cause| {
                Error::new(
                    ErrorKind::Format,
                    "json/syntax",
                    format!("the value at `{}` is not JSON: {cause}", capture.path),
                )
                .hint("ask the sender to send valid JSON (RFC 8259)")
            })?;
            self.state.fields.insert(capture.path, value);
        }
        self.state.phase = if depth == 0 { Phase::End } else { Phase::After };
        Ok(())
    }

    /// Keeps the bytes before `end` for the open captures.
    fn keep_captured(&mut self, bytes: &[u8], end: usize) -> Result<()> {
        let Some(capture) = self.state.captures.first() else { return Ok(()) };
        let new = bytes.get(self.state.capture_from..end).unwrap_or_default();
        if self.state.captured.len() + new.len() > CAPTURE_BYTES_MAX {
            let message = format!("the value at `{}` that paging needs is larger than 64 KiB", capture.path);
            return Err(
                Error::new(ErrorKind::Content, "json/value-too-large", message).hint("check the path")
            );
        }
        self.state.captured.extend_from_slice(new);
        self.state.capture_from = end;
        Ok(())
    }

    fn in_name(&mut self, bytes: &[u8], from: usize) -> Result<usize> {
        let (end, closed) = self.string_end(bytes, from)?;
        let room = NAME_BYTES_MAX.saturating_sub(self.state.name.len());
        let new = &bytes[from..end];
        self.state.name.extend_from_slice(&new[..new.len().min(room)]);
        if !closed {
            return Ok(end);
        }
        let raw = std::mem::take(&mut self.state.name);
        let mut name = Vec::new();
        if let Err(fault) = value::unescape(&raw, 0, &mut name)
            && raw.len() < NAME_BYTES_MAX
            && !matches!(fault.what, What::Surrogate)
        {
            return Err(self.broken(bytes, from));
        }
        let Some(level) = self.state.levels.last() else { return Err(self.broken(bytes, from)) };
        self.state.node = self.targets.child(level.node, &name);
        let names = self.state.names.entry(level.node).or_default();
        if names.len() < NAMES_MAX {
            names.push(printable(&name, 40));
        }
        self.state.name = raw;
        self.state.phase = Phase::Colon;
        Ok(end + 1)
    }

    fn text(&mut self, bytes: &[u8], from: usize) -> Result<usize> {
        let (end, closed) = self.string_end(bytes, from)?;
        if closed {
            self.value_done(bytes, end + 1)?;
            return Ok(end + 1);
        }
        Ok(end)
    }

    /// The position of the quote that ends the open string, or the end of the chunk.
    fn string_end(&mut self, bytes: &[u8], from: usize) -> Result<(usize, bool)> {
        let mut at = from;
        if self.state.escaped {
            self.state.escaped = false;
            at += 1;
        }
        let cursor = Cursor::new(bytes, 0);
        loop {
            at = cursor.string_stop(at);
            match bytes.get(at) {
                None => return Ok((bytes.len(), false)),
                Some(b'"') => return Ok((at, true)),
                Some(b'\\') if at + 1 == bytes.len() => {
                    self.state.escaped = true;
                    return Ok((bytes.len(), false));
                }
                Some(b'\\') => at += 2,
                Some(_) => return Err(self.broken(bytes, at)),
            }
        }
    }

    /// Reads on in a number or word; `None` if this is no JSON document at all.
    fn scalar(&mut self, bytes: &[u8], from: usize) -> Result<Option<usize>> {
        let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let length = bytes[from..].iter().take_while(|byte| part(byte)).count();
        let end = from + length;
        if self.state.scalar.len() + length > SCALAR_BYTES_MAX {
            return Err(self.broken(bytes, from));
        }
        self.state.scalar.extend_from_slice(&bytes[from..end]);
        if end < bytes.len() && !self.end_scalar(bytes, end)? {
            return Ok(None);
        }
        Ok(Some(end))
    }

    /// The number or word ended before `at`; false if this is no JSON document at all.
    fn end_scalar(&mut self, bytes: &[u8], at: usize) -> Result<bool> {
        let mut cursor = Cursor::new(&self.state.scalar, 0);
        if cursor.skip_value().is_err() || !cursor.is_at_end() {
            return if self.state.levels.is_empty() { Ok(false) } else { Err(self.broken(bytes, at)) };
        }
        if self.state.node.is_some_and(|node| self.targets.node(node).rows)
            && self.state.rows == RowsFound::No
        {
            self.state.rows = RowsFound::Null;
        }
        if let Some(node) = self.state.node
            && self.state.scalar == b"null"
            && self.targets.node(node).leads_on()
        {
            self.state.names.entry(node).or_default();
        }
        self.value_done(bytes, at)?;
        Ok(true)
    }

    /// Passes over a container as blocks.
    fn skip(&mut self, bytes: &[u8], from: usize) -> Result<usize> {
        let mut at = from;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let brackets = match rest.first_chunk::<BLOCK>() {
                Some(block) => self.state.strings.block(block),
                None => self.state.strings.tail(rest),
            };
            let closes = brackets.close.count_ones() as usize;
            if closes < self.state.depth {
                self.state.depth = self.state.depth + brackets.open.count_ones() as usize - closes;
            } else {
                let mut both = brackets.open | brackets.close;
                while both != 0 {
                    let bit = both.trailing_zeros();
                    both &= both - 1;
                    if brackets.open >> bit & 1 == 1 {
                        self.state.depth += 1;
                        continue;
                    }
                    self.state.depth = self.state.depth.saturating_sub(1);
                    if self.state.depth == 0 {
                        let end = at + bit as usize + 1;
                        self.value_done(bytes, end)?;
                        return Ok(end);
                    }
                }
            }
            if self.state.depth > DEPTH_MAX {
                return Err(Error::new(
                    ErrorKind::Format,
                    "json/depth",
                    format!("the document is nested deeper than {DEPTH_MAX} levels"),
                )
                .hint("no real document is; look at what the other side sends"));
            }
            at += BLOCK.min(rest.len());
        }
        Ok(bytes.len())
    }

    #[cold]
    fn broken(&self, bytes: &[u8], at: usize) -> Error {
        let shown = printable(bytes.get(at..).unwrap_or_default(), 20);
        let message =
            format!("the page is not JSON: unexpected `{shown}` at byte {}", self.state.before + at);
        Error::new(ErrorKind::Format, "json/syntax", message)
            .hint("ask the sender to send valid JSON (RFC 8259)")
    }

    #[cold]
    fn trailing(&self, bytes: &[u8], at: usize) -> Error {
        let shown = printable(&bytes[at..], 20);
        let message =
            format!("the page goes on after its JSON document: `{shown}` at byte {}", self.state.before + at);
        Error::new(ErrorKind::Format, "json/trailing", message)
            .hint("use `format: ndjson` for one object a line")
    }
}
