//! The oracle is strict, complete in every style of paging, and writes down what it does.

use std::net::TcpStream;

use dil_testkit::oracle::{Fault, FaultKind, Oracle, Settings};
use serde_json::{Value, json};

use crate::servers::exchange;

struct Client {
    stream: TcpStream,
    header: String,
}

impl Client {
    fn new(oracle: &Oracle) -> Self {
        let stream =
            TcpStream::connect(oracle.url().trim_start_matches("http://")).expect("the oracle is there");
        Self { stream, header: String::new() }
    }

    fn send(&mut self, method: &str, target: &str, body: &str) -> (String, String) {
        let (header, length) = (&self.header, body.len());
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: t\r\n{header}Content-Length: {length}\r\n\r\n{body}"
        );
        exchange(&mut self.stream, &request)
    }

    fn status(&mut self, target: &str) -> String {
        self.send("GET", target, "").0[9..12].to_owned()
    }

    fn page(&mut self, target: &str) -> (String, Value) {
        let (head, body) = self.send("GET", target, "");
        (head, serde_json::from_str(&body).unwrap_or_else(|cause| panic!("{cause}: {body}")))
    }
}

fn ids(page: &Value) -> Vec<u64> {
    page["data"]["items"].as_array().expect("rows").iter().filter_map(|row| row["id"].as_u64()).collect()
}

fn with_events(count: u64) -> Oracle {
    let oracle = Oracle::start();
    let site = oracle.add_site("active");
    oracle.add_events(site, "2024-01-01", "2024-02-01", count);
    oracle
}

#[test]
fn gives_every_row_once_in_every_style() {
    let oracle = with_events(7);
    let mut client = Client::new(&oracle);
    let interval = "from=2024-01-01T00:00:00Z&to=2024-02-01T00:00:00Z";
    for style in ["cursor", "cursor-header", "next", "link", "offset", "total", "page", "pages", "single"] {
        let mut found = Vec::new();
        let path = format!("/{style}/sites/1/events?{interval}");
        let size = if style.starts_with("page") { "per_page=3" } else { "limit=3" };
        let mut target = if style == "single" { path.clone() } else { format!("{path}&{size}") };
        for number in 2..20 {
            let (head, page) = client.page(&target);
            found.extend(ids(&page));
            let header =
                |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            let next = match style {
                "cursor" => page["meta"]["next_cursor"]
                    .as_str()
                    .map(|cursor| format!("{path}&{size}&cursor={cursor}")),
                "cursor-header" => {
                    header("x-next-cursor: ").map(|cursor| format!("{path}&{size}&cursor={cursor}"))
                }
                "next" => page["links"]["next"].as_str().map(str::to_owned),
                // The client's head is in lower case, the path is not: it has no letter that differs but the interval's.
                "link" => header("link: <")
                    .and_then(|link| link.split('>').next().map(Instants::to_uppercase_instants)),
                "offset" | "total" => {
                    (!ids(&page).is_empty()).then(|| format!("{path}&{size}&offset={}", found.len()))
                }
                "page" | "pages" => (!ids(&page).is_empty()).then(|| format!("{path}&{size}&page={number}")),
                _ => None,
            };
            let Some(next) = next else { break };
            target = next;
        }
        assert_eq!(found, oracle.ids_between("2024-01-01", "2024-02-01"), "{style}");
    }
}

/// Undoes what reading a head in lower case does to instants.
trait Instants {
    fn to_uppercase_instants(&self) -> String;
}

impl Instants for str {
    fn to_uppercase_instants(&self) -> String {
        self.replace("t00:00:00z", "T00:00:00Z")
    }
}

