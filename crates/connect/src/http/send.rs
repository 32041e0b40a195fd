//! One page's exchange: permit, request, redirects, and what came back.

use std::sync::Arc;
use std::time::Duration;

use dil_model::component::{Permit, Permits, Requests};
use dil_model::config::{Format, HttpConnection, HttpRead, Timeout};
use dil_model::{Error, ErrorKind, Result};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use tokio::time::Instant;
use url::Url;

use super::body::{Deadlines, Digest, Receiving};
use super::check::{self, ContentTypes, Verdict};
use super::client::Clients;
use super::error::{self, Failure};
use super::mask::KnownSecrets;
use super::request::Outgoing;
use super::retry::Budget;

/// Redirects followed for one request.
const REDIRECTS_MAX: u32 = 5;

/// Bytes of a body that is no page which are looked at for a message.
const BEGINNING_BYTES: usize = 8 << 10;

/// Sends requests of one connection.
pub(super) struct Sender {
    pub(super) connection: String,
    pub(super) clients: Clients,
    pub(super) permits: Arc<dyn Permits>,
    pub(super) secrets: Arc<KnownSecrets>,
    pub(super) accepted: ContentTypes,
    pub(super) timeout: Timeout,
    pub(super) gzip_ratio: u32,
    pub(super) auth_advice: String,
    pub(super) requests: Requests,
}

/// A page that has begun to arrive.
pub(super) struct Arriving {
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Receiving,
}

/// An answer whose body was not looked at yet.
struct Answered {
    response: reqwest::Response,
    deadlines: Deadlines,
    permit: Permit,
}

impl Sender {
    pub(super) fn new(
        name: String,
        connection: &HttpConnection,
        read: &HttpRead,
        format: Format,
        parts: Parts,
    ) -> Self {
        Self {
            connection: name,
            clients: parts.clients,
            permits: parts.permits,
            secrets: parts.secrets,
            accepted: ContentTypes::new(&read.content_type, format),
            timeout: connection.timeout.clone(),
            gzip_ratio: read.gzip_ratio,
            auth_advice: parts.auth_advice,
            requests: Requests::default(),
        }
    }

    /// Sends a request once, follows redirects, and checks what comes.
    pub(super) async fn exchange(
        &mut self,
        mut outgoing: Outgoing,
        budget: &mut Budget,
        digest: Option<Digest>,
    ) -> Result<Arriving, Failure> {
        let is_repeat = budget.count_try() > 0;
        for _ in 0..=REDIRECTS_MAX {
            let answered = self.send(&outgoing, is_repeat).await?;
            let (status, headers) = (answered.response.status(), answered.response.headers().clone());
            match check::verdict(status, &headers, &outgoing.url) {
                Verdict::Redirect(target) => {
                    outgoing.url = self.redirected(&outgoing, target)?;
                }
                Verdict::Failed => {
                    let body = self.beginning(answered).await;
                    return Err(check::failed(status, &headers, &body, &self.auth_advice));
                }
                Verdict::Page if !self.accepted.accept(headers.get(CONTENT_TYPE)) => {
                    let body = self.beginning(answered).await;
                    return Err(self.accepted.refused(&headers, &body).into());
                }
                Verdict::Page => {
                    let Answered { response, deadlines, permit } = answered;
                    check::readable_charset(&headers)?;
                    let body = Receiving::new(response, deadlines, permit, self.gzip_ratio, digest)?;
                    return Ok(Arriving { url: outgoing.url, headers, body });
                }
            }
        }
        let message = format!(
            "more than {REDIRECTS_MAX} redirects, the last one to {}",
            self.secrets.mask_url(&outgoing.url)
        );
        let error = Error::new(ErrorKind::Status, "http/redirects", message);
        Err(error.hint("open the address in a browser: the server may redirect to a login and back").into())
    }

    async fn send(&mut self, outgoing: &Outgoing, is_repeat: bool) -> Result<Answered, Failure> {
        let connect = self.timeout.connect.0;
        let client = self.clients.of(&outgoing.url, connect).map_err(Failure::unprocessed)?;
        let permit = self.permits.acquire(&self.connection).await.map_err(Failure::unprocessed)?;
        self.requests.sent += 1;
        self.requests.retries += u64::from(is_repeat);
        let deadlines = self.deadlines();
        let mut request =
            client.request(outgoing.method.clone(), outgoing.url.clone()).headers(outgoing.headers.clone());
        if let Some(body) = &outgoing.body {
            request = request.body(body.clone());
        }
        let what = format!("{} gave no answer", error::place(&outgoing.url));
        match deadlines.wait(request.send(), &what).await? {
            Ok(response) => Ok(Answered { response, deadlines, permit }),
            Err(cause) => Err(error::unanswered(&cause.without_url(), &outgoing.url, connect)),
        }
    }

    fn deadlines(&self) -> Deadlines {
        let total = self.timeout.total.map(|total| (total.0, Instant::now() + total.0));
        Deadlines { idle: self.timeout.idle.0, total }
    }

    fn redirected(&self, outgoing: &Outgoing, target: Url) -> Result<Url> {
        let shown = self.secrets.mask_url(&target);
        let wrong = |message: String| Error::new(ErrorKind::Status, "http/redirect", message);
        if target.origin() != outgoing.url.origin() {
            let (from, to) = (error::place(&outgoing.url), target.origin().ascii_serialization());
            return Err(wrong(format!("{from} redirects to another place, {to}"))
                .hint(format!("credentials are sent to the connection's own host only; if that place is right, set `base` to {to}")));
        }
        if outgoing.method != reqwest::Method::GET {
            return Err(wrong(format!("a POST was redirected to {shown}"))
                .hint("set the stage's `path` to that place"));
        }
        Ok(target)
    }

    /// The masked beginning of a body that is no page.
    async fn beginning(&self, answered: Answered) -> String {
        // A body that only explains must not keep us long.
        let idle = answered.deadlines.idle.min(Duration::from_secs(10));
        let deadlines = Deadlines { idle, ..answered.deadlines };
        match Receiving::new(answered.response, deadlines, answered.permit, self.gzip_ratio, None) {
            Ok(body) => self.secrets.mask(&body.beginning(BEGINNING_BYTES).await),
            Err(_) => String::new(),
        }
    }
}

/// What a sender is made of beside the flow's settings.
pub(super) struct Parts {
    pub(super) clients: Clients,
    pub(super) permits: Arc<dyn Permits>,
    pub(super) secrets: Arc<KnownSecrets>,
    pub(super) auth_advice: String,
}
