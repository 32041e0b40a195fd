//! One unit: a spec goes in, a report comes out. The same function runs in the coordinator's process and in a worker's.
//!
//! Three parts work at once: the reader (async: requests, framing), the decoder and converters, and the encoders with the
//! staged files, each of the latter two on a thread of its own. Bounded channels join them, so a slow part holds back
//! the ones before it.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use dil_connect::files::FilesSourceSpec;
use dil_connect::files::list::ListSourceSpec;
use dil_connect::http::{Clients, HttpSourceSpec};
use dil_format::FrameLimits;
use dil_model::component::{Body, Frame, Framer, PageBody, PageFacts, Permits, Source};
use dil_model::config::{Connection, Read};
use dil_model::schema::StoredSchema;
use dil_model::secret::SecretStore;
use dil_model::template::unit_variables;
use dil_model::unit::{AttemptId, Counts, Position, UnitReport, UnitSpec};
use dil_model::{Error, ErrorKind, Result};
use futures::StreamExt as _;

use super::memory::Shares;
use super::pipeline::{self, Item, ItemSender, Written};
use super::whole::WholePage;
use crate::settings::Stop;

/// What a unit may ask of its coordinator.
#[async_trait]
pub(crate) trait Port: Send + Sync {
    /// Proposes the schemas that the unit's rows need; gives the stage's, which holds them.
    async fn schema(&self, id: AttemptId, read: StoredSchema, written: StoredSchema) -> Result<StoredSchema>;
    /// Makes a checkpoint durable.
    async fn checkpoint(&self, id: AttemptId, position: Position) -> Result<()>;
    /// Tells where it stands.
    fn progress(&self, id: AttemptId, counts: Counts);
}

/// What a unit runs with.
#[derive(Clone)]
pub(crate) struct UnitContext {
    pub(crate) port: Arc<dyn Port>,
    pub(crate) permits: Arc<dyn Permits>,
    pub(crate) secrets: Arc<dyn SecretStore>,
    pub(crate) clients: Clients,
    pub(crate) stop: Stop,
}

/// How often a unit tells where it stands.
const PROGRESS_EVERY: std::time::Duration = std::time::Duration::from_millis(100);

/// Runs one unit to its end.
pub(crate) async fn run_unit(spec: UnitSpec, context: UnitContext) -> UnitReport {
    let spec = Arc::new(spec);
    let start = spec.resume.as_ref().map(|position| position.counts).unwrap_or_default();
    let mut reading =
        Reading { spec: Arc::clone(&spec), context: context.clone(), counts: start, told: Instant::now() };
    let outcome = reading.run().await;
    let (greatest, outcome) = match outcome {
        Ok(written) => (written.greatest, Ok(written.files)),
        Err(error) => (None, Err(error)),
    };
    UnitReport { counts: reading.counts, greatest, outcome }
}

/// Opens the source that a unit's `read` describes.
pub(crate) fn open_source(spec: &UnitSpec, context: &UnitContext) -> Result<Box<dyn Source>> {
    let variables = unit_variables(spec);
    let resume = spec.resume.as_ref().map(|position| position.source.clone());
    let secrets = Arc::clone(&context.secrets);
    match (&spec.read, &spec.connection) {
        (Read { http: Some(read), .. }, Some((name, Connection::Http(connection)))) => {
            dil_connect::http::source(HttpSourceSpec {
                connection_name: name.clone(),
                connection: connection.clone(),
                read: read.clone(),
                format: spec.read.format(),
                variables,
                secrets,
                permits: Arc::clone(&context.permits),
                resume,
                client: context.clients.clone(),
            })
        }
        (Read { files: Some(read), .. }, _) => {
            let columnar = spec.read.format().is_columnar();
            dil_connect::files::source(FilesSourceSpec {
                read: read.clone(),
                columnar,
                variables,
                secrets,
                resume,
            })
        }
        (Read { list: Some(read), .. }, _) => dil_connect::files::list::source(ListSourceSpec {
            read: read.clone(),
            variables,
            secrets,
            resume,
        }),
        _ => Err(Error::new(ErrorKind::Internal, "internal/read", "the unit's `read` names no source")),
    }
}

/// What cuts the source's pages; none where the format is read from any place of a file.
pub(crate) fn framer(
    read: &Read,
    source: &dyn Source,
    limits: FrameLimits,
) -> Result<Option<Box<dyn Framer>>> {
    match read.format().is_columnar() {
        true => Ok(None),
        false => dil_format::framer(read, &source.wanted(), limits).map(Some),
    }
}

/// The reader's side of a running unit.
struct Reading {
    spec: Arc<UnitSpec>,
    context: UnitContext,
    counts: Counts,
    told: Instant,
}

