//! Connection pools, built when they are first needed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dil_model::{Error, ErrorKind, Result};
use reqwest::Client;
use url::{Host, Url};

/// How long an unused connection is kept.
const IDLE_CONNECTION: Duration = Duration::from_secs(30);

/// What one HTTP/2 stream may send ahead of the reader; with the default of 64 KiB a distant server is slow.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// The connection pools of a process, shared by all units: clones share them.
///
/// There is one pool per scheme and connect time-out. The one for `http://` loads no certificates, so that a flow
/// that needs none starts at once. Hosts on this machine have their own, which knows no proxy: a proxy could not reach them.
#[derive(Clone, Default)]
pub struct Clients {
    pools: Arc<Mutex<HashMap<Pool, Client>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Pool {
    scheme: Scheme,
    loopback: bool,
    connect: Duration,
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
    pub(crate) fn of(&self, url: &Url, connect: Duration) -> Result<Client> {
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => {
                let message = format!("`{other}:` is not a scheme that an HTTP connection can use");
                return Err(Error::new(ErrorKind::Config, "http/scheme", message)
                    .hint("start `base` with https:// or http://"));
            }
        };
        let pool = Pool { scheme, loopback: is_loopback(url), connect };
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = pools.get(&pool) {
            return Ok(client.clone());
        }
        let client = build(pool).map_err(|cause| {
            let message = format!("setting up the HTTP client: {}", super::error::root_cause(&cause));
            Error::new(ErrorKind::Config, "http/client", message)
                .hint("check the system's certificate store, and the proxy settings in the environment")
        })?;
        pools.insert(pool, client.clone());
        Ok(client)
    }
}

/// Whether a URL's host is this machine by name or address.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    }
}

fn build(pool: Pool) -> reqwest::Result<Client> {
    let mut builder = Client::builder()
        .user_agent(concat!("dil/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .tcp_nodelay(true)
        .connect_timeout(pool.connect)
        .pool_idle_timeout(IDLE_CONNECTION)
        .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
        .http2_initial_connection_window_size(2 * STREAM_WINDOW_BYTES);
    if pool.loopback {
        builder = builder.no_proxy();
    }
    // Fails only if there is a provider already, which is then used.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match pool.scheme {
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
    fn knows_the_names_of_this_machine() {
        let is = |url: &str| is_loopback(&Url::parse(url).unwrap());
        for url in [
            "http://localhost:1/x",
            "http://LOCALHOST.",
            "http://a.localhost",
            "http://127.8.0.1",
            "https://[::1]:8",
            "http://[::ffff:127.0.0.1]",
        ] {
            assert!(is(url), "{url}");
        }
        for url in ["http://localhost.example.com", "http://10.0.0.1", "http://[::2]", "http://mylocalhost"] {
            assert!(!is(url), "{url}");
        }
    }

    #[test]
    fn refuses_a_scheme_it_cannot_speak() {
        let url = Url::parse("ftp://example.com/").unwrap();
        let refused = Clients::new().of(&url, Duration::from_secs(1)).map(|_| ());
        assert!(
            refused.is_err_and(|error| error.kind == ErrorKind::Config && error.message.contains("ftp:"))
        );
    }
}
