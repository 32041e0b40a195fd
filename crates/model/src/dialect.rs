//! Names and values as the query languages of the field spell them, so that what comes from rows is never part of a query's text.

/// How a query language quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dialect {
    /// What opens and closes a name; a closing one inside is doubled. Without it names are not quoted, but checked.
    names: Option<(char, char)>,
    /// Whether a closing mark may stand inside a name.
    doubled: bool,
    /// How a quote inside a text is escaped.
    texts: Texts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Texts {
    /// `''`.
    Doubled,
    /// `\'`, and a backslash is `\\`.
    Backslash,
}

/// The dialects, by all the names that they have.
const KNOWN: &[(&[&str], Dialect)] = &[
    (
        &["ansi", "postgres", "sqlite", "oracle", "snowflake", "redshift", "duckdb", "trino", "presto"],
        Dialect { names: Some(('"', '"')), doubled: true, texts: Texts::Doubled },
    ),
    (&["mysql", "mariadb"], Dialect { names: Some(('`', '`')), doubled: true, texts: Texts::Backslash }),
    (
        &["spark", "databricks", "hive"],
        Dialect { names: Some(('`', '`')), doubled: true, texts: Texts::Backslash },
    ),
    (&["bigquery"], Dialect { names: Some(('`', '`')), doubled: false, texts: Texts::Backslash }),
    (&["clickhouse"], Dialect { names: Some(('`', '`')), doubled: false, texts: Texts::Backslash }),
    (&["sqlserver", "mssql"], Dialect { names: Some(('[', ']')), doubled: true, texts: Texts::Doubled }),
    (&["soql"], Dialect { names: None, doubled: false, texts: Texts::Backslash }),
];

impl Dialect {
    fn of(name: &str) -> Result<Self, String> {
        let found = KNOWN.iter().find(|(names, _)| names.contains(&name));
        found.map(|(_, dialect)| *dialect).ok_or_else(|| {
            let names: Vec<&str> = KNOWN.iter().flat_map(|(names, _)| names.iter().copied()).collect();
            format!("there is no dialect `{name}`; there are {}", names.join(", "))
        })
    }
}

/// Whether there is such a dialect.
///
/// # Errors
/// If not, with those that there are.
pub(crate) fn known(dialect: &str) -> Result<(), String> {
    Dialect::of(dialect).map(|_| ())
}

/// A name (of a table, a column) as the dialect quotes it: always one name, whatever is in it.
///
/// # Errors
/// If there is no such dialect, or the name cannot be one in it.
pub(crate) fn identifier(name: &str, dialect: &str) -> Result<String, String> {
    let spelt = Dialect::of(dialect)?;
    let refused = |why: &str| Err(format!("`{}` cannot be a name in {dialect}: {why}", name.escape_debug()));
    if name.is_empty() {
        return refused("it is empty");
    }
    if name.chars().any(char::is_control) {
        return refused("it has a control character");
    }
    let Some((open, close)) = spelt.names else {
        let plain = name.split('.').all(|part| {
            part.starts_with(|c: char| c.is_ascii_alphabetic())
                && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        });
        return if plain {
            Ok(name.to_owned())
        } else {
            refused("names are letters, digits and `_` there, joined by dots")
        };
    };
    if !spelt.doubled && name.contains([close, '\\']) {
        return refused("it has a backtick or a backslash");
    }
    Ok(format!("{open}{}{close}", name.replace(close, &format!("{close}{close}"))))
}

/// A text as a literal of the dialect.
///
/// # Errors
/// If there is no such dialect, or the text cannot be written in it.
pub(crate) fn literal(text: &str, dialect: &str) -> Result<String, String> {
    let spelt = Dialect::of(dialect)?;
    if text.contains('\0') {
        return Err(format!("a text with a NUL character cannot be written in {dialect}"));
    }
    let inside = match spelt.texts {
        Texts::Doubled => text.replace('\'', "''"),
        Texts::Backslash => {
            text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n").replace('\r', "\\r")
        }
    };
    Ok(format!("'{inside}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_name() {
        for (dialect, name, expect) in [
            ("postgres", "orders", "\"orders\""),
            ("postgres", "a\"; drop table b; --", "\"a\"\"; drop table b; --\""),
            ("mysql", "a`b", "`a``b`"),
            ("bigquery", "a b", "`a b`"),
            ("sqlserver", "a]b[", "[a]]b[]"),
            ("soql", "Account.Name__c", "Account.Name__c"),
        ] {
            assert_eq!(identifier(name, dialect).as_deref(), Ok(expect));
        }
        for (dialect, name) in [
            ("postgres", ""),
            ("postgres", "a\0"),
            ("mysql", "a\nb"),
            ("bigquery", "a`b"),
            ("clickhouse", "a\\"),
            ("soql", "Id FROM User"),
            ("soql", "1a"),
            ("soql", "a."),
            ("db2", "a"),
        ] {
            assert!(identifier(name, dialect).is_err(), "{dialect} {name}");
        }
    }

    #[test]
    fn a_text_stays_one_text() {
        assert_eq!(literal("it's \\", "postgres").as_deref(), Ok("'it''s \\'"));
        assert_eq!(literal("it's \\\n", "soql").as_deref(), Ok("'it\\'s \\\\\\n'"));
        assert!(literal("a\0", "mysql").is_err());
        assert!(literal("a", "nothing").is_err());
    }
}
