//! Credentials: sent where they belong, shown nowhere.

use dil_connect::http::{first_request, source};
use dil_model::template::Variables;
use dil_model::{Error, ErrorKind};
use serde_json::{Value, json};

use crate::raw::{Raw, answer, page};
use crate::reading::{SECRET, check_secrecy, read, read_all, spec};

fn kinds() -> [Value; 4] {
    [
        json!({ "basic": { "username": "me", "password": "${secret:WORD}" } }),
        json!({ "bearer": { "token": "${secret:TOKEN}" } }),
        json!({ "api_key": { "name": "X-Key", "value": "${secret:KEY}" } }),
        json!({ "api_key": { "name": "key", "value": "${secret:KEY}", "in": "query" } }),
    ]
}

#[tokio::test]
async fn a_refusal_says_which_secret_to_check() {
    for (auth, name) in kinds().into_iter().zip(["WORD", "TOKEN", "KEY", "KEY"]) {
        for status in ["401 Unauthorized", "403 Forbidden"] {
            let server = Raw::serve(vec![answer(status, "", "bad credentials")]).await;
            let error = read(spec(&server.base, json!({ "auth": auth }), json!({}))).await.unwrap_err();
            assert_eq!((error.kind, server.requests().len()), (ErrorKind::Auth, 1));
            assert!(error.message.contains("bad credentials"), "{error}");
            let hint = error.hint.unwrap_or_default();
            assert!(hint.contains(&format!("`{name}`")) && hint.contains("`api`"), "{hint}");
        }
    }
}

#[tokio::test]
async fn each_kind_reaches_the_server() {
    let sent = ["Basic bWU6czNjciZ0LyJodXNoIg==", SECRET, SECRET, "key=s3cr%26t%2F%22hush%22"];
    for (auth, expect) in kinds().into_iter().zip(sent) {
        let server = Raw::serve(vec![page("[1]")]).await;
        read(spec(&server.base, json!({ "auth": auth }), json!({}))).await.unwrap();
        assert!(server.requests()[0].contains(expect), "{}", server.requests()[0]);
    }
}

/// Whatever part of an answer echoes the credentials, no error shows them (`read` checks that).
#[tokio::test]
async fn a_server_that_echoes_secrets_does_not_get_them_shown() {
    let query = "key=s3cr%26t%2F%22hush%22";
    let json = "Content-Type: application/json\r\n";
    let text = format!("you sent {SECRET} as Basic bWU6czNjciZ0LyJodXNoIg== or {query}");
    let inside = json!({ "rows": [1], "next": format!("http://elsewhere/?{query}"), "cursor": SECRET, "total": SECRET });
    let inside = inside.to_string();
    let answers = [
        answer("500 Oh", "", &text),
        answer("401 No", "", &text),
        answer("200 OK", "Content-Type: text/html\r\n", &text),
        answer("200 OK", &format!("Content-Type: text/{}\r\n", "x3"), &text),
        answer("302 Found", &format!("Location: http://elsewhere/?{query}\r\n"), ""),
        answer("302 Found", &format!("Location: /?{query}\r\n"), ""),
        answer("200 OK", &format!("{json}Link: <//[{query}>; rel=next\r\n"), "[1]"),
        answer("200 OK", &format!("{json}Link: {query}\r\n"), "[1]"),
        answer("200 OK", json, &inside),
    ];
    let rules = [
        json!({ "next": { "body": "next" } }),
        json!({ "next": { "link": "next" } }),
        json!({ "cursor": { "body": "cursor", "param": "c" } }),
        json!({ "offset": { "size": 1, "end": { "total": "total" } } }),
    ];
    let mut errors = 0;
    for auth in kinds() {
        for answer in &answers {
            for rule in &rules {
                let server = Raw::serve(vec![answer.clone()]).await;
                let read_by = json!({ "paginate": rule });
                if let Err(error) = read(spec(&server.base, json!({ "auth": auth }), read_by)).await {
                    check_secrecy(&error);
                    errors += 1;
                }
            }
        }
    }
    assert!(errors > 100, "{errors} errors");
}

/// What the engine makes of an answer is no concern of the source, but its errors quote it.
#[tokio::test]
async fn errors_of_whoever_reads_the_answer_are_masked_by_the_source() {
    for auth in kinds() {
        let server = Raw::serve(vec![page("[1]")]).await;
        let mut opened = source(spec(&server.base, json!({ "auth": auth }), json!({}))).unwrap();
        drop(opened.open().await.unwrap());
        let error = Error::new(ErrorKind::Format, "json/type", format!("its value is `{SECRET}`"))
            .hint(format!("{SECRET} is no number"))
            .at(format!("row 1 in {:?}", &SECRET[..9]));
        let error = opened.report(error);
        check_secrecy(&error);
        assert_eq!(error.message, "its value is `***`");
    }
}

#[tokio::test]
async fn a_key_in_the_query_goes_with_every_next_page_and_into_no_position() {
    let next = page(r#"{ "rows": [1], "next": "/two?key=s3cr%26t%2F%22hush%22" }"#);
    let server = Raw::serve(vec![next, page(r#"{ "rows": [2] }"#)]).await;
    let auth = json!({ "auth": { "api_key": { "name": "key", "value": "${secret:KEY}", "in": "query" } } });
    let reading = json!({ "path": "/one", "paginate": { "next": { "body": "next" } } });
    let mut opened = source(spec(&server.base, auth, reading)).unwrap();
    crate::reading::read_page(opened.as_mut()).await.unwrap();
    assert!(!opened.position().to_string().contains("s3cr"));
    assert_eq!(read_all(opened.as_mut()).await.unwrap(), [json!(2)]);
    assert!(server.requests()[1].starts_with("GET /two?key=s3cr%26t%2F%22hush%22 "));
}

#[tokio::test]
async fn a_missing_secret_is_told_before_anything_is_sent() {
    let server = Raw::serve(vec![page("[1]")]).await;
    let auth = json!({ "auth": { "bearer": { "token": "${secret:GONE}" } } });
    let error = read(spec(&server.base, auth, json!({}))).await.unwrap_err();
    assert_eq!((error.kind, server.requests().len()), (ErrorKind::Secret, 0));
}

#[test]
fn a_plan_shows_the_first_request_without_secrets() {
    let show = |auth: Value, read: Value| {
        let spec = spec("https://api.example.com/v1", json!({ "auth": auth }), read);
        let mut variables = Variables::new();
        variables.insert("id".to_owned(), json!("a b"));
        first_request(&spec.connection, &spec.read, &variables).unwrap()
    };
    let read = json!({ "path": "/s/{{ id }}", "query": { "t": "${secret:T}" }, "paginate": { "offset": { "param": "offset", "size": 5 } } });
    for auth in kinds() {
        let shown = show(auth.clone(), read.clone());
        let key = if auth.to_string().contains("query") { "&key=***" } else { "" };
        assert_eq!(shown, format!("GET https://api.example.com/v1/s/a%20b?t=***&offset=0{key}"));
    }
    let post = json!({ "method": "POST", "path": "/q", "json": { "q": "{{ id }}", "k": "${secret:T}" } });
    assert_eq!(
        show(kinds()[1].clone(), post),
        r#"POST https://api.example.com/v1/q with {"q":"a b","k":"***"}"#
    );
    let literal = json!({ "api_key": { "name": "key", "value": "in-clear", "in": "query" } });
    assert_eq!(show(literal, json!({ "path": "/q" })), "GET https://api.example.com/v1/q?key=***");
}
