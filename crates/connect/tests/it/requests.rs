//! What a server sees.

use serde_json::json;

use crate::raw::{Raw, page};
use crate::reading::{read, spec};

#[tokio::test]
async fn a_request_says_who_asks_and_for_what() {
    let base = crate::api::serve().await;
    let reading = json!({ "path": "/echo", "headers": { "X-Mine": "${secret:S}" } });
    let rows = read(spec(&base, json!({ "headers": { "Accept-Language": "en" } }), reading)).await.unwrap();
    let headers = &rows[0]["headers"];
    assert!(headers["user-agent"].as_str().unwrap().starts_with("dil/"));
    assert_eq!(headers["accept"], "application/json, */*;q=0.1");
    assert_eq!(
        (&headers["accept-language"], &headers["x-mine"]),
        (&json!("en"), &json!(crate::reading::SECRET))
    );
    assert!(headers.get("referer").is_none() && headers.get("content-type").is_none());
}

#[tokio::test]
async fn a_post_carries_its_body_in_every_try() {
    let server = Raw::serve(vec![crate::raw::answer("503 Busy", "", ""), page("[1]")]).await;
    let mut spec = spec(&server.base, json!({}), json!({ "method": "POST", "form": { "q": "{{ what }}" } }));
    spec.variables.insert("what".to_owned(), json!("a&b"));
    read(spec).await.unwrap();
    for request in server.requests() {
        assert!(request.starts_with("POST / ") && request.ends_with("\r\n\r\nq=a%26b"), "{request}");
    }
}

#[tokio::test]
async fn connections_are_used_again() {
    let server = Raw::serve(vec![page(r#"{ "rows": [1], "c": 2 }"#), page(r#"{ "rows": [2] }"#)]).await;
    let first =
        spec(&server.base, json!({}), json!({ "paginate": { "cursor": { "body": "c", "param": "c" } } }));
    let mut second = spec(&server.base, json!({}), json!({}));
    second.client = first.client.clone();
    read(first).await.unwrap();
    read(second).await.unwrap();
    assert_eq!((server.requests().len(), server.connections()), (3, 1));
}
