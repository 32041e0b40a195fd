//! A line per event: text for people who read a log, JSON for programs.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use dil_engine::{Event, EventSink, Outcome, RunSummary, StageSummary};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::follower::Follower;
use crate::quantity::{bytes, count, counted, duration};
use crate::terminal::{Log, Terminal, harmless};

/// How often a unit's progress is told; the engine tells it many times a second.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// Writes the lines.
pub(crate) struct Lines {
    terminal: Terminal,
    /// When the progress of a unit was last told, by stage and unit.
    told: Mutex<HashMap<(String, String), Instant>>,
}

impl Lines {
    pub(crate) fn new(terminal: Terminal) -> Self {
        Self { terminal, told: Mutex::default() }
    }

    /// Whether an event is due. Progress is not told in a unit's first moments, which are the only ones of most units.
    fn is_due(&self, event: &Event) -> bool {
        let key = |stage: &String, unit: &String| (stage.clone(), unit.clone());
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match event {
            Event::UnitStarted { stage, unit, .. } => {
                told.insert(key(stage, unit), now);
            }
            Event::UnitProgress { stage, unit, .. } => {
                let last = told.entry(key(stage, unit)).or_insert(now);
                if now.duration_since(*last) < PROGRESS_EVERY {
                    return false;
                }
                *last = now;
            }
            Event::UnitDone { stage, unit, .. } | Event::UnitFailed { stage, unit, .. } => {
                told.remove(&key(stage, unit));
            }
            _ => {}
        }
        true
    }

    fn line(&self, text: &str) {
        self.terminal.tell(&format!("{} {text}\n", now()));
    }
}

impl EventSink for Lines {
    fn event(&self, event: &Event) {
        if !self.is_due(event) {
            return;
        }
        if self.terminal.log == Log::Json {
            self.terminal.tell(&format!("{}\n", object(event)));
        } else if let Some(text) = text(event) {
            self.line(&text);
        }
    }
}

impl Follower for Lines {
    fn note(&self, text: &str) {
        if self.terminal.log == Log::Json {
            let object = json!({ "time": now(), "event": "note", "message": text });
            self.terminal.tell(&format!("{object}\n"));
        } else {
            self.line(text);
        }
    }

    fn stopping(&self, text: &str) {
        self.note(text);
    }

    fn end(&self) {}
}

/// The time of a line, to the millisecond.
fn now() -> String {
    format!("{:.3}", Timestamp::now())
}

/// An event as one JSON object that begins with its time. Lengths of time are milliseconds.
fn object(event: &Event) -> Value {
    let mut object = json!({ "time": now() });
    if let (Some(object), Ok(Value::Object(fields))) = (object.as_object_mut(), serde_json::to_value(event)) {
        object.extend(fields);
    }
    in_milliseconds(&mut object);
    object
}

/// Puts `elapsed_ms` in the place of each `elapsed`, which serde spells as seconds and nanoseconds.
fn in_milliseconds(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(elapsed) = fields.shift_remove("elapsed") {
                let seconds = elapsed["secs"].as_u64().unwrap_or_default();
                let nanoseconds = elapsed["nanos"].as_u64().unwrap_or_default();
                fields.insert("elapsed_ms".to_owned(), (seconds * 1_000 + nanoseconds / 1_000_000).into());
            }
            fields.values_mut().for_each(in_milliseconds);
        }
        Value::Array(items) => items.iter_mut().for_each(in_milliseconds),
        _ => {}
    }
}

/// An event as text; `None` for what only fills a log.
fn text(event: &Event) -> Option<String> {
    let place = |stage: &str, unit: &str| format!("stage {stage}, unit {}", harmless(unit));
    Some(match event {
        Event::RunStarted { run, flow, resumed, recovered } => {
            let verb = if *resumed { "goes on" } else { "starts" };
            match recovered {
                0 => format!("run {run} of {flow} {verb}"),
                _ => format!(
                    "run {run} of {flow} {verb}; {} finished",
                    counted(*recovered, "interrupted publication")
                ),
            }
        }
        Event::StageStarted { stage, units, skipped } => {
            let skipped: Vec<String> =
                skipped.iter().map(|(why, number)| format!(", {} skipped: {why}", count(*number))).collect();
            format!("stage {stage}: {} to run{}", counted(*units, "unit"), skipped.concat())
        }
        Event::StageGrew { stage, units, skipped } => {
            let skipped: Vec<String> =
                skipped.iter().map(|(why, number)| format!(", {} skipped: {why}", count(*number))).collect();
            format!("stage {stage}: {} in all{}", counted(*units, "unit"), skipped.concat())
        }
        Event::UnitStarted { .. } => return None,
        Event::UnitProgress { stage, unit, counts } => {
            format!("{}: {} rows, {} so far", place(stage, unit), count(counts.rows), bytes(counts.bytes))
        }
        Event::UnitRetry { stage, unit, error, wait_ms } => {
            let wait = duration(Duration::from_millis(*wait_ms));
            format!("{}: tried again in {wait}: {}", place(stage, unit), harmless(&error.to_string()))
        }
        Event::UnitDone { stage, unit, counts, .. } => {
            format!("{}: done, {}, {}", place(stage, unit), counted(counts.rows, "row"), bytes(counts.bytes))
        }
        Event::UnitFailed { stage, unit, error } => {
            format!("{}: failed: {}", place(stage, unit), harmless(&error.to_string()))
        }
        Event::Warning { stage, message } if stage.is_empty() => format!("warning: {}", harmless(message)),
        Event::Warning { stage, message } => format!("warning: stage {stage}: {}", harmless(message)),
        Event::StageEnded { summary } => stage_ended(summary),
        Event::RunEnded { summary } => run_ended(summary),
    })
}

fn stage_ended(summary: &StageSummary) -> String {
    format!(
        "stage {}: {} in {}: {} done, {} failed, {} left",
        summary.stage,
        word(summary.outcome),
        duration(summary.elapsed),
        count(summary.units_done),
        count(summary.units_failed),
        count(summary.units_left)
    )
}

fn run_ended(summary: &RunSummary) -> String {
    format!(
        "run {} of {} {} in {}",
        summary.run,
        summary.flow,
        word(summary.outcome),
        duration(summary.elapsed)
    )
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "failed",
        Outcome::Blocked => "blocked",
        Outcome::Stopped => "stopped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_begins_with_its_time_and_counts_milliseconds() {
        let summary = RunSummary {
            run: "r".to_owned(),
            flow: "f".to_owned(),
            outcome: Outcome::Stopped,
            stages: Vec::new(),
            elapsed: Duration::from_millis(1_234),
        };
        let object = object(&Event::RunEnded { summary });
        let keys: Vec<&String> = object.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["time", "event", "summary"]);
        assert_eq!(object["summary"]["elapsed_ms"], 1_234);
        assert_eq!(object["summary"]["outcome"], "stopped");
    }

    #[test]
    fn the_progress_of_a_short_unit_is_not_told() {
        let terminal = Terminal {
            log: Log::Text,
            out: crate::terminal::Paint::Plain,
            err: crate::terminal::Paint::Plain,
        };
        let lines = Lines::new(terminal);
        let (stage, unit) = ("s".to_owned(), "u".to_owned());
        assert!(lines.is_due(&Event::UnitStarted { stage: stage.clone(), unit: unit.clone(), attempt: 1 }));
        assert!(!lines.is_due(&Event::UnitProgress {
            stage,
            unit,
            counts: dil_model::unit::Counts::default()
        }));
    }
}
