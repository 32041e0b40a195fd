//! Stages that begin before the ones whose rows they use have ended: a unit starts when the unit that gave its value is done.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use dil_model::config::{FilesWrite, Flow, Order, Publish, Stage, Write, WriteMode};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::event::Outcome;

/// Planning looks at every unit of the stage, so it is not done for each row that comes.
const PLAN_EVERY: Duration = Duration::from_millis(200);

/// How far a stage is.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// Units whose rows others may use.
    recorded: u64,
    ended: Option<Outcome>,
}

/// How far all stages of a run are.
pub(crate) struct Feeds(HashMap<String, watch::Sender<Progress>>);

impl Feeds {
    pub(crate) fn new<'a>(stages: impl Iterator<Item = &'a String>) -> Self {
        Self(stages.map(|stage| (stage.clone(), watch::Sender::new(Progress::default()))).collect())
    }

    /// Tells that units of a stage are recorded.
    pub(crate) fn recorded(&self, stage: &str, units: u64) {
        if let Some(feed) = self.0.get(stage) {
            feed.send_modify(|progress| progress.recorded += units);
        }
    }

    /// Tells that a stage is over.
    pub(crate) fn ended(&self, stage: &str, outcome: Outcome) {
        if let Some(feed) = self.0.get(stage) {
            feed.send_modify(|progress| progress.ended = Some(outcome));
        }
    }

    /// Follows the stages whose rows a stage uses.
    pub(crate) fn follow(&self, stage: &Stage) -> Following {
        let upstream = stage.upstreams().into_iter().filter_map(|name| self.0.get(name));
        Following {
            upstream: upstream.map(watch::Sender::subscribe).collect(),
            taken: HashSet::new(),
            due: false,
            next: Instant::now(),
        }
    }
}

/// Whether a stage may begin before those whose rows it uses have ended. One that takes a choice among its units must know all of
/// them first, and one whose rows appear together gives none before.
pub(crate) fn may_follow(flow: &Flow, stage: &Stage) -> bool {
    let Some(units) = &stage.units else { return false };
    let chooses = units.max.is_some() || units.min > 0 || units.order != Order::OldestFirst;
    let replaced = matches!(&stage.write, Some(Write::Files(FilesWrite { mode: WriteMode::Replace, .. })));
    let one_by_one =
        |name: &&str| flow.stages.get(*name).is_some_and(|before| before.publish == Publish::EachUnit);
    !chooses && !replaced && stage.upstreams().iter().all(one_by_one)
}

/// The stages that a stage follows, and what of their rows it has taken up.
pub(super) struct Following {
    upstream: Vec<watch::Receiver<Progress>>,
    /// Units that were queued in this run, told by a hash of their names. Two that share one would only mean that the second
    /// runs in the next run.
    taken: HashSet<u64>,
    /// Whether there is something to plan.
    due: bool,
    /// Not before.
    next: Instant,
}

impl Following {
    /// How they ended, once all have: the first that did not succeed, if any.
    pub(super) fn ended(&self) -> Option<Outcome> {
        let mut worst = Outcome::Succeeded;
        for upstream in &self.upstream {
            let outcome = upstream.borrow().ended?;
            if worst == Outcome::Succeeded {
                worst = outcome;
            }
        }
        Some(worst)
    }

    /// Waits a little for them to end: a short list is not worth planning twice.
    pub(super) async fn settle(&mut self) {
        let until = Instant::now() + PLAN_EVERY;
        while self.ended().is_none() {
            let changes = self.upstream.iter_mut().map(|upstream| Box::pin(upstream.changed()));
            tokio::select! {
                _ = futures::future::select_all(changes) => self.due = true,
                () = tokio::time::sleep_until(until) => return,
            }
        }
    }

    /// Waits until more is recorded, or one of them is over. What it has seen is not lost if it is dropped and asked again.
    pub(super) async fn changed(&mut self) {
        if !self.due {
            let changes = self.upstream.iter_mut().map(|upstream| Box::pin(upstream.changed()));
            let _ = futures::future::select_all(changes).await;
            self.due = true;
        }
        if self.ended().is_none() {
            tokio::time::sleep_until(self.next).await;
        }
        for upstream in &mut self.upstream {
            upstream.mark_unchanged();
        }
        self.due = false;
        self.next = Instant::now() + PLAN_EVERY;
    }

    /// Notes a unit; false if it was queued before.
    pub(super) fn take(&mut self, signature: &str) -> bool {
        self.taken.insert(hash(signature))
    }

    /// Whether a unit was queued before.
    pub(super) fn has_taken(&self, signature: &str) -> bool {
        self.taken.contains(&hash(signature))
    }
}

fn hash(signature: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    signature.hash(&mut hasher);
    hasher.finish()
}
