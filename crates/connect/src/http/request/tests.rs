use dil_model::secret::Masked;
use serde_json::json;

use super::*;

fn variables() -> Variables {
    let Value::Object(variables) = json!({
        "id": "a/b ü", "up": "..", "number": 7, "low": "2024-01-01T00:00:00Z", "list": [1, 2], "text": "x&y=z"
    }) else {
        panic!()
    };
    variables
}

fn fill_page(connection: Value, read: Value, page: &PageRequest) -> Result<Outgoing> {
    let connection: HttpConnection = serde_json::from_value(connection).unwrap();
    let mut fields = json!({ "connection": "api" });
    fields.as_object_mut().unwrap().extend(read.as_object().unwrap().clone());
    let read: HttpRead = serde_json::from_value(fields).unwrap();
    let known = Arc::new(KnownSecrets::new(Arc::new(Masked)));
    let secrets = Arc::clone(&known) as Arc<dyn SecretStore>;
    let shape = RequestShape::parse(&connection, &read, Format::Json)?;
    shape.fill(&Scope { variables: &variables(), secrets: &secrets }, page, &known)
}

fn fill(connection: Value, read: Value) -> Result<Outgoing> {
    fill_page(connection, read, &PageRequest::default())
}

fn url(base: &str, read: Value) -> String {
    fill(json!({ "base": base }), read).unwrap().url.to_string()
}

fn body(read: Value) -> String {
    let body = fill(json!({ "base": "https://h" }), read).unwrap().body.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

#[test]
fn joins_base_and_path_by_one_slash() {
    for base in ["https://h/v1", "https://h/v1/"] {
        for path in ["items", "/items"] {
            assert_eq!(url(base, json!({ "path": path })), "https://h/v1/items");
        }
    }
    assert_eq!(url("https://h/v1", json!({ "path": "" })), "https://h/v1");
    assert_eq!(url("https://h", json!({ "path": "/a//b" })), "https://h/a//b");
}

#[test]
fn keeps_the_queries_of_base_and_path() {
    let read = json!({ "path": "/items?b=2", "query": { "c": "{{ number }}", "d": true } });
    assert_eq!(url("https://h/v1?a=1", read), "https://h/v1/items?a=1&b=2&c=7&d=true");
}

#[test]
fn a_substituted_value_stays_one_segment() {
    assert_eq!(url("https://h", json!({ "path": "/s/{{ id }}/r" })), "https://h/s/a%2Fb%20%C3%BC/r");
    let climbed = fill(json!({ "base": "https://h" }), json!({ "path": "/s/{{ up }}/r" })).map(|_| ());
    assert_eq!(climbed.unwrap_err().code, "http/path");
}

#[test]
fn a_query_value_is_escaped_and_an_undefined_one_left_out() {
    let read = json!({ "path": "/", "query": { "t": "{{ text }}", "c": "{{ cursor }}", "since": "{{ low | date }}" } });
    assert_eq!(url("https://h", read), "https://h/?t=x%26y%3Dz&since=2024-01-01");
}

#[test]
fn a_paging_parameter_takes_the_place_of_its_namesake() {
    let page = PageRequest { url: None, query: vec![("page".to_owned(), "3".to_owned())] };
    let read = json!({ "path": "/", "query": { "page": 1, "size": 10 } });
    let filled = fill_page(json!({ "base": "https://h" }), read, &page).unwrap();
    assert_eq!(filled.url.as_str(), "https://h/?size=10&page=3");
}

#[test]
fn a_path_with_an_undefined_variable_is_refused() {
    let refused =
        fill(json!({ "base": "https://h" }), json!({ "path": "/{{ nothing }}" })).map(|_| ()).unwrap_err();
    assert_eq!((refused.kind, refused.code.as_str()), (ErrorKind::Config, "http/undefined"));
}

#[test]
fn json_keeps_types_and_leaves_the_undefined_out() {
    let read = json!({ "path": "/", "method": "POST", "json": {
        "n": "{{ number }}", "t": "n{{ number }}", "l": "{{ list }}", "deep": { "c": "{{ cursor }}", "k": [null, "{{ cursor }}", 1.5] }
    }});
    assert_eq!(body(read), r#"{"n":7,"t":"n7","l":[1,2],"deep":{"k":[null,1.5]}}"#);
}

#[test]
fn a_form_is_encoded() {
    let read = json!({ "path": "/", "method": "POST", "form": { "q": "{{ text }} {{ number }}", "c": "{{ cursor }}" } });
    assert_eq!(body(read.clone()), "q=x%26y%3Dz+7");
    let filled = fill(json!({ "base": "https://h" }), read).unwrap();
    assert_eq!(filled.headers[CONTENT_TYPE], "application/x-www-form-urlencoded");
}

#[test]
fn headers_of_the_read_win() {
    let connection = json!({ "base": "https://h", "headers": { "X-A": "1", "X-B": "2", "accept": "x/y" } });
    let filled =
        fill(connection, json!({ "path": "/", "headers": { "x-a": "{{ number }}", "X-C": "{{ cursor }}" } }))
            .unwrap();
    assert_eq!(
        (&filled.headers["x-a"], &filled.headers["x-b"], &filled.headers["accept"]),
        (&"7".parse().unwrap(), &"2".parse().unwrap(), &"x/y".parse().unwrap())
    );
    assert!(!filled.headers.contains_key("x-c"));
}

#[test]
fn sends_each_kind_of_auth_and_prints_none() {
    let with = |auth: Value| {
        fill(json!({ "base": "https://h/?k=old", "auth": auth }), json!({ "path": "/" })).unwrap()
    };
    let basic = with(json!({ "basic": { "username": "u", "password": "pä:ss" } }));
    assert_eq!(basic.headers["authorization"], "Basic dTpww6Q6c3M=");
    let bearer = with(json!({ "bearer": { "token": "tok" } }));
    assert_eq!(bearer.headers["authorization"], "Bearer tok");
    assert!(!format!("{:?}", bearer.headers).contains("tok"));
    let header = with(json!({ "api_key": { "name": "X-Key", "value": "k1" } }));
    assert_eq!(header.headers["x-key"], "k1");
    let query = with(json!({ "api_key": { "name": "k", "value": "k 2", "in": "query" } }));
    assert_eq!(query.url.as_str(), "https://h/?k=k+2");
}

#[test]
fn refuses_what_cannot_be_sent() {
    let code = |connection: Value, read: Value| fill(connection, read).map(|_| ()).unwrap_err().code;
    assert_eq!(code(json!({ "base": "api.example.com" }), json!({ "path": "/" })), "http/base");
    assert_eq!(code(json!({ "base": "https://u:p@h" }), json!({ "path": "/" })), "http/base");
    assert_eq!(code(json!({ "base": "https://h" }), json!({ "path": "https://other/" })), "http/path");
    assert_eq!(
        code(
            json!({ "base": "https://h", "auth": { "bearer": { "token": "a\nb" } } }),
            json!({ "path": "/" })
        ),
        "http/credential"
    );
    assert_eq!(
        code(json!({ "base": "https://h" }), json!({ "path": "/", "json": {}, "form": { "a": 1 } })),
        "http/two-bodies"
    );
}
