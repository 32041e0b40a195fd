//! Where text goes, and how it may look there.

use std::io::{ErrorKind as IoErrorKind, IsTerminal as _, Write as _};

use clap::builder::styling::{AnsiColor, Style};
use dil_model::Error;

use crate::argument::{ColorChoice, Common, LogFormat};
use crate::exit::Failure;

/// How a run tells what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    /// Bars that are redrawn.
    Bars,
    /// A line of text for each event.
    Text,
    /// A JSON object for each event.
    Json,
}

/// The two streams: what may be drawn on them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminal {
    pub(crate) log: Log,
    pub(crate) out: Paint,
    pub(crate) err: Paint,
}

/// Whether text may be coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    Plain,
    Coloured,
}

impl Terminal {
    /// Looks at the options, the streams and the environment.
    pub(crate) fn new(common: &Common) -> Self {
        let (out, err) = (std::io::stdout().is_terminal(), std::io::stderr().is_terminal());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let no_color = dumb || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let paint = |is_terminal: bool| match common.color {
            ColorChoice::Always => Paint::Coloured,
            ColorChoice::Auto if is_terminal && !no_color => Paint::Coloured,
            ColorChoice::Auto | ColorChoice::Never => Paint::Plain,
        };
        let log = match common.log_format {
            LogFormat::Json => Log::Json,
            LogFormat::Auto if err && !dumb => Log::Bars,
            LogFormat::Auto | LogFormat::Text => Log::Text,
        };
        Self { log, out: paint(out), err: paint(err) }
    }

    /// Prints a result.
    ///
    /// A reader that has gone away (`dil units | head`) has seen enough: that is no failure.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        match written {
            Err(cause) if cause.kind() != IoErrorKind::BrokenPipe => {
                let stream = std::path::Path::new("standard output");
                Err(Error::storage("writing to", stream, &cause).into())
            }
            _ => Ok(()),
        }
    }

    /// Tells something beside the result. If nobody listens, there is nobody to tell that either.
    pub(crate) fn tell(&self, text: &str) {
        let mut stderr = std::io::stderr().lock();
        let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
    }

    /// Shows `dil`'s own log lines if `DIL_LOG` asks for them.
    pub(crate) fn listen(&self) {
        let Ok(filter) = std::env::var("DIL_LOG") else { return };
        let lines = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
            .with_writer(std::io::stderr)
            .with_ansi(self.err == Paint::Coloured);
        // A second subscriber cannot be there; if it were, it would stay.
        let _ = match self.log {
            Log::Json => lines.json().try_init(),
            Log::Bars | Log::Text => lines.try_init(),
        };
    }
}

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default().bold();

impl Paint {
    pub(crate) fn bold(self, text: &str) -> String {
        self.with(BOLD, text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.with(DIM, text)
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.with(GOOD, text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.with(BAD, text)
    }

    pub(crate) fn warning(self, text: &str) -> String {
        self.with(WARNING, text)
    }

    pub(crate) fn hint(self, text: &str) -> String {
        self.with(HINT, text)
    }

    fn with(self, style: Style, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Coloured => format!("{}{text}{}", style.render(), style.render_reset()),
        }
    }
}

/// Text from outside, so that it cannot steer the terminal: control characters are spelt out.
pub(crate) fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_spelt_out() {
        assert_eq!(harmless("a\u{1b}[2Jb\nü"), "a\\u{1b}[2Jb\\nü");
    }

    #[test]
    fn plain_text_carries_no_escape() {
        assert_eq!(Paint::Plain.bad("x"), "x");
        assert!(Paint::Coloured.bad("x").contains('\u{1b}'));
    }
}
