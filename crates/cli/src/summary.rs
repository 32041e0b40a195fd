//! What a run did, once it is over.

use dil_engine::{Outcome, RunSummary, StageSummary};

use crate::diagnostic;
use crate::exit::{Exit, Failure};
use crate::quantity::{bytes, count, counted, duration};
use crate::table::Table;
use crate::terminal::{Log, Paint, Terminal, harmless};

/// Failed units that are told with their error; `dil units` lists all of them.
const ERRORS_TOLD: usize = 5;

/// What a stage has nothing of.
const NONE: &str = "–";

/// Tells what a run did: figures on stdout, failures on stderr. With JSON lines the last event has told all of it.
pub(crate) fn tell(terminal: &Terminal, summary: &RunSummary) -> Result<Exit, Failure> {
    if terminal.log != Log::Json {
        terminal.print(&figures(terminal.out, summary))?;
        terminal.tell(&failures(terminal.err, summary));
    }
    Ok(match summary.outcome {
        Outcome::Succeeded => Exit::Success,
        Outcome::Failed | Outcome::Blocked => Exit::Failed,
        Outcome::Stopped => Exit::Stopped,
    })
}

/// The figures of a run: a line for the run, a row a stage, and why units were skipped.
pub(crate) fn figures(paint: Paint, summary: &RunSummary) -> String {
    let outcome = outcome(paint, summary.outcome);
    let time = duration(summary.elapsed);
    let mut out = format!("run {} of {} {outcome} in {time}\n\n", summary.run, summary.flow);
    let mut table =
        Table::new(&["stage", "units", "rows#", "read#", "requests#", "files#", "written#", "time#", "to"]);
    for stage in &summary.stages {
        table.row(row(stage));
    }
    out.push_str(&table.render(paint, "  "));
    for stage in &summary.stages {
        for (why, number) in &stage.skipped {
            let text = format!("{}: {} skipped: {}", stage.stage, counted(*number, "unit"), harmless(why));
            out.push_str(&format!("  {}\n", paint.dim(&text)));
        }
    }
    out
}

fn outcome(paint: Paint, outcome: Outcome) -> String {
    match outcome {
        Outcome::Succeeded => paint.good("succeeded"),
        Outcome::Failed => paint.bad("failed"),
        Outcome::Blocked => paint.bad("blocked"),
        Outcome::Stopped => paint.warning("stopped"),
    }
}

fn row(stage: &StageSummary) -> [String; 9] {
    let some = |number: u64, shown: String| if number == 0 { NONE.to_owned() } else { shown };
    let mut units = Vec::new();
    for (number, word) in
        [(stage.units_done, "done"), (stage.units_failed, "failed"), (stage.units_left, "left")]
    {
        if number > 0 {
            units.push(format!("{} {word}", count(number)));
        }
    }
    if units.is_empty() {
        let word = match stage.outcome {
            Outcome::Blocked => "not run: a stage before it failed",
            Outcome::Stopped => "not run: stopped before",
            Outcome::Failed => "none begun",
            Outcome::Succeeded => "nothing to do",
        };
        units.push(word.to_owned());
    }
    let requests = stage.counts.requests;
    let retries = match requests.retries {
        0 => String::new(),
        1 => " (1 retry)".to_owned(),
        retries => format!(" ({} retries)", count(retries)),
    };
    [
        stage.stage.clone(),
        units.join(", "),
        some(stage.counts.pages, count(stage.counts.rows)),
        some(stage.counts.bytes, bytes(stage.counts.bytes)),
        some(requests.sent, format!("{}{retries}", count(requests.sent))),
        some(stage.files, count(stage.files)),
        some(stage.bytes_written, bytes(stage.bytes_written)),
        some(u64::try_from(stage.elapsed.as_nanos()).unwrap_or(u64::MAX), duration(stage.elapsed)),
        stage.path.clone().unwrap_or_default(),
    ]
}

/// The failed units, and how to go on.
fn failures(paint: Paint, summary: &RunSummary) -> String {
    let mut out = String::new();
    for stage in &summary.stages {
        for (unit, error) in stage.errors.iter().take(ERRORS_TOLD) {
            let mut error = error.clone();
            // The engine may have told the place already.
            let unit = (!unit.is_empty()).then(|| format!("unit {unit}"));
            for place in unit.into_iter().chain([format!("stage {}", stage.stage)]) {
                if !error.context.contains(&place) {
                    error = error.at(place);
                }
            }
            out.push('\n');
            out.push_str(&diagnostic::error(paint, &error));
        }
        let more = stage.units_failed.saturating_sub(ERRORS_TOLD as u64);
        if more > 0 {
            let (flow, stage) = (&summary.flow, &stage.stage);
            let list = format!("dil units {flow} --stage {stage} --status failed");
            out.push_str(&format!("\n… and {} more of stage {stage}: {list}\n", count(more)));
        }
    }
    let next = match summary.outcome {
        Outcome::Failed | Outcome::Blocked => {
            "what succeeded is recorded; `dil run` tries the failed units again"
        }
        Outcome::Stopped => "what is recorded stays; `dil run` or `dil resume` goes on with this run",
        Outcome::Succeeded => return out,
    };
    out.push_str(&format!("\n{}: {next}\n", paint.hint("hint")));
    out
}
