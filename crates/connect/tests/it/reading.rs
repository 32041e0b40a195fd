//! Reads a source as the engine does, with a framer that parses whole pages.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use dil_connect::http::{Clients, HttpSourceSpec, source};
use dil_model::component::{OpenPage, PageBody, PageFacts, Permit, Permits, Source};
use dil_model::config::Format;
use dil_model::secret::{Secret, SecretStore};
use dil_model::template::Variables;
use dil_model::{Error, ErrorKind, Result};
use futures::StreamExt as _;
use serde_json::{Value, json};

/// The text of every secret; no message may hold it.
pub(crate) const SECRET: &str = "s3cr&t/\"hush\"";

pub(crate) struct Secrets;

impl SecretStore for Secrets {
    fn secret(&self, name: &str) -> Result<Secret> {
        if name == "GONE" {
            return Err(Error::new(ErrorKind::Secret, "secret/missing", "there is no secret `GONE`"));
        }
        Ok(Secret::new(SECRET))
    }
}

/// Permits that are written down.
#[derive(Default)]
pub(crate) struct Books {
    pub(crate) pauses: Mutex<Vec<Duration>>,
    pub(crate) under_way: Arc<AtomicU32>,
    pub(crate) granted: AtomicU32,
}

#[async_trait]
impl Permits for Books {
    async fn acquire(&self, connection: &str) -> Result<Permit> {
        assert_eq!(connection, "api");
        self.granted.fetch_add(1, Ordering::SeqCst);
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let under_way = Arc::clone(&self.under_way);
        Ok(Permit::new(move || {
            under_way.fetch_sub(1, Ordering::SeqCst);
        }))
    }

    fn pause(&self, connection: &str, wait: Duration) {
        assert_eq!(connection, "api");
        self.pauses.lock().unwrap().push(wait);
    }
}

/// A spec with quick retries; `connection` and `read` are what the test is about.
pub(crate) fn spec(base: &str, connection: Value, read: Value) -> HttpSourceSpec {
    let mut whole = json!({
        "base": base,
        "retry": { "attempts": 3, "within": "20s", "wait": "1ms..2ms" },
        "timeout": { "connect": "10s", "idle": "20s" },
    });
    whole.as_object_mut().unwrap().extend(connection.as_object().unwrap().clone());
    let mut reading = json!({ "connection": "api", "path": "/" });
    reading.as_object_mut().unwrap().extend(read.as_object().unwrap().clone());
    HttpSourceSpec {
        connection_name: "api".to_owned(),
        connection: serde_json::from_value(whole).unwrap(),
        read: serde_json::from_value(reading).unwrap(),
        format: Format::Json,
        variables: Variables::new(),
        secrets: Arc::new(Secrets),
        permits: Arc::new(Books::default()),
        resume: None,
        client: Clients::new(),
    }
}

/// Reads all pages. No error that comes out holds the secret.
pub(crate) async fn read(spec: HttpSourceSpec) -> Result<Vec<Value>> {
    let mut source = source(spec)?;
    read_all(source.as_mut()).await
}

/// Reads all pages of a source that may be looked at afterwards.
pub(crate) async fn read_all(source: &mut dyn Source) -> Result<Vec<Value>> {
    let mut rows = Vec::new();
    while let Some(page) = read_page(source).await.inspect_err(check_secrecy)? {
        rows.extend(page);
    }
    Ok(rows)
}

/// Reads the next page, as often as the source says.
pub(crate) async fn read_page(source: &mut dyn Source) -> Result<Option<Vec<Value>>> {
    loop {
        let Some(page) = source.open().await? else { return Ok(None) };
        assert!(!page.label.contains(SECRET) && !page.label.contains("s3cr"), "{}", page.label);
        match frame(page, &source.wanted()).await {
            Ok((rows, facts)) => {
                source.advance(&facts).await?;
                return Ok(Some(rows));
            }
            Err(error) => source.again(error).await?,
        }
    }
}

/// A body as text.
pub(crate) async fn text(page: OpenPage) -> Result<String> {
    let PageBody::Stream(mut body) = page.body else { unreachable!("a page of any order") };
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(String::from_utf8(bytes).unwrap())
}

async fn frame(page: OpenPage, wanted: &[String]) -> Result<(Vec<Value>, PageFacts)> {
    let text = text(page).await?;
    let document: Value = serde_json::from_str(&text)
        .map_err(|cause| Error::new(ErrorKind::Truncated, "json/truncated", cause.to_string()))?;
    let rows = document.get("rows").unwrap_or(&document).as_array().cloned().unwrap_or_default();
    let at = |path: &String| {
        let found = path.split('.').try_fold(&document, |value, key| value.get(key));
        found.map(|value| (path.clone(), value.clone()))
    };
    let fields = wanted.iter().filter_map(at).collect();
    let facts = PageFacts { rows: rows.len() as u64, fields, ..PageFacts::default() };
    Ok((rows, facts))
}

/// Fails if an error, in any form, gives the secret away.
pub(crate) fn check_secrecy(error: &Error) {
    let forms = format!("{error} {error:?} {}", serde_json::to_string(error).unwrap());
    assert!(!forms.contains("s3cr"), "{forms}");
}
