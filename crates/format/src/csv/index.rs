//! Where the fields of some records are.

use super::block::{BLOCK, Finder, Found, Quoting};
use super::dialect::Marks;

/// The ends of all fields of a run of records, column by column addressable.
///
/// Records are indexed some at a time ([`WINDOW`]), so that what is read twice, once to find fields and once for their
/// values, stays in the processor's cache.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// The position of the byte after each field, record by record.
    ends: Vec<u32>,
    /// How many of `ends` are filled.
    filled: usize,
    /// The position of each record's first byte.
    starts: Vec<u32>,
    /// Fields in each record.
    columns: usize,
}

/// Bytes indexed at once. Twice as many no longer stay in the first-level cache beside their index and the columns; fewer
/// mean too few records at a time in a wide table.
const WINDOW: usize = 64 << 10;

/// What is wrong with a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// Which record, counted from 0 where indexing began.
    pub(super) row: usize,
    pub(super) why: Why,
}

/// What is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// A quote where none may stand, in this column counted from 0.
    Quote { column: usize },
    /// Another number of fields.
    Fields { found: usize },
}

/// What one block says about the byte before the next.
struct Before {
    /// All ones in bit 0 if a quote may open here: the byte before separates, or closed a quote.
    may_open: u64,
    /// The byte before closed a quote.
    closed: u64,
    /// The byte before was a line end.
    line_end: u64,
}

impl Index {
    /// Indexes records of `columns` fields from `from` on; gives where the next ones begin.
    ///
    /// # Errors
    /// The first record that has another number of fields or a misplaced quote.
    pub(super) fn fill(
        &mut self,
        finder: &Finder,
        bytes: &[u8],
        from: usize,
        columns: usize,
    ) -> Result<usize, Broken> {
        self.filled = 0;
        self.starts.clear();
        self.columns = columns;
        let mut quoting = Quoting::default();
        let mut before = Before { may_open: 1, closed: 0, line_end: 1 };
        let mut rows = 0;
        let mut at = from;
        while at < bytes.len() && (at - from < WINDOW || rows == 0) {
            let rest = &bytes[at..];
            let found = match rest.first_chunk::<BLOCK>() {
                Some(block) => finder.find(block),
                None => finder.find_short(rest),
            };
            let inside = quoting.step(found.quotes);
            rows += self.take_block(bytes, found, inside, at, &mut before)?;
            at += BLOCK.min(rest.len());
        }
        if at == bytes.len() && before.line_end == 0 {
            self.push_end(at);
            rows += 1;
        }
        self.check_fields(bytes, rows)?;
        Ok(self.set_starts(bytes, from, rows))
    }

    /// Notes the field ends of one block; gives how many records end in it.
    #[inline(always)]
    fn take_block(
        &mut self,
        bytes: &[u8],
        found: Found,
        inside: u64,
        at: usize,
        before: &mut Before,
    ) -> Result<usize, Broken> {
        let line_ends = found.line_ends & !inside;
        let delimiters = found.delimiters & !inside;
        // The second half of CRLF and blank lines end no record.
        let record_ends = line_ends & !(line_ends << 1 | before.line_end);
        self.push_ends(delimiters | record_ends, at);
        if found.quotes | before.closed != 0 {
            let separators = line_ends | delimiters;
            let (opening, closing) = (found.quotes & inside, found.quotes & !inside);
            let bad_opening = opening & !((separators | closing) << 1 | before.may_open);
            let bad_following = (closing << 1 | before.closed) & !(separators | opening);
            // Past the end of the bytes there is nothing that could be wrong.
            let there = match bytes.len() - at {
                len if len >= BLOCK => u64::MAX,
                len => (1 << len) - 1,
            };
            let bad = (bad_opening | bad_following) & there;
            if bad != 0 {
                return Err(self.quote_error(bytes, at + bad.trailing_zeros() as usize));
            }
            before.may_open = (separators | closing) >> 63;
            before.closed = closing >> 63;
        } else {
            before.may_open = (line_ends | delimiters) >> 63;
        }
        let last = (bytes.len() - at).min(BLOCK) - 1;
        before.line_end = line_ends >> last & 1;
        Ok(record_ends.count_ones() as usize)
    }

