//! What is asked for: the templates of a flow, filled in for one page.

use std::sync::Arc;

use bytes::Bytes;
use dil_model::config::{Format, HttpConnection, HttpRead, Method, Scalar};
use dil_model::secret::SecretStore;
use dil_model::template::{Escape, Template, Variables};
use dil_model::{Error, ErrorKind, Result};
use indexmap::IndexMap;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use url::Url;

use super::auth::{AuthShape, Credential};
use super::mask::KnownSecrets;

/// A request with its templates parsed.
pub(super) struct RequestShape {
    method: Method,
    base: Template,
    path: Template,
    query: Vec<(String, Template)>,
    /// The connection's first, so that those of the read win.
    headers: Vec<(HeaderName, Template)>,
    body: BodyShape,
    pub(super) auth: AuthShape,
    accept: &'static str,
}

enum BodyShape {
    None,
    Json(JsonShape),
    Form(Vec<(String, Template)>),
}

enum JsonShape {
    Object(Vec<(String, JsonShape)>),
    Array(Vec<JsonShape>),
    Text(Template),
    Constant(Value),
}

/// A request that is ready to leave.
#[derive(Clone)]
pub(super) struct Outgoing {
    pub(super) method: reqwest::Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
}

/// What the pager adds to a request.
#[derive(Default)]
pub(super) struct PageRequest {
    /// The whole URL, where the server gave it.
    pub(super) url: Option<Url>,
    /// Query parameters; they take the place of equally named ones.
    pub(super) query: Vec<(String, String)>,
}

/// What templates are rendered with.
pub(super) struct Scope<'a> {
    pub(super) variables: &'a Variables,
    pub(super) secrets: &'a Arc<dyn SecretStore>,
}

impl Scope<'_> {
    /// A text whose variables must all be there.
    pub(super) fn text(&self, template: &Template) -> Result<String> {
        self.escaped(template, Escape::None)
    }

    fn escaped(&self, template: &Template, escape: Escape) -> Result<String> {
        template.render(self.variables, escape, self.secrets)?.ok_or_else(|| {
            Error::new(
                ErrorKind::Config,
                "http/undefined",
                format!("`{}` uses a variable that is not defined here", template.source()),
            )
        })
    }

    fn optional(&self, template: &Template) -> Result<Option<String>> {
        template.render(self.variables, Escape::None, self.secrets)
    }
}

impl RequestShape {
    /// Parses every template.
    ///
    /// # Errors
    /// `Config`, naming the key.
    pub(super) fn parse(connection: &HttpConnection, read: &HttpRead, format: Format) -> Result<Self> {
        let mut headers = Vec::new();
        for (name, value) in connection.headers.iter().chain(&read.headers) {
            let parsed = HeaderName::try_from(name.as_str()).map_err(|_| {
                Error::new(ErrorKind::Config, "http/header", format!("`{name}` cannot name a header"))
            })?;
            headers.push((parsed, parse(value, &format!("headers.{name}"))?));
        }
        let body = match (&read.json, read.form.is_empty()) {
            (Some(_), false) => {
                return Err(Error::new(
                    ErrorKind::Config,
                    "http/two-bodies",
                    "a request has either `json` or `form`, not both",
                ));
            }
            (Some(json), true) => BodyShape::Json(json_shape(json)?),
            (None, false) => BodyShape::Form(pairs(&read.form, "form")?),
            (None, true) => BodyShape::None,
        };
        Ok(Self {
            method: read.method,
            base: parse(&connection.base, "base")?,
            path: parse(&read.path, "path")?,
            query: pairs(&read.query, "query")?,
            headers,
            body,
            auth: AuthShape::parse(connection.auth.as_ref())?,
            accept: match format {
                Format::Json => "application/json, */*;q=0.1",
                Format::Ndjson => "application/x-ndjson, application/json;q=0.5, */*;q=0.1",
                Format::Csv => "text/csv, */*;q=0.1",
                // A check refuses these; they are read from files.
                Format::Parquet | Format::Avro => "*/*",
            },
        })
    }

