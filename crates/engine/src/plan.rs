//! `dil plan`: what a run would do, and why, without doing it. Reads the ledger and nothing else.

use dil_flow::Checked;
use dil_model::config::{
    Compression, Connection, FilesWrite, Flow, Late, Paginate, Publish, Stage, Units, Write, WriteMode,
};
use dil_model::template;
use dil_model::{KeyRange, Result};
use dil_plan::{Decision, PlannedUnit, StageInput, ValueList, Values};
use jiff::Timestamp;
use serde::Serialize;

use crate::ledger::{Ledger, StageKey, key_text};
use crate::run::{changed_division, check_declared, count, origin};
use crate::settings::Settings;

/// Units that a plan shows one by one.
const UNITS_SHOWN: usize = 10_000;

/// What a run would do.
#[derive(Debug, Clone, Serialize)]
pub struct PlanReport {
    /// The flow's name.
    pub flow: String,
    /// What it is for.
    pub description: Option<String>,
    /// What counts as now, RFC 3339.
    pub as_of: String,
    /// Its memory budget.
    pub memory: String,
    /// The most units that run at once.
    pub parallel: u32,
    /// The stages in the order they run.
    pub stages: Vec<StagePlan>,
}

/// What to plan.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// What counts as now.
    pub now: Timestamp,
    /// Whether units that would not run are listed, too.
    pub skipped: bool,
}

/// What a run would do in one stage.
#[derive(Debug, Clone, Serialize)]
pub struct StagePlan {
    /// The stage's name.
    pub stage: String,
    /// What it is for.
    pub description: Option<String>,
    /// The units that would run; the first ten thousand. If `values_known` is false, those of one value, which stands
    /// as `?` in them.
    pub units: Vec<PlanUnit>,
    /// How many would run; if `values_known` is false, for each value.
    pub units_total: u64,
    /// Whether the values are known that divide the stage: the stage that gives them has run.
    pub values_known: bool,
    /// Why others would not, with their number.
    pub skipped: Vec<(String, u64)>,
    /// Which ones would not; the first ten thousand, if they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped_units: Vec<SkippedUnit>,
    /// The first request of the first unit, secrets masked.
    pub first_request: Option<String>,
    /// The bounds that its requests keep.
    pub limits: Vec<String>,
    /// Where its rows go, and how files are spelt there; absent for a stage that only feeds others.
    pub files: Option<String>,
    /// What source and destination allow to promise.
    pub guarantee: String,
    /// What could not be known without running.
    pub note: Option<String>,
}

/// One unit that would run.
#[derive(Debug, Clone, Serialize)]
pub struct PlanUnit {
    /// Its name.
    pub signature: String,
    /// The first instant that it would read, RFC 3339; or the first key, or the one that it would read on from.
    pub low: Option<String>,
    /// The first instant after the last, or the first key after the last.
    pub high: Option<String>,
    /// Why it would run.
    pub reason: String,
}

/// One unit that would not run.
#[derive(Debug, Clone, Serialize)]
pub struct SkippedUnit {
    /// Its name.
    pub signature: String,
    /// Why it would not.
    pub reason: String,
}

/// Plans a flow. The report has no stages yet: those come one by one, as they are planned.
///
/// # Errors
/// `State` if the ledger is broken; what comes with a stage: `Config` if it cannot be planned.
pub fn plan<'a>(
    flow: &'a Checked,
    settings: &Settings,
    options: &'a PlanOptions,
) -> Result<(PlanReport, impl Iterator<Item = Result<StagePlan>> + use<'a>)> {
    let ledger = Ledger::open_existing(&settings.place())?;
    let report = PlanReport {
        flow: flow.flow.flow.clone(),
        description: flow.flow.description.clone(),
        as_of: options.now.to_string(),
        memory: flow.flow.memory.to_string(),
        parallel: flow.flow.parallel,
        stages: Vec::new(),
    };
    let stages = flow.order().iter().filter_map(|name| flow.flow.stages.get(name).map(|stage| (name, stage)));
    let stages = stages.map(move |(name, stage)| {
        plan_stage(&flow.flow, name, stage, ledger.as_ref(), options)
            .map_err(|error| error.at(format!("stage {name}")))
    });
    Ok((report, stages))
}

