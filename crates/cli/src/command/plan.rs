//! `dil plan`: what a run would do, and why.

use dil_engine::{Choice, Outcome, PlanOptions, PlanReport, RunOptions, Scratch, Settings, StagePlan};
use dil_flow::Checked;
use dil_model::{Error, ErrorKind};
use jiff::Timestamp;

use crate::argument::{Common, PlanArguments};
use crate::exit::{Exit, Failure};
use crate::quantity::{count, counted};
use crate::table::{Table, json};
use crate::terminal::{Paint, Terminal, harmless};
use crate::{flow_file, running, summary};

pub(super) fn run(common: &Common, arguments: &PlanArguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let flow = flow_file::load(&arguments.flow)?;
    let settings = common.settings()?;
    let now = arguments.as_of.unwrap_or_else(Timestamp::now);
    let options = PlanOptions { now, skipped: arguments.skipped };
    let scratch = match dil_engine::auxiliary(&flow).filter(|_| arguments.with_upstream) {
        Some(choice) => Some(run_upstream(&flow, &settings, choice, now, terminal)?),
        None => None,
    };
    let settings = scratch.as_ref().map_or(&settings, Scratch::settings);
    let (mut plan, stages) = dil_engine::plan(&flow, settings, &options)?;
    if arguments.json {
        plan.stages = stages.collect::<Result<_, _>>()?;
        terminal.print(&format!("{}\n", json(&plan)?))?;
        return Ok(Exit::Success);
    }
    // A stage with millions of units takes its time: what is known is told.
    terminal.print(&head(&plan))?;
    for stage in stages {
        terminal.print(&format!("\n{}", stage_shown(terminal.out, &stage?, arguments.units)))?;
    }
    Ok(Exit::Success)
}

/// Runs the stages that only give values to others, into a copy of the ledger.
fn run_upstream(
    flow: &Checked,
    settings: &Settings,
    choice: Choice,
    now: Timestamp,
    terminal: &Terminal,
) -> Result<Scratch, Failure> {
    let scratch = Scratch::of(settings, &flow.flow.flow)?;
    let options = RunOptions {
        workers: 0,
        worker_command: Vec::new(),
        fresh: true,
        resume_only: false,
        now,
        choice,
        backfill: None,
    };
    let ended = running::block_on(running::follow(flow, scratch.settings(), &options, terminal))??;
    if ended.outcome == Outcome::Succeeded {
        return Ok(scratch);
    }
    summary::tell(terminal, &ended)?;
    let message = "the stages that give values could not be run, so there is nothing to plan from";
    Err(Error::new(ErrorKind::Content, "plan/upstream", message)
        .hint("without --with-upstream the plan goes by the rows that they gave before")
        .into())
}

fn head(plan: &PlanReport) -> String {
    let parallel = counted(u64::from(plan.parallel), "unit");
    let mut out = format!("flow {}: up to {parallel} at once, {} of memory\n", plan.flow, plan.memory);
    if let Some(description) = &plan.description {
        out.push_str(&format!("{}\n", harmless(description)));
    }
    out
}

fn stage_shown(paint: Paint, plan: &StagePlan, units_max: usize) -> String {
    let mut head = match (plan.units_total, plan.values_known, &plan.note) {
        (units, false, _) => {
            format!("{} to run for each value", counted(units, "unit"))
        }
        // The note tells what hangs on rows that may be other ones by then.
        (0, true, Some(_)) => "no unit to run, as far as is known".to_owned(),
        (units, true, _) => format!("{} to run", counted(units, "unit")),
    };
    for (why, number) in &plan.skipped {
        head.push_str(&format!(", {} skipped: {}", count(*number), harmless(why)));
    }
    let mut out = format!("{}  {head}\n", paint.bold(&plan.stage));
    let mut line = |name: &str, text: &str| {
        out.push_str(&format!("  {} {}\n", paint.dim(&format!("{name:<9}")), harmless(text)));
    };
    if let Some(description) = &plan.description {
        line("for", description);
    }
    if let Some(note) = &plan.note {
        line("note", note);
    }
    if let Some(request) = &plan.first_request {
        line("first", request);
    }
    if !plan.limits.is_empty() {
        line("limits", &plan.limits.join(", "));
    }
    if let Some(files) = &plan.files {
        line("files", files);
    }
    line("promise", &plan.guarantee);
    if !plan.units.is_empty() && units_max > 0 {
        let mut table = Table::new(&["unit", "from", "to", "why"]);
        for unit in plan.units.iter().take(units_max) {
            let low = unit.low.clone().unwrap_or_default();
            let high = unit.high.clone().unwrap_or_default();
            table.row([unit.signature.clone(), low, high, unit.reason.clone()]);
        }
        out.push_str(&format!("\n{}", table.render(paint, "  ")));
        out.push_str(&more(paint, plan.units_total, units_max));
    }
    if !plan.skipped_units.is_empty() && units_max > 0 {
        let mut table = Table::new(&["skipped unit", "why"]);
        for unit in plan.skipped_units.iter().take(units_max) {
            table.row([unit.signature.clone(), unit.reason.clone()]);
        }
        out.push_str(&format!("\n{}", table.render(paint, "  ")));
        out.push_str(&more(paint, plan.skipped.iter().map(|(_, number)| number).sum(), units_max));
    }
    out
}

fn more(paint: Paint, total: u64, shown: usize) -> String {
    match total.saturating_sub(shown as u64) {
        0 => String::new(),
        more => {
            let text = format!("  … and {} more: --units N shows more, --json up to 10,000", count(more));
            format!("{}\n", paint.dim(&text))
        }
    }
}
