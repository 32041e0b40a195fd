//! Guesses the type of a column from its texts.
//!
//! Only what loses nothing is guessed: `true`/`false` are bool, whole numbers int64, other numbers float64, the rest
//! is text. A number with a leading zero or plus sign or with more than 18 digits is an identifier and stays text.
//! Dates and timestamps stay text as well, because their spellings are ambiguous: they are declared.

use dil_model::arrow::datatypes::DataType;

use super::column::Reading;
use super::index::Index;

/// What all texts of a column seen so far have in common.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Guess {
    kind: Kind,
    /// There was an empty text that does not mean null. It is none if the column turns out not to be text.
    empty: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Nothing,
    Bool,
    Int,
    Float,
    Text,
}

impl Guess {
    /// Looks at one column's fields of all indexed records.
    pub(super) fn read(&mut self, reading: &Reading, bytes: &[u8], index: &Index, column: usize) {
        let mut scratch = Vec::new();
        for (start, end) in index.column(column) {
            if self.kind == Kind::Text {
                return;
            }
            let field = &bytes[start..end];
            match reading.marks.unquote(field) {
                Some(quoted) => {
                    scratch.clear();
                    quoted.append_to(&mut scratch);
                    self.see(&scratch);
                }
                None if reading.nulls.contains(field) => {}
                None => self.see(field),
            }
        }
    }

    fn see(&mut self, text: &[u8]) {
        if text.is_empty() {
            self.empty = true;
            return;
        }
        let kind = kind_of(text);
        self.kind = match (self.kind, kind) {
            (Kind::Nothing, new) => new,
            (old, new) if old == new => old,
            (Kind::Int, Kind::Float) | (Kind::Float, Kind::Int) => Kind::Float,
            _ => Kind::Text,
        };
    }

    /// The type that holds them all.
    pub(super) fn data_type(self) -> DataType {
        match self.kind {
            Kind::Nothing if self.empty => DataType::Utf8,
            Kind::Nothing => DataType::Null,
            Kind::Bool => DataType::Boolean,
            Kind::Int => DataType::Int64,
            Kind::Float => DataType::Float64,
            Kind::Text => DataType::Utf8,
        }
    }
}

fn kind_of(text: &[u8]) -> Kind {
    const DIGITS_MAX: usize = 18;
    if matches!(text, b"true" | b"false") {
        return Kind::Bool;
    }
    let unsigned = text.strip_prefix(b"-").unwrap_or(text);
    let (whole, rest) = unsigned.split_at(digits(unsigned));
    if whole.is_empty() || whole.len() > DIGITS_MAX || (whole.len() > 1 && whole[0] == b'0') {
        return Kind::Text;
    }
    if rest.is_empty() {
        // An integer has no `-0`.
        return if text == b"-0" { Kind::Float } else { Kind::Int };
    }
    let rest = match rest.strip_prefix(b".") {
        Some(fraction) => match digits(fraction) {
            0 => return Kind::Text,
            count => &fraction[count..],
        },
        None => rest,
    };
    let Some(exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) else {
        return if rest.is_empty() { Kind::Float } else { Kind::Text };
    };
    let exponent = exponent.strip_prefix(b"-").or_else(|| exponent.strip_prefix(b"+")).unwrap_or(exponent);
    // Few digits, because `1e400` is no number that a float64 holds.
    if (1..=2).contains(&exponent.len()) && digits(exponent) == exponent.len() {
        Kind::Float
    } else {
        Kind::Text
    }
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(texts: &[&str]) -> DataType {
        let mut guess = Guess::default();
        texts.iter().for_each(|text| guess.see(text.as_bytes()));
        guess.data_type()
    }

    #[test]
    fn guesses_only_what_loses_nothing() {
        assert_eq!(guess(&["1", "-20", "0", "123456789012345678"]), DataType::Int64);
        assert_eq!(guess(&["1", "2.5"]), DataType::Float64);
        for float in ["2.5", "-0", "-0.0", "1e5", "1E-05", "0.1e+10"] {
            assert_eq!(guess(&[float]), DataType::Float64, "{float}");
        }
        assert_eq!(guess(&["true", "false"]), DataType::Boolean);
        for text in [
            "01234",
            "+1",
            "1234567890123456789",
            "1 ",
            "1e",
            "1e400",
            ".5",
            "5.",
            "-",
            "1_000",
            "NaN",
            "inf",
            "True",
            "2024-01-02",
            "0x1f",
        ] {
            assert_eq!(guess(&[text]), DataType::Utf8, "{text}");
        }
        assert_eq!(guess(&["true", "1"]), DataType::Utf8);
        assert_eq!(guess(&[]), DataType::Null);
    }

    #[test]
    fn an_empty_text_is_text_only_among_texts() {
        assert_eq!(guess(&["", ""]), DataType::Utf8);
        assert_eq!(guess(&["", "1"]), DataType::Int64);
    }
}