impl Reading {
    async fn run(&mut self) -> Result<Written> {
        let shares = Shares::of(self.spec.memory);
        let mut source = open_source(&self.spec, &self.context)?;
        let limits = FrameLimits { frame_bytes: shares.frame, row_bytes_max: shares.row_max };
        let framer = framer(&self.spec.read, source.as_ref(), limits)?;
        let (sender, running) = pipeline::start(&self.spec, shares, Arc::clone(&self.context.port))?;
        let stop = self.context.stop.clone();
        let read = tokio::select! {
            read = self.pages(source.as_mut(), framer, &sender, (limits, shares.held_page)) => read,
            () = stop.requested() => Err(cancelled()),
        };
        self.counts.requests = source.requests();
        if read.is_ok() {
            // Without this last item the encoders throw away what they have.
            let _ = sender.send(Item::End).await;
        }
        drop(sender);
        running.finish(read).await.map_err(|error| source.report(error))
    }

    async fn pages(
        &mut self,
        source: &mut dyn Source,
        mut framer: Option<Box<dyn Framer>>,
        sender: &ItemSender,
        (limits, held_max): (FrameLimits, usize),
    ) -> Result<()> {
        while let Some(page) = source.open().await? {
            let before = self.counts;
            let label: Arc<str> = page.label.as_str().into();
            let mut held = Held {
                label: Arc::clone(&label),
                frames: Vec::new(),
                bytes: 0,
                max: held_max,
                released: false,
            };
            let read = match (page.body, &mut framer) {
                (PageBody::Stream(body), Some(framer)) => {
                    framer.begin_page(page.number);
                    self.page(body, framer.as_mut(), sender, &mut held).await
                }
                (PageBody::Random(file), None) => {
                    let bytes = file.size();
                    let page = WholePage::read(&self.spec.read, file, limits, page.number);
                    self.whole_page(page, bytes, sender, &mut held).await
                }
                _ => Err(Error::new(
                    ErrorKind::Internal,
                    "internal/page",
                    "the source does not go with the format",
                )),
            };
            match read {
                Ok(facts) => {
                    source.advance(&facts).await.map_err(|error| error.at(&*label))?;
                    self.counts.rows += facts.rows;
                    self.counts.pages += 1;
                    self.counts.requests = source.requests();
                    held.release(sender).await?;
                    let item = Item::PageEnd { position: source.position(), counts: self.counts };
                    sender.send(item).await?;
                    self.tell(false);
                }
                // Rows of this page are under way already: only a new attempt can read it again.
                Err(error) if held.released && error.kind == ErrorKind::Truncated => {
                    return Err(error.retryable().at(&*label));
                }
                Err(error) if held.released || is_final(&error) => return Err(error.at(&*label)),
                Err(error) => {
                    self.counts = before;
                    source.again(error).await.map_err(|error| error.at(&*label))?;
                }
            }
        }
        self.tell(true);
        Ok(())
    }

    async fn page(
        &mut self,
        mut body: Body,
        framer: &mut dyn Framer,
        sender: &ItemSender,
        held: &mut Held,
    ) -> Result<PageFacts> {
        while let Some(chunk) = body.next().await {
            let chunk: Bytes = chunk?;
            self.counts.bytes += chunk.len() as u64;
            // A body may come in one huge piece (a server on this machine); frames must be let go in between.
            for piece in chunk.chunks(PIECE) {
                framer.feed(piece, &mut held.frames)?;
                held.settle(sender).await?;
            }
            self.tell(false);
        }
        let facts = framer.end_page(&mut held.frames)?;
        Ok(facts)
    }

    async fn whole_page(
        &mut self,
        mut page: WholePage,
        bytes: u64,
        sender: &ItemSender,
        held: &mut Held,
    ) -> Result<PageFacts> {
        let mut facts = PageFacts::default();
        while let Some(frame) = page.next().await? {
            facts.rows += frame.rows;
            held.frames.push(frame);
            held.settle(sender).await?;
            self.tell(false);
        }
        self.counts.bytes += bytes;
        Ok(facts)
    }

    fn tell(&mut self, last: bool) {
        if last || self.told.elapsed() >= PROGRESS_EVERY {
            self.told = Instant::now();
            self.context.port.progress(self.spec.id, self.counts);
        }
    }
}

/// Bytes that are framed before frames are given on.
const PIECE: usize = 1 << 20;

/// Errors that reading the same page again cannot mend.
fn is_final(error: &Error) -> bool {
    error.retry == dil_model::Retry::No && !matches!(error.kind, ErrorKind::Truncated | ErrorKind::Network)
}

pub(crate) fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "run/stopped", "stopped on request")
}

/// The frames of a page that is not whole yet. Up to a size they are held back, so that a page that breaks off can be
/// fetched again; beyond it they go on, and a break fails the attempt.
struct Held {
    /// What to call the page in messages.
    label: Arc<str>,
    frames: Vec<Frame>,
    bytes: usize,
    max: usize,
    released: bool,
}

impl Held {
    async fn settle(&mut self, sender: &ItemSender) -> Result<()> {
        self.bytes = self.frames.iter().map(Frame::size).sum();
        if self.released || self.bytes > self.max {
            self.released = true;
            self.release(sender).await?;
        }
        Ok(())
    }

    async fn release(&mut self, sender: &ItemSender) -> Result<()> {
        for frame in self.frames.drain(..) {
            sender.send(Item::Frame { frame, label: Arc::clone(&self.label) }).await?;
        }
        Ok(())
    }
}
