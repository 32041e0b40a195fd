//! Child processes that run units.

use std::collections::HashMap;
use std::ffi::OsString;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dil_model::component::{Permit, Permits};
use dil_model::unit::{AttemptId, CoordinatorReply, Counts, UnitEvent, UnitReport, UnitSpec};
use dil_model::{Error, ErrorKind, Result};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};

use super::wire::{FromWorker, ToWorker, VERSION, line};
use crate::run::unit::{Port, cancelled};
use crate::settings::{RunOptions, Stop};

/// The workers of a run. One that dies is started again when the next unit needs it.
pub(crate) struct Pool {
    command: Vec<OsString>,
    workers: Vec<Mutex<Option<Arc<Worker>>>>,
    permits: Arc<dyn Permits>,
    halt: Stop,
}

/// One running child.
struct Worker {
    messages: mpsc::UnboundedSender<ToWorker>,
    units: Mutex<Units>,
}

/// The units that a child runs; `dead` once nobody will answer for it.
#[derive(Default)]
struct Units {
    running: HashMap<AttemptId, (Arc<dyn Port>, oneshot::Sender<UnitReport>)>,
    dead: Option<Error>,
}

impl Pool {
    /// A pool of `options.workers` children, the first of which is started to see that it can be.
    pub(crate) fn start(options: &RunOptions, permits: Arc<dyn Permits>, halt: Stop) -> Result<Self> {
        let workers = (0..options.workers).map(|_| Mutex::new(None)).collect();
        let pool = Self { command: options.worker_command.clone(), workers, permits, halt };
        pool.worker(0)?;
        Ok(pool)
    }

    /// Runs a unit in the child that has the fewest.
    pub(crate) async fn run(&self, spec: UnitSpec, port: Arc<dyn Port>) -> UnitReport {
        let failed = |error| UnitReport { counts: Counts::default(), greatest: None, outcome: Err(error) };
        let worker = match self.worker(self.least_busy()) {
            Ok(worker) => worker,
            Err(error) => return failed(error),
        };
        let (done, report) = oneshot::channel();
        if let Err(error) = worker.add(spec.id, port, done) {
            return failed(error);
        }
        if worker.messages.send(ToWorker::Run(Box::new(spec))).is_err() {
            return failed(died(None));
        }
        tokio::pin!(report);
        let ended = tokio::select! {
            ended = &mut report => ended,
            () = self.halt.requested() => {
                let _ = worker.messages.send(ToWorker::Halt);
                report.await
            }
        };
        ended.unwrap_or_else(|_| failed(if self.halt.is_requested() { cancelled() } else { died(None) }))
    }

    fn least_busy(&self) -> usize {
        let busy = |number: &usize| {
            let worker = self.workers[*number].lock().unwrap_or_else(PoisonError::into_inner);
            worker.as_ref().map_or(0, |worker| worker.busy())
        };
        (0..self.workers.len()).min_by_key(busy).unwrap_or(0)
    }

    fn worker(&self, number: usize) -> Result<Arc<Worker>> {
        let mut place = self.workers[number].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(worker) = place.as_ref().filter(|worker| !worker.is_dead()) {
            return Ok(Arc::clone(worker));
        }
        let worker = Worker::start(&self.command, Arc::clone(&self.permits))?;
        *place = Some(Arc::clone(&worker));
        Ok(worker)
    }
}