fn plan_stage(
    flow: &Flow,
    name: &str,
    stage: &Stage,
    ledger: Option<&Ledger>,
    options: &PlanOptions,
) -> Result<StagePlan> {
    let mut plan = StagePlan {
        stage: name.to_owned(),
        description: stage.description.clone(),
        units: Vec::new(),
        units_total: 0,
        values_known: true,
        skipped: Vec::new(),
        skipped_units: Vec::new(),
        first_request: None,
        limits: limits(flow, stage),
        files: files(stage),
        guarantee: guarantee(stage),
        note: None,
    };
    let key = StageKey { flow: &flow.flow, stage: name, backfill: "" };
    let mut latest = None;
    if let Some(ledger) = ledger {
        check_declared(ledger, &flow.flow, name, stage)?;
        changed_division(ledger, key, stage)?;
        (latest, _) = ledger.stage_progress(key)?;
    }
    let upstream = upstream_rows(key, stage, ledger)?;
    plan.note = upstream.note;
    plan.values_known = upstream.known;
    let units = if upstream.known { stage.units.clone() } else { stage.units.as_ref().map(of_any_value) };
    let input = StageInput {
        units: units.as_ref(),
        now: options.now,
        values: &upstream.values,
        latest,
        backfill: false,
        only: &[],
    };
    let history = |names: &[String]| match ledger {
        Some(ledger) => ledger.histories(key, "", names),
        None => Ok(vec![None; names.len()]),
    };
    for decision in dil_plan::decide(&input, history)? {
        match decision? {
            Decision::Run(unit) => {
                if plan.first_request.is_none() {
                    plan.first_request = first_request(flow, stage, &unit)?;
                }
                plan.units_total += 1;
                if plan.units.len() < UNITS_SHOWN {
                    plan.units.push(shown(&unit));
                }
            }
            Decision::Skip { why, signature, .. } => {
                let reason = why.to_string();
                if options.skipped && plan.skipped_units.len() < UNITS_SHOWN {
                    plan.skipped_units.push(SkippedUnit { signature, reason: reason.clone() });
                }
                count(&mut plan.skipped, reason);
            }
        }
    }
    Ok(plan)
}

fn shown(unit: &PlannedUnit) -> PlanUnit {
    let (low, high) = match (&unit.interval, &unit.key) {
        (Some(interval), _) => (Some(interval.low.to_string()), Some(interval.high.to_string())),
        (None, Some(KeyRange::Between { low, high })) => (Some(low.to_string()), Some(high.to_string())),
        (None, Some(KeyRange::Above { after, .. })) => (after.as_ref().map(key_text), None),
        (None, None) => (None, None),
    };
    PlanUnit { signature: unit.signature.clone(), low, high, reason: unit.reason.to_string() }
}

/// What a stage's units are made from, as far as it is known.
struct Upstream {
    values: Values,
    known: bool,
    note: Option<String>,
}

fn upstream_rows(key: StageKey<'_>, stage: &Stage, ledger: Option<&Ledger>) -> Result<Upstream> {
    let units = stage.units.as_ref();
    if stage.upstreams().is_empty() {
        return Ok(Upstream { values: Values::literal(units)?, known: true, note: None });
    }
    let mut latest = Vec::new();
    for upstream in stage.upstreams() {
        let rows = ledger.map(|ledger| ledger.latest_rows(key.flow, upstream)).transpose()?.flatten();
        let (Some(ledger), Some((run, started))) = (ledger, rows) else {
            let note = format!("how many values stage `{upstream}` gives is unknown until it has run once");
            return Ok(Upstream { values: any_values(units)?, known: false, note: Some(note) });
        };
        latest.push((ledger, upstream, run, started));
    }
    let runs: Vec<&str> = latest.iter().map(|(_, _, run, _)| run.as_str()).collect();
    let Some((ledger, upstream, _, started)) = latest.first() else {
        return Ok(Upstream { values: Values::literal(units)?, known: true, note: None });
    };
    let values = origin(ledger, key, stage, |upstream| {
        stage
            .upstreams()
            .iter()
            .position(|stage| *stage == upstream)
            .and_then(|at| runs.get(at).copied())
            .unwrap_or("")
    })?
    .values;
    let started = started.split_once('.').map_or(started.clone(), |(seconds, _)| format!("{seconds}Z"));
    let note = format!("by the rows that stage `{upstream}` gave in the run of {started}; they may change");
    Ok(Upstream { values, known: true, note: Some(note) })
}

