//! The source: pages of one unit, one after the other.

use std::sync::Arc;

use async_trait::async_trait;
use dil_model::component::{OpenPage, PageBody, PageFacts, Permits, Requests, Source};
use dil_model::config::{Format, HttpConnection, HttpRead, Method};
use dil_model::secret::{Masked, SecretStore};
use dil_model::template::Variables;
use dil_model::{Error, ErrorKind, Result, Retry};
use url::Url;

use super::body::Digest;
use super::check;
use super::client::Clients;
use super::error::{Failure, Processed, excerpt};
use super::mask::KnownSecrets;
use super::paging::{Answer, Pager, Surroundings};
use super::request::{Outgoing, RequestShape, Scope};
use super::retry::{self, Budget};
use super::send::{Arriving, Parts, Sender};

/// Characters of a POST's body that a plan shows.
const BODY_CHARS: usize = 300;

/// All that one unit's HTTP source needs.
pub struct HttpSourceSpec {
    /// The connection's name in the flow, which its limits go by.
    pub connection_name: String,
    /// The connection.
    pub connection: HttpConnection,
    /// What to ask for.
    pub read: HttpRead,
    /// How rows are spelt; decides which content types are accepted where the flow does not.
    pub format: Format,
    /// What the unit's templates see.
    pub variables: Variables,
    /// Where `${secret:NAME}` finds its text.
    pub secrets: Arc<dyn SecretStore>,
    /// The limiter of all connections.
    pub permits: Arc<dyn Permits>,
    /// An earlier [`Source::position`], to go on behind it.
    pub resume: Option<serde_json::Value>,
    /// The connection pools of the process.
    pub client: Clients,
}

/// Opens an HTTP source. Sends nothing yet.
///
/// # Errors
/// `Config` for settings that cannot work, `State` if `resume` was written under another paging rule.
pub fn source(spec: HttpSourceSpec) -> Result<Box<dyn Source>> {
    let shape = RequestShape::parse(&spec.connection, &spec.read, spec.format)?;
    let secrets = Arc::new(KnownSecrets::new(spec.secrets));
    let parts = Parts {
        clients: spec.client,
        permits: spec.permits,
        secrets: Arc::clone(&secrets),
        auth_advice: shape.auth.advice(&spec.connection_name),
    };
    Ok(Box::new(HttpSource {
        sender: Sender::new(spec.connection_name, &spec.connection, &spec.read, spec.format, parts),
        pager: Pager::new(spec.read.paginate.clone(), spec.resume)?,
        budget: Budget::new(spec.connection.retry),
        repeatable: spec.read.method == Method::Get || spec.read.reads,
        acted_on: false,
        variables: spec.variables,
        secrets,
        shape,
        opened: None,
    }))
}

/// The first request of a unit as a plan shows it: method, URL, and the beginning of a POST's body. Sends nothing and asks for
/// no secret; every credential is shown as `***`.
///
/// # Errors
/// `Config` for settings that cannot work.
pub fn first_request(connection: &HttpConnection, read: &HttpRead, variables: &Variables) -> Result<String> {
    let shape = RequestShape::parse(connection, read, Format::Json)?;
    let secrets = Arc::new(KnownSecrets::new(Arc::new(Masked)));
    let pager = Pager::new(read.paginate.clone(), None)?;
    let outgoing = fill(&shape, &pager, variables, &secrets)?;
    let mut shown = label(&outgoing, &secrets);
    if let Some(body) = &outgoing.body {
        let body = secrets.mask(&String::from_utf8_lossy(body));
        shown.push_str(&format!(" with {}", excerpt(&body, BODY_CHARS)));
    }
    Ok(shown)
}

struct HttpSource {
    sender: Sender,
    shape: RequestShape,
    pager: Pager,
    budget: Budget,
    /// Whether a request whose answer was lost may be sent again.
    repeatable: bool,
    /// Whether the server may have acted on a request already.
    acted_on: bool,
    variables: Variables,
    secrets: Arc<KnownSecrets>,
    /// The answer whose body is being read.
    opened: Option<Opened>,
}

struct Opened {
    url: Url,
    headers: reqwest::header::HeaderMap,
    digest: Option<Digest>,
}

