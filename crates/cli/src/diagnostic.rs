//! How problems of a flow file and errors of a run look.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use dil_flow::Located;
use dil_model::Error;
use serde_json::json;

use crate::exit::Failure;
use crate::quantity::counted;
use crate::terminal::{Log, Paint, Terminal, harmless};

/// Tells a failure on stderr, in the form that was asked for.
pub(crate) fn tell(terminal: &Terminal, failure: &Failure) {
    match (failure, terminal.log) {
        (Failure::Problems { located, .. }, Log::Json) => {
            for one in located {
                terminal.tell(&problem_line(one));
            }
        }
        (Failure::Problems { text, located }, _) => terminal.tell(&problems(terminal.err, text, located)),
        (Failure::Stopped, _) => {}
        (Failure::Error(one), Log::Json) => terminal.tell(&error_line(one)),
        (Failure::Error(one), _) => terminal.tell(&error(terminal.err, one)),
    }
}

fn problem_line(located: &Located) -> String {
    let Located { problem, file, line, column, .. } = located;
    let time = jiff::Timestamp::now().to_string();
    let line = json!({
        "time": time, "event": "problem", "code": problem.code, "message": problem.message, "hint": problem.hint,
        "file": file, "line": line, "column": column,
    });
    format!("{line}\n")
}

fn error_line(error: &Error) -> String {
    let time = jiff::Timestamp::now().to_string();
    format!("{}\n", json!({ "time": time, "event": "error", "error": error }))
}

/// All problems of a file, each under its lines, and how many there are.
fn problems(paint: Paint, text: &str, located: &[Located]) -> String {
    let renderer = match paint {
        Paint::Plain => Renderer::plain(),
        Paint::Coloured => Renderer::styled(),
    };
    let mut out = String::new();
    for one in located {
        let problem = &one.problem;
        let title = Level::ERROR.primary_title(harmless(&problem.message)).id(problem.code.as_str());
        let place = AnnotationKind::Primary.span(one.bytes.clone());
        let snippet = Snippet::source(text).path(one.file.as_str()).annotation(place);
        let mut group = Group::with_title(title).element(snippet);
        if let Some(hint) = &problem.hint {
            group = group.element(Level::HELP.with_name(Some("hint")).message(harmless(hint)));
        }
        out.push_str(&renderer.render(&[group]));
        out.push_str("\n\n");
    }
    let file = located.first().map_or("", |one| one.file.as_str());
    let count = counted(located.len() as u64, "problem");
    out.push_str(&format!("{}: {count} in {file}\n", paint.bad("error")));
    out
}

/// One error: what happened, where, and what to do.
pub(crate) fn error(paint: Paint, error: &Error) -> String {
    let head = paint.bad(&format!("error[{}]", error.code));
    let mut out = format!("{head}: {}\n", harmless(&error.message));
    for place in &error.context {
        out.push_str(&format!("  {} {}\n", paint.dim("at"), harmless(place)));
    }
    if let Some(hint) = &error.hint {
        out.push_str(&format!("{}: {}\n", paint.hint("hint"), harmless(hint)));
    }
    out
}

/// A warning in one line.
pub(crate) fn warning(paint: Paint, stage: &str, message: &str) -> String {
    let head = paint.warning("warning");
    if stage.is_empty() {
        return format!("{head}: {}", harmless(message));
    }
    format!("{head}: stage {stage}: {}", harmless(message))
}
