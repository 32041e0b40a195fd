//! What broken servers do, and what becomes of it.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dil_connect::http::source;
use dil_model::component::Requests;
use dil_model::config::Format;
use dil_model::{Error, ErrorKind, Retry};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::raw::{Answer, End, Raw, answer, cut, page};
use crate::reading::{Books, check_secrecy, read, read_all, spec};

/// The broken answer is repeated once, and each row comes once.
async fn mended(broken: Answer) {
    let server = Raw::serve(vec![broken.clone(), page("[1, 2]")]).await;
    let mut opened = source(spec(&server.base, json!({}), json!({}))).unwrap();
    let rows = read_all(opened.as_mut()).await;
    assert_eq!(rows.unwrap(), [json!(1), json!(2)], "{broken:?}");
    assert_eq!(opened.requests(), Requests { sent: 2, retries: 1 });
    assert_eq!(server.requests().len(), 2);
}

/// The broken answer stays broken: the error, and how many requests it took.
async fn broken(answers: Vec<Answer>, connection: Value, reading: Value) -> (dil_model::Error, usize) {
    let server = Raw::serve(answers).await;
    let error = read(spec(&server.base, connection, reading)).await.unwrap_err();
    check_secrecy(&error);
    (error, server.requests().len())
}

#[tokio::test]
async fn a_body_cut_short_is_fetched_again() {
    mended(cut("[1", End::Close)).await;
    mended(cut("[1, 2]", End::Close)).await;
    mended(cut("[1", End::Reset)).await;
    mended(cut("", End::Close)).await;
}

#[tokio::test]
async fn a_chunked_body_without_its_last_chunk_is_fetched_again() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    for chunks in ["6\r\n[1, 2]\r\n", "6\r\n[1, ", "6\r\n[1, 2]"] {
        mended(Answer(format!("{head}{chunks}").into_bytes(), End::Close)).await;
    }
}

#[tokio::test]
async fn a_body_that_stays_short_names_the_bytes() {
    let (error, requests) = broken(vec![cut("[1, 2", End::Close)], json!({}), json!({})).await;
    assert_eq!((error.kind, requests), (ErrorKind::Truncated, 3));
    assert!(error.message.starts_with("the answer was cut short after 5 of 1000 bytes"), "{error}");
    assert!(error.to_string().contains("tried 3 times"), "{error}");
}

