//! Column types as users spell them.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};

/// The type of a column: `int64`, `float64`, `text`, `bool`, `date`, `timestamp`, `decimal(10,2)`, `binary`, `json`,
/// `list<text>`, `struct<a: int64, b: text>`, `null`.
///
/// `timestamp` is an instant in microseconds, stored as UTC; `json` keeps a value's own text, whatever it is. `null` is the
/// type of a field of which only nulls were seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnType(DataType, bool);

/// Types nested deeper than this are refused, so that a hostile text cannot exhaust the stack.
const DEPTH_MAX: usize = 64;

impl ColumnType {
    /// Reads a spelt type.
    ///
    /// # Errors
    /// What is wrong with the text, for a user.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { rest: text };
        let (data_type, json) = parser.data_type(0)?;
        if !parser.rest.trim().is_empty() {
            return Err(format!("`{text}` goes on after the type: `{}`", parser.rest.trim()));
        }
        Ok(Self(data_type, json))
    }

    /// The Arrow type that stores it.
    pub fn arrow(&self) -> &DataType {
        &self.0
    }

    /// Whether the value's own JSON text is kept (`json`).
    pub fn is_json(&self) -> bool {
        self.1
    }

    /// The spelling of an Arrow type; one that users cannot write prints as Arrow names it.
    pub fn spell(data_type: &DataType) -> String {
        match data_type {
            DataType::Null => "null".into(),
            DataType::Boolean => "bool".into(),
            DataType::Int32 => "int32".into(),
            DataType::Int64 => "int64".into(),
            DataType::Float32 => "float32".into(),
            DataType::Float64 => "float64".into(),
            DataType::Utf8 => "text".into(),
            DataType::Binary => "binary".into(),
            DataType::Date32 => "date".into(),
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "timestamp".into(),
            DataType::Timestamp(TimeUnit::Microsecond, None) => "local_timestamp".into(),
            DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
            DataType::List(item) => format!("list<{}>", Self::spell(item.data_type())),
            DataType::Struct(fields) => {
                let members: Vec<String> = fields
                    .iter()
                    .map(|f| format!("{}: {}", quote(f.name()), Self::spell(f.data_type())))
                    .collect();
                format!("struct<{}>", members.join(", "))
            }
            other => other.to_string(),
        }
    }
}

fn quote(name: &str) -> String {
    let plain =
        !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-' || c == '.');
    if plain { name.to_owned() } else { format!("`{}`", name.replace('`', "``")) }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn word(&mut self) -> String {
        self.rest = self.rest.trim_start();
        let end = self
            .rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-' || c == '.'))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.to_owned()
    }

    fn name(&mut self) -> Result<String, String> {
        self.rest = self.rest.trim_start();
        let Some(quoted) = self.rest.strip_prefix('`') else { return Ok(self.word()) };
        let mut name = String::new();
        let mut chars = quoted.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                '`' if chars.peek().is_some_and(|(_, next)| *next == '`') => {
                    name.push('`');
                    chars.next();
                }
                '`' => {
                    self.rest = &quoted[at + 1..];
                    return Ok(name);
                }
                _ => name.push(c),
            }
        }
        Err("a quoted name has no end".to_owned())
    }

    fn expect(&mut self, token: char) -> Result<(), String> {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(format!("expected `{token}` before `{}`", self.rest)),
        }
    }

    fn accept(&mut self, token: char) -> bool {
        self.expect(token).is_ok()
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T, String> {
        let word = self.word();
        word.parse().map_err(|_| format!("`{word}` is not a number"))
    }

    fn data_type(&mut self, depth: usize) -> Result<(DataType, bool), String> {
        if depth > DEPTH_MAX {
            return Err(format!("nested deeper than {DEPTH_MAX} levels"));
        }
        let word = self.word();
        let plain = match word.as_str() {
            "bool" | "boolean" => DataType::Boolean,
            "int32" | "int" => DataType::Int32,
            "int64" | "long" | "bigint" => DataType::Int64,
            "float32" | "float" => DataType::Float32,
            "float64" | "double" => DataType::Float64,
            "text" | "string" | "utf8" => DataType::Utf8,
            "json" => return Ok((DataType::Utf8, true)),
            "binary" | "bytes" => DataType::Binary,
            "date" => DataType::Date32,
            "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            "local_timestamp" => DataType::Timestamp(TimeUnit::Microsecond, None),
            "null" => DataType::Null,
            "decimal" => {
                self.expect('(')?;
                let precision: u8 = self.number()?;
                let scale: i8 = if self.accept(',') { self.number()? } else { 0 };
                self.expect(')')?;
                if !(1..=38).contains(&precision) || scale < 0 || scale.unsigned_abs() > precision {
                    return Err(format!(
                        "decimal({precision},{scale}): precision is 1 to 38, scale 0 to precision"
                    ));
                }
                DataType::Decimal128(precision, scale)
            }
            "list" => {
                self.expect('<')?;
                let (item, _) = self.data_type(depth + 1)?;
                self.expect('>')?;
                DataType::List(Arc::new(Field::new("item", item, true)))
            }
            "struct" => self.members(depth)?,
            other => {
                return Err(format!(
                    "`{other}` is not a type; there are bool, int32, int64, float32, float64, text, json, binary, date, \
                     timestamp, local_timestamp, decimal(p,s), list<…>, struct<name: …>"
                ));
            }
        };
        Ok((plain, false))
    }

    fn members(&mut self, depth: usize) -> Result<DataType, String> {
        self.expect('<')?;
        let mut fields = Vec::new();
        while !self.accept('>') {
            if !fields.is_empty() {
                self.expect(',')?;
            }
            let name = self.name()?;
            self.expect(':')?;
            let (member, _) = self.data_type(depth + 1)?;
            fields.push(Field::new(name, member, true));
        }
        Ok(DataType::Struct(fields.into()))
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.1 { f.write_str("json") } else { f.write_str(&Self::spell(&self.0)) }
    }
}

super::spelt!(
    ColumnType,
    "ColumnType",
    "A column's type: bool, int32, int64, float32, float64, text, json, binary, date, timestamp, local_timestamp, decimal(p,s), list<T>, struct<name: T>.",
    r"^.+$",
    ["int64", "decimal(10,2)", "list<text>"]
);

#[cfg(test)]
mod tests {
    use super::ColumnType;

    #[test]
    fn reads_what_it_prints() {
        for text in [
            "int64",
            "text",
            "json",
            "timestamp",
            "decimal(10,2)",
            "list<text>",
            "struct<a: int64, `b c`: list<struct<d: date>>>",
            "null",
        ] {
            assert_eq!(ColumnType::parse(text).map(|t| t.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, part) in [
            ("int65", "is not a type"),
            ("decimal(50,2)", "1 to 38"),
            ("list<text", "expected `>`"),
            ("text x", "goes on"),
        ] {
            assert!(ColumnType::parse(text).is_err_and(|message| message.contains(part)), "{text}");
        }
        assert!(ColumnType::parse(&"list<".repeat(1000)).is_err());
    }
}
