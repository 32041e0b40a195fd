//! A well-behaved API that pages in every style.

use std::collections::HashMap;

use axum::extract::{Path, Query};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::routing::any;
use axum::{Json, Router};
use serde_json::{Value, json};

/// Starts it; gives its base. `/{style}/{total}/{cap}` has rows `0..total` and gives at most `cap` of them at once.
pub(crate) async fn serve() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/{style}/{total}/{cap}", any(pages)).route("/echo", any(echo));
    tokio::spawn(async move { axum::serve(listener, router).await });
    base
}

async fn pages(
    Path((style, total, cap)): Path<(String, u64, u64)>,
    Query(query): Query<HashMap<String, String>>,
    body: String,
) -> impl IntoResponse {
    // A POST pages by its body.
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    let number = |name: &str| {
        query.get(name).and_then(|text| text.parse().ok()).or_else(|| body.get(name).and_then(Value::as_u64))
    };
    let size = number("size").unwrap_or(cap).min(cap);
    let from = match style.as_str() {
        "page" => (number("page").unwrap_or(1) - 1) * size,
        "offset" => number("offset").unwrap_or(0),
        _ => number("cursor").unwrap_or(0),
    };
    let to = total.min(from + size);
    let more = to < total;
    let rows: Vec<u64> = (from..to).collect();
    let next = format!("/{style}/{total}/{cap}?cursor={to}");
    let mut headers = HeaderMap::new();
    if more {
        headers.insert("X-Cursor", to.into());
        let link = format!("<{next}&rel=first>; rel=\"other\", <{next}>; title=\"a, b\"; rel=\"next\"");
        headers.insert("Link", link.parse().unwrap());
    }
    let cursor = if more { json!(to) } else { Value::Null };
    let next = if more { json!(next) } else { Value::Null };
    let meta = json!({ "cursor": cursor, "next": next, "total": total, "pages": total.div_ceil(size) });
    (headers, Json(json!({ "rows": rows, "meta": meta })))
}

async fn echo(headers: HeaderMap, body: String) -> Json<Value> {
    let shown: serde_json::Map<String, Value> =
        headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().into())).collect();
    Json(json!([{ "headers": shown, "body": body }]))
}
