//! `dil plan`: what a run would do, and why, without doing it. Reads the ledger and nothing else.

use dil_flow::Checked;
use dil_model::Result;
use dil_model::config::{
    Compression, Connection, FilesWrite, Flow, Paginate, Publish, Stage, Units, Write, WriteMode,
};
use dil_model::template;
use dil_plan::{Decision, History, PlannedUnit, StageInput};
use jiff::Timestamp;
use serde::Serialize;

use crate::ledger::Ledger;
use crate::run::{Origin, changed_division, check_declared, origin, values_from};
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
    /// Its memory budget.
    pub memory: String,
    /// The most units that run at once.
    pub parallel: u32,
    /// The stages in the order they run.
    pub stages: Vec<StagePlan>,
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
    /// The first instant that it would read, RFC 3339.
    pub low: Option<String>,
    /// The first instant after the last.
    pub high: Option<String>,
    /// Why it would run.
    pub reason: String,
}

/// Plans every stage.
///
/// # Errors
/// `State` if the ledger is broken, `Config` if a stage cannot be planned.
pub fn plan(flow: &Checked, settings: &Settings, now: Timestamp) -> Result<PlanReport> {
    let ledger = Ledger::open_existing(&settings.state_dir)?;
    let stages = flow.order().iter().filter_map(|name| flow.flow.stages.get(name).map(|stage| (name, stage)));
    let stages = stages
        .map(|(name, stage)| {
            plan_stage(&flow.flow, name, stage, ledger.as_ref(), now)
                .map_err(|error| error.at(format!("stage {name}")))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(PlanReport {
        flow: flow.flow.flow.clone(),
        description: flow.flow.description.clone(),
        memory: flow.flow.memory.to_string(),
        parallel: flow.flow.parallel,
        stages,
    })
}

fn plan_stage(
    flow: &Flow,
    name: &str,
    stage: &Stage,
    ledger: Option<&Ledger>,
    now: Timestamp,
) -> Result<StagePlan> {
    if let Some(ledger) = ledger {
        check_declared(ledger, &flow.flow, name, stage)?;
    }
    let mut plan = StagePlan {
        stage: name.to_owned(),
        description: stage.description.clone(),
        units: Vec::new(),
        units_total: 0,
        values_known: true,
        skipped: Vec::new(),
        first_request: None,
        limits: limits(flow, stage),
        files: files(stage),
        guarantee: guarantee(stage),
        note: None,
    };
    if let Some(ledger) = ledger {
        changed_division(ledger, &flow.flow, name, stage)?;
    }
    let upstream = upstream_rows(flow, name, stage, ledger)?;
    plan.note = upstream.note;
    plan.values_known = upstream.known;
    let units = if upstream.known { stage.units.clone() } else { stage.units.as_ref().map(of_any_value) };
    let latest = ledger
        .map(|ledger| ledger.stage_progress(&flow.flow, name))
        .transpose()?
        .and_then(|(latest, _)| latest);
    let input = StageInput {
        units: units.as_ref(),
        now,
        rows: upstream.origin.rows.as_deref(),
        backlog: &upstream.origin.backlog,
        latest,
    };
    let history = |signature: &str| {
        let found = ledger.map(|ledger| ledger.history(&flow.flow, name, signature)).transpose()?.flatten();
        Ok(found.as_ref().map(History::from))
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
            Decision::Skip { why, .. } => {
                let why = why.to_string();
                match plan.skipped.iter_mut().find(|(known, _)| *known == why) {
                    Some((_, count)) => *count += 1,
                    None => plan.skipped.push((why, 1)),
                }
            }
        }
    }
    Ok(plan)
}

fn shown(unit: &PlannedUnit) -> PlanUnit {
    PlanUnit {
        signature: unit.signature.clone(),
        low: unit.interval.map(|interval| interval.low.to_string()),
        high: unit.interval.map(|interval| interval.high.to_string()),
        reason: unit.reason.to_string(),
    }
}

/// What a stage's units are made from, as far as it is known.
struct Upstream {
    origin: Origin,
    known: bool,
    note: Option<String>,
}

fn upstream_rows(flow: &Flow, name: &str, stage: &Stage, ledger: Option<&Ledger>) -> Result<Upstream> {
    let Some((each, upstream)) = values_from(stage.units.as_ref()) else {
        return Ok(Upstream { origin: Origin::default(), known: true, note: None });
    };
    let latest = ledger.map(|ledger| ledger.latest_rows(&flow.flow, upstream)).transpose()?.flatten();
    let (Some(ledger), Some((run, started))) = (ledger, latest) else {
        let any = each.fields.iter().map(|field| (field.clone(), "?".into())).collect();
        let note = format!("how many values stage `{upstream}` gives is unknown until it has run once");
        let origin = Origin { rows: Some(vec![any]), ..Origin::default() };
        return Ok(Upstream { origin, known: false, note: Some(note) });
    };
    let origin = origin(ledger, &flow.flow, name, stage, &run)?;
    let started = started.split_once('.').map_or(started.clone(), |(seconds, _)| format!("{seconds}Z"));
    let note = format!("by the rows that stage `{upstream}` gave in the run of {started}; they may change");
    Ok(Upstream { origin, known: true, note: Some(note) })
}

/// The same division for a value that is not known: nothing can be filtered, and no bound applies to one value alone.
fn of_any_value(units: &Units) -> Units {
    let mut units = units.clone();
    units.max = None;
    if let Some(each) = &mut units.each {
        each.filter.clear();
    }
    units
}

fn first_request(flow: &Flow, stage: &Stage, unit: &PlannedUnit) -> Result<Option<String>> {
    let Some(read) = &stage.read.http else { return Ok(None) };
    let Some(Connection::Http(connection)) = flow.connections.get(&read.connection) else { return Ok(None) };
    let variables = template::variables(&unit.each, unit.interval.as_ref(), "plan", false);
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
    format!("every row that the source gives a unit is published exactly once; {seen}{moving}")
}
