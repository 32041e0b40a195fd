//! A line per stage, redrawn.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dil_engine::{Event, EventSink, Outcome};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::follower::Follower;
use super::meter::Meter;
use crate::diagnostic;
use crate::quantity::{count, counted, rate, roughly};
use crate::terminal::{Paint, Terminal, harmless};

/// More would only flicker, and cost.
const DRAWS_PER_SECOND: u8 = 10;

/// A message is not made more often than it is drawn.
const MESSAGE_EVERY: Duration = Duration::from_millis(100);

/// Failures of a stage that are told at once; the rest is counted, and told by the summary.
const FAILURES_TOLD: u64 = 3;

/// Warnings that are told; a flow with a thousand units may warn a thousand times.
const WARNINGS_TOLD: u64 = 20;

/// The lines.
pub(crate) struct Bars {
    terminal: Terminal,
    paint: Paint,
    lines: MultiProgress,
    stages: Mutex<Stages>,
}

#[derive(Default)]
struct Stages {
    lines: Vec<StageLine>,
    warnings: u64,
}

struct StageLine {
    stage: String,
    bar: ProgressBar,
    meter: Meter,
    made: Option<Instant>,
}

impl Bars {
    pub(crate) fn new(terminal: Terminal) -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND);
        let lines = MultiProgress::with_draw_target(target);
        Self { terminal, paint: terminal.err, lines, stages: Mutex::default() }
    }

    fn stages(&self) -> MutexGuard<'_, Stages> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, stage: &str, units: u64, skipped: &[(String, u64)]) {
        let bar = self.lines.add(ProgressBar::new(units));
        bar.set_style(style(self.paint));
        bar.set_prefix(harmless(stage));
        let line =
            StageLine { stage: stage.to_owned(), bar, meter: Meter::new(units, Instant::now()), made: None };
        if units == 0 {
            let why: Vec<String> =
                skipped.iter().map(|(why, number)| format!("{} {why}", count(*number))).collect();
            line.bar.set_message(format!("nothing to do: {}", why.join(", ")));
        } else {
            line.bar.set_message(counted(units, "unit"));
            line.bar.enable_steady_tick(Duration::from_millis(200));
        }
        self.stages().lines.push(line);
    }

    fn change(&self, stage: &str, now: Now, change: impl FnOnce(&mut Meter)) {
        let mut stages = self.stages();
        let Some(line) = stages.lines.iter_mut().find(|line| line.stage == stage) else { return };
        change(&mut line.meter);
        let time = Instant::now();
        if now == Now::Always || line.made.is_none_or(|made| time.duration_since(made) >= MESSAGE_EVERY) {
            line.made = Some(time);
            line.bar.set_position(line.meter.done + line.meter.failed);
            line.bar.set_message(message(self.paint, &mut line.meter, time));
        }
    }

    fn warn(&self, stage: &str, message: &str) {
        let told = {
            let mut stages = self.stages();
            stages.warnings += 1;
            stages.warnings
        };
        if told <= WARNINGS_TOLD {
            self.note(&diagnostic::warning(self.paint, stage, message));
        }
    }

    fn fail(&self, stage: &str, unit: &str, error: &dil_model::Error) {
        self.change(stage, Now::Always, |meter| meter.failed(unit));
        let failed = {
            let stages = self.stages();
            stages.lines.iter().find(|line| line.stage == stage).map_or(0, |line| line.meter.failed)
        };
        if failed <= FAILURES_TOLD {
            let (unit, message) = (harmless(unit), harmless(&error.message));
            self.note(&format!("{}: stage {stage}, unit {unit}: {message}", self.paint.bad("failed")));
        }
    }
}

/// Whether the message must be made even if it was made just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Now {
    Always,
    IfDue,
}

impl EventSink for Bars {
    fn event(&self, event: &Event) {
        match event {
            Event::RunStarted { run, flow, resumed, recovered } => {
                if *resumed {
                    self.note(&self.paint.dim(&format!("going on with run {run} of {flow}")));
                }
                if *recovered > 0 {
                    let what = counted(*recovered, "publication");
                    self.note(&self.paint.dim(&format!("finished {what} that an interrupted run had begun")));
                }
            }
            Event::StageStarted { stage, units, skipped } => self.add(stage, *units, skipped),
            Event::StageGrew { stage, units, skipped } => self.add(stage, *units, skipped),
            Event::UnitStarted { stage, unit, .. } => {
                self.change(stage, Now::IfDue, |meter| meter.at(unit, dil_model::unit::Counts::default()));
            }
            Event::UnitProgress { stage, unit, counts } => {
                self.change(stage, Now::IfDue, |meter| meter.at(unit, *counts));
            }
            Event::UnitRetry { stage, unit, .. } => {
                self.change(stage, Now::Always, |meter| meter.retried(unit));
            }
            Event::UnitDone { stage, unit, counts, .. } => {
                self.change(stage, Now::IfDue, |meter| meter.done(unit, *counts));
            }
            Event::UnitFailed { stage, unit, error } => self.fail(stage, unit, error),
            Event::Warning { stage, message } => self.warn(stage, message),
            Event::StageEnded { summary } => {
                if summary.units_done + summary.units_failed + summary.units_left > 0 {
                    self.change(&summary.stage, Now::Always, |_| {});
                }
                let stages = self.stages();
                let line = stages.lines.iter().find(|line| line.stage == summary.stage);
                if let Some(line) = line {
                    let prefix = harmless(&summary.stage);
                    line.bar.set_prefix(match summary.outcome {
                        Outcome::Succeeded => self.paint.good(&prefix),
                        _ => self.paint.bad(&prefix),
                    });
                    // A bar that is finished would stay on the screen for ever.
                    line.bar.disable_steady_tick();
                }
            }
            Event::RunEnded { .. } => {}
        }
    }
}

impl Follower for Bars {
    fn note(&self, text: &str) {
        // If the terminal is gone there is nobody to tell.
        let _ = self.lines.println(text);
    }

    /// The terminal has echoed `^C` into what was drawn, so that can no longer be redrawn in place: it stays as it is.
    fn stopping(&self, text: &str) {
        for line in &self.stages().lines {
            line.bar.disable_steady_tick();
        }
        self.lines.set_draw_target(ProgressDrawTarget::hidden());
        self.terminal.tell(&format!("\n{text}\n"));
    }

    fn end(&self) {
        for line in &self.stages().lines {
            line.bar.disable_steady_tick();
        }
        let _ = self.lines.clear();
    }
}

fn style(paint: Paint) -> ProgressStyle {
    let template = match paint {
        Paint::Coloured => "{prefix:<16} {bar:20.cyan/dim} {msg}",
        Paint::Plain => "{prefix:<16} {bar:20} {msg}",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("━╸─")
}

fn message(paint: Paint, meter: &mut Meter, now: Instant) -> String {
    let reading = meter.read(now);
    let mut parts = vec![format!("{}/{} units", count(meter.done + meter.failed), count(meter.units))];
    if meter.failed > 0 {
        parts.push(paint.bad(&format!("{} failed", count(meter.failed))));
    }
    parts.push(format!("{} rows", count(reading.rows)));
    let (bytes, time) = reading.lately;
    if bytes > 0 && time >= Duration::from_millis(200) {
        parts.push(rate(bytes, time));
    }
    if reading.retries > 0 {
        parts.push(if reading.retries == 1 {
            "1 retry".into()
        } else {
            format!("{} retries", count(reading.retries))
        });
    }
    if let Some(left) = reading.left {
        parts.push(format!("{} left", roughly(left)));
    }
    parts.join(" · ")
}