    #[inline(always)]
    fn push_ends(&mut self, mut mask: u64, at: usize) {
        if self.ends.len() < self.filled + BLOCK {
            self.ends.resize((self.filled + BLOCK).max(self.ends.len() * 2), 0);
        }
        let count = mask.count_ones() as usize;
        let base = at as u32;
        let Some(room) = self.ends[self.filled..].first_chunk_mut::<BLOCK>() else { return };
        // Eight at a time without looking whether there are so many: what is too much is written over later.
        let mut done = 0;
        while done < count {
            let Some(eight) = room[done..].first_chunk_mut::<8>() else { break };
            for end in eight {
                *end = base + mask.trailing_zeros();
                mask &= mask.wrapping_sub(1);
            }
            done += 8;
        }
        self.filled += count;
    }

    fn push_end(&mut self, at: usize) {
        self.ends.truncate(self.filled);
        self.ends.push(at as u32);
        self.filled += 1;
    }

    /// Where the first misplaced quote is, in records and columns.
    fn quote_error(&self, bytes: &[u8], position: usize) -> Broken {
        let mut broken = (0, 0);
        for end in self.ends[..self.filled].iter().take_while(|end| (**end as usize) < position) {
            broken =
                if is_line_end(bytes, *end as usize) { (broken.0 + 1, 0) } else { (broken.0, broken.1 + 1) };
        }
        Broken { row: broken.0, why: Why::Quote { column: broken.1 } }
    }

    /// If there are as many line ends as records, and one after each `columns` fields, then all of them are there.
    fn check_fields(&self, bytes: &[u8], rows: usize) -> Result<(), Broken> {
        let ends = &self.ends[..self.filled];
        let mut lasts = ends.chunks_exact(self.columns).take(rows).map(|record| record[self.columns - 1]);
        if ends.len() >= rows * self.columns && lasts.all(|end| is_line_end(bytes, end as usize)) {
            return Ok(());
        }
        let mut row = 0;
        let mut found = 0;
        for end in ends {
            found += 1;
            if is_line_end(bytes, *end as usize) {
                if found != self.columns {
                    return Err(Broken { row, why: Why::Fields { found } });
                }
                row += 1;
                found = 0;
            }
        }
        Ok(())
    }

    /// Finds the records' first bytes; gives the position after the last one and the line ends that follow it.
    fn set_starts(&mut self, bytes: &[u8], from: usize, rows: usize) -> usize {
        let skip = |mut at: usize| {
            while bytes.get(at).is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
                at += 1;
            }
            at
        };
        let mut start = skip(from);
        for record in self.ends[..self.filled].chunks_exact(self.columns).take(rows) {
            self.starts.push(start as u32);
            start = skip(record[self.columns - 1] as usize + 1);
        }
        start.min(bytes.len())
    }

    /// Records in the index.
    pub(super) fn rows(&self) -> usize {
        self.starts.len()
    }

    /// The places of one column's fields, quotes included, from the first record to the last.
    #[inline(always)]
    pub(super) fn column(&self, column: usize) -> impl Iterator<Item = (usize, usize)> {
        let columns = self.columns;
        let first = column == 0;
        // The first field begins where its record does, the others after the field before.
        let from = |at: usize| self.ends.get(at..).unwrap_or_default().iter().step_by(columns);
        let before = from(column.saturating_sub(1));
        let ends = from(column);
        self.starts.iter().zip(before).zip(ends).map(move |((start, before), end)| {
            (if first { *start as usize } else { *before as usize + 1 }, *end as usize)
        })
    }

    /// How many fields the first record of `bytes` has; `None` without a record.
    pub(super) fn width(finder: &Finder, bytes: &[u8]) -> Option<usize> {
        let from = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
        let mut quoting = Quoting::default();
        let mut width = 1;
        for block in bytes[from..].chunks(BLOCK) {
            let found = finder.find_short(block);
            let outside = !quoting.step(found.quotes);
            let line_ends = found.line_ends & outside;
            // The bits below the first line end; all of them without one.
            let record = line_ends.wrapping_sub(1) & !line_ends;
            width += (found.delimiters & outside & record).count_ones() as usize;
            if line_ends != 0 {
                break;
            }
        }
        Some(width)
    }
}

/// Whether the byte at a field's end ends its record; the end of the bytes does.
#[inline(always)]
fn is_line_end(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_none_or(|byte| matches!(byte, b'\r' | b'\n'))
}