#[test]
fn refuses_what_a_guessing_client_sends() {
    let oracle = with_events(7);
    let mut client = Client::new(&oracle);
    let events = "sites/1/events";
    for target in [
        format!("/cursor/{events}?offset=3"),
        format!("/cursor/{events}?cursor=3"),
        format!("/cursor/{events}?from=1704067200"),
        format!("/cursor/{events}?from=1704067201&to=1704067200"),
        format!("/cursor/{events}?limit=5000"),
        format!("/offset/{events}?limit=3&limit=4"),
        format!("/page/{events}?page=0"),
        "/single/sites?from=1&to=2".to_owned(),
    ] {
        assert_eq!(client.status(&target), "400", "{target}");
    }
    assert_eq!(client.status("/cursor/sites/9/events"), "404");
    assert_eq!(client.status("/search/sites/1/events"), "405");
}

#[test]
fn refuses_a_cursor_of_another_list() {
    let oracle = with_events(7);
    let mut client = Client::new(&oracle);
    let (_, page) = client.page("/cursor/sites/1/events?limit=2&from=1704067200&to=1706745600");
    let cursor = page["meta"]["next_cursor"].as_str().expect("a cursor").to_owned();
    assert_eq!(client.status(&format!("/cursor/sites/1/events?limit=2&cursor={cursor}")), "400");
}

#[test]
fn searches_by_a_json_body() {
    let oracle = with_events(3);
    let mut client = Client::new(&oracle);
    let (_, body) =
        client.send("POST", "/search/sites/1/events", r#"{"limit":2,"from":1704067200,"to":1706745600}"#);
    let page: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(ids(&page), [1, 2]);
    assert!(page["meta"]["next_cursor"].is_string());
}

#[test]
fn wants_the_token_it_was_given() {
    let oracle = Oracle::with(Settings { token: Some("right".to_owned()), ..Settings::default() });
    let mut client = Client::new(&oracle);
    assert_eq!(client.status("/single/sites"), "401");
    client.header = "Authorization: Bearer right\r\n".to_owned();
    assert_eq!(client.status("/single/sites"), "200");
}

#[test]
fn fails_as_ordered_and_then_recovers() {
    let oracle = with_events(3);
    oracle.fault(Fault { matching: "/events".to_owned(), after: 1, times: 1, kind: FaultKind::Status(503) });
    let mut client = Client::new(&oracle);
    let statuses: Vec<String> = (0..3).map(|_| client.status("/single/sites/1/events")).collect();
    assert_eq!(statuses, ["200", "503", "200"]);
}

#[test]
fn cuts_a_body_after_telling_its_length() {
    let oracle = with_events(3);
    oracle.fault(Fault { matching: "/events".to_owned(), after: 0, times: 1, kind: FaultKind::Cut });
    let (head, body) = Client::new(&oracle).send("GET", "/single/sites/1/events", "");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    assert!(body.len() < length.parse().expect("a number"));
    assert!(!oracle.ledger()[0].whole);
}

#[test]
fn writes_down_which_rows_it_served() {
    let oracle = with_events(3);
    let mut client = Client::new(&oracle);
    client.status("/offset/sites/1/events?limit=2&offset=2");
    let late = oracle.add_event(1, "2024-01-15T00:00:00Z", json!({ "kind": "late" }));
    let (_, page) = client.page("/single/sites/1/events");
    assert!(
        page["data"]["items"].as_array().is_some_and(|rows| rows.iter().any(|row| row["kind"] == "late"))
    );
    let ledger = oracle.ledger();
    assert_eq!(ledger[0].rows, [3]);
    assert!(ledger[1].rows.contains(&late));
}

#[test]
fn takes_orders_over_http() {
    let oracle = Oracle::start();
    let mut client = Client::new(&oracle);
    client.send("POST", "/admin/sites", "{}");
    let row = r#"{"site":1,"at":"2024-01-01T00:00:00Z","until":"2024-01-02T00:00:00Z","count":2}"#;
    assert_eq!(client.send("POST", "/admin/rows", row).1, r#"{"ids":[1,2]}"#);
    client.status("/single/sites/1/events");
    let (_, ledger) = client.page("/admin/ledger");
    assert_eq!(ledger[0]["rows"], json!([1, 2]));
    assert_eq!(client.status("/admin/nothing"), "400");
}
