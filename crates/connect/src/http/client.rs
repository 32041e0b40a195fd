//! Connection pools, built when they are first needed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dil_model::{Error, ErrorKind, Result};
use reqwest::Client;

/// How long an unused connection is kept.
const IDLE_CONNECTION: Duration = Duration::from_secs(30);

/// What one HTTP/2 stream may send ahead of the reader; with the default of 64 KiB a distant server is slow.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// The connection pools of a process, shared by all units: clones share them.
///
/// There is one pool per scheme and connect time-out. The one for `http://` loads no certificates, so that a flow
/// that needs none starts at once.
#[derive(Clone, Default)]
pub struct Clients {
    pools: Arc<Mutex<HashMap<(Scheme, Duration), Client>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Scheme {
    Http,
    Https,
}

impl Clients {
    /// No pool yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The pool for a URL.
    ///
    /// # Errors
    /// `Config` for a scheme other than `http` and `https`, or if the system's certificates cannot be loaded.
    pub(crate) fn of(&self, url: &url::Url, connect: Duration) -> Result<Client> {
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => {
                let message = format!("`{other}:` is not a scheme that an HTTP connection can use");
                return Err(Error::new(ErrorKind::Config, "http/scheme", message)
                    .hint("start `base` with https:// or http://"));
            }
        };
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = pools.get(&(scheme, connect)) {
            return Ok(client.clone());
        }
        let client = build(scheme, connect).map_err(|cause| {
            let message = format!("setting up the HTTP client: {}", super::error::root_cause(&cause));
            Error::new(ErrorKind::Config, "http/client", message)
                .hint("check the system's certificate store, and the proxy settings in the environment")
        })?;
        pools.insert((scheme, connect), client.clone());
        Ok(client)
    }
}

fn build(scheme: Scheme, connect: Duration) -> reqwest::Result<Client> {
    let builder = Client::builder()
        .user_agent(concat!("dil/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .tcp_nodelay(true)
        .connect_timeout(connect)
        .pool_idle_timeout(IDLE_CONNECTION)
        .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
        .http2_initial_connection_window_size(2 * STREAM_WINDOW_BYTES);
    // Fails only if there is a provider already, which is then used.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match scheme {
        Scheme::Https => builder.build(),
        Scheme::Http => {
            let no_roots = rustls::RootCertStore::empty();
            let unused =
                rustls::ClientConfig::builder().with_root_certificates(no_roots).with_no_client_auth();
            builder.tls_backend_preconfigured(unused).build()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_a_scheme_it_cannot_speak() {
        let url = url::Url::parse("ftp://example.com/").unwrap();
        let refused = Clients::new().of(&url, Duration::from_secs(1)).map(|_| ());
        assert!(
            refused.is_err_and(|error| error.kind == ErrorKind::Config && error.message.contains("ftp:"))
        );
    }
}
