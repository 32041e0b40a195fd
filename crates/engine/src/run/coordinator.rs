//! The coordinator: takes the lease, recovers, runs the stages in the order of their DAG, ends the run.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use dil_flow::Checked;
use dil_model::config::{Connection, Flow, Units};
use dil_model::{Error, ErrorKind, Result, fingerprint};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use indexmap::IndexMap;
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::declared::check_declared;
use super::follow::{Feeds, may_follow};
use super::memory::Slots;
use super::rows_folder;
use super::stage::{empty_summary, run_stage};
use crate::choice::Choice;
use crate::commit;
use crate::event::{Event, EventSink, Outcome, RunSummary, StageSummary};
use crate::execute::Executor;
use crate::ledger::{LeaseGuard, Ledger, RunRecord, StageKey};
use crate::settings::{RunOptions, Settings, Stop};

/// Runs of a flow whose kept rows stay to be looked at.
const ROWS_KEPT: u32 = 5;

/// What all stages of a run share.
pub(crate) struct RunContext {
    pub(crate) flow: String,
    pub(crate) run: String,
    pub(crate) as_of: Timestamp,
    /// The backfill that the run works at, or nothing.
    pub(crate) backfill: String,
    pub(crate) state_dir: PathBuf,
    pub(crate) connections: IndexMap<String, Connection>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) lease: LeaseGuard,
    pub(crate) events: Arc<dyn EventSink>,
    pub(crate) executor: Executor,
    pub(crate) slots: Slots,
    pub(crate) choice: Choice,
    /// How far the stages are.
    pub(crate) feeds: Feeds,
    /// Ends units under way: the user asked, or something ended the run.
    pub(crate) halt: Stop,
    room: Arc<Semaphore>,
    units: AtomicU64,
}

impl RunContext {
    /// Waits until one more unit may run.
    pub(crate) fn slot(&self) -> impl Future<Output = Option<OwnedSemaphorePermit>> + Send + use<> {
        let room = Arc::clone(&self.room);
        async move { room.acquire_owned().await.ok() }
    }

    /// A stage of the flow, as the ledger knows it in this run.
    pub(crate) fn stage_key<'a>(&'a self, stage: &'a str) -> StageKey<'a> {
        StageKey { flow: &self.flow, stage, backfill: &self.backfill }
    }

    /// A number for the next unit, unique in this process.
    pub(crate) fn next_unit(&self) -> u64 {
        self.units.fetch_add(1, Ordering::Relaxed)
    }
}

/// Runs a flow, or goes on with its interrupted run.
///
/// # Errors
/// What ends the run as a whole: the lease is held or lost, the ledger is broken, a publication could not be finished.
/// Failed units and stages are no error here: they are in the summary.
pub async fn run(
    flow: &Checked,
    settings: &Settings,
    options: &RunOptions,
    events: Arc<dyn EventSink>,
    stop: Stop,
) -> Result<RunSummary> {
    let state_dir = std::path::absolute(&settings.state_dir)
        .map_err(|cause| Error::storage("resolving", &settings.state_dir, &cause))?;
    let place = Settings { state_dir: state_dir.clone(), ..settings.clone() }.place();
    let ledger = Arc::new(tokio::task::block_in_place(|| Ledger::open(&place))?);
    let lease = tokio::task::block_in_place(|| ledger.take_lease(&flow.flow.flow, settings.lease))?;
    let halt = Stop::new();
    let renewal = Renewal::start(Arc::clone(&ledger), lease.clone(), halt.clone(), Arc::clone(&events));
    let forward = forward_stop(stop.clone(), halt.clone());
    let result = leased(flow, settings, options, &events, state_dir, Arc::clone(&ledger), &lease, halt).await;
    forward.abort();
    let lost = renewal.end();
    let result = match (result, lost) {
        (_, Some(error)) => Err(error),
        (result, None) => result,
    };
    if lease.is_lost() {
        return result;
    }
    let released = tokio::task::block_in_place(|| ledger.release_lease(&lease));
    // What went wrong before is told rather than what that led to.
    result.and_then(|summary| released.map(|()| summary))
}

