//! How one file's fields and lines are told apart, checked.

use std::sync::Arc;

use dil_model::config::{CsvOptions, Read};
use dil_model::{Error, ErrorKind, Result};

/// The options of `read.csv`, checked and as bytes.
#[derive(Debug, Clone)]
pub(super) struct Dialect {
    pub(super) marks: Marks,
    /// Whether each page begins with a line of names.
    pub(super) header: bool,
}

/// The bytes with a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) delimiter: u8,
    /// `None`: quotes are data, and no field can hold a delimiter or a line end.
    pub(super) quote: Option<u8>,
}

impl Marks {
    /// Line feeds before the first byte of the row number `row`, counted from 0. For messages: it looks at one byte at
    /// a time.
    pub(super) fn line_feeds_before(self, bytes: &[u8], row: usize) -> u64 {
        let (mut quoted, mut in_row) = (false, false);
        let (mut rows, mut feeds) = (0, 0);
        for byte in bytes {
            let ends = !quoted && matches!(byte, b'\r' | b'\n');
            if !ends && !in_row && rows == row {
                break;
            }
            rows += usize::from(ends && in_row);
            in_row = !ends;
            quoted ^= Some(*byte) == self.quote;
            feeds += u64::from(*byte == b'\n');
        }
        feeds
    }
}

impl Dialect {
    /// # Errors
    /// `Config` if a mark is not one ASCII character, or both are the same.
    pub(super) fn new(read: &Read) -> Result<Self> {
        let default = CsvOptions::default();
        let options = read.csv.as_ref().unwrap_or(&default);
        let delimiter = mark("delimiter", &options.delimiter)?;
        let quote = if options.quote.is_empty() { None } else { Some(mark("quote", &options.quote)?) };
        if quote == Some(delimiter) {
            return Err(Error::new(
                ErrorKind::Config,
                "csv/options",
                format!("`csv.delimiter` and `csv.quote` are both `{}`", options.delimiter),
            )
            .hint("give them different characters"));
        }
        Ok(Self { marks: Marks { delimiter, quote }, header: options.header })
    }
}

fn mark(option: &str, text: &str) -> Result<u8> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'\r' | b'\n' | 0) => Ok(*byte),
        _ => Err(Error::new(
            ErrorKind::Config,
            "csv/options",
            format!("`csv.{option}` is {text:?}, which is not one ASCII character"),
        )
        .hint(format!("write one character that is no line end, such as {}", {
            if option == "delimiter" {
                "`\";\"` or `\"\\t\"`"
            } else {
                "`\"'\"`, or `\"\"` if nothing is quoted"
            }
        }))),
    }
}

impl Marks {
    /// The fields of one line without its line end, unquoted.
    ///
    /// # Errors
    /// The number of the first field (from 1) in which a quote stands where none may.
    pub(super) fn split(&self, line: &[u8]) -> Result<Vec<Vec<u8>>, usize> {
        let mut fields = Vec::new();
        let mut rest = line;
        loop {
            let (field, after) = self.first_field(rest).ok_or(fields.len() + 1)?;
            fields.push(field);
            match after {
                Some(next) => rest = next,
                None => return Ok(fields),
            }
        }
    }

    /// The first field, and what follows its delimiter.
    fn first_field<'a>(&self, line: &'a [u8]) -> Option<(Vec<u8>, Option<&'a [u8]>)> {
        let Some(quote) = self.quote.filter(|quote| line.first() == Some(quote)) else {
            let end = line.iter().position(|byte| *byte == self.delimiter).unwrap_or(line.len());
            let (field, after) = line.split_at(end);
            if self.quote.is_some_and(|quote| field.contains(&quote)) {
                return None;
            }
            return Some((field.to_vec(), after.get(1..)));
        };
        let mut field = Vec::new();
        let mut at = 1;
        loop {
            match (line.get(at)?, line.get(at + 1)) {
                (byte, next) if *byte == quote => match next {
                    Some(next) if *next == quote => {
                        field.push(quote);
                        at += 2;
                    }
                    Some(next) if *next == self.delimiter => return Some((field, line.get(at + 2..))),
                    Some(_) => return None,
                    None => return Some((field, None)),
                },
                (byte, _) => {
                    field.push(*byte);
                    at += 1;
                }
            }
        }
    }

    /// The column names of a header line.
    ///
    /// An empty name becomes `column_N`.
    ///
    /// # Errors
    /// `Format` for a misplaced quote, a name that is not UTF-8 and a name that comes twice.
    pub(super) fn names(&self, line: &[u8]) -> Result<Arc<[String]>> {
        let fields = self.split(line).map_err(|column| {
            Error::new(
                ErrorKind::Format,
                "csv/quote",
                format!("a quote stands inside name {column} of the header"),
            )
            .hint(QUOTE_HINT)
        })?;
        let mut names: Vec<String> = Vec::with_capacity(fields.len());
        for (at, field) in fields.into_iter().enumerate() {
            let name = String::from_utf8(field).map_err(|_| {
                Error::new(
                    ErrorKind::Format,
                    "csv/utf8",
                    format!("name {} of the header is not UTF-8", at + 1),
                )
                .hint("ask the source for UTF-8")
            })?;
            names.push(if name.is_empty() { numbered(at) } else { name });
        }
        let mut seen = std::collections::HashSet::with_capacity(names.len());
        if let Some(twice) = names.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(Error::new(
                ErrorKind::Format,
                "csv/duplicate-name",
                format!("the header names `{}` twice", shorten(twice.as_bytes())),
            )
            .hint("ask the source for different names, or take the line out of the file and set `csv: { header: false }`"));
        }
        Ok(names.into())
    }
}

/// What to do about a quote in a place where RFC 4180 allows none.
pub(super) const QUOTE_HINT: &str = "quote the whole field and double the quotes inside it, \
    or set `csv: { quote: \"\" }` if the file quotes nothing";

/// The name of a column without one; `at` counts from 0.
pub(super) fn numbered(at: usize) -> String {
    format!("column_{}", at + 1)
}

/// At most 40 characters of a value, for messages.
pub(super) fn shorten(value: &[u8]) -> String {
    const CHARS_MAX: usize = 40;
    // A character has at most four bytes, so this is enough of them; one more tells whether there is more.
    let head = value.get(..CHARS_MAX * 4 + 4).unwrap_or(value);
    let text = String::from_utf8_lossy(head);
    let mut short: String = text.chars().take(CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().count() > CHARS_MAX {
        short.push('…');
    }
    short
}