impl Marks {
    /// A field's value if it is quoted: the quotes around it taken away, doubled ones made single.
    ///
    /// The index has checked that quotes stand only where they may.
    pub(super) fn unquote<'a>(&self, field: &'a [u8]) -> Option<Quoted<'a>> {
        let quote = self.quote?;
        let inner = field.strip_prefix(&[quote])?;
        let inner = inner.strip_suffix(&[quote]).unwrap_or(inner);
        Some(Quoted { inner, quote })
    }
}

/// The inside of a quoted field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quoted<'a> {
    inner: &'a [u8],
    quote: u8,
}

impl Quoted<'_> {
    /// Appends the value.
    pub(super) fn append_to(self, out: &mut Vec<u8>) {
        let mut rest = self.inner;
        while let Some(at) = memchr::memchr(self.quote, rest) {
            out.extend_from_slice(&rest[..=at]);
            rest = rest.get(at + 2..).unwrap_or_default();
        }
        out.extend_from_slice(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: Marks = Marks { delimiter: b',', quote: Some(b'"') };

    fn fields(text: &str, columns: usize) -> Result<Vec<Vec<&str>>, Broken> {
        let mut index = Index::default();
        let mut table = vec![Vec::new(); columns];
        let mut from = 0;
        while from < text.len() {
            from = index.fill(&Finder::new(MARKS), text.as_bytes(), from, columns)?;
            for (column, fields) in table.iter_mut().enumerate() {
                fields.extend(index.column(column).map(|(start, end)| &text[start..end]));
            }
        }
        Ok(table)
    }

    #[test]
    fn finds_fields_in_all_line_ends() {
        for text in ["a,b\nc,\n", "a,b\r\nc,\r\n", "a,b\rc,", "\n\na,b\n\r\n\rc,\n\n"] {
            assert_eq!(fields(text, 2), Ok(vec![vec!["a", "c"], vec!["b", ""]]), "{text:?}");
        }
        assert_eq!(fields("\"a,\n\"\"\",\"\"\n", 2), Ok(vec![vec!["\"a,\n\"\"\""], vec!["\"\""]]));
    }

    #[test]
    fn windows_hold_whole_records() {
        let text = format!("{},\"{}\"\n", "x".repeat(50), "y,\n".repeat(60)).repeat(3000);
        let table = fields(&text, 2).unwrap();
        assert_eq!((table[0].len(), table[1].len()), (3000, 3000));
        assert!(table[0].iter().all(|field| field.len() == 50));
        assert!(table[1].iter().all(|field| field.len() == 182));
    }

    #[test]
    fn names_the_broken_record() {
        let broken = |text: &str| fields(text, 2).unwrap_err();
        assert_eq!(broken("a,b\nc\nd,e,f\n"), Broken { row: 1, why: Why::Fields { found: 1 } });
        assert_eq!(broken("a,b\nd,e,f"), Broken { row: 1, why: Why::Fields { found: 3 } });
        for text in
            ["a,b\nc,d\"e\"\n", "a,b\nc,\"d\"e\n", "a,b\nc, \"d\"", "a,b\nc,\"d\" \n", "a,b\nc,\"\"e\"\"\n"]
        {
            assert_eq!(broken(text), Broken { row: 1, why: Why::Quote { column: 1 } }, "{text:?}");
        }
        let late = format!("{}c,{}\"\"", "a,b\n".repeat(99), "x".repeat(200));
        assert_eq!(broken(&late), Broken { row: 99, why: Why::Quote { column: 1 } });
    }

    #[test]
    fn a_quote_closed_at_the_edge_of_a_block_is_followed_up() {
        for (after, fine) in [("\n", true), (",", false), ("x", false), ("\"\"", true)] {
            let text = format!("a,\"{}\"{after}", "x".repeat(60));
            assert_eq!(text.as_bytes()[63], b'"');
            assert_eq!(fields(&text, 2).is_ok(), fine, "{after:?}");
        }
    }

    #[test]
    fn counts_the_first_records_fields() {
        let width = |text: &str| Index::width(&Finder::new(MARKS), text.as_bytes());
        assert_eq!(width("\r\na,\"b,\n\",c\n1"), Some(3));
        assert_eq!(width("a"), Some(1));
        assert_eq!(width("\n"), None);
        assert_eq!(width(&",".repeat(200)), Some(201));
    }
}
