//! Every style of paging over the wire: each row comes once, whatever the sizes.

use dil_connect::http::source;
use dil_model::ErrorKind;
use serde_json::{Value, json};

use crate::raw::{Raw, page};
use crate::reading::{read, read_all, read_page, spec};

fn styles(size: u64) -> Vec<(&'static str, Value)> {
    let offset = |end: Value| json!({ "offset": { "param": "offset", "size_param": "size", "size": size, "end": end } });
    let number =
        |end: Value| json!({ "page": { "param": "page", "size_param": "size", "size": size, "end": end } });
    vec![
        ("cursor", json!({ "cursor": { "body": "meta.cursor", "param": "cursor" } })),
        ("cursor", json!({ "cursor": { "header": "X-Cursor", "param": "cursor", "absent": "end" } })),
        ("next", json!({ "next": { "body": "meta.next" } })),
        ("next", json!({ "next": { "link": "next" } })),
        ("offset", offset(json!("empty"))),
        ("offset", offset(json!("short"))),
        ("offset", offset(json!({ "total": "meta.total" }))),
        ("page", number(json!("empty"))),
        ("page", number(json!("short"))),
        ("page", number(json!({ "total": "meta.total" }))),
        ("page", number(json!({ "total_pages": "meta.pages" }))),
    ]
}

#[tokio::test]
async fn every_style_gives_each_row_once() {
    let base = crate::api::serve().await;
    for (total, size) in [(0, 3), (1, 3), (2, 3), (3, 3), (4, 3), (6, 3), (23, 5), (40, 40), (17, 1)] {
        let all: Vec<Value> = (0..total).map(Value::from).collect();
        for (style, rule) in styles(size) {
            let reading = json!({ "path": format!("/{style}/{total}/{size}"), "paginate": rule });
            let rows = read(spec(&base, json!({}), reading)).await.unwrap();
            assert_eq!(rows, all, "{rule} of {total} by {size}");
        }
    }
}

#[tokio::test]
async fn a_source_that_is_resumed_goes_on_behind_the_last_page() {
    let base = crate::api::serve().await;
    for (style, rule) in styles(3) {
        let reading = json!({ "path": format!("/{style}/11/3"), "paginate": rule });
        let mut first = source(spec(&base, json!({}), reading.clone())).unwrap();
        let mut rows = Vec::new();
        for _ in 0..2 {
            rows.extend(read_page(first.as_mut()).await.unwrap().unwrap());
        }
        let mut spec = spec(&base, json!({}), reading);
        spec.resume = Some(first.position());
        let mut second = source(spec).unwrap();
        let page = second.open().await.unwrap().unwrap();
        assert_eq!(page.number, 3);
        drop(page);
        rows.extend(read_all(second.as_mut()).await.unwrap());
        assert_eq!(rows, (0..11).map(Value::from).collect::<Vec<_>>(), "{rule}");
    }
}

#[tokio::test]
async fn a_post_pages_by_templates_in_its_body() {
    let base = crate::api::serve().await;
    let reading = json!({
        "path": "/cursor/10/4", "method": "POST", "json": { "cursor": "{{ cursor }}" },
        "paginate": { "cursor": { "body": "meta.cursor" } },
    });
    assert_eq!(read(spec(&base, json!({}), reading)).await.unwrap().len(), 10);
    let reading = json!({
        "path": "/offset/10/4", "method": "POST", "json": { "offset": "{{ offset }}", "size": "{{ size }}" },
        "paginate": { "offset": { "size": 3 } },
    });
    assert_eq!(read(spec(&base, json!({}), reading)).await.unwrap().len(), 10);
}

#[tokio::test]
async fn a_total_spares_the_last_request() {
    let base = crate::api::serve().await;
    let reading = json!({
        "path": "/offset/6/3",
        "paginate": { "offset": { "param": "offset", "size": 3, "end": { "total": "meta.total" } } },
    });
    let mut opened = source(spec(&base, json!({}), reading)).unwrap();
    assert_eq!(read_all(opened.as_mut()).await.unwrap().len(), 6);
    assert_eq!(opened.requests().sent, 2);
}

#[tokio::test]
async fn a_cursor_that_stands_still_ends_the_unit() {
    let server = Raw::serve(vec![page(r#"{ "rows": [1], "c": "same" }"#)]).await;
    let reading = json!({ "paginate": { "cursor": { "body": "c", "param": "after" } } });
    let error = read(spec(&server.base, json!({}), reading)).await.unwrap_err();
    assert_eq!((error.kind, server.requests().len()), (ErrorKind::Paging, 2));
    assert!(error.message.contains("`same`"), "{error}");
    assert!(server.requests()[1].starts_with("GET /?after=same "));
}

#[tokio::test]
async fn a_server_that_ignores_the_page_number_is_noticed() {
    let server = Raw::serve(vec![page(r#"{ "rows": [1, 2] }"#)]).await;
    let reading = json!({ "paginate": { "page": { "param": "pgae" } } });
    let error = read(spec(&server.base, json!({}), reading)).await.unwrap_err();
    assert_eq!((error.code.as_str(), server.requests().len()), ("http/page-repeated", 2));
}

#[tokio::test]
async fn pages_that_differ_at_their_end_only_are_not_equal() {
    let long = |last: u64| page(&format!(r#"{{ "rows": [{}{last}] }}"#, "0,".repeat(100_000)));
    let server = Raw::serve(vec![long(1), long(2), page(r#"{ "rows": [] }"#)]).await;
    let reading = json!({ "paginate": { "offset": { "param": "offset", "size": 100_001 } } });
    assert_eq!(read(spec(&server.base, json!({}), reading)).await.unwrap().len(), 200_002);
}

#[tokio::test]
async fn rows_without_anything_to_tell_them_apart_are_kept_if_the_flow_says_so() {
    let equal = page(r#"{ "rows": [0, 0] }"#);
    let server = Raw::serve(vec![equal.clone(), equal.clone(), equal, page(r#"{ "rows": [] }"#)]).await;
    let paging = json!({ "offset": { "param": "offset", "size": 2, "equal_pages": "keep" } });
    let rows = read(spec(&server.base, json!({}), json!({ "paginate": paging }))).await.unwrap();
    assert_eq!(rows.len(), 6);
}

#[tokio::test]
async fn a_next_page_on_another_host_is_refused() {
    let other = Raw::serve(vec![page("[]")]).await;
    let server = Raw::serve(vec![page(&format!(r#"{{ "rows": [1], "next": "{}/x" }}"#, other.base))]).await;
    let reading = json!({ "paginate": { "next": { "body": "next" } } });
    let error = read(spec(&server.base, json!({}), reading)).await.unwrap_err();
    assert_eq!(error.code, "http/next-elsewhere");
    assert_eq!(other.requests(), Vec::<String>::new());
}
