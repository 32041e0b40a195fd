//! Decoder and encoders of one unit, each on a thread, behind bounded channels.

use std::sync::Arc;

use dil_convert::Chain;
use dil_model::arrow::datatypes::SchemaRef;
use dil_model::arrow::record_batch::RecordBatch;
use dil_model::component::{Converter as _, Decoded, Decoder, Frame};
use dil_model::manifest::StagedFile;
use dil_model::schema::StoredSchema;
use dil_model::template::unit_variables;
use dil_model::unit::{Counts, Position, UnitSpec};
use dil_model::{Error, ErrorKind, Result};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::key::KeyWatch;
use super::memory::Shares;
use super::roll::Roll;
use super::unit::Port;

/// What the reader gives on.
pub(crate) enum Item {
    /// Whole rows, and what to call their page in messages.
    Frame { frame: Frame, label: Arc<str> },
    /// All frames before this are of whole pages; reading can go on from `position`.
    PageEnd { position: Value, counts: Counts },
    /// There is no more; without it the unit was broken off.
    End,
}

/// The reader's end of the channel: bounded by the bytes of the frames in it.
pub(crate) struct ItemSender {
    items: mpsc::Sender<(Item, Option<OwnedSemaphorePermit>)>,
    room: Arc<Semaphore>,
    capacity: usize,
}

impl ItemSender {
    /// Gives an item on; waits for room.
    ///
    /// # Errors
    /// `Cancelled` if the other side has ended; its own error tells why.
    pub(crate) async fn send(&self, item: Item) -> Result<()> {
        let permit = match &item {
            Item::Frame { frame, .. } => {
                let size = u32::try_from(frame.size().min(self.capacity)).unwrap_or(u32::MAX);
                Some(Arc::clone(&self.room).acquire_many_owned(size).await.map_err(|_| downstream())?)
            }
            _ => None,
        };
        self.items.send((item, permit)).await.map_err(|_| downstream())
    }
}

/// What a unit wrote.
pub(crate) struct Written {
    pub(crate) files: Vec<StagedFile>,
    /// The greatest key of its rows, if keys are looked at.
    pub(crate) greatest: Option<Value>,
}

/// The two threads of a running unit.
pub(crate) struct Running {
    decoder: JoinHandle<Result<Option<Value>>>,
    encoder: JoinHandle<Result<Vec<StagedFile>>>,
}

impl Running {
    /// Waits for both threads; `read` is how the reader ended.
    ///
    /// A part that stops makes its neighbours stop too, so of several errors the one that is not such an echo is
    /// given, the last part's first.
    pub(crate) async fn finish(self, read: Result<()>) -> Result<Written> {
        let died = |_| {
            Error::new(
                ErrorKind::Internal,
                "internal/panic",
                "a part of the unit died; this is a defect in dil",
            )
        };
        let decoded = self.decoder.await.unwrap_or_else(|cause| Err(died(cause)));
        let encoded = self.encoder.await.unwrap_or_else(|cause| Err(died(cause)));
        match (encoded, decoded, read) {
            (Ok(files), Ok(greatest), Ok(())) => Ok(Written { files, greatest }),
            (encoded, decoded, read) => {
                let mut errors: Vec<Error> =
                    [encoded.err(), decoded.err(), read.err()].into_iter().flatten().collect();
                let cause = errors.iter().position(|error| !is_echo(error)).unwrap_or(0);
                Err(errors.swap_remove(cause))
            }
        }
    }
}

/// A later part of the unit ended first; its own error tells why.
fn downstream() -> Error {
    Error::new(ErrorKind::Cancelled, DOWNSTREAM, "a later part of the unit has ended")
}

const DOWNSTREAM: &str = "run/downstream";
const BROKEN_OFF: &str = "run/broken-off";

fn is_echo(error: &Error) -> bool {
    error.code == DOWNSTREAM || error.code == BROKEN_OFF
}

/// Starts a unit's threads.
pub(crate) fn start(
    spec: &Arc<UnitSpec>,
    shares: Shares,
    port: Arc<dyn Port>,
) -> Result<(ItemSender, Running)> {
    let (items, received) = mpsc::channel(64);
    // Two batches under way keep both threads busy; more would only cost memory.
    let (batches, encoded) = mpsc::channel(2);
    let room = Arc::new(Semaphore::new(shares.in_flight));
    let sender = ItemSender { items, room: Arc::clone(&room), capacity: shares.in_flight };
    let decoding = Decoding {
        decoder: dil_format::decoder(&spec.read)?,
        chain: dil_convert::chain(&spec.convert, &unit_variables(spec))?,
        sample: Vec::new(),
        sample_bytes: 0,
        sample_max: shares.in_flight / 4,
        read: None,
        batches,
        keys: KeyWatch::new(spec),
        spec: Arc::clone(spec),
        port: Arc::clone(&port),
        handle: Handle::current(),
    };
    let roll = Roll::new(spec, shares);
    let encoding = Encoding { roll, spec: Arc::clone(spec), port, handle: Handle::current() };
    let decoder = tokio::task::spawn_blocking(move || {
        let ended = decoding.run(received);
        // A reader that waits for room must learn that nobody makes any.
        room.close();
        ended
    });
    let encoder = tokio::task::spawn_blocking(move || encoding.run(encoded));
    Ok((sender, Running { decoder, encoder }))
}

/// What the decoder gives on.
enum Batch {
    Rows(RecordBatch),
    PageEnd { position: Value, counts: Counts, greatest: Option<Value> },
    End,
}