impl HttpSource {
    async fn try_open(&mut self) -> Result<OpenPage, Failure> {
        let outgoing =
            fill(&self.shape, &self.pager, &self.variables, &self.secrets).map_err(Failure::unprocessed)?;
        let label = label(&outgoing, &self.secrets);
        let digest = self.pager.wants_digest().then(Digest::default);
        let exchanged = self.sender.exchange(outgoing, &mut self.budget, digest.clone()).await;
        let Arriving { url, headers, body } = exchanged.map_err(|mut failure| {
            failure.error = failure.error.at(label.clone());
            failure
        })?;
        self.acted_on = true;
        // So that whatever error comes of the bytes tells it.
        let label = match check::foreign_charset(&headers) {
            Some(charset) => format!("{label} (declared as {charset}, read as UTF-8)"),
            None => label,
        };
        self.opened = Some(Opened { url, headers, digest });
        Ok(OpenPage { number: self.pager.page_number(), label, body: PageBody::Stream(body.into_body()) })
    }

    /// Waits before the next try, or says why there is none.
    async fn wait(&mut self, failure: Failure) -> Result<()> {
        let Failure { error, processed } = failure;
        if let Retry::After(asked) = error.retry {
            // A server that asks for a year must not hold every unit for a year.
            self.sender.permits.pause(&self.sender.connection, asked.min(self.budget.within()));
        }
        self.acted_on |= processed == Processed::Perhaps;
        if !self.repeatable && processed == Processed::Perhaps && retry::may_pass(&error) {
            return Err(self.budget.last(not_again(error)));
        }
        let cause = error.to_string();
        let wait = self.budget.wait_after(error)?;
        tracing::debug!(
            connection = self.sender.connection,
            wait_ms = wait.as_millis(),
            cause,
            "asking again"
        );
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

#[async_trait]
impl Source for HttpSource {
    fn wanted(&self) -> Vec<String> {
        self.pager.wanted()
    }

    async fn open(&mut self) -> Result<Option<OpenPage>> {
        if self.pager.is_done() {
            return Ok(None);
        }
        loop {
            match self.try_open().await {
                Ok(page) => return Ok(Some(page)),
                Err(failure) => self.wait(failure).await?,
            }
        }
    }

    async fn advance(&mut self, facts: &PageFacts) -> Result<()> {
        let Some(opened) = self.opened.take() else {
            return Err(Error::new(ErrorKind::Internal, "internal/advance", "advanced without an open page"));
        };
        let secrets = Arc::clone(&self.secrets) as Arc<dyn SecretStore>;
        let base = self.shape.base_url(&Scope { variables: &self.variables, secrets: &secrets })?;
        let digest = opened.digest.map_or(0, |digest| digest.value());
        let answer = Answer { url: opened.url, headers: opened.headers, digest };
        let around = Surroundings {
            base: &base,
            secrets: &self.secrets,
            key_parameter: self.shape.auth.query_parameter(),
        };
        self.pager.advance(facts, &answer, &around)?;
        self.budget.renew();
        Ok(())
    }

    async fn again(&mut self, error: Error) -> Result<()> {
        self.opened = None;
        self.wait(self.secrets.mask_error(error).into()).await
    }

    fn position(&self) -> serde_json::Value {
        self.pager.note()
    }

    fn requests(&self) -> Requests {
        self.sender.requests
    }

    fn report(&self, error: Error) -> Error {
        let error = self.secrets.mask_error(error);
        let repeats = self.acted_on && !self.repeatable && error.retry != Retry::No;
        if repeats { not_again(error) } else { error }
    }
}

/// The error of a request that must not be repeated, neither by itself nor with its unit.
fn not_again(mut error: Error) -> Error {
    error.message = format!("{}; it is a POST, which is not sent again", error.message);
    error.retry = Retry::No;
    error.hint("if the request only reads, say so with `reads: true`; if it does not, see what the server did before you run again")
}

fn fill(
    shape: &RequestShape,
    pager: &Pager,
    variables: &Variables,
    secrets: &Arc<KnownSecrets>,
) -> Result<Outgoing> {
    let store = Arc::clone(secrets) as Arc<dyn SecretStore>;
    let mut bound = variables.clone();
    pager.bind(&mut bound);
    shape.fill(&Scope { variables: &bound, secrets: &store }, &pager.request(secrets)?, secrets)
}

/// What a request is called in messages.
fn label(outgoing: &Outgoing, secrets: &KnownSecrets) -> String {
    format!("{} {}", outgoing.method, secrets.mask_url(&outgoing.url))
}
