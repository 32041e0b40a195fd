//! What can be wrong with a row, cheap to pass up and turned into an error for people only at the top.

use dil_model::{Error, ErrorKind};

use super::value;

/// Characters of a value that a message shows.
const SHOWN: usize = 40;

/// What went wrong at a byte of the frame.
#[derive(Debug)]
pub(crate) struct Fault {
    /// Where in the frame.
    pub(crate) at: usize,
    /// What.
    pub(crate) what: What,
    /// The field, innermost name first.
    pub(crate) path: Vec<String>,
}

/// The kinds of trouble.
#[derive(Debug)]
pub(crate) enum What {
    /// The bytes are not JSON.
    Syntax(&'static str),
    /// The bytes end inside a value.
    End,
    /// The value does not fit the column.
    Type {
        /// The column's type as users spell it.
        expected: String,
        /// What to do.
        hint: &'static str,
    },
    /// An escape that is half of a surrogate pair.
    Surrogate,
    /// The schema has no place for it; not an error.
    Wider,
    /// A field that `columns` does not name, where that is an error.
    Undeclared,
    /// Values of one field that share no type.
    Mixed {
        /// The types that were seen.
        seen: String,
        /// What to do.
        hint: &'static str,
    },
}

/// The result of reading one value.
pub(crate) type Parsed<T = ()> = Result<T, Box<Fault>>;

/// A fault without a path yet.
#[cold]
pub(crate) fn fault<T>(at: usize, what: What) -> Parsed<T> {
    Err(Box::new(Fault { at, what, path: Vec::new() }))
}

/// Bytes that are not JSON.
#[cold]
pub(crate) fn syntax<T>(at: usize, what: &'static str) -> Parsed<T> {
    fault(at, What::Syntax(what))
}

impl Fault {
    /// Adds the field one step further out.
    #[cold]
    pub(crate) fn inside(mut self: Box<Self>, name: &str) -> Box<Self> {
        self.path.push(name.to_owned());
        self
    }

    fn field(&self) -> String {
        let mut path = String::new();
        for name in self.path.iter().rev() {
            if !path.is_empty() && name != "[]" {
                path.push('.');
            }
            path.push_str(name);
        }
        path
    }

    /// The error for people; `row` is the position in `bytes` where the row begins.
    pub(crate) fn into_error(self, bytes: &[u8], row: usize) -> Error {
        let field = self.field();
        let place = if field.is_empty() { String::new() } else { format!(" in field `{field}`") };
        let offset = self.at.saturating_sub(row);
        match self.what {
            What::Syntax(what) => Error::new(
                ErrorKind::Format,
                "json/syntax",
                format!(
                    "the row is not JSON: {what}{place} at byte {offset} of the row, at `{}`",
                    shown(bytes, self.at)
                ),
            )
            .hint("ask the sender to send valid JSON (RFC 8259)"),
            What::End => Error::new(
                ErrorKind::Format,
                "json/syntax",
                format!("the row ends inside a value{place} at byte {offset} of the row"),
            )
            .hint("ask the sender to send valid JSON (RFC 8259)"),
            What::Surrogate => {
                let whose =
                    if field.is_empty() { "a field name".to_owned() } else { format!("field `{field}`") };
                let escape = printable(bytes.get(self.at..self.at + 6).unwrap_or_default(), SHOWN);
                let message =
                    format!("{whose} holds `{escape}`, half of a surrogate pair, which is no character");
                let keep = if field.is_empty() {
                    String::new()
                } else {
                    format!(
                        "; `columns: {{ {}: json }}` under `read` keeps the value as it is spelt",
                        outer(&field)
                    )
                };
                Error::new(ErrorKind::Format, "json/surrogate", message).hint(format!(
                    "ask the sender for whole characters (it cuts texts in the middle of one){keep}"
                ))
            }
            What::Type { expected, hint } => Error::new(
                ErrorKind::Type,
                "json/type",
                format!("field `{field}` is {expected}, but its value is `{}`", shown_value(bytes, self.at)),
            )
            .hint(if hint.is_empty() {
                format!(
                    "declare a type that holds it, for example `columns: {{ {}: text }}` under `read`",
                    outer(&field)
                )
            } else {
                hint.to_owned()
            }),
            What::Wider => Error::new(
                ErrorKind::Internal,
                "json/wider",
                format!("a field that needs a wider schema was reported as an error{place}"),
            ),
            What::Undeclared => Error::new(
                ErrorKind::Type,
                "json/undeclared-field",
                format!("field `{field}` is not declared"),
            )
            .hint("name it under `columns`, or set `other_columns` to `infer` or `drop`"),
            What::Mixed { seen, hint } => Error::new(
                ErrorKind::Type,
                "json/type",
                format!("field `{field}` is {seen}, the last of them `{}`", shown_value(bytes, self.at)),
            )
            .hint(format!("{hint}: `columns: {{ {}: … }}` under `read`", outer(&field))),
        }
    }
}

/// The column that a path lies in: only columns can be declared.
fn outer(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or(path)
}

/// The value at `at`, shortened.
fn shown_value(bytes: &[u8], at: usize) -> String {
    let mut cursor = value::Cursor::new(bytes, at);
    let end = if cursor.skip_value().is_ok() { cursor.at } else { bytes.len() };
    printable(bytes.get(at..end).unwrap_or_default(), SHOWN)
}

fn shown(bytes: &[u8], at: usize) -> String {
    printable(bytes.get(at..).unwrap_or_default(), SHOWN / 2)
}

/// The first `characters_max` characters, control characters escaped.
pub(crate) fn printable(bytes: &[u8], characters_max: usize) -> String {
    // Four bytes are the longest character.
    let head = &bytes[..bytes.len().min(characters_max * 4 + 4)];
    let text = String::from_utf8_lossy(head);
    let mut shown: String = text.chars().take(characters_max).flat_map(escaped).collect();
    if head.len() < bytes.len() || text.chars().nth(characters_max).is_some() {
        shown.push('…');
    }
    shown
}

fn escaped(character: char) -> Vec<char> {
    if character.is_control() { character.escape_default().collect() } else { vec![character] }
}
