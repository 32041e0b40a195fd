//! `dil units`: the work units that the ledger knows.

use dil_engine::{LedgerView, UnitFilter, UnitRow};

use super::known::refuse_unknown;
use super::runs::seconds;
use crate::argument::{Common, Listing, UnitsArguments, WhichUnits};
use crate::exit::{Exit, Failure};
use crate::flow_file;
use crate::quantity::{bytes, count};
use crate::table::{Stream, Table};
use crate::terminal::{Paint, Terminal, harmless};

const NAMES: [&str; 17] = [
    "flow",
    "stage",
    "backfill",
    "signature",
    "state",
    "recorded_high",
    "recorded_key",
    "version",
    "attempts",
    "rows",
    "bytes",
    "requests",
    "milliseconds",
    "files",
    "run",
    "updated",
    "error",
];

/// Units that a table shows unless more are asked for.
const SHOWN: u32 = 1_000;

pub(super) fn run(common: &Common, arguments: &UnitsArguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let filter = filter(&arguments.which, arguments.limit)?;
    let ledger = LedgerView::open(&common.settings()?.place())?;
    refuse_unknown(&ledger, filter.flow.as_deref(), filter.stage.as_deref())?;
    if arguments.format != Listing::Table {
        let mut stream = Stream::new(terminal, arguments.format == Listing::Json, &NAMES);
        ledger.each_unit(&filter, |unit| stream.row(&unit))?;
        stream.end()?;
        return Ok(Exit::Success);
    }
    let mut units = Vec::new();
    let one_more = filter.limit.is_none().then_some(SHOWN + 1);
    let filter = UnitFilter { limit: filter.limit.or(one_more), ..filter };
    ledger.each_unit(&filter, |unit| {
        units.push(unit);
        Ok::<_, Failure>(())
    })?;
    let more = one_more.is_some_and(|most| units.len() >= most as usize);
    if more {
        units.pop();
    }
    terminal.print(&table(terminal.out, &units))?;
    if more {
        let text = format!(
            "the first {} units; --limit N shows more, --format csv or json all",
            count(SHOWN.into())
        );
        terminal.tell(&format!("{}\n", terminal.err.dim(&text)));
    }
    Ok(Exit::Success)
}

/// Which units the arguments mean.
pub(super) fn filter(which: &WhichUnits, limit: Option<u32>) -> Result<UnitFilter, Failure> {
    Ok(UnitFilter {
        flow: which.flow.as_deref().map(flow_file::name).transpose()?,
        stage: which.stage.clone(),
        backfill: which.backfill.clone(),
        state: which.status.map(|status| status.word().to_owned()),
        signature: which.unit.clone(),
        time: which.time,
        values: which.values.clone(),
        error: which.error.clone(),
        limit,
    })
}

fn table(paint: Paint, units: &[UnitRow]) -> String {
    if units.is_empty() {
        return "no units\n".to_owned();
    }
    let columns = ["stage", "unit", "state", "recorded to", "rows#", "read#", "files#", "tries#", "changed"];
    let mut out = String::new();
    // Flows stand one after the other, so each gets its own table.
    for units in units.chunk_by(|a, b| a.flow == b.flow) {
        let flow = units.first().map_or("", |unit| unit.flow.as_str());
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&format!("flow {}\n", harmless(flow)));
        let mut table = Table::new(&columns);
        for unit in units {
            table.row([
                unit.stage.clone(),
                unit.signature.clone(),
                unit.state.clone(),
                unit.recorded_high.clone().or_else(|| unit.recorded_key.clone()).unwrap_or_default(),
                count(unit.rows),
                bytes(unit.bytes),
                count(unit.files),
                count(unit.attempts),
                seconds(&unit.updated),
            ]);
        }
        out.push_str(&table.render(paint, "  "));
        for unit in units {
            if let Some(error) = &unit.error {
                let unit = format!("{} {}", unit.stage, unit.signature);
                out.push_str(&format!(
                    "  {}: {}: {}\n",
                    paint.bad("failed"),
                    harmless(&unit),
                    harmless(error)
                ));
            }
        }
    }
    out
}
