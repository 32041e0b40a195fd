//! The raw servers say the truth about what they send.

use std::io::{Read, Write};
use std::net::TcpStream;

use dil_testkit::flood::Flood;
use dil_testkit::pages::{Pages, Settings};

/// Sends requests over one connection and gives each answer's body.
pub(crate) fn get(url: &str, targets: &[&str]) -> Vec<String> {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).expect("the server is there");
    targets
        .iter()
        .map(|target| exchange(&mut stream, &format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n")).1)
        .collect()
}

/// Sends one request and reads its answer: head and body, which ends early if the connection does.
pub(crate) fn exchange(stream: &mut TcpStream, request: &str) -> (String, String) {
    stream.write_all(request.as_bytes()).expect("the request is sent");
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).expect("the head arrives") == 1 {
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("a head is text").to_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length is told");
    let mut body = Vec::new();
    stream.take(length.parse().expect("it is a number")).read_to_end(&mut body).expect("the body arrives");
    (head, String::from_utf8(body).expect("a body is text"))
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("the body is JSON")
}

#[test]
fn prepared_pages_end_where_the_cursor_does() {
    let pages = Pages::start(Settings { pages: 3, rows_per_page: 5, ..Settings::default() });
    let bodies = get(&pages.url(), &["/pages", "/pages?cursor=1", "/pages?cursor=2", "/ten"]);
    let cursors: Vec<_> = bodies.iter().map(|body| json(body)["meta"]["next_cursor"].clone()).collect();
    assert_eq!(
        cursors,
        [serde_json::json!("1"), serde_json::json!("2"), serde_json::Value::Null, serde_json::Value::Null]
    );
    let counts: Vec<_> =
        bodies.iter().map(|body| json(body)["data"]["items"].as_array().map(Vec::len)).collect();
    assert_eq!(counts, [Some(5), Some(5), Some(5), Some(10)]);
}

#[test]
fn prepared_pages_serve_files_of_their_folder_only() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("a.csv"), "x\n1\n").expect("a file");
    let settings =
        Settings { pages: 1, rows_per_page: 1, files: Some(folder.path().into()), ..Settings::default() };
    let pages = Pages::start(settings);
    assert_eq!(get(&pages.url(), &["/files/a.csv", "/files/b.csv", "/files/../a.csv"]), ["x\n1\n", "", ""]);
}

#[test]
fn floods_have_the_rows_they_promise() {
    let flood = Flood::start(0);
    let bytes = 1_000_000;
    let target = format!("/page?bytes={bytes}&pages=2");
    let bodies = get(
        &flood.url(),
        &[&target, "/partitions?values=7&rounds=3", "/bigrow?bytes=100000", "/csv?rows=1000&columns=9"],
    );
    let rows = json(&bodies[0])["data"]["items"].as_array().map(|rows| rows.len() as u64);
    assert_eq!(rows, Some(Flood::rows_in_page(bytes)));
    assert_eq!(json(&bodies[0])["meta"]["next_cursor"], "1");
    assert_eq!(json(&bodies[1])["data"]["items"].as_array().map(Vec::len), Some(21));
    assert!(json(&bodies[2])["data"]["items"][1]["text"].as_str().is_some_and(|text| text.len() >= 100_000));
    assert_eq!(bodies[3].lines().count(), 1001);
}