/// All of a run between taking the lease and giving it back.
#[expect(clippy::too_many_arguments, reason = "the one place where a run's parts come together")]
async fn leased(
    flow: &Checked,
    settings: &Settings,
    options: &RunOptions,
    events: &Arc<dyn EventSink>,
    state_dir: PathBuf,
    ledger: Arc<Ledger>,
    lease: &LeaseGuard,
    halt: Stop,
) -> Result<RunSummary> {
    let started = Instant::now();
    let name = &flow.flow.flow;
    let (record, resumed, recovered) =
        tokio::task::block_in_place(|| begin(flow, options, &ledger, lease, events))?;
    let slots = Slots::divide(flow.flow.memory, flow.flow.parallel, options.workers);
    let context = Arc::new(RunContext {
        flow: name.clone(),
        run: record.run.clone(),
        as_of: record.as_of,
        backfill: record.backfill.clone(),
        state_dir,
        connections: flow.flow.connections.clone(),
        executor: Executor::start(&flow.flow, settings, options, halt.clone())?,
        ledger,
        lease: lease.clone(),
        events: Arc::clone(events),
        slots,
        choice: options.choice.clone(),
        feeds: Feeds::new(flow.flow.stages.keys()),
        halt,
        room: Arc::new(Semaphore::new(slots.units as usize)),
        units: AtomicU64::new(0),
    });
    events.event(&Event::RunStarted { run: record.run.clone(), flow: name.clone(), resumed, recovered });
    let stages = run_stages(&context, flow).await;
    let stages = match stages {
        Ok(stages) => stages,
        Err(error) => {
            if error.kind != ErrorKind::Lease {
                // The run stays unfinished, so the next one goes on with it; why it ended is noted if that is possible.
                let _ = tokio::task::block_in_place(|| {
                    context.ledger.end_run(lease, &record.run, "stopped", Some(&error.to_string()))
                });
            }
            return Err(error);
        }
    };
    let outcome = overall(&stages);
    tokio::task::block_in_place(|| end(&context, &flow.flow, outcome))?;
    let summary =
        RunSummary { run: record.run, flow: name.clone(), outcome, stages, elapsed: started.elapsed() };
    events.event(&Event::RunEnded { summary: summary.clone() });
    Ok(summary)
}

/// Recovers, and begins a run or goes on with the interrupted one.
fn begin(
    flow: &Checked,
    options: &RunOptions,
    ledger: &Ledger,
    lease: &LeaseGuard,
    events: &Arc<dyn EventSink>,
) -> Result<(RunRecord, bool, u64)> {
    let name = &flow.flow.flow;
    let recovered = commit::recover(ledger, lease, name)?;
    for (stage, error) in recovered.taken_back {
        let message = format!("an interrupted publication could not be finished and was taken back: {error}");
        events.event(&Event::Warning { stage, message });
    }
    for (stage_name, stage) in &flow.flow.stages {
        check_declared(ledger, name, stage_name, stage)
            .map_err(|error| error.at(format!("stage {stage_name}")))?;
    }
    commit::clear_staging(ledger, lease, name)?;
    let backfill = options.backfill.clone().unwrap_or_default();
    let fingerprint = fingerprint(flow, options);
    let unfinished = ledger.unfinished_run(name)?;
    let changed = unfinished.as_ref().is_some_and(|run| run.fingerprint != fingerprint);
    if changed && !options.fresh {
        events.event(&Event::Warning {
            stage: String::new(),
            message: "the flow file, or what of it was to run, changed since the run that was interrupted; starting a \
                      new run"
                .to_owned(),
        });
    }
    let unfinished = unfinished.filter(|_| !options.fresh && !changed);
    if options.resume_only && unfinished.is_none() {
        return Err(Error::new(
            ErrorKind::Config,
            "run/nothing-to-resume",
            format!("flow `{name}` has no interrupted run"),
        )
        .hint("start one with `dil run`"));
    }
    let resumed = unfinished.is_some();
    let record = unfinished.unwrap_or_else(|| RunRecord {
        run: run_id(options.now),
        fingerprint,
        as_of: options.now,
        backfill,
    });
    ledger.begin_run(lease, name, &record)?;
    Ok((record, resumed, recovered.finished))
}

/// What a run is about; another one does not go on with it.
fn fingerprint(flow: &Checked, options: &RunOptions) -> String {
    let choice = options.choice.fingerprint();
    match &options.backfill {
        None if choice.is_empty() => flow.fingerprint().to_owned(),
        backfill => fingerprint::fingerprint(&(flow.fingerprint(), &flow.flow, backfill, choice)),
    }
}

/// A run's id: its moment, for people, and enough chance to be unique.
fn run_id(now: Timestamp) -> String {
    format!("{}-{:04x}", now.strftime("%Y%m%dT%H%M%S"), rand::random::<u16>())
}

