//! Moving the watermark of a stage by hand.

use dil_flow::Checked;
use dil_model::config::{Partial, Units};
use dil_model::{Error, ErrorKind, Result};
use dil_plan::{Decision, PlannedUnit, StageInput};
use jiff::Timestamp;

use crate::ledger::{LedgerView, MoveReport, Moved, StageKey};
use crate::run::{changed_division, origin};
use crate::settings::Settings;

/// Units whose history is looked up together.
const BATCH: usize = 1024;

/// What before `to` counts as read from now on, and what from there on does not: units of the stage that end before it are
/// recorded, the one around it in part, later ones are forgotten, and are read again. One that is recorded beyond `to`
/// is forgotten as a whole: read from its middle, its rows would be there twice.
///
/// With `only`, of one unit. With `dry_run`, nothing is changed.
///
/// # Errors
/// `Config` if the stage has no such watermark, `Lease` while a run of the flow is under way, `State`.
pub fn set_watermark(
    flow: &Checked,
    settings: &Settings,
    (stage, only): (&str, Option<&str>),
    to: Timestamp,
    dry_run: bool,
) -> Result<MoveReport> {
    let ledger = LedgerView::open(&settings.place())?;
    let moved = moved(flow, &ledger, (stage, only), to)?;
    let mut report = MoveReport::default();
    for (unit, nominal_high) in &moved {
        match unit.high {
            Some(high) if high < *nominal_high => report.partly += 1,
            Some(_) => report.done += 1,
            None => report.forgotten += 1,
        }
    }
    if !dry_run {
        ledger.move_units((&flow.flow.flow, stage), moved.into_iter().map(|(unit, _)| Ok(unit)))?;
    }
    Ok(report)
}

/// The units whose watermark changes, with their ends.
fn moved(
    flow: &Checked,
    ledger: &LedgerView,
    (name, only): (&str, Option<&str>),
    to: Timestamp,
) -> Result<Vec<(Moved, Timestamp)>> {
    let Some(stage) = flow.flow.stages.get(name) else {
        let known: Vec<&str> = flow.flow.stages.keys().map(String::as_str).collect();
        return Err(Error::new(ErrorKind::Config, "state/no-stage", format!("there is no stage `{name}`"))
            .hint(format!("the stages are {}", known.join(", "))));
    };
    let key = StageKey { flow: &flow.flow.flow, stage: name, backfill: "" };
    changed_division(ledger.ledger(), key, stage)?;
    let runs: Vec<(String, String)> = stage
        .upstreams()
        .into_iter()
        .filter_map(|upstream| {
            let latest = ledger.ledger().latest_rows(key.flow, upstream).transpose()?;
            Some(latest.map(|(run, _)| (upstream.to_owned(), run)))
        })
        .collect::<Result<_>>()?;
    let run =
        |upstream: &str| runs.iter().find(|(stage, _)| stage == upstream).map_or("", |(_, run)| run.as_str());
    let origin = origin(ledger.ledger(), key, stage, run)?;
    let units = all_units(stage.units.as_ref());
    let input = StageInput {
        units: units.as_ref(),
        now: to.max(Timestamp::now()),
        values: &origin.values,
        latest: None,
        backfill: false,
        only: &[],
    };
    let mut changed = Vec::new();
    let mut found = false;
    let mut units = dil_plan::decide(&input, |names: &[String]| Ok(vec![None; names.len()]))?.peekable();
    while units.peek().is_some() {
        let part: Vec<PlannedUnit> = units
            .by_ref()
            .take(BATCH)
            .filter_map(|decision| match decision {
                Ok(Decision::Run(unit)) => Some(Ok(*unit)),
                Ok(Decision::Skip { .. }) => None,
                Err(error) => Some(Err(error)),
            })
            .collect::<Result<_>>()?;
        let names: Vec<String> = part.iter().map(|unit| unit.signature.clone()).collect();
        let known = ledger.ledger().histories(key, "", &names)?;
        for (unit, history) in part.into_iter().zip(known) {
            if only.is_some_and(|only| only != unit.signature) {
                continue;
            }
            found = true;
            let nominal = unit.nominal.ok_or_else(|| no_watermark(name))?;
            let recorded = history.and_then(|history| history.recorded_high);
            let aim = (nominal.low < to).then(|| nominal.high.min(to));
            let high = match (recorded, aim) {
                (Some(recorded), Some(aim)) if recorded < aim => Some(aim),
                (Some(recorded), Some(aim)) if recorded == aim => continue,
                (Some(_), _) => None,
                (None, Some(aim)) => Some(aim),
                (None, None) => continue,
            };
            changed.push((Moved { signature: unit.signature, high }, nominal.high));
        }
    }
    match only {
        Some(only) if !found => Err(Error::new(
            ErrorKind::Config,
            "state/no-unit",
            format!("stage `{name}` has no unit `{only}`"),
        )
        .hint("`dil plan --skipped` and `dil units` show the names of units")),
        _ => Ok(changed),
    }
}

/// The same division, whatever is recorded and however many there are.
fn all_units(units: Option<&Units>) -> Option<Units> {
    let mut units = units.cloned()?;
    units.max = None;
    units.abstinence = None;
    units.snapshot = false;
    if let Some(time) = &mut units.time {
        time.partial = Partial::Keep;
    }
    Some(units)
}

fn no_watermark(stage: &str) -> Error {
    let message = format!("units of stage `{stage}` have no watermark in time");
    Error::new(ErrorKind::Config, "state/no-watermark", message)
        .hint("`dil state forget` and `dil state reset` make units new again")
}
