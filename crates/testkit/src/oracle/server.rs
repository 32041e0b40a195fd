//! The server: requests in, pages out, everything written down.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use axum::response::Response;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::admin;
use super::data::{Data, Event, Site};
use super::fault::{Fault, FaultKind, Faults};
use super::paging::{self, Parameters, Style};
use crate::serving::Serving;

/// Largest request body that is read.
const BODY_BYTES_MAX: usize = 1 << 20;

/// How the oracle behaves.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The port; 0 takes a free one.
    pub port: u16,
    /// The bearer token that every request must carry, if one must.
    pub token: Option<String>,
    /// How long each answer takes at least.
    pub latency: Duration,
}

/// One request, as the oracle saw it.
#[derive(Debug, Clone, Serialize)]
pub struct Served {
    /// The request's number, from 1.
    pub number: u64,
    /// Its method.
    pub method: String,
    /// Its path.
    pub path: String,
    /// Its query, as it came.
    pub query: String,
    /// The status it was answered with.
    pub status: u16,
    /// The ids of the events (or sites) in the answer.
    pub rows: Vec<u64>,
    /// Whether the whole answer was sent.
    pub whole: bool,
}

/// What the server and its owner share.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) data: Data,
    pub(super) faults: Faults,
    pub(super) ledger: Vec<Served>,
    /// Requests that came, the ones that still wait for their answer included.
    pub(super) asked: u64,
}

/// What a handler needs.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) books: Arc<Mutex<Books>>,
    settings: Settings,
}

impl Shared {
    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running oracle; dropping it stops it.
#[derive(Debug)]
pub struct Oracle {
    serving: Serving,
    shared: Shared,
}

impl Oracle {
    /// Starts one on a free port, without sites.
    pub fn start() -> Self {
        Self::with(Settings::default())
    }

    /// Starts one that behaves as `settings` say.
    pub fn with(settings: Settings) -> Self {
        let shared = Shared { books: Arc::default(), settings: settings.clone() };
        let router = Router::new().fallback(handle).with_state(shared.clone());
        let serving = Serving::start(settings.port, move |listener| async move {
            // It ends when it is dropped; an error of a connection is its client's.
            let _ = axum::serve(listener, router).await;
        });
        Self { serving, shared }
    }

    /// `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        self.serving.url()
    }

    /// Serves until the process is killed.
    pub fn forever(self) {
        self.serving.forever();
    }

    /// Adds a site and says its id.
    pub fn add_site(&self, status: &str) -> u64 {
        self.shared.books().data.add_site(status)
    }

    /// Changes a site's status to `closed`.
    pub fn close_site(&self, site: u64) {
        let mut books = self.shared.books();
        for known in books.data.sites.iter_mut().filter(|known| known.id == site) {
            known.status = "closed".to_owned();
        }
    }

    /// Whether there is a site of this id.
    pub fn has_site(&self, site: u64) -> bool {
        self.shared.books().data.sites.iter().any(|known| known.id == site)
    }

    /// Adds one event with fields beside the usual ones, and says its id.
    pub fn add_event(&self, site: u64, at: &str, extra: Value) -> u64 {
        let extra = if let Value::Object(fields) = extra { fields } else { Map::new() };
        self.shared.books().data.add_event(site, instant(at), extra)
    }

    /// Adds `count` events spread evenly over `[low, high)`, and says their ids.
    pub fn add_events(&self, site: u64, low: &str, high: &str, count: u64) -> Vec<u64> {
        self.shared.books().data.spread(site, instant(low), instant(high), count)
    }

    /// The ids of all events in `[low, high)` of all sites, sorted: what a complete extraction holds.
    pub fn ids_between(&self, low: &str, high: &str) -> Vec<u64> {
        let (low, high) = (instant(low), instant(high));
        let books = self.shared.books();
        let inside = books.data.events.iter().filter(|event| low <= event.at && event.at < high);
        inside.map(|event| event.id).collect()
    }

    /// Orders a fault.
    pub fn fault(&self, fault: Fault) {
        self.shared.books().faults.add(fault);
    }

    /// Takes all faults back.
    pub fn heal(&self) {
        self.shared.books().faults.clear();
    }

    /// What was asked and served so far.
    pub fn ledger(&self) -> Vec<Served> {
        self.shared.books().ledger.clone()
    }

    /// How many requests have come since the ledger began, answered or not.
    pub fn asked(&self) -> u64 {
        self.shared.books().asked
    }

    /// Begins the ledger anew.
    pub fn forget(&self) {
        let mut books = self.shared.books();
        books.ledger.clear();
        books.asked = 0;
    }
}

fn instant(text: &str) -> Timestamp {
    let text = if text.len() == "2024-01-01".len() { format!("{text}T00:00:00Z") } else { text.to_owned() };
    text.parse().unwrap_or_else(|cause| panic!("`{text}` is no instant: {cause}"))
}

