//! Finding columns by name.

use dil_model::arrow::datatypes::{DataType, Fields};

/// Where a column or a member of one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Its index among the columns, then among the members of each struct.
    At(Vec<usize>),
    /// Nowhere so far, or below something of which only nulls were seen.
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
}
