//! Finding columns by name, and what is said if there is none.

use dil_model::arrow::datatypes::{DataType, Fields};
use dil_model::{Error, ErrorKind};

/// The names in an error are for choosing from; more than this helps nobody.
const NAMES_MAX: usize = 40;

/// Where a column or a member of one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Its index among the columns, then among the members of each struct.
    At(Vec<usize>),
    /// Below something of which only nulls were seen so far.
    Untyped,
}

/// Finds `path`: a column of that whole name, or member by member through structs.
pub(crate) fn resolve(fields: &Fields, path: &str) -> Option<Found> {
    if let Some((at, _)) = fields.find(path) {
        return Some(Found::At(vec![at]));
    }
    fields.iter().enumerate().find_map(|(at, field)| {
        let rest = path.strip_prefix(field.name().as_str())?.strip_prefix('.')?;
        match field.data_type() {
            DataType::Null => Some(Found::Untyped),
            DataType::Struct(members) => Some(match resolve(members, rest)? {
                Found::At(below) => Found::At(std::iter::once(at).chain(below).collect()),
                Found::Untyped => Found::Untyped,
            }),
            _ => None,
        }
    })
}

/// The error for a column that the rows do not have.
pub(crate) fn no_column(doing: &str, name: &str, fields: &Fields) -> Error {
    let mut names: Vec<&str> = fields.iter().take(NAMES_MAX).map(|field| field.name().as_str()).collect();
    if fields.len() > NAMES_MAX {
        names.push("…");
    }
    let hint = if names.is_empty() {
        "the rows have no columns".to_owned()
    } else {
        format!("the rows have {}", names.join(", "))
    };
    Error::new(ErrorKind::Config, "convert/no-column", format!("{doing}: there is no column `{name}`"))
        .hint(hint)
}

#[cfg(test)]
mod tests {
    use dil_model::setting::ColumnType;

    use super::*;

    fn check(path: &str, expect: Option<Found>) {
        let spelt = "struct<a: int64, `a.b`: text, c: struct<d: struct<e: text>, n: null>, n: null>";
        let data_type = ColumnType::parse(spelt).unwrap();
        let DataType::Struct(fields) = data_type.arrow() else { panic!("{spelt}") };
        assert_eq!(resolve(fields, path), expect, "{path}");
    }

    #[test]
    fn finds_columns_and_members() {
        check("a", Some(Found::At(vec![0])));
        check("a.b", Some(Found::At(vec![1])));
        check("c.d.e", Some(Found::At(vec![2, 0, 0])));
        check("c.d", Some(Found::At(vec![2, 0])));
        check("n.x.y", Some(Found::Untyped));
        check("c.n.x", Some(Found::Untyped));
        check("c.n", Some(Found::At(vec![2, 1])));
    }

    #[test]
    fn does_not_find_what_is_not_there() {
        for path in ["x", "a.c", "c.x", "c.d.e.f", "ca", "c."] {
            check(path, None);
        }
    }

    #[test]
    fn names_what_there_is() {
        let fields: Fields = ["id", "amount"]
            .map(|name| dil_model::arrow::datatypes::Field::new(name, DataType::Int64, true))
            .into_iter()
            .collect();
        let error = no_column("keep", "ammount", &fields);
        assert_eq!(error.message, "keep: there is no column `ammount`");
        assert_eq!(error.hint.as_deref(), Some("the rows have id, amount"));
    }
}