impl Worker {
    fn start(command: &[OsString], permits: Arc<dyn Permits>) -> Result<Arc<Self>> {
        let cannot = |cause: &dyn std::fmt::Display| {
            Error::new(
                ErrorKind::Config,
                "run/worker",
                format!("a worker process cannot be started: {cause}"),
            )
            .hint("check that this program can be started by its user, or run without --workers")
        };
        let (program, arguments) = command.split_first().ok_or_else(|| cannot(&"no command"))?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|cause| cannot(&cause))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(cannot(&"it has no pipes"));
        };
        let (messages, outgoing) = mpsc::unbounded_channel();
        let worker = Arc::new(Self { messages, units: Mutex::default() });
        tokio::spawn(write_messages(input, outgoing));
        tokio::spawn(Arc::clone(&worker).read_messages(child, output, permits));
        Ok(worker)
    }

    fn units(&self) -> std::sync::MutexGuard<'_, Units> {
        self.units.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_dead(&self) -> bool {
        self.units().dead.is_some()
    }

    fn busy(&self) -> usize {
        self.units().running.len()
    }

    fn add(&self, id: AttemptId, port: Arc<dyn Port>, done: oneshot::Sender<UnitReport>) -> Result<()> {
        let mut units = self.units();
        if let Some(error) = &units.dead {
            return Err(error.clone());
        }
        units.running.insert(id, (port, done));
        Ok(())
    }

    /// Serves the child until its output ends; then every unit it had has failed, and may be tried again.
    async fn read_messages(
        self: Arc<Self>,
        mut child: Child,
        output: ChildStdout,
        permits: Arc<dyn Permits>,
    ) {
        let held: Arc<Mutex<HashMap<u64, Permit>>> = Arc::default();
        let mut lines = BufReader::new(output).lines();
        let mut foreign = None;
        while let Ok(Some(text)) = lines.next_line().await {
            let Ok(message) = serde_json::from_str::<FromWorker>(&text) else {
                foreign = Some("what it says is no message".to_owned());
                break;
            };
            match message {
                FromWorker::Ready { version: VERSION } => {}
                FromWorker::Ready { version } => {
                    foreign = Some(format!("it speaks version {version} of the protocol, not {VERSION}"));
                    break;
                }
                FromWorker::Unit { id, event } => self.serve(id, *event),
                FromWorker::Acquire { ticket, connection } => {
                    let (worker, permits, held) =
                        (Arc::clone(&self), Arc::clone(&permits), Arc::clone(&held));
                    tokio::spawn(async move {
                        let refused = match permits.acquire(&connection).await {
                            Ok(permit) => {
                                held.lock().unwrap_or_else(PoisonError::into_inner).insert(ticket, permit);
                                None
                            }
                            Err(error) => Some(error),
                        };
                        let _ = worker.messages.send(ToWorker::Permit { ticket, refused });
                    });
                }
                FromWorker::Release { ticket } => {
                    held.lock().unwrap_or_else(PoisonError::into_inner).remove(&ticket);
                }
                FromWorker::Pause { connection, wait_ms } => {
                    permits.pause(&connection, Duration::from_millis(wait_ms))
                }
            }
        }
        let _ = child.start_kill();
        let status = child.wait().await.ok();
        let error = foreign.map_or_else(|| died(status), |why| is_foreign(&why));
        let orphans = {
            let mut units = self.units();
            units.dead = Some(error.clone());
            std::mem::take(&mut units.running)
        };
        for (_, (_, done)) in orphans {
            let _ = done.send(UnitReport {
                counts: Counts::default(),
                greatest: None,
                outcome: Err(error.clone()),
            });
        }
    }

    /// Serves one message about a unit. One about an attempt that this child does not run is stale, and refused.
    fn serve(self: &Arc<Self>, id: AttemptId, event: UnitEvent) {
        if let UnitEvent::Report(report) = event {
            if let Some((_, done)) = self.units().running.remove(&id) {
                let _ = done.send(report);
            }
            return;
        }
        let port = self.units().running.get(&id).map(|(port, _)| Arc::clone(port));
        let Some(port) = port else {
            let error = Error::new(ErrorKind::Cancelled, "run/stale", "the attempt is no longer current");
            let _ = self.messages.send(ToWorker::Reply { id, reply: CoordinatorReply::Refused(error) });
            return;
        };
        let worker = Arc::clone(self);
        tokio::spawn(async move {
            let reply = match event {
                UnitEvent::Schema { read, written } => {
                    port.schema(id, read, written).await.map(CoordinatorReply::Schema)
                }
                UnitEvent::Checkpoint(position) => {
                    port.checkpoint(id, position).await.map(|()| CoordinatorReply::Durable)
                }
                UnitEvent::Progress(counts) => return port.progress(id, counts),
                UnitEvent::Report(_) => return,
            };
            let reply = reply.unwrap_or_else(CoordinatorReply::Refused);
            let _ = worker.messages.send(ToWorker::Reply { id, reply });
        });
    }
}

async fn write_messages(mut input: ChildStdin, mut outgoing: mpsc::UnboundedReceiver<ToWorker>) {
    while let Some(message) = outgoing.recv().await {
        if input.write_all(&line(&message)).await.is_err() {
            break;
        }
    }
}

fn is_foreign(why: &str) -> Error {
    let message = format!("the worker process is not this version of dil: {why}");
    Error::new(ErrorKind::Config, "run/worker-protocol", message)
        .hint("was dil exchanged while the run was under way? `dil run` goes on with the run")
}

fn died(status: Option<std::process::ExitStatus>) -> Error {
    let how = status.map_or_else(String::new, |status| format!(" ({status})"));
    Error::new(
        ErrorKind::Network,
        "run/worker-died",
        format!("the worker process ended before its unit did{how}"),
    )
    .hint("if it was killed for its memory, lower `memory` or `parallel`")
    .retryable()
}

#[cfg(test)]
mod tests {
    use dil_connect::limit::Limiter;

    use super::*;

    async fn fate(script: &str) -> Error {
        let command = ["sh", "-c", script].map(OsString::from);
        let worker = Worker::start(&command, Arc::new(Limiter::new(HashMap::new()))).unwrap();
        let dead = async {
            loop {
                if let Some(error) = worker.units().dead.clone() {
                    return error;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), dead).await.unwrap()
    }

    #[tokio::test]
    async fn a_worker_that_cannot_be_understood_is_told_from_one_that_died() {
        let garbage = fate("echo hello; exec sleep 60").await;
        assert_eq!((garbage.code.as_ref(), garbage.retry), ("run/worker-protocol", dil_model::Retry::No));
        let other = fate(r#"echo '{"ready":{"version":99}}'; exec sleep 60"#).await;
        assert!(other.message.contains("version 99 of the protocol"), "{other}");
        let killed = fate("kill -9 $$").await;
        assert_eq!((killed.code.as_ref(), killed.retry), ("run/worker-died", dil_model::Retry::Yes));
        assert!(killed.message.contains("signal: 9"), "{killed}");
    }
}