/// One value that stands for any of each list that is not known.
fn any_values(units: Option<&Units>) -> Result<Values> {
    let units = units.map(of_any_value);
    let mut lists = Vec::new();
    for each in units.iter().flat_map(Units::lists) {
        let mut list = ValueList::new(each);
        if each.rows_of.is_some() {
            list.push(&each.fields.iter().map(|field| (field.clone(), "?".into())).collect())?;
        }
        lists.push(list);
    }
    Values::new(lists, ValueList::backlog(units.as_ref()))
}

/// The same division for a value that is not known: nothing can be filtered, and no bound applies to one value alone.
fn of_any_value(units: &Units) -> Units {
    let mut units = units.clone();
    units.max = None;
    for each in units.each.iter_mut().chain(&mut units.cross).filter(|each| each.rows_of.is_some()) {
        each.filter.clear();
        each.version.clear();
    }
    units
}

fn first_request(flow: &Flow, stage: &Stage, unit: &PlannedUnit) -> Result<Option<String>> {
    let Some(read) = &stage.read.http else { return Ok(None) };
    let Some(Connection::Http(connection)) = flow.connections.get(&read.connection) else { return Ok(None) };
    let variables =
        template::variables(&unit.each, (unit.interval.as_ref(), unit.key.as_ref()), "plan", false);
    dil_connect::http::first_request(connection, read, &variables).map(Some)
}

fn limits(flow: &Flow, stage: &Stage) -> Vec<String> {
    let connection = stage.read.http.as_ref().and_then(|read| flow.connections.get(&read.connection));
    let Some(Connection::Http(connection)) = connection else { return Vec::new() };
    let mut limits = Vec::new();
    if let Some(rate) = connection.limit.requests {
        limits.push(format!("{rate} requests"));
    }
    if let Some(concurrent) = connection.limit.concurrent {
        limits.push(format!("{concurrent} requests at once"));
    }
    limits.push(format!("{} tries a request within {}", connection.retry.attempts, connection.retry.within));
    limits.push(format!("{} tries a unit within {}", stage.retry.attempts, stage.retry.within));
    limits
}

fn files(stage: &Stage) -> Option<String> {
    let Write::Files(files) = stage.write.as_ref()?;
    let compression = match files.compressed() {
        Compression::None => "uncompressed",
        other => other.name(),
    };
    let mut text = format!("{}, {compression}, to {}", files.format.extension(), files.path);
    if !files.partition_by.is_empty() {
        text.push_str(&format!(" by {}", files.partition_by.join(", ")));
    }
    Some(text)
}

fn guarantee(stage: &Stage) -> String {
    let Some(Write::Files(FilesWrite { mode, .. })) = &stage.write else {
        return "its rows are kept with the run, for the stages that use them".to_owned();
    };
    let seen = match (mode, stage.publish) {
        (WriteMode::Replace, _) => "readers see the old folder or the new one",
        (WriteMode::Append, Publish::AllUnits) => "files appear one by one once every unit has succeeded",
        (WriteMode::Append, Publish::EachUnit) => "files appear one by one as units succeed",
    };
    let paging = stage.read.http.as_ref().and_then(|http| http.paginate.as_ref());
    let moving = match paging {
        Some(Paginate::Offset(_) | Paginate::Page(_)) => {
            "; rows that move between pages while they are read may be missed or come twice"
        }
        _ => "",
    };
    let time = stage.units.as_ref().and_then(|units| units.time.as_ref());
    let once = match time.and_then(|time| time.late) {
        Some(Late::Append) => {
            "every row that the source gives a unit is published at least once: those of the stretch of grace come again"
        }
        _ => "every row that the source gives a unit is published exactly once",
    };
    format!("{once}; {seen}{moving}")
}
