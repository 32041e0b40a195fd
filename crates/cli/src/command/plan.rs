//! `dil plan`: what a run would do, and why.

use dil_engine::{PlanReport, Settings, StagePlan};
use jiff::Timestamp;

use crate::argument::{Common, PlanArguments};
use crate::exit::{Exit, Failure};
use crate::flow_file;
use crate::quantity::{count, counted};
use crate::table::{Table, json};
use crate::terminal::{Paint, Terminal, harmless};

pub(super) fn run(common: &Common, arguments: &PlanArguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let flow = flow_file::load(&arguments.flow)?;
    let settings = Settings::new(common.state.clone());
    let now = arguments.as_of.unwrap_or_else(Timestamp::now);
    let plan = dil_engine::plan(&flow, &settings, now)?;
    if arguments.json {
        terminal.print(&format!("{}\n", json(&plan)?))?;
    } else {
        terminal.print(&shown(terminal.out, &plan, arguments.units))?;
    }
    Ok(Exit::Success)
}

fn shown(paint: Paint, plan: &PlanReport, units_max: usize) -> String {
    let parallel = counted(u64::from(plan.parallel), "unit");
    let head = format!("flow {}: up to {parallel} at once, {} of memory", plan.flow, plan.memory);
    let mut out = format!("{head}\n");
    if let Some(description) = &plan.description {
        out.push_str(&format!("{}\n", harmless(description)));
    }
    for stage in &plan.stages {
        out.push('\n');
        out.push_str(&stage_shown(paint, stage, units_max));
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
    if plan.units.is_empty() || units_max == 0 {
        return out;
    }
    let mut table = Table::new(&["unit", "from", "to", "why"]);
    for unit in plan.units.iter().take(units_max) {
        let low = unit.low.clone().unwrap_or_default();
        let high = unit.high.clone().unwrap_or_default();
        table.row([unit.signature.clone(), low, high, unit.reason.clone()]);
    }
    out.push('\n');
    out.push_str(&table.render(paint, "  "));
    let more = plan.units_total.saturating_sub(units_max as u64);
    if more > 0 {
        out.push_str(
            &paint.dim(&format!("  … and {} more: --units N shows more, --json up to 10,000", count(more))),
        );
        out.push('\n');
    }
    out
}