    /// Fills it in.
    ///
    /// # Errors
    /// `Config` for what cannot be sent, `Secret` for a secret that is missing.
    pub(super) fn fill(
        &self,
        scope: &Scope<'_>,
        page: &PageRequest,
        known: &KnownSecrets,
    ) -> Result<Outgoing> {
        let credential = self.auth.credential(scope, known)?;
        let mut url = match &page.url {
            Some(url) => url.clone(),
            None => self.url(scope, &page.query)?,
        };
        let mut headers = self.headers(scope)?;
        let body = self.body(scope, &mut headers)?;
        match credential {
            Credential::None => {}
            Credential::Header(name, value) => {
                headers.insert(name, value);
            }
            Credential::Query(name, value) => set_parameter(&mut url, &name, &value),
        }
        let method = match self.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
        };
        Ok(Outgoing { method, url, headers, body })
    }

    /// Where the connection's requests go; credentials go nowhere else.
    pub(super) fn base_url(&self, scope: &Scope<'_>) -> Result<Url> {
        let base = scope.escaped(&self.base, Escape::PathSegment)?;
        parse_base(&base, self.base.source())
    }

    fn url(&self, scope: &Scope<'_>, paging: &[(String, String)]) -> Result<Url> {
        let base = self.base_url(scope)?;
        let path = scope.escaped(&self.path, Escape::PathSegment)?;
        let mut url = join(&base, &path, self.path.source())?;
        let mut added: Vec<(&str, String)> = Vec::new();
        for (name, template) in &self.query {
            if paging.iter().any(|(paged, _)| paged == name) {
                continue;
            }
            if let Some(value) = scope.optional(template)? {
                added.push((name, value));
            }
        }
        added.extend(paging.iter().map(|(name, value)| (name.as_str(), value.clone())));
        if !added.is_empty() {
            url.query_pairs_mut().extend_pairs(added);
        }
        Ok(url)
    }

    fn headers(&self, scope: &Scope<'_>) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(self.accept));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        for (name, template) in &self.headers {
            let Some(text) = scope.optional(template)? else { continue };
            let mut value = HeaderValue::from_str(&text).map_err(|_| {
                let message =
                    format!("the value of header `{name}` holds characters that a header cannot carry");
                Error::new(ErrorKind::Config, "http/header", message)
            })?;
            value.set_sensitive(!template.secrets().is_empty());
            headers.insert(name, value);
        }
        Ok(headers)
    }

    fn body(&self, scope: &Scope<'_>, headers: &mut HeaderMap) -> Result<Option<Bytes>> {
        let (bytes, content_type) = match &self.body {
            BodyShape::None => return Ok(None),
            BodyShape::Json(shape) => {
                let value = shape.fill(scope)?.unwrap_or(Value::Null);
                (value.to_string(), "application/json")
            }
            BodyShape::Form(fields) => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                for (name, template) in fields {
                    if let Some(value) = scope.optional(template)? {
                        form.append_pair(name, &value);
                    }
                }
                (form.finish(), "application/x-www-form-urlencoded")
            }
        };
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
        Ok(Some(bytes.into()))
    }
}

impl JsonShape {
    /// The value; `None` if it uses a variable that is not defined, and so is left out of what holds it.
    fn fill(&self, scope: &Scope<'_>) -> Result<Option<Value>> {
        Ok(match self {
            Self::Constant(value) => Some(value.clone()),
            Self::Text(template) => template.value(scope.variables, scope.secrets)?,
            Self::Array(items) => {
                let mut filled = Vec::with_capacity(items.len());
                for item in items {
                    filled.extend(item.fill(scope)?);
                }
                Some(filled.into())
            }
            Self::Object(members) => {
                let mut filled = serde_json::Map::with_capacity(members.len());
                for (name, member) in members {
                    if let Some(value) = member.fill(scope)? {
                        filled.insert(name.clone(), value);
                    }
                }
                Some(filled.into())
            }
        })
    }
}

