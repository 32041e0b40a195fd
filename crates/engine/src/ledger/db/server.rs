//! The address of a database server that keeps a ledger.

use std::fmt;
use std::str::FromStr;

use dil_model::{Error, ErrorKind};
use url::Url;

use super::dialect::Dialect;

/// What an address may say behind its `?`, by the names of the servers' own clients.
const POSTGRES_WORDS: [&str; 7] =
    ["schema", "sslmode", "sslrootcert", "sslcert", "sslkey", "host", "application_name"];
const MYSQL_WORDS: [&str; 5] = ["ssl-mode", "ssl-ca", "ssl-cert", "ssl-key", "socket"];

/// The schema of PostgreSQL that holds the tables unless the address names another.
const SCHEMA: &str = "dil";

/// A database on a server, as `postgres://user@host:5432/database` or `mysql://user@host:3306/database`. Shown without the
/// password and without what stands behind `?`.
#[derive(Clone)]
pub struct Server {
    url: Url,
    dialect: Dialect,
    schema: String,
}

impl Server {
    /// Puts in the password, if the address has none.
    #[must_use]
    pub fn with_password(mut self, password: Option<&str>) -> Self {
        if self.url.password().is_none() && password.is_some() {
            // It fails for addresses without a host; those were refused.
            let _ = self.url.set_password(password);
        }
        self
    }

    pub(in crate::ledger) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The schema with the tables; PostgreSQL only.
    pub(in crate::ledger) fn schema(&self) -> &str {
        &self.schema
    }

    /// The address for the client library: with the password.
    pub(super) fn url(&self) -> Url {
        let mut url = self.url.clone();
        let words: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(word, _)| word != "schema")
            .map(|(word, value)| (word.into_owned(), value.into_owned()))
            .collect();
        url.set_query(None);
        if !words.is_empty() {
            url.query_pairs_mut().extend_pairs(words);
        }
        url
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut url = self.url.clone();
        let _ = url.set_password(None);
        url.set_query(None);
        f.write_str(url.as_str())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Server {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // The text itself is never told: it may hold a password.
        let refused = |message: String| {
            Error::new(ErrorKind::Config, "state/address", message)
                .hint("write it as postgres://USER@HOST:5432/DATABASE or mysql://USER@HOST:3306/DATABASE, with the password in DIL_SECRET_LEDGER")
        };
        let url =
            Url::parse(text).map_err(|cause| refused(format!("the ledger's address is no URL: {cause}")))?;
        let (dialect, words): (_, &[&str]) = match url.scheme() {
            "postgres" | "postgresql" => (Dialect::Postgres, &POSTGRES_WORDS),
            "mysql" | "mariadb" => (Dialect::MySql, &MYSQL_WORDS),
            other => return Err(refused(format!("a ledger cannot be kept in `{other}:`"))),
        };
        if url.host_str().is_none_or(str::is_empty) {
            return Err(refused("the ledger's address names no host".to_owned()));
        }
        if url.path().trim_matches('/').is_empty() {
            return Err(refused("the ledger's address names no database".to_owned()));
        }
        let mut schema = SCHEMA.to_owned();
        for (word, value) in url.query_pairs() {
            if !words.contains(&&*word) {
                return Err(refused(format!(
                    "the ledger's address has the unknown setting `{word}`; known are {}",
                    words.join(", ")
                )));
            }
            if word == "schema" {
                let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
                if value.is_empty()
                    || !value.chars().all(plain)
                    || value.starts_with(|c: char| c.is_ascii_digit())
                {
                    return Err(refused("a schema's name is made of a-z, 0-9 and _ here".to_owned()));
                }
                schema = value.into_owned();
            }
        }
        Ok(Self { url, dialect, schema })
    }
}

#[cfg(test)]
mod tests {
    use super::Server;

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        let server: Server =
            "postgres://me:se%20cret@db.example:5433/flows?sslmode=require&schema=mine".parse().unwrap();
        assert_eq!(server.to_string(), "postgres://me@db.example:5433/flows");
        assert_eq!(format!("{server:?}"), "postgres://me@db.example:5433/flows");
        assert_eq!(server.schema(), "mine");
        assert_eq!(server.url().as_str(), "postgres://me:se%20cret@db.example:5433/flows?sslmode=require");
        let server = "mysql://me@db/flows".parse::<Server>().unwrap().with_password(Some("p@ss"));
        assert_eq!(server.url().as_str(), "mysql://me:p%40ss@db/flows");
    }

    #[test]
    fn an_address_that_cannot_be_is_refused_without_being_told() {
        for (text, problem) in [
            ("me:secret@db/flows", "is no URL|cannot be kept in"),
            ("redis://me:secret@db/0", "cannot be kept in `redis:`"),
            ("postgres://me:secret@db", "names no database"),
            ("postgres:///flows", "names no host"),
            ("mysql://me:secret@db/flows?sslmode=require", "unknown setting `sslmode`; known are ssl-mode"),
            ("postgres://me:secret@db/flows?schema=a-b", "a schema's name"),
        ] {
            let error = text.parse::<Server>().expect_err(text).to_string();
            assert!(problem.split('|').any(|problem| error.contains(problem)), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
