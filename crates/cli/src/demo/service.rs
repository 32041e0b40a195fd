//! The sample service: an HTTP API as many are, strict about what it is asked, with a ledger of what it served.
//!
//! `GET /v1/stations` lists stations. `GET /v1/stations/{id}/observations?from=&to=&limit=&cursor=` gives the observations in
//! `[from, to)`, at most `limit` at once, and in `meta.next` the cursor of the next page. Both want a bearer token.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use dil_model::{Error, ErrorKind, Result};
use jiff::Timestamp;
use serde_json::json;

use super::data::{Observation, Station};

/// The token that the service wants. It guards nothing: the service listens on loopback and serves public data.
pub(super) const TOKEN: &str = "demo";

/// The most observations of one answer.
const LIMIT_MAX: usize = 500;

/// A running service; it ends when this is dropped.
pub(super) struct Service {
    pub(super) port: u16,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    stations: Vec<Station>,
    held: Mutex<Held>,
    ledger: Mutex<Vec<Served>>,
}

/// What the service does not know yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    pub(super) station: Option<&'static str>,
    /// A station and the time of its observation.
    pub(super) row: Option<(&'static str, Timestamp)>,
}

/// One answer with rows in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Served {
    /// The station that was asked for; none for the list of stations.
    pub(super) station: Option<String>,
    /// The month that the request began in (`2013-01`).
    pub(super) month: String,
    pub(super) rows: u64,
}

impl Service {
    /// Starts the service on a port of this machine; 0 takes a free one.
    ///
    /// # Errors
    /// `Network` if the port is taken.
    pub(super) async fn start(stations: Vec<Station>, held: Held, port: u16) -> Result<Self> {
        let shared = Arc::new(Shared { stations, held: Mutex::new(held), ledger: Mutex::default() });
        let cannot = |cause: std::io::Error| {
            let message = format!("starting the sample service on 127.0.0.1:{port}: {cause}");
            Error::new(ErrorKind::Network, "demo/port", message)
        };
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(cannot)?;
        let port = listener.local_addr().map_err(cannot)?.port();
        let routes = Router::new()
            .route("/v1/stations", get(list))
            .route("/v1/stations/{id}/observations", get(observations))
            .layer(from_fn_with_state(Arc::clone(&shared), authorize))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            // It serves until it is aborted.
            let _ = axum::serve(listener, routes).await;
        });
        Ok(Self { port, shared, task })
    }

    /// What the flow's connection needs.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    /// Lets the service know everything.
    pub(super) fn release(&self) {
        *lock(&self.shared.held) = Held::default();
    }

    /// What was served since this was last asked.
    pub(super) fn take_ledger(&self) -> Vec<Served> {
        std::mem::take(&mut *lock(&self.shared.ledger))
    }

    /// Station and time of every observation that the service would give, in order.
    pub(super) fn rows(&self) -> Vec<(String, Timestamp)> {
        let held = lock(&self.shared.held).clone();
        let stations = self.shared.stations.iter().filter(|station| held.station != Some(station.id));
        let rows = stations.flat_map(|station| {
            let known = station.observations.iter().filter(|row| held.row != Some((station.id, row.time)));
            known.map(|row| (station.id.to_owned(), row.time))
        });
        rows.collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A refusal, as such APIs spell it.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "error": { "status": self.0.as_u16(), "message": self.1 } });
        (self.0, axum::Json(body)).into_response()
    }
}

fn wrong(message: impl Into<String>) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, message.into())
}

async fn authorize(State(_): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let wanted = format!("Bearer {TOKEN}");
    let told = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if told == Some(wanted.as_str()) {
        return next.run(request).await;
    }
    Refusal(StatusCode::UNAUTHORIZED, "a bearer token is needed".to_owned()).into_response()
}

async fn list(
    State(shared): State<Arc<Shared>>,
    Query(parameters): Query<BTreeMap<String, String>>,
) -> std::result::Result<Response, Refusal> {
    if let Some(name) = parameters.keys().next() {
        return Err(wrong(format!("unknown parameter {name}")));
    }
    let held = lock(&shared.held).station;
    let known = shared.stations.iter().filter(|station| held != Some(station.id));
    let stations: Vec<_> =
        known.map(|station| json!({ "id": station.id, "name": station.name, "status": "active" })).collect();
    let served = Served { station: None, month: String::new(), rows: stations.len() as u64 };
    lock(&shared.ledger).push(served);
    Ok(axum::Json(json!({ "stations": stations })).into_response())
}

async fn observations(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    Query(parameters): Query<BTreeMap<String, String>>,
) -> std::result::Result<Response, Refusal> {
    let asked = Asked::read(&parameters)?;
    let held = lock(&shared.held).clone();
    let station = shared.stations.iter().find(|station| station.id == id && held.station != Some(station.id));
    let Some(station) = station else {
        return Err(Refusal(StatusCode::NOT_FOUND, format!("there is no station {id}")));
    };
    let in_time = station.observations.iter().filter(|row| asked.from <= row.time && row.time < asked.to);
    let known: Vec<&Observation> = in_time.filter(|row| held.row != Some((station.id, row.time))).collect();
    let page: Vec<&str> =
        known.iter().skip(asked.skip).take(asked.limit).map(|row| row.json.as_str()).collect();
    let end = asked.skip + page.len();
    let next = if end < known.len() { json!(cursor(end)) } else { json!(null) };
    let served = Served {
        station: Some(id),
        month: asked.from.to_string().chars().take("2013-01".len()).collect(),
        rows: page.len() as u64,
    };
    lock(&shared.ledger).push(served);
    let body = format!("{{\"data\":{{\"items\":[{}]}},\"meta\":{{\"next\":{next}}}}}", page.join(","));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// What a request asks for.
struct Asked {
    from: Timestamp,
    to: Timestamp,
    limit: usize,
    skip: usize,
}

impl Asked {
    fn read(parameters: &BTreeMap<String, String>) -> std::result::Result<Self, Refusal> {
        let known = ["from", "to", "limit", "cursor"];
        if let Some(name) = parameters.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(wrong(format!("unknown parameter {name}")));
        }
        let instant = |name: &str| {
            let text = parameters.get(name).ok_or_else(|| wrong(format!("{name} is missing")))?;
            text.parse::<Timestamp>().map_err(|_| wrong(format!("{name} is no RFC 3339 time")))
        };
        let limit = parameters.get("limit").map_or(Some(100), |text| text.parse().ok());
        let limit = limit.filter(|limit| (1..=LIMIT_MAX).contains(limit));
        let skip = parameters.get("cursor").map_or(Some(0), |text| position(text));
        Ok(Self {
            from: instant("from")?,
            to: instant("to")?,
            limit: limit.ok_or_else(|| wrong(format!("limit is 1 to {LIMIT_MAX}")))?,
            skip: skip.ok_or_else(|| wrong("this cursor was not given by us"))?,
        })
    }
}

/// A cursor that tells its reader nothing, as they should.
fn cursor(position: usize) -> String {
    format!("c{position:x}")
}

fn position(cursor: &str) -> Option<usize> {
    usize::from_str_radix(cursor.strip_prefix('c')?, 16).ok()
}
