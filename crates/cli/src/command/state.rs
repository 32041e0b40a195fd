//! `dil state`: how far each stage is recorded, and forgetting it.

use std::io::{BufRead as _, IsTerminal as _};

use dil_engine::{LedgerView, ResetReport, StageRow};

use super::known::refuse_unknown;
use crate::argument::{Common, Listing, StateCommand};
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
        StateCommand::Reset { flow, stage, dry_run, yes } => {
            let asked = if *dry_run {
                Asked::OnlyTell
            } else if *yes {
                Asked::Sure
            } else {
                Asked::Ask
            };
            reset(common, flow, stage, asked, terminal)
        }
    }
}

fn show(common: &Common, flow: Option<&str>, format: Listing, terminal: &Terminal) -> Result<Exit, Failure> {
    let flow = flow.map(flow_file::name).transpose()?;
    let ledger = LedgerView::open(&common.state)?;
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

/// How sure a reset is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// `--dry-run`
    OnlyTell,
    /// `--yes`
    Sure,
    /// Whoever sits at the terminal decides.
    Ask,
}

fn reset(
    common: &Common,
    flow: &str,
    stage: &str,
    asked: Asked,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let flow = flow_file::name(flow)?;
    let ledger = LedgerView::open(&common.state)?;
    let before = ledger.stages(Some(&flow))?;
    if !before.iter().any(|row| row.stage == stage) {
        let known: Vec<&str> = before.iter().map(|row| row.stage.as_str()).collect();
        let message = format!("nothing is recorded of stage `{stage}` of flow `{flow}`");
        let hint = if known.is_empty() {
            "`dil state show` lists the flows that are recorded".to_owned()
        } else {
            format!("recorded are {}", known.join(", "))
        };
        return Err(usage("state/no-stage", message).hint(hint).into());
    }
    if asked == Asked::Ask && !std::io::stdin().is_terminal() {
        let message = format!("forgetting stage `{stage}` wants a yes, and there is no terminal to ask on");
        let hint = "add --yes, or --dry-run to only see what would be forgotten";
        return Err(usage("state/unsure", message).hint(hint).into());
    }
    let would = ledger.reset(&flow, stage, true)?;
    terminal.print(&format!("before\n{}\n", table(terminal.out, &before)))?;
    if asked == Asked::OnlyTell {
        terminal.print(&format!("would forget {}; nothing was changed\n", forgotten(&would)))?;
        return Ok(Exit::Success);
    }
    if asked == Asked::Ask && !sure(terminal, &would) {
        terminal.print("nothing was changed\n")?;
        return Ok(Exit::Success);
    }
    let done = ledger.reset(&flow, stage, false)?;
    let after = ledger.stages(Some(&flow))?;
    terminal.print(&format!(
        "after\n{}\nforgot {}\n",
        shown_or_nothing(terminal.out, &after),
        forgotten(&done)
    ))?;
    if done.files > 0 {
        let files = counted(done.files, "published file");
        let text = format!(
            "{files} left in place: a unit that is read again replaces its own; \
             remove by hand those of units that the flow no longer has"
        );
        terminal.tell(&format!("{}: {text}\n", terminal.err.warning("warning")));
    }
    Ok(Exit::Success)
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

fn sure(terminal: &Terminal, would: &ResetReport) -> bool {
    terminal.tell(&format!("forget {}? [y/N] ", forgotten(would)));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}
