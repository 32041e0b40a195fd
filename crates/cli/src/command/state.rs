//! `dil state`: how far each stage is recorded, and changing it by hand.

use std::io::{BufRead as _, IsTerminal as _};

use dil_engine::{LedgerView, ResetReport, StageRow};
use jiff::Timestamp;

use super::known::refuse_unknown;
use super::units::filter;
use crate::argument::{Common, FlowFile, Listing, StateCommand, Sure, WhichUnits};
use crate::exit::{Exit, Failure, usage};
use crate::flow_file;
use crate::quantity::{count, counted};
use crate::table::{Table, list};
use crate::terminal::{Paint, Terminal, harmless};

const NAMES: [&str; 8] =
    ["flow", "stage", "units_done", "units_failed", "latest", "files", "rows", "columns"];

pub(super) fn run(common: &Common, command: &StateCommand, terminal: &Terminal) -> Result<Exit, Failure> {
    match command {
        StateCommand::Show { flow, format } => show(common, flow.as_deref(), *format, terminal),
        StateCommand::Reset { flow, stage, sure } => reset(common, flow, stage, *sure, terminal),
        StateCommand::Forget { which, sure } => forget(common, which, *sure, terminal),
        StateCommand::SetWatermark { flow, stage, to, unit, vars, sure } => {
            let file = FlowFile { path: flow.clone(), vars: vars.clone() };
            set_watermark(common, &file, (stage, unit.as_deref()), *to, *sure, terminal)
        }
    }
}

fn show(common: &Common, flow: Option<&str>, format: Listing, terminal: &Terminal) -> Result<Exit, Failure> {
    let flow = flow.map(flow_file::name).transpose()?;
    let ledger = LedgerView::open(&common.settings()?.place())?;
    refuse_unknown(&ledger, flow.as_deref(), None)?;
    let stages = ledger.stages(flow.as_deref())?;
    list(terminal, format, &stages, &NAMES, |stages| shown(terminal.out, stages))?;
    Ok(Exit::Success)
}

fn shown(paint: Paint, stages: &[StageRow]) -> String {
    if stages.is_empty() {
        return "nothing is recorded\n".to_owned();
    }
    let mut out = table(paint, stages);
    for stage in stages.iter().filter(|stage| !stage.columns.is_empty()) {
        let place = format!("{} {}", stage.flow, stage.stage);
        out.push_str(&format!("\n{}\n", paint.bold(&format!("columns of {}", harmless(&place)))));
        let mut columns = Table::new(&["name", "type"]);
        for (name, data_type) in &stage.columns {
            columns.row([name.clone(), data_type.clone()]);
        }
        out.push_str(&columns.render(paint, "  "));
    }
    out
}

fn table(paint: Paint, stages: &[StageRow]) -> String {
    let mut table =
        Table::new(&["flow", "stage", "units#", "failed#", "recorded to", "files#", "rows#", "columns#"]);
    for stage in stages {
        table.row([
            stage.flow.clone(),
            stage.stage.clone(),
            count(stage.units_done),
            count(stage.units_failed),
            stage.latest.clone().unwrap_or_default(),
            count(stage.files),
            count(stage.rows),
            count(stage.columns.len() as u64),
        ]);
    }
    table.render(paint, "")
}

/// A change of the ledger, as far as it is told and asked for.
struct Change<'a> {
    terminal: &'a Terminal,
    ledger: &'a LedgerView,
    flow: &'a str,
    sure: Sure,
}

