//! The file as a tree whose every node remembers its place in the text.

use std::ops::Range;

use serde_json::Number;

/// A value and the bytes that spell it.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) content: Content,
    pub(crate) span: Range<usize>,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    Scalar(Scalar),
    Seq(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a mapping and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Range<usize>,
    pub(crate) node: Node,
}

/// A scalar as it was written; what it means depends on what is expected in its place.
#[derive(Debug, Clone)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    /// Written without quotes, so that it may mean a number, a truth value or nothing.
    pub(crate) plain: bool,
    /// Came out of `${…}`: a text, unless a number or a truth value is expected.
    pub(crate) substituted: bool,
    /// Already reported; later checks stay silent about it.
    pub(crate) broken: bool,
}

/// What a plain scalar means in YAML 1.2's core schema, with truth values spelt in lowercase only.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Core {
    Null,
    Bool(bool),
    Integer(Number),
    Float(Number),
    Text,
}

impl Scalar {
    /// The meaning where nothing else is expected.
    pub(crate) fn core(&self) -> Core {
        if self.plain && !self.substituted { core(&self.text) } else { Core::Text }
    }

    /// The meaning where a number or a truth value is expected, which a substituted text may spell.
    pub(crate) fn core_if_expected(&self) -> Core {
        if self.plain || self.substituted { core(&self.text) } else { Core::Text }
    }
}

impl Node {
    pub(crate) fn map(&self) -> Option<&[Entry]> {
        match &self.content {
            Content::Map(entries) => Some(entries),
            _ => None,
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.map()?.iter().find(|entry| entry.key == key)
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar(scalar) if !scalar.broken && scalar.core() == Core::Null)
    }

    /// Calls `visit` with every scalar below and its path.
    pub(crate) fn scalars<'a>(
        &'a self,
        path: &mut Vec<String>,
        visit: &mut impl FnMut(&[String], &'a Node, &'a Scalar),
    ) {
        match &self.content {
            Content::Scalar(scalar) => visit(path, self, scalar),
            Content::Seq(items) => {
                for (index, item) in items.iter().enumerate() {
                    path.push(index.to_string());
                    item.scalars(path, visit);
                    path.pop();
                }
            }
            Content::Map(entries) => {
                for entry in entries {
                    path.push(entry.key.clone());
                    entry.node.scalars(path, visit);
                    path.pop();
                }
            }
        }
    }
}

/// Whether a text means itself when it is written without quotes, also inside of brackets.
pub(crate) fn means_text(text: &str) -> bool {
    let start = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '/');
    let inside = |c: char| {
        c.is_alphanumeric()
            || matches!(c, '_' | '.' | '/' | '-' | '+' | '*' | ' ' | ':' | '(' | ')' | '|' | ';')
    };
    let separates = text.contains(": ") || text.ends_with([':', ' ']);
    text.starts_with(start) && text.chars().all(inside) && !separates && core(text) == Core::Text
}

fn core(text: &str) -> Core {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Core::Null,
        "true" => return Core::Bool(true),
        "false" => return Core::Bool(false),
        _ => {}
    }
    integer(text).or_else(|| float(text)).unwrap_or(Core::Text)
}

/// An integer that does not fit 64 bits is left a text: as a float it would silently lose digits.
fn integer(text: &str) -> Option<Core> {
    let based = |digits: &str, radix| {
        u64::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+')).map(Number::from)
    };
    let number = if let Some(digits) = text.strip_prefix("0x") {
        based(digits, 16)
    } else if let Some(digits) = text.strip_prefix("0o") {
        based(digits, 8)
    } else {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        text.parse::<u64>().ok().map(Number::from).or_else(|| text.parse::<i64>().ok().map(Number::from))
    };
    Some(number.map_or(Core::Text, Core::Integer))
}

fn float(text: &str) -> Option<Core> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let starts = unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    let plain = unsigned
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    if !starts || !plain {
        return None;
    }
    text.parse::<f64>().ok().and_then(Number::from_f64).map(Core::Float)
}

#[cfg(test)]
mod tests {
    use super::{Core, core};

    #[test]
    fn only_true_and_false_are_truth_values() {
        assert_eq!(core("true"), Core::Bool(true));
        for text in ["yes", "on", "True", "FALSE", "n"] {
            assert_eq!(core(text), Core::Text, "{text}");
        }
    }

    #[test]
    fn numbers_are_those_of_the_core_schema() {
        for (text, number) in [("12", 12), ("+12", 12), ("-3", -3), ("0x1F", 31), ("0o17", 15), ("007", 7)] {
            assert_eq!(core(text), Core::Integer(number.into()), "{text}");
        }
        assert!(matches!(core("1.5e3"), Core::Float(_)));
        for text in
            ["1_000", "0b1", "1:30", "2024-01-01", ".", "-", "e5", "99999999999999999999", "0x+1", "1.2.3"]
        {
            assert_eq!(core(text), Core::Text, "{text}");
        }
    }
}