fn gzipped(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_gzip_body_is_unpacked_and_its_trailer_checked() {
    let headers = "Content-Type: application/json\r\nContent-Encoding: gzip\r\n";
    let whole = gzipped("[1, 2]");
    let mut wrong = whole.clone();
    let crc = wrong.len() - 6;
    wrong[crc] ^= 1;
    for bad in [&whole[..whole.len() - 1], &whole[..12], &wrong] {
        let answers = vec![answer("200 OK", headers, bad), answer("200 OK", headers, &whole)];
        let server = Raw::serve(answers).await;
        assert_eq!(read(spec(&server.base, json!({}), json!({}))).await.unwrap(), [json!(1), json!(2)]);
        assert_eq!(server.requests().len(), 2);
        assert!(server.requests()[0].to_ascii_lowercase().contains("accept-encoding: gzip"));
    }
}

#[tokio::test]
async fn an_encoding_that_was_not_asked_for_is_an_error() {
    let headers = "Content-Type: application/json\r\nContent-Encoding: br\r\n";
    let (error, requests) = broken(vec![answer("200 OK", headers, "x")], json!({}), json!({})).await;
    assert_eq!((error.code.as_str(), requests), ("http/encoding", 1));
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    let connection = json!({ "timeout": { "idle": "20ms" }, "retry": { "attempts": 2, "wait": "1ms" } });
    for silent in [Answer(Vec::new(), End::Hang), cut("[1", End::Hang)] {
        let (error, requests) = broken(vec![silent], connection.clone(), json!({})).await;
        assert_eq!((error.code.as_str(), error.kind, requests), ("http/idle-timeout", ErrorKind::Network, 2));
        assert!(error.hint.is_some_and(|hint| hint.contains("timeout.idle")));
    }
}

#[tokio::test]
async fn a_whole_answer_has_its_own_limit() {
    let connection = json!({ "timeout": { "idle": "20s", "total": "20ms" }, "retry": { "attempts": 1 } });
    let (error, _) = broken(vec![cut("[1", End::Hang)], connection, json!({})).await;
    assert_eq!(error.code, "http/total-timeout");
}

#[tokio::test]
async fn a_status_that_passes_is_waited_out() {
    for status in
        ["503 Unavailable", "500 Error", "429 Slow Down", "502 Bad Gateway", "504 Timeout", "408 Late"]
    {
        mended(answer(status, "", "busy")).await;
    }
}

#[tokio::test]
async fn a_status_that_stays_is_told_with_its_url_and_body() {
    let body = "<html>\r\n  <h1>out of\u{7} order</h1></html>";
    let (error, requests) =
        broken(vec![answer("500 Oh", "", body)], json!({}), json!({ "path": "/items" })).await;
    assert_eq!((error.kind, requests), (ErrorKind::Status, 3));
    let shown = error.to_string();
    assert!(shown.contains("answered 500") && shown.contains("<h1>out of\\u{7} order</h1>"), "{shown}");
    assert!(shown.contains("GET http://127.0.0.1:") && shown.contains("/items"), "{shown}");
}

#[tokio::test]
async fn a_status_that_cannot_pass_is_not_repeated() {
    for (status, kind) in
        [("404 No", ErrorKind::Status), ("400 No", ErrorKind::Status), ("204 Empty", ErrorKind::Content)]
    {
        let (error, requests) = broken(vec![answer(status, "", "")], json!({}), json!({})).await;
        assert_eq!((error.kind, requests), (kind, 1), "{status}");
        assert!(error.hint.is_some());
    }
}

#[tokio::test]
async fn retry_after_is_obeyed_and_told_to_all() {
    let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    for (headers, expect) in [("Retry-After: 0.02\r\n", Duration::from_millis(20)), (date, Duration::ZERO)] {
        let server = Raw::serve(vec![answer("429 Slow Down", headers, ""), page("[1]")]).await;
        let books = Arc::new(Books::default());
        let mut spec = spec(&server.base, json!({}), json!({}));
        spec.permits = Arc::clone(&books) as _;
        let began = std::time::Instant::now();
        assert_eq!(read(spec).await.unwrap(), [json!(1)]);
        assert!(began.elapsed() >= expect);
        assert_eq!(*books.pauses.lock().unwrap(), [expect]);
    }
}

#[tokio::test]
async fn a_wish_longer_than_the_patience_fails_at_once() {
    let connection = json!({ "retry": { "within": "5s" } });
    let server = Raw::serve(vec![answer("503 Closed", "Retry-After: 3600\r\n", "")]).await;
    let books = Arc::new(Books::default());
    let mut spec = spec(&server.base, connection, json!({}));
    spec.permits = Arc::clone(&books) as _;
    let error = read(spec).await.unwrap_err();
    assert!(error.message.ends_with("the server asks to wait 1h, longer than what is left of 5s"), "{error}");
    assert_eq!(*books.pauses.lock().unwrap(), [Duration::from_secs(5)]);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_web_page_is_not_data() {
    let html =
        answer("200 OK", "Content-Type: text/html; charset=utf-8\r\n", "<html><body>Log in</body></html>");
    let (error, requests) = broken(vec![html], json!({}), json!({})).await;
    assert_eq!((error.kind, error.code.as_str(), requests), (ErrorKind::Content, "http/content-type", 1));
    assert!(error.message.contains("text/html") && error.message.contains("<html><body>Log in"), "{error}");
    assert!(error.hint.is_some_and(|hint| hint.contains("content_type: [\"text/html\"]")));
}

#[tokio::test]
async fn a_declared_content_type_is_believed() {
    let plain = answer("200 OK", "Content-Type: text/plain\r\n", "[1]");
    let server = Raw::serve(vec![plain.clone()]).await;
    assert!(read(spec(&server.base, json!({}), json!({}))).await.is_err());
    let declared = json!({ "content_type": ["text/plain"] });
    assert_eq!(read(spec(&server.base, json!({}), declared)).await.unwrap(), [json!(1)]);
}

#[tokio::test]
async fn a_redirect_on_the_same_host_is_followed() {
    let moved = answer("302 Found", "Location: /there?x=1\r\n", "");
    let server = Raw::serve(vec![moved, page("[1]")]).await;
    let connection = json!({ "auth": { "bearer": { "token": "${secret:T}" } } });
    assert_eq!(read(spec(&server.base, connection, json!({}))).await.unwrap(), [json!(1)]);
    assert!(server.requests()[1].starts_with("GET /there?x=1 "));
    assert!(server.requests()[1].contains("Bearer s3cr"));
}

#[tokio::test]
async fn a_redirect_elsewhere_is_refused_and_nothing_is_sent_there() {
    let other = Raw::serve(vec![page("[1]")]).await;
    let moved = answer("307 Moved", &format!("Location: {}/x\r\n", other.base), "");
    let connection = json!({ "auth": { "bearer": { "token": "${secret:T}" } } });
    let (error, requests) = broken(vec![moved], connection, json!({})).await;
    assert_eq!((error.code.as_str(), requests), ("http/redirect", 1));
    assert!(error.message.contains(&other.base), "{error}");
    assert_eq!(other.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn redirects_end() {
    let (error, requests) =
        broken(vec![answer("301 Moved", "Location: /\r\n", "")], json!({}), json!({})).await;
    assert_eq!((error.code.as_str(), requests), ("http/redirects", 6));
    let moved = vec![answer("307 Moved", "Location: /x\r\n", "")];
    let (error, requests) = broken(moved, json!({}), json!({ "method": "POST", "json": {} })).await;
    assert_eq!((error.code.as_str(), requests), ("http/redirect", 1));
}

#[tokio::test]
async fn a_post_without_an_answer_is_repeated_only_if_it_reads() {
    let post = |reads: bool| json!({ "method": "POST", "json": { "q": 1 }, "reads": reads });
    for lost in [Answer(Vec::new(), End::Close), cut("[", End::Close), answer("500 Oh", "", "")] {
        let (error, requests) = broken(vec![lost.clone()], json!({}), post(false)).await;
        assert_eq!(requests, 1, "{lost:?}");
        assert_eq!(error.retry, Retry::No, "the unit would send it again");
        assert!(error.hint.is_some_and(|hint| hint.contains("reads: true")), "{}", error.message);
        let server = Raw::serve(vec![lost, page("[1]")]).await;
        assert_eq!(read(spec(&server.base, json!({}), post(true))).await.unwrap(), [json!(1)]);
    }
    for away in ["503 Unavailable", "429 Slow Down"] {
        let server = Raw::serve(vec![answer(away, "", ""), page("[1]")]).await;
        assert_eq!(read(spec(&server.base, json!({}), post(false))).await.unwrap(), [json!(1)]);
    }
}

#[tokio::test]
async fn a_post_that_the_server_had_ends_its_unit_whatever_fails_later() {
    let server = Raw::serve(vec![page("[1]")]).await;
    for (reads, retry) in [(false, Retry::No), (true, Retry::Yes)] {
        let post = json!({ "method": "POST", "json": {}, "reads": reads });
        let mut opened = source(spec(&server.base, json!({}), post)).unwrap();
        let late = || Error::new(ErrorKind::Truncated, "json/truncated", "it stops").retryable();
        assert_eq!(opened.report(late()).retry, Retry::Yes, "nothing was sent yet");
        drop(opened.open().await.unwrap());
        assert_eq!(opened.report(late()).retry, retry);
    }
}

#[tokio::test]
async fn the_first_cause_is_told_beside_the_last_one() {
    let headers = "Content-Type: application/json\r\nContent-Encoding: gzip\r\n";
    let answers = vec![answer("200 OK", headers, "no gzip at all"), Answer(Vec::new(), End::Close)];
    let (error, _) = broken(answers, json!({}), json!({})).await;
    assert_eq!(error.code, "http/no-answer");
    assert!(error.to_string().contains(", first: the body is not the gzip stream"), "{error}");
}

#[tokio::test]
async fn a_gzip_body_that_grows_without_end_is_refused() {
    let headers = "Content-Type: application/json\r\nContent-Encoding: gzip\r\n";
    let bomb = answer("200 OK", headers, gzipped(&format!("[{}1]", "1,".repeat(40 << 20))));
    let (error, requests) = broken(vec![bomb.clone()], json!({}), json!({})).await;
    assert_eq!((error.code.as_str(), error.kind, requests), ("http/gzip-bomb", ErrorKind::Content, 1));
    let server = Raw::serve(vec![bomb]).await;
    let mut opened = source(spec(&server.base, json!({}), json!({ "gzip_ratio": 1100 }))).unwrap();
    let page = opened.open().await.unwrap().unwrap();
    assert_eq!(crate::reading::text(page).await.unwrap().len(), (80 << 20) + 3);
}

#[tokio::test]
async fn no_answer_has_a_hint_for_its_cause() {
    let long = format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n", "x".repeat(1 << 20));
    for (bytes, hint) in
        [(long.as_str(), "headers"), ("SSH-2.0-OpenSSH_9.6\r\n", "does not speak HTTP"), ("", "closed")]
    {
        let (error, _) = broken(vec![Answer(bytes.into(), End::Close)], json!({}), json!({})).await;
        assert_eq!(error.code, "http/no-answer");
        assert!(error.hint.as_ref().is_some_and(|told| told.contains(hint)), "{error:?}");
    }
}

#[tokio::test]
async fn a_charset_that_is_not_utf8_is_named_with_the_page() {
    let csv = |charset: &str| {
        let headers = format!("Content-Type: text/csv; charset={charset}\r\n");
        let answers = vec![answer("200 OK", &headers, b"name\nM\xfcller\n")];
        async {
            let server = Raw::serve(answers).await;
            let mut spec = spec(&server.base, json!({}), json!({}));
            spec.format = Format::Csv;
            source(spec).unwrap().open().await.map(|page| page.unwrap().label)
        }
    };
    let label = csv("ISO-8859-1").await.unwrap();
    assert!(label.ends_with(" (declared as iso-8859-1, read as UTF-8)"), "{label}");
    assert!(!csv("utf-8").await.unwrap().contains("utf"));
    assert_eq!(csv("utf-16").await.unwrap_err().code, "http/charset");
}

#[tokio::test]
async fn a_host_that_refuses_is_named() {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let spec = spec(&format!("http://{gone}"), json!({}), json!({ "method": "POST" }));
    let mut opened = source(spec).unwrap();
    let error = read_all(opened.as_mut()).await.unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Network, "http/connect"));
    assert!(error.message.contains(&gone.to_string()), "{error}");
    assert!(error.hint.is_some_and(|hint| hint.contains("`base`")));
    // Nothing left this machine, so even a POST was tried again.
    assert_eq!(opened.requests(), Requests { sent: 3, retries: 2 });
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_told() {
    let server = Raw::serve(vec![page("[1]")]).await;
    let base = server.base.replace("http:", "https:");
    let connection = json!({ "timeout": { "idle": "100ms" } });
    let error = read(spec(&base, connection, json!({}))).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Network, "{error}");
}

#[tokio::test]
async fn a_permit_is_held_until_the_body_ends() {
    let server = Raw::serve(vec![page("[1]")]).await;
    let books = Arc::new(Books::default());
    let held = || books.under_way.load(Ordering::SeqCst);
    let mut spec = spec(&server.base, json!({}), json!({}));
    spec.permits = Arc::clone(&books) as _;
    let mut opened = source(spec).unwrap();
    let dropped = opened.open().await.unwrap().unwrap();
    assert_eq!(held(), 1);
    drop(dropped);
    assert_eq!(held(), 0);
    let page = opened.open().await.unwrap().unwrap();
    assert_eq!(held(), 1);
    assert_eq!(crate::reading::text(page).await.unwrap(), "[1]");
    assert_eq!((held(), books.granted.load(Ordering::SeqCst)), (0, 2));
}
