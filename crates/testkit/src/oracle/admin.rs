//! Orders to a running oracle over HTTP, for people and for scripts in other languages.

use axum::http::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::fault::Fault;
use super::server::Shared;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSite {
    #[serde(default = "active")]
    status: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRow {
    site: u64,
    at: jiff::Timestamp,
    /// With `until`, `count` rows are spread over `[at, until)`.
    until: Option<jiff::Timestamp>,
    #[serde(default = "one")]
    count: u64,
    #[serde(default)]
    extra: Map<String, Value>,
}

fn active() -> String {
    "active".to_owned()
}

fn one() -> u64 {
    1
}

/// Does what `verb` (`sites`, `rows`, `faults`, `ledger`) and `method` say.
pub(super) fn answer(shared: &Shared, method: &Method, verb: &str, body: &[u8]) -> (StatusCode, Value) {
    match act(shared, method, verb, body) {
        Ok(value) => (StatusCode::OK, value),
        Err(text) => (StatusCode::BAD_REQUEST, json!({ "error": text })),
    }
}

fn act(shared: &Shared, method: &Method, verb: &str, body: &[u8]) -> Result<Value, String> {
    let mut books = shared.books();
    match (method.as_str(), verb) {
        ("POST", "sites") => Ok(json!({ "id": books.data.add_site(&read::<NewSite>(body)?.status) })),
        ("POST", "rows") => {
            let new: NewRow = read(body)?;
            let ids = match new.until {
                Some(until) => books.data.spread(new.site, new.at, until, new.count),
                None => (0..new.count)
                    .map(|_| books.data.add_event(new.site, new.at, new.extra.clone()))
                    .collect(),
            };
            Ok(json!({ "ids": ids }))
        }
        ("GET", "rows") => {
            let rows = books
                .data
                .events
                .iter()
                .map(|event| json!({ "id": event.id, "site": event.site, "at": event.at }));
            Ok(rows.collect())
        }
        ("POST", "faults") => {
            books.faults.add(read::<Fault>(body)?);
            Ok(json!({}))
        }
        ("DELETE", "faults") => {
            books.faults.clear();
            Ok(json!({}))
        }
        ("GET", "ledger") => Ok(json!(books.ledger)),
        ("DELETE", "ledger") => {
            books.ledger.clear();
            Ok(json!({}))
        }
        _ => Err(format!("there is no {method} /admin/{verb}")),
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|cause| cause.to_string())
}