impl Change<'_> {
    /// Shows what is there, tells what would change, asks, changes, shows what is there then. `do_it` gives the changes in
    /// words; it is asked first to change nothing.
    ///
    /// # Errors
    /// `state/unsure` if there is nobody to ask, and what `do_it` returns.
    fn make(&self, verb: &str, do_it: impl Fn(bool) -> Result<String, Failure>) -> Result<bool, Failure> {
        let Self { terminal, ledger, flow, sure } = self;
        let asks = !sure.dry_run && !sure.yes;
        if asks && !std::io::stdin().is_terminal() {
            let message = format!(
                "to {verb} what is recorded of flow `{flow}` wants a yes, and there is no terminal to ask on"
            );
            let hint = "add --yes, or --dry-run to only see what would change";
            return Err(usage("state/unsure", message).hint(hint).into());
        }
        let would = do_it(true)?;
        let before = ledger.stages(Some(flow))?;
        terminal.print(&format!("before\n{}\n", shown_or_nothing(terminal.out, &before)))?;
        if sure.dry_run {
            terminal.print(&format!("would {verb} {would}; nothing was changed\n"))?;
            return Ok(false);
        }
        if asks && !agreed(terminal, &format!("{verb} {would}")) {
            terminal.print("nothing was changed\n")?;
            return Ok(false);
        }
        let done = do_it(false)?;
        let after = ledger.stages(Some(flow))?;
        terminal.print(&format!("after\n{}\n{verb}: {done}\n", shown_or_nothing(terminal.out, &after)))?;
        Ok(true)
    }
}

fn reset(common: &Common, flow: &str, stage: &str, sure: Sure, terminal: &Terminal) -> Result<Exit, Failure> {
    let flow = flow_file::name(flow)?;
    let ledger = LedgerView::open(&common.settings()?.place())?;
    refuse_unknown(&ledger, Some(&flow), Some(stage))?;
    let change = Change { terminal, ledger: &ledger, flow: &flow, sure };
    let files = ledger.reset(&flow, stage, true)?.files;
    let done = change.make("forget", |dry_run| Ok(forgotten(&ledger.reset(&flow, stage, dry_run)?)))?;
    if done {
        tell_files_left(terminal, files);
    }
    Ok(Exit::Success)
}

fn forget(common: &Common, which: &WhichUnits, sure: Sure, terminal: &Terminal) -> Result<Exit, Failure> {
    let filter = filter(which, None)?;
    let ledger = LedgerView::open(&common.settings()?.place())?;
    let Some(flow) = filter.flow.clone() else {
        let hint = "`dil state show` lists the flows that are recorded";
        return Err(usage("state/no-flow", "name the flow whose units are to be forgotten".to_owned())
            .hint(hint)
            .into());
    };
    refuse_unknown(&ledger, Some(&flow), filter.stage.as_deref())?;
    let change = Change { terminal, ledger: &ledger, flow: &flow, sure };
    change.make("forget", |dry_run| Ok(counted(ledger.forget(&flow, &filter, dry_run)?, "unit")))?;
    Ok(Exit::Success)
}

fn set_watermark(
    common: &Common,
    file: &FlowFile,
    (stage, unit): (&str, Option<&str>),
    to: Timestamp,
    sure: Sure,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let flow = flow_file::load(file)?;
    let settings = common.settings()?;
    let ledger = LedgerView::open(&common.settings()?.place())?;
    let change = Change { terminal, ledger: &ledger, flow: &flow.flow.flow, sure };
    change.make("record", |dry_run| {
        let report = dil_engine::set_watermark(&flow, &settings, (stage, unit), to, dry_run)?;
        Ok(format!(
            "{} as read, {} as read up to {to}, and forget {}",
            counted(report.done, "unit"),
            counted(report.partly, "unit"),
            counted(report.forgotten, "unit")
        ))
    })?;
    Ok(Exit::Success)
}

fn tell_files_left(terminal: &Terminal, files: u64) {
    if files > 0 {
        let files = counted(files, "published file");
        let text = format!(
            "{files} left in place: a unit that is read again replaces its own; \
             remove by hand those of units that the flow no longer has"
        );
        terminal.tell(&format!("{}: {text}\n", terminal.err.warning("warning")));
    }
}

fn shown_or_nothing(paint: Paint, stages: &[StageRow]) -> String {
    if stages.is_empty() { "nothing is recorded\n".to_owned() } else { table(paint, stages) }
}

fn forgotten(report: &ResetReport) -> String {
    format!(
        "{} with their watermarks, and a schema of {}",
        counted(report.units, "unit"),
        counted(report.columns, "column")
    )
}

fn agreed(terminal: &Terminal, what: &str) -> bool {
    terminal.tell(&format!("{what}? [y/N] "));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}