struct Decoding {
    decoder: Box<dyn Decoder>,
    chain: Chain,
    /// What is held back until the schema is known.
    sample: Vec<(Item, Option<OwnedSemaphorePermit>)>,
    sample_bytes: usize,
    sample_max: usize,
    read: Option<SchemaRef>,
    batches: mpsc::Sender<Batch>,
    keys: Option<KeyWatch>,
    spec: Arc<UnitSpec>,
    port: Arc<dyn Port>,
    handle: Handle,
}

impl Decoding {
    /// Decodes to the end; gives the greatest key.
    fn run(
        mut self,
        mut items: mpsc::Receiver<(Item, Option<OwnedSemaphorePermit>)>,
    ) -> Result<Option<Value>> {
        if let Some(schema) = &self.spec.schema {
            let schema = schema.to_arrow()?;
            self.use_schema(schema)?;
        }
        while let Some((item, permit)) = items.blocking_recv() {
            let ends = matches!(item, Item::End);
            if self.read.is_none() {
                if let Item::Frame { frame, .. } = &item {
                    self.sample_bytes += frame.size();
                }
                self.sample.push((item, permit));
                if ends || self.sample_bytes >= self.sample_max {
                    self.settle_schema()?;
                }
            } else {
                self.take(item)?;
            }
        }
        Ok(self.greatest())
    }

    fn greatest(&self) -> Option<Value> {
        self.keys.as_ref().and_then(KeyWatch::greatest)
    }

    /// Infers the schema of the sample, agrees on it, and decodes what was held back.
    fn settle_schema(&mut self) -> Result<()> {
        let mut inferred: Option<SchemaRef> = None;
        for (item, _) in &self.sample {
            if let Item::Frame { frame, label } = item {
                let schema = self.decoder.infer(frame, inferred.as_ref());
                inferred = Some(schema.map_err(|error| self.recorded(error).at(&**label))?);
            }
        }
        if let Some(schema) = inferred {
            self.agree(&schema)?;
        }
        for (item, _permit) in std::mem::take(&mut self.sample) {
            self.take(item)?;
        }
        Ok(())
    }

    fn take(&mut self, item: Item) -> Result<()> {
        match item {
            Item::Frame { frame, label } => self.decode(&frame).map_err(|error| error.at(&*label)),
            Item::PageEnd { position, counts } => {
                self.give(Batch::PageEnd { position, counts, greatest: self.greatest() })
            }
            Item::End => self.give(Batch::End),
        }
    }

    fn decode(&mut self, frame: &Frame) -> Result<()> {
        let mut widened = 0;
        loop {
            match self.decoder.decode(frame).map_err(|error| self.recorded(error))? {
                Decoded::Batch(batch) => {
                    let batch = match &mut self.keys {
                        Some(keys) if batch.num_rows() > 0 => keys.take(batch)?,
                        _ => batch,
                    };
                    let converted = self.chain.convert(batch, frame.first_row);
                    let batch = converted.map_err(|error| error.at(format!("page {}", frame.page)))?;
                    return self.give(Batch::Rows(batch));
                }
                // Each round adds at least one column or type; the bound only stops a decoder that does not.
                Decoded::Wider(schema) if widened < 1_000 => {
                    widened += 1;
                    self.agree(&schema)?;
                }
                Decoded::Wider(_) => {
                    return Err(Error::new(
                        ErrorKind::Internal,
                        "internal/schema",
                        "the schema never got wide enough",
                    ));
                }
            }
        }
    }

    /// Completes the advice of an error of type: if there is a schema already, declaring a column is not all.
    fn recorded(&self, error: Error) -> Error {
        match self.spec.schema {
            Some(_) => super::declared::complete(error, &self.spec.flow, &self.spec.stage),
            None => error,
        }
    }

    /// Asks the coordinator for the stage's schema that holds this one.
    fn agree(&mut self, read: &SchemaRef) -> Result<()> {
        let written = self.chain.schema(read)?;
        let asked = self.port.schema(
            self.spec.id,
            StoredSchema::from_arrow(read),
            StoredSchema::from_arrow(&written),
        );
        let agreed = self.handle.block_on(asked)?.to_arrow()?;
        self.use_schema(agreed)
    }

    fn use_schema(&mut self, read: SchemaRef) -> Result<()> {
        self.chain.schema(&read)?;
        self.decoder.set_schema(&read)?;
        self.read = Some(read);
        Ok(())
    }

    fn give(&self, batch: Batch) -> Result<()> {
        self.batches.blocking_send(batch).map_err(|_| downstream())
    }
}

struct Encoding {
    roll: Roll,
    spec: Arc<UnitSpec>,
    port: Arc<dyn Port>,
    handle: Handle,
}

impl Encoding {
    fn run(mut self, mut batches: mpsc::Receiver<Batch>) -> Result<Vec<StagedFile>> {
        while let Some(batch) = batches.blocking_recv() {
            match batch {
                Batch::Rows(rows) => self.roll.write(&rows)?,
                Batch::PageEnd { position, counts, greatest } => {
                    if self.roll.wants_checkpoint() {
                        let files = self.roll.close()?.to_vec();
                        let position = Position { source: position, files, counts, greatest };
                        self.handle.block_on(self.port.checkpoint(self.spec.id, position))?;
                    }
                }
                Batch::End => {
                    self.roll.close()?;
                    return Ok(self.roll.into_files());
                }
            }
        }
        Err(Error::new(ErrorKind::Cancelled, BROKEN_OFF, "the unit was broken off"))
    }
}
