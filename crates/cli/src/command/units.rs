//! `dil units`: the work units that the ledger knows.

use dil_engine::{LedgerView, UnitFilter, UnitRow};

use super::known::refuse_unknown;
use super::runs::seconds;
use crate::argument::{Common, UnitsArguments};
use crate::exit::{Exit, Failure};
use crate::flow_file;
use crate::quantity::{bytes, count};
use crate::table::{Table, list};
use crate::terminal::{Paint, Terminal, harmless};

const NAMES: [&str; 12] = [
    "flow",
    "stage",
    "signature",
    "state",
    "recorded_high",
    "attempts",
    "rows",
    "bytes",
    "files",
    "run",
    "updated",
    "error",
];

pub(super) fn run(common: &Common, arguments: &UnitsArguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let filter = UnitFilter {
        flow: arguments.flow.as_deref().map(flow_file::name).transpose()?,
        stage: arguments.stage.clone(),
        state: arguments.status.map(|status| status.word().to_owned()),
        limit: arguments.limit,
    };
    let ledger = LedgerView::open(&common.state)?;
    refuse_unknown(&ledger, filter.flow.as_deref(), filter.stage.as_deref())?;
    let units = ledger.units(&filter)?;
    list(terminal, arguments.format, &units, &NAMES, |units| table(terminal.out, units))?;
    Ok(Exit::Success)
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
                unit.recorded_high.clone().unwrap_or_default(),
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