/// Runs every stage once those before it are done; independent ones at the same time.
async fn run_stages(context: &Arc<RunContext>, flow: &Checked) -> Result<Vec<StageSummary>> {
    let mut ended: HashMap<String, StageSummary> = HashMap::new();
    let mut begun: HashSet<&str> = HashSet::new();
    let mut running = FuturesUnordered::new();
    let mut fatal = None;
    let chosen = context.choice.stages(flow);
    loop {
        for name in flow.order() {
            let Some(stage) = flow.flow.stages.get(name) else { continue };
            if begun.contains(name.as_str()) {
                continue;
            }
            if !chosen.contains(name) {
                begun.insert(name);
                continue;
            }
            let before = stage.upstreams();
            let follows = context.choice.of(name).is_empty() && may_follow(&flow.flow, stage);
            let ready =
                before.iter().all(|before| ended.contains_key(*before) || follows && begun.contains(before));
            let outcomes =
                before.iter().filter_map(|before| ended.get(*before)).map(|summary| summary.outcome);
            let blocked = outcomes.into_iter().find(|outcome| *outcome != Outcome::Succeeded);
            match blocked {
                _ if !ready => {}
                Some(outcome) => {
                    begun.insert(name);
                    let outcome =
                        if outcome == Outcome::Stopped { Outcome::Stopped } else { Outcome::Blocked };
                    let summary = StageSummary { outcome, ..empty_summary(name, stage) };
                    context.feeds.ended(name, outcome);
                    context.events.event(&Event::StageEnded { summary: summary.clone() });
                    ended.insert(name.clone(), summary);
                }
                None => {
                    begun.insert(name);
                    running.push(run_stage(Arc::clone(context), name, stage, kept_columns(&flow.flow, name)));
                }
            }
        }
        let Some(result) = running.next().await else { break };
        match result {
            Ok(summary) => {
                context.feeds.ended(&summary.stage, summary.outcome);
                context.events.event(&Event::StageEnded { summary: summary.clone() });
                ended.insert(summary.stage.clone(), summary);
            }
            Err(error) => {
                context.halt.request();
                fatal.get_or_insert(error);
            }
        }
        if fatal.is_some() && running.is_empty() {
            break;
        }
    }
    match fatal {
        Some(error) => Err(error),
        None => Ok(flow.order().iter().filter_map(|name| ended.remove(name)).collect()),
    }
}

/// The columns of a stage's rows that are kept for others; none means all. `None` if nobody needs any.
pub(crate) fn kept_columns(flow: &Flow, name: &str) -> Option<Vec<String>> {
    let stage = flow.stages.get(name)?;
    let users = flow.stages.values().filter_map(|user| user.units.as_ref()).flat_map(Units::lists);
    let mut columns: Vec<String> = Vec::new();
    let mut used = false;
    for each in users.filter(|each| each.rows_of.as_deref() == Some(name)) {
        used = true;
        columns.extend(each.columns());
    }
    if stage.write.is_none() {
        // Its rows exist for being looked at, too.
        return Some(Vec::new());
    }
    used.then(|| {
        columns.sort();
        columns.dedup();
        columns
    })
}

fn overall(stages: &[StageSummary]) -> Outcome {
    let any = |outcome: Outcome| stages.iter().any(|stage| stage.outcome == outcome);
    if any(Outcome::Failed) || any(Outcome::Blocked) {
        Outcome::Failed
    } else if any(Outcome::Stopped) {
        Outcome::Stopped
    } else {
        Outcome::Succeeded
    }
}

/// Ends the run in the ledger and removes what is no longer needed.
fn end(context: &RunContext, flow: &Flow, outcome: Outcome) -> Result<()> {
    let state = match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Stopped => "stopped",
        Outcome::Failed | Outcome::Blocked => "failed",
    };
    context.ledger.end_run(&context.lease, &context.run, state, None)?;
    commit::clear_staging(&context.ledger, &context.lease, &context.flow)?;
    for old in context.ledger.old_runs(&context.flow, ROWS_KEPT)? {
        if owes_rows(context, flow, &old)? {
            continue;
        }
        // No later run brings these to life again, so it does not matter who holds the lease meanwhile.
        dil_connect::local::remove_tree(&rows_folder(&context.state_dir, &old))?;
        context.ledger.forget_rows(&context.lease, &old)?;
    }
    Ok(())
}

/// Whether rows that were kept in a run are not all in the backlog of those who need them.
fn owes_rows(context: &RunContext, flow: &Flow, run: &str) -> Result<bool> {
    for (name, stage) in &flow.stages {
        for upstream in stage.upstreams() {
            if context.ledger.owes_rows(context.stage_key(name), upstream, run)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn forward_stop(stop: Stop, halt: Stop) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        stop.requested().await;
        halt.request();
    })
}

/// Renews the lease from a thread of its own, so that a busy runtime does not lose it.
struct Renewal {
    done: std::sync::mpsc::Sender<()>,
    thread: std::thread::JoinHandle<Option<Error>>,
}

impl Renewal {
    fn start(ledger: Arc<Ledger>, lease: LeaseGuard, halt: Stop, events: Arc<dyn EventSink>) -> Self {
        let (done, ended) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            loop {
                match ended.recv_timeout(lease.renewal()) {
                    Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                    _ => return None,
                }
                match ledger.renew_lease(&lease) {
                    Ok(()) => {}
                    Err(error) if error.kind == ErrorKind::Lease => {
                        halt.request();
                        return Some(error);
                    }
                    // Every transaction checks the lease, so a late renewal is no danger.
                    Err(error) => events.event(&Event::Warning {
                        stage: String::new(),
                        message: format!("the lease was not renewed: {error}"),
                    }),
                }
            }
        });
        Self { done, thread }
    }

    /// Stops renewing; gives the error if the lease was lost meanwhile.
    fn end(self) -> Option<Error> {
        let _ = self.done.send(());
        self.thread.join().ok().flatten()
    }
}
