//! The worker's side: `dil work`.

use std::collections::HashMap;
use std::io::{BufRead as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use dil_connect::http::Clients;
use dil_model::component::{Permit, Permits};
use dil_model::schema::StoredSchema;
use dil_model::unit::{AttemptId, CoordinatorReply, Counts, Position, UnitEvent};
use dil_model::{Error, ErrorKind, Result};
use tokio::sync::{mpsc, oneshot};

use super::wire::{FromWorker, ToWorker, VERSION, line};
use crate::run::unit::{Port, UnitContext, run_unit};
use crate::settings::{EnvSecrets, Stop};

/// Runs units for a coordinator until its end of the pipe closes; gives the exit code.
pub async fn work() -> i32 {
    let link = Arc::new(Link::default());
    let context = UnitContext {
        port: Arc::clone(&link) as Arc<dyn Port>,
        permits: Arc::clone(&link) as Arc<dyn Permits>,
        secrets: Arc::new(EnvSecrets),
        clients: Clients::new(),
        stop: Stop::new(),
    };
    link.send(&FromWorker::Ready { version: VERSION });
    let mut messages = read_messages();
    while let Some(message) = messages.recv().await {
        match message {
            ToWorker::Run(spec) => {
                let (link, context, id) = (Arc::clone(&link), context.clone(), spec.id);
                tokio::spawn(async move {
                    let report = run_unit(*spec, context).await;
                    link.send(&FromWorker::Unit { id, event: Box::new(UnitEvent::Report(report)) });
                });
            }
            ToWorker::Reply { id, reply } => link.answer(id, reply),
            ToWorker::Permit { ticket, refused } => link.permit(ticket, refused),
            ToWorker::Halt => context.stop.request(),
        }
    }
    0
}

/// Reads the coordinator's messages on a thread; ends the process when there is no coordinator any more, for nothing
/// that a unit still does could be used.
fn read_messages() -> mpsc::UnboundedReceiver<ToWorker> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for text in std::io::stdin().lock().lines() {
            let message = text.ok().and_then(|text| serde_json::from_str(&text).ok());
            let Some(message) = message else { std::process::exit(1) };
            if sender.send(message).is_err() {
                break;
            }
        }
        std::process::exit(0);
    });
    receiver
}

/// The way to the coordinator.
#[derive(Default)]
struct Link {
    waiting: Mutex<HashMap<AttemptId, oneshot::Sender<CoordinatorReply>>>,
    tickets: Mutex<HashMap<u64, oneshot::Sender<Option<Error>>>>,
    next_ticket: AtomicU64,
}

impl Link {
    fn send(&self, message: &FromWorker) {
        // The lock of stdout keeps lines whole. If the coordinator is gone, so is this process, soon.
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(&line(message)).and_then(|()| out.flush());
    }

    fn answer(&self, id: AttemptId, reply: CoordinatorReply) {
        if let Some(waiting) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id) {
            let _ = waiting.send(reply);
        }
    }

    fn permit(&self, ticket: u64, refused: Option<Error>) {
        if let Some(waiting) = self.tickets.lock().unwrap_or_else(PoisonError::into_inner).remove(&ticket) {
            let _ = waiting.send(refused);
        }
    }

    /// Sends an event of an attempt and waits for the answer. An attempt has one question open at a time: its decoder asks
    /// for schemas and its encoder for checkpoints, and each waits for its answer; so the two take turns.
    async fn ask(&self, id: AttemptId, event: UnitEvent) -> Result<CoordinatorReply> {
        loop {
            let (sender, answer) = oneshot::channel();
            let taken = {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                match waiting.entry(id) {
                    std::collections::hash_map::Entry::Occupied(_) => false,
                    std::collections::hash_map::Entry::Vacant(entry) => {
                        entry.insert(sender);
                        true
                    }
                }
            };
            if !taken {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
            self.send(&FromWorker::Unit { id, event: Box::new(event) });
            return answer.await.map_err(|_| gone());
        }
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Cancelled, "run/no-coordinator", "the coordinator is gone")
}

#[async_trait]
impl Port for Link {
    async fn schema(&self, id: AttemptId, read: StoredSchema, written: StoredSchema) -> Result<StoredSchema> {
        match self.ask(id, UnitEvent::Schema { read, written }).await? {
            CoordinatorReply::Schema(schema) => Ok(schema),
            CoordinatorReply::Refused(error) => Err(error),
            CoordinatorReply::Durable => Err(gone()),
        }
    }

    async fn checkpoint(&self, id: AttemptId, position: Position) -> Result<()> {
        match self.ask(id, UnitEvent::Checkpoint(position)).await? {
            CoordinatorReply::Durable => Ok(()),
            CoordinatorReply::Refused(error) => Err(error),
            CoordinatorReply::Schema(_) => Err(gone()),
        }
    }

    fn progress(&self, id: AttemptId, counts: Counts) {
        self.send(&FromWorker::Unit { id, event: Box::new(UnitEvent::Progress(counts)) });
    }
}

#[async_trait]
impl Permits for Link {
    async fn acquire(&self, connection: &str) -> Result<Permit> {
        let ticket = self.next_ticket.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner).insert(ticket, sender);
        self.send(&FromWorker::Acquire { ticket, connection: connection.to_owned() });
        if let Some(error) = answer.await.map_err(|_| gone())? {
            return Err(error);
        }
        // The permit outlives this borrow of the link; giving it back is one more message.
        Ok(Permit::new(move || {
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(&line(&FromWorker::Release { ticket })).and_then(|()| out.flush());
        }))
    }

    fn pause(&self, connection: &str, wait: Duration) {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.send(&FromWorker::Pause { connection: connection.to_owned(), wait_ms });
    }
}