/// Parses a template that stands at `key`.
pub(super) fn parse(source: &str, key: &str) -> Result<Template> {
    Template::parse(source)
        .map_err(|cause| Error::new(ErrorKind::Config, "template/syntax", format!("`{key}`: {cause}")))
}

fn pairs(fields: &IndexMap<String, Scalar>, key: &str) -> Result<Vec<(String, Template)>> {
    fields
        .iter()
        .map(|(name, value)| Ok((name.clone(), parse(&value.0, &format!("{key}.{name}"))?)))
        .collect()
}

fn json_shape(value: &Value) -> Result<JsonShape> {
    Ok(match value {
        Value::String(text) => {
            let template = parse(text, "json")?;
            if template.is_constant() {
                JsonShape::Constant(value.clone())
            } else {
                JsonShape::Text(template)
            }
        }
        Value::Array(items) => JsonShape::Array(items.iter().map(json_shape).collect::<Result<_>>()?),
        Value::Object(members) => {
            let shapes = members.iter().map(|(name, member)| Ok((name.clone(), json_shape(member)?)));
            JsonShape::Object(shapes.collect::<Result<_>>()?)
        }
        other => JsonShape::Constant(other.clone()),
    })
}

/// `shown` is the text of the flow file: the resolved one may hold a secret.
fn parse_base(base: &str, shown: &str) -> Result<Url> {
    let wrong = |what: String| Error::new(ErrorKind::Config, "http/base", what);
    let url = Url::parse(base).map_err(|cause| {
        wrong(format!("`base: {shown}` is not a URL: {cause}"))
            .hint("write it like https://api.example.com/v1")
    })?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong(format!("`base: {shown}` is not an http or https URL"))
            .hint("write it like https://api.example.com/v1"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("`base` holds a user name or password".to_owned())
            .hint("move them to `auth: { basic: … }`"));
    }
    Ok(url)
}

/// Appends a path to a base by exactly one slash; the base keeps its query.
fn join(base: &Url, path: &str, shown: &str) -> Result<Url> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    // `..` in a substituted value would climb out of the path that the flow names.
    let climbs =
        |segment: &str| matches!(segment.replace("%2E", ".").replace("%2e", ".").as_str(), "." | "..");
    if path.split('/').any(climbs) {
        return Err(Error::new(
            ErrorKind::Config,
            "http/path",
            format!("`path: {shown}` gives a `.` or `..` segment"),
        ));
    }
    if path.starts_with("http:") || path.starts_with("https:") {
        return Err(Error::new(
            ErrorKind::Config,
            "http/path",
            format!("`path: {shown}` is a whole URL; it is appended to `base`"),
        )
        .hint("put scheme and host into the connection's `base`"));
    }
    let mut url = base.clone();
    url.set_fragment(None);
    if !path.is_empty() {
        let joined = format!("{}/{}", base.path().trim_end_matches('/'), path.trim_start_matches('/'));
        url.set_path(&joined);
    }
    let queries: Vec<&str> =
        [base.query().unwrap_or(""), query].into_iter().filter(|query| !query.is_empty()).collect();
    url.set_query(if queries.is_empty() { None } else { Some(queries.join("&")) }.as_deref());
    Ok(url)
}

/// Sets a query parameter, whatever it was before.
fn set_parameter(url: &mut Url, name: &str, value: &str) {
    remove_parameter(url, name);
    url.query_pairs_mut().append_pair(name, value);
}

/// Takes a query parameter out. The others stay as they are spelt.
pub(super) fn remove_parameter(url: &mut Url, name: &str) {
    let Some(query) = url.query() else { return };
    let is_it = |pair: &&str| url::form_urlencoded::parse(pair.as_bytes()).any(|(found, _)| found == name);
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_it(pair)).collect();
    if kept.len() < query.split('&').count() {
        let kept = kept.join("&");
        url.set_query(if kept.is_empty() { None } else { Some(&kept) });
    }
}

#[cfg(test)]
mod tests;