/// An answer that is not sent yet.
struct Answer {
    status: StatusCode,
    content_type: &'static str,
    header: Option<(&'static str, String)>,
    body: String,
    rows: Vec<u64>,
}

impl Answer {
    fn text(status: StatusCode, body: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain", header: None, body: body.into(), rows: Vec::new() }
    }

    fn json(body: &Value) -> Self {
        let content_type = "application/json";
        Self { status: StatusCode::OK, content_type, header: None, body: body.to_string(), rows: Vec::new() }
    }
}

async fn handle(State(shared): State<Shared>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
    if let Some(verb) = parts.uri.path().strip_prefix("/admin/") {
        let (status, body) = admin::answer(&shared, &parts.method, verb, &body);
        return respond(Answer { status, ..Answer::json(&body) }, false);
    }
    let fault = {
        let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
        let mut books = shared.books();
        books.asked += 1;
        books.faults.take(target)
    };
    let delay = if let Some(FaultKind::DelayMs(delay)) = fault {
        Duration::from_millis(delay)
    } else {
        Duration::ZERO
    };
    tokio::time::sleep(shared.settings.latency.max(delay)).await;
    let authorized = shared.settings.token.as_ref().is_none_or(|token| {
        parts
            .headers
            .get(header::AUTHORIZATION)
            .is_some_and(|sent| sent.as_bytes() == format!("Bearer {token}").as_bytes())
    });
    let mut answer = if authorized {
        page(&shared, &parts.method, &parts.uri, &body).unwrap_or_else(|refusal| refusal)
    } else {
        Answer::text(StatusCode::UNAUTHORIZED, "a valid bearer token is needed")
    };
    let mut cut = false;
    match fault {
        Some(FaultKind::Status(status)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            answer = Answer::text(status, "a fault was ordered");
        }
        Some(FaultKind::RetryAfter(seconds)) => {
            answer = Answer::text(StatusCode::TOO_MANY_REQUESTS, "a fault was ordered");
            answer.header = Some(("retry-after", seconds.to_string()));
        }
        Some(FaultKind::Html) => {
            answer = Answer::text(StatusCode::OK, "<html><body>Please log in</body></html>");
            answer.content_type = "text/html; charset=utf-8";
        }
        Some(FaultKind::NoRows) => answer = Answer::json(&json!({ "error": "nothing here" })),
        Some(FaultKind::Garbage) => {
            answer = Answer {
                body: r#"{"data":{"items":[{"id":1},{"id":oops}]}}"#.to_owned(),
                ..Answer::json(&json!({}))
            };
        }
        Some(FaultKind::Cut) => cut = true,
        Some(FaultKind::DelayMs(_)) | None => {}
    }
    write_down(&shared, &parts.method, &parts.uri, &answer, !cut);
    respond(answer, cut)
}

fn write_down(shared: &Shared, method: &Method, uri: &axum::http::Uri, answer: &Answer, whole: bool) {
    let mut books = shared.books();
    let number = books.ledger.len() as u64 + 1;
    books.ledger.push(Served {
        number,
        method: method.to_string(),
        path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        status: answer.status.as_u16(),
        rows: answer.rows.clone(),
        whole,
    });
}

fn respond(answer: Answer, cut: bool) -> Response {
    let length = answer.body.len();
    let body = if cut {
        let half = Bytes::from(answer.body[..floor_boundary(&answer.body, length / 2)].to_owned());
        // The pause makes the server send what it has; without it the connection would end before the head.
        let broken = async {
            tokio::task::yield_now().await;
            Err(std::io::Error::other("the fault that was ordered"))
        };
        Body::from_stream(stream::iter([Ok(half)]).chain(stream::once(broken)))
    } else {
        Body::from(answer.body)
    };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if let Some((name, value)) = answer.header
        && let Ok(value) = HeaderValue::from_str(&value)
    {
        headers.insert(name, value);
    }
    response
}

fn floor_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// What a path names.
enum Subject {
    Sites,
    Events { site: u64 },
}

fn page(shared: &Shared, method: &Method, uri: &axum::http::Uri, body: &[u8]) -> Result<Answer, Answer> {
    let refuse = |status, text: String| Answer::text(status, text);
    let not_found = || refuse(StatusCode::NOT_FOUND, format!("there is nothing at {}", uri.path()));
    let segments: Vec<&str> = uri.path().split('/').skip(1).collect();
    let style = segments.first().and_then(|first| Style::of(first)).ok_or_else(not_found)?;
    let subject = match &segments[1..] {
        ["sites"] => Subject::Sites,
        ["sites", id, "events"] => Subject::Events { site: id.parse().map_err(|_| not_found())? },
        _ => return Err(not_found()),
    };
    let expected = if style == Style::Search { Method::POST } else { Method::GET };
    if *method != expected {
        return Err(refuse(StatusCode::METHOD_NOT_ALLOWED, format!("use {expected}")));
    }
    let bad = |text: String| refuse(StatusCode::BAD_REQUEST, text);
    let parameters = if style == Style::Search { from_body(body) } else { from_query(uri) }.map_err(bad)?;
    paging::check(style, &parameters, matches!(subject, Subject::Events { .. })).map_err(bad)?;
    let interval = interval(&parameters).map_err(bad)?;
    let books = shared.books();
    let rows: Vec<(u64, Value)> = match subject {
        Subject::Sites => books.data.sites.iter().map(|site: &Site| (site.id, json!(site))).collect(),
        Subject::Events { site } if books.data.sites.iter().any(|known| known.id == site) => books
            .data
            .events_of(site, interval)
            .into_iter()
            .map(|event: &Event| (event.id, event.json()))
            .collect(),
        Subject::Events { .. } => return Err(not_found()),
    };
    drop(books);
    let base = first_page_address(uri, &parameters);
    let cut = paging::cut(style, &parameters, rows.len(), &base).map_err(bad)?;
    Ok(render(style, &rows[cut.rows.clone()], cut))
}

/// The address of the list's first page, relative to the host: next pages are told by relative URLs.
fn first_page_address(uri: &axum::http::Uri, parameters: &Parameters) -> String {
    let interval: Vec<String> = ["from", "to"]
        .iter()
        .filter_map(|name| parameters.get(*name).map(|value| format!("{name}={}", value.replace('+', "%2B"))))
        .collect();
    if interval.is_empty() { uri.path().to_owned() } else { format!("{}?{}", uri.path(), interval.join("&")) }
}

fn render(style: Style, rows: &[(u64, Value)], page: paging::Page) -> Answer {
    let ids = rows.iter().map(|(id, _)| *id).collect();
    let mut answer = match style {
        Style::Csv => Answer { content_type: "text/csv", ..Answer::text(StatusCode::OK, csv(rows)) },
        Style::Ndjson => {
            let lines: Vec<String> = rows.iter().map(|(_, row)| row.to_string()).collect();
            Answer { content_type: "application/x-ndjson", ..Answer::text(StatusCode::OK, lines.join("\n")) }
        }
        _ => {
            let items: Vec<&Value> = rows.iter().map(|(_, row)| row).collect();
            let mut body = json!({ "data": { "items": items } });
            if let (Value::Object(body), Value::Object(beside)) = (&mut body, page.beside) {
                body.extend(beside);
            }
            Answer::json(&body)
        }
    };
    answer.header = page.header;
    answer.rows = ids;
    answer
}

/// Flat fields only, in the order of the first row.
fn csv(rows: &[(u64, Value)]) -> String {
    let Some((_, Value::Object(first))) = rows.first() else {
        return "id,site_id,at,kind,amount,note\n".to_owned();
    };
    let names: Vec<&String> =
        first.iter().filter(|(_, v)| !v.is_object() && !v.is_array()).map(|(name, _)| name).collect();
    let mut text = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(",") + "\n";
    for (_, row) in rows {
        let fields: Vec<String> = names
            .iter()
            .map(|name| match &row[name.as_str()] {
                Value::Null => String::new(),
                Value::String(value) => format!("\"{}\"", value.replace('"', "\"\"")),
                other => other.to_string(),
            })
            .collect();
        text.push_str(&fields.join(","));
        text.push('\n');
    }
    text
}

fn from_query(uri: &axum::http::Uri) -> Result<Parameters, String> {
    let axum::extract::Query(pairs): axum::extract::Query<Vec<(String, String)>> =
        axum::extract::Query::try_from_uri(uri).map_err(|cause| cause.to_string())?;
    let count = pairs.len();
    let parameters: Parameters = pairs.into_iter().collect();
    if parameters.len() == count { Ok(parameters) } else { Err("a parameter was sent twice".to_owned()) }
}

fn from_body(body: &[u8]) -> Result<Parameters, String> {
    let fields: Map<String, Value> =
        serde_json::from_slice(body).map_err(|cause| format!("the body: {cause}"))?;
    let text = |value: Value| if let Value::String(text) = value { text } else { value.to_string() };
    Ok(fields.into_iter().map(|(name, value)| (name, text(value))).collect())
}

/// `from` and `to`, both or none, as epoch seconds or RFC 3339.
fn interval(parameters: &Parameters) -> Result<Option<(Timestamp, Timestamp)>, String> {
    let read = |name: &str| -> Result<Option<Timestamp>, String> {
        let Some(text) = parameters.get(name) else { return Ok(None) };
        let epoch = text.parse::<i64>().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
        let instant = epoch.or_else(|| text.parse().ok());
        instant.map(Some).ok_or_else(|| format!("`{name}` is no instant: `{text}`"))
    };
    match (read("from")?, read("to")?) {
        (Some(low), Some(high)) if low < high => Ok(Some((low, high))),
        (Some(_), Some(_)) => Err("`from` must lie before `to`".to_owned()),
        (None, None) => Ok(None),
        _ => Err("`from` and `to` go together".to_owned()),
    }
}
