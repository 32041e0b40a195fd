//! Systems that stages talk to.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::setting::{HumanDuration, Rate, Waits};

/// One system, by its protocol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Connection {
    /// An HTTP API.
    Http(HttpConnection),
}

/// An HTTP API: where it is, who we are there, and how hard we may press.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpConnection {
    /// The URL that every `path` is appended to.
    #[schemars(example = &"https://api.example.com/v1")]
    pub base: String,

    /// Who we are. Sent to this host and to no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = serde_json::json!({ "bearer": { "token": "${secret:API_TOKEN}" } }))]
    pub auth: Option<Auth>,

    /// Headers of every request. Values may hold `${secret:NAME}`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(example = serde_json::json!({ "Accept-Language": "en" }))]
    pub headers: IndexMap<String, String>,

    /// Bounds that all units of all workers keep together.
    #[serde(default)]
    #[schemars(example = serde_json::json!({ "requests": "5/s", "concurrent": 4 }))]
    pub limit: Limit,

    /// How long to wait for an answer.
    #[serde(default)]
    #[schemars(example = serde_json::json!({ "connect": "5s" }))]
    pub timeout: Timeout,

    /// How often a request that may succeed later is sent again. Obeys `Retry-After`, and after 429 and 403 the headers of a
    /// quota that is used up (`RateLimit-Remaining: 0` with `RateLimit-Reset`, also with `X-` before).
    #[serde(default)]
    #[schemars(example = serde_json::json!({ "attempts": 8, "within": "30m" }))]
    pub retry: RequestRetry,
}

/// Who we are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    /// User name and password (RFC 7617).
    Basic(BasicAuth),
    /// A token in the `Authorization` header (RFC 6750).
    Bearer(BearerAuth),
    /// A key in a header or in the query.
    ApiKey(ApiKeyAuth),
}

/// User name and password.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// The user name.
    #[schemars(example = &"${env:API_USER}")]
    pub username: String,
    /// The password; may be empty where the user name is the key.
    #[serde(default)]
    #[schemars(example = &"${secret:API_PASSWORD}")]
    pub password: String,
}

/// A bearer token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BearerAuth {
    /// The token, without the word `Bearer`.
    #[schemars(example = &"${secret:API_TOKEN}")]
    pub token: String,
}

/// A key in a header or in the query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyAuth {
    /// The name of the header or query parameter.
    #[schemars(example = &"X-API-Key")]
    pub name: String,
    /// The key.
    #[schemars(example = &"${secret:API_KEY}")]
    pub value: String,
    /// Where it is sent.
    #[serde(default, rename = "in")]
    #[schemars(example = &"query")]
    pub place: KeyPlace,
}

/// Where an API key is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyPlace {
    /// As a header.
    #[default]
    Header,
    /// As a query parameter; masked wherever the URL is shown.
    Query,
}

/// Bounds on requests, kept by all units of all workers together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// The most requests that start in any stretch of this length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"5/s")]
    pub requests: Option<Rate>,
    /// The most requests under way at once, until their body is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 4, range(min = 1, max = 10000))]
    pub concurrent: Option<u32>,
}

/// How long to wait.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timeout {
    /// For the connection to stand.
    #[serde(default = "default_connect")]
    #[schemars(example = &"5s", extend("x-unit" = "duration"))]
    pub connect: HumanDuration,
    /// For the next bytes: from the request to the first ones, and between any two.
    #[serde(default = "default_idle")]
    #[schemars(example = &"2m", extend("x-unit" = "duration"))]
    pub idle: HumanDuration,
    /// For one request and its whole answer. Without it only `idle` bounds a long answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"1h", extend("x-unit" = "duration"))]
    pub total: Option<HumanDuration>,
}

impl Default for Timeout {
    fn default() -> Self {
        Self { connect: default_connect(), idle: default_idle(), total: None }
    }
}

/// How often a request is sent again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestRetry {
    /// Tries in all for one page, the first one included.
    #[serde(default = "default_attempts")]
    #[schemars(example = 8, range(min = 1, max = 100))]
    pub attempts: u32,
    /// No further try starts this long after the first one did.
    #[serde(default = "default_within")]
    #[schemars(example = &"30m", extend("x-unit" = "duration"))]
    pub within: HumanDuration,
    /// The first and the longest wait; it doubles in between, with jitter. A `Retry-After` that is longer wins.
    #[serde(default = "default_wait")]
    #[schemars(example = &"1s..2m", extend("x-unit" = "duration"))]
    pub wait: Waits,
}

impl Default for RequestRetry {
    fn default() -> Self {
        Self { attempts: default_attempts(), within: default_within(), wait: default_wait() }
    }
}

fn default_connect() -> HumanDuration {
    HumanDuration::secs(10)
}

fn default_idle() -> HumanDuration {
    HumanDuration::secs(60)
}

fn default_attempts() -> u32 {
    5
}

fn default_within() -> HumanDuration {
    HumanDuration::secs(600)
}

fn default_wait() -> Waits {
    Waits { first: HumanDuration(std::time::Duration::from_millis(500)), longest: HumanDuration::secs(60) }
}
