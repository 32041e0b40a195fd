//! One text for each statement, as SQLite reads it; what the servers want spelt otherwise is put into their words here.

use std::sync::Arc;

/// Whose SQL is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ledger) enum Dialect {
    Sqlite,
    Postgres,
    MySql,
}

/// A statement in a server's words.
#[derive(Debug, Clone)]
pub(super) struct Spelt {
    pub(super) text: Arc<str>,
    /// Which parameter stands at each place, where places are not numbered.
    pub(super) order: Option<Vec<usize>>,
}

impl Dialect {
    /// What ends a query whose rows no other transaction may change before this one ends. SQLite has one writer at a time.
    pub(in crate::ledger) fn for_update(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres | Self::MySql => " FOR UPDATE",
        }
    }

    /// The present by the clock that all who use the ledger share, in milliseconds since 1970 (UTC); `None` where it is this machine's own.
    pub(in crate::ledger) fn now_ms(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS INTEGER)"),
            Self::MySql => Some("SELECT CAST(unix_timestamp(sysdate(3)) * 1000 AS INTEGER)"),
        }
    }

    /// `statement` as a server of this kind reads it.
    ///
    /// Differences known to it: numbered parameters, the name of the 64-bit integer, `instr`, and what a conflict does.
    /// Assignments of MySQL see those before them: a statement reads a column before it sets it.
    pub(super) fn spell(self, statement: &str) -> Spelt {
        let (integer, instr) = match self {
            Self::Sqlite => return Spelt { text: statement.into(), order: None },
            Self::Postgres => (" AS BIGINT)", "strpos("),
            Self::MySql => (" AS SIGNED)", "instr("),
        };
        let text = statement.replace(" AS INTEGER)", integer).replace("instr(", instr);
        if self == Self::Postgres {
            return Spelt { text: text.replace('?', "$").into(), order: None };
        }
        let text = with_duplicate_keys(&text);
        let mut order = Vec::new();
        let mut parts = text.split('?');
        let mut spelt = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            let (number, rest) = part.split_at(digits);
            order.push(number.parse::<usize>().unwrap_or(1).saturating_sub(1));
            spelt.push('?');
            spelt.push_str(rest);
        }
        Spelt { text: spelt.into(), order: Some(order) }
    }
}

/// `ON CONFLICT (…) DO UPDATE SET … excluded.x` in MySQL's words.
fn with_duplicate_keys(statement: &str) -> String {
    let Some((head, rest)) = statement.split_once("ON CONFLICT (") else { return statement.to_owned() };
    let Some((_, assignments)) = rest.split_once(") DO UPDATE SET") else { return statement.to_owned() };
    let mut spelt = format!("{head}ON DUPLICATE KEY UPDATE");
    let mut parts = assignments.split("excluded.");
    spelt.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let end = part.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '"')).unwrap_or(part.len());
        let (column, rest) = part.split_at(end);
        spelt.push_str("VALUES(");
        spelt.push_str(column);
        spelt.push(')');
        spelt.push_str(rest);
    }
    spelt
}

#[cfg(test)]
mod tests {
    use super::Dialect;

    #[test]
    fn a_statement_is_spelt_for_each_server() {
        let statement =
            "INSERT INTO t (a, b) VALUES (?1, ?2) ON CONFLICT (a) DO UPDATE SET b = excluded.b, c = ?10 + ?1";
        let postgres = Dialect::Postgres.spell(statement);
        assert_eq!(
            &*postgres.text,
            "INSERT INTO t (a, b) VALUES ($1, $2) ON CONFLICT (a) DO UPDATE SET b = excluded.b, c = $10 + $1"
        );
        let mysql = Dialect::MySql.spell(statement);
        assert_eq!(
            &*mysql.text,
            "INSERT INTO t (a, b) VALUES (?, ?) ON DUPLICATE KEY UPDATE b = VALUES(b), c = ? + ?"
        );
        assert_eq!(mysql.order, Some(vec![0, 1, 9, 0]));
        let sum = "SELECT CAST(sum(x) AS INTEGER) FROM t WHERE instr(e, ?1) > 0";
        assert_eq!(
            &*Dialect::Postgres.spell(sum).text,
            "SELECT CAST(sum(x) AS BIGINT) FROM t WHERE strpos(e, $1) > 0"
        );
        assert_eq!(
            &*Dialect::MySql.spell(sum).text,
            "SELECT CAST(sum(x) AS SIGNED) FROM t WHERE instr(e, ?) > 0"
        );
        assert_eq!(&*Dialect::Sqlite.spell(sum).text, sum);
    }
}
