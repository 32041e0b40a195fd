//! Who we are, as a request carries it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dil_model::config::{Auth, KeyPlace};
use dil_model::template::Template;
use dil_model::{Error, ErrorKind, Result};
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};

use super::mask::KnownSecrets;
use super::request::{Scope, parse};

/// The connection's `auth`, parsed.
pub(super) enum AuthShape {
    None,
    Basic { username: Template, password: Template },
    Bearer { token: Template },
    Key { name: String, value: Template, place: KeyPlace },
}

/// What is added to a request.
pub(super) enum Credential {
    None,
    Header(HeaderName, HeaderValue),
    Query(String, String),
}

impl AuthShape {
    pub(super) fn parse(auth: Option<&Auth>) -> Result<Self> {
        Ok(match auth {
            None => Self::None,
            Some(Auth::Basic(basic)) => Self::Basic {
                username: parse(&basic.username, "auth.basic.username")?,
                password: parse(&basic.password, "auth.basic.password")?,
            },
            Some(Auth::Bearer(bearer)) => Self::Bearer { token: parse(&bearer.token, "auth.bearer.token")? },
            Some(Auth::ApiKey(key)) => Self::Key {
                name: key.name.clone(),
                value: parse(&key.value, "auth.api_key.value")?,
                place: key.place,
            },
        })
    }

    /// Resolves the secrets. Every credential is known to the mask from then on, also one that is no secret by name.
    ///
    /// # Errors
    /// `Secret` if one is missing; `Config` if one cannot be sent.
    pub(super) fn credential(&self, scope: &Scope<'_>, known: &KnownSecrets) -> Result<Credential> {
        match self {
            Self::None => Ok(Credential::None),
            Self::Basic { username, password } => {
                let (name, secret) = (scope.text(username)?, scope.text(password)?);
                if name.contains(':') {
                    return Err(Error::new(
                        ErrorKind::Config,
                        "http/username",
                        "the user name holds a colon, which basic auth cannot send",
                    ));
                }
                // Without a password the user name is the key.
                known.remember(if secret.is_empty() { &name } else { &secret });
                let encoded = BASE64_STANDARD.encode(format!("{name}:{secret}"));
                known.remember(&encoded);
                header(AUTHORIZATION, &format!("Basic {encoded}"), "user name and password")
            }
            Self::Bearer { token } => {
                let token = scope.text(token)?;
                known.remember(&token);
                header(AUTHORIZATION, &format!("Bearer {token}"), "bearer token")
            }
            Self::Key { name, value, place } => {
                let value = scope.text(value)?;
                known.remember(&value);
                if *place == KeyPlace::Query {
                    return Ok(Credential::Query(name.clone(), value));
                }
                let name = HeaderName::try_from(name.as_str()).map_err(|_| {
                    Error::new(ErrorKind::Config, "http/header", format!("`{name}` cannot name a header"))
                })?;
                header(name, &value, "API key")
            }
        }
    }

    /// The name of the query parameter that carries the key.
    pub(super) fn query_parameter(&self) -> Option<&str> {
        match self {
            Self::Key { name, place: KeyPlace::Query, .. } => Some(name),
            _ => None,
        }
    }

    /// What to check when the server refuses us: names, never values.
    pub(super) fn advice(&self, connection: &str) -> String {
        let (what, templates): (&str, Vec<&Template>) = match self {
            Self::None => {
                return format!("connection `{connection}` has no `auth`; the server seems to want one");
            }
            Self::Basic { username, password } => ("the user name and password", vec![username, password]),
            Self::Bearer { token } => ("the bearer token", vec![token]),
            Self::Key { value, .. } => ("the API key", vec![value]),
        };
        let names: Vec<String> = templates
            .iter()
            .flat_map(|template| template.secrets())
            .map(|name| format!("`{name}`"))
            .collect();
        let from = match names.as_slice() {
            [] => String::new(),
            [one] => format!(" (secret {one})"),
            several => format!(" (secrets {})", several.join(", ")),
        };
        format!("check {what} of connection `{connection}`{from}, and that it may read this")
    }
}

fn header(name: HeaderName, value: &str, what: &str) -> Result<Credential> {
    let mut value = HeaderValue::from_str(value).map_err(|_| {
        Error::new(
            ErrorKind::Config,
            "http/credential",
            format!("the {what} holds characters that a header cannot carry"),
        )
        .hint("check the secret for a line end or another invisible character")
    })?;
    value.set_sensitive(true);
    Ok(Credential::Header(name, value))
}
