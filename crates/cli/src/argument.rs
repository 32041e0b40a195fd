//! The command line as types; their doc comments are its help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use dil_engine::{EnvSecrets, Server, Settings};
use dil_model::secret::{Secret, SecretStore as _};
use dil_model::{Error, Interval};
use jiff::Timestamp;

use crate::exit::Exit;

/// Moves data between APIs and files: stages, units with watermarks, every row exactly once.
#[derive(Debug, Parser)]
#[command(name = "dil", version, max_term_width = 100, after_help = after_help(), subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

fn after_help() -> String {
    format!(
        "{}\n\nEnvironment:\n  DIL_STATE          the folder of the ledger, as --state\n  DIL_LEDGER         the server with the ledger, as --ledger\n  DIL_SECRET_<NAME>  \
         the text of ${{secret:NAME}}\n  DIL_SECRETS        a folder with one file a secret, named after it\n  \
         DIL_LOG            log lines of dil itself on stderr: error, warn, info, debug, trace\n  \
         NO_COLOR           no colours",
        Exit::help()
    )
}

/// What every command understands.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// The folder of the ledger and of kept rows: what is recorded, for all flows that use it
    #[arg(long, global = true, env = "DIL_STATE", hide_env = true, value_name = "DIR", default_value_os_t = dil_engine::default_state_dir(), help_heading = "Everywhere")]
    pub(crate) state: PathBuf,

    /// A database server with the ledger, which machines can share: postgres://USER@HOST/DATABASE or
    /// mysql://USER@HOST/DATABASE, with the password in DIL_SECRET_LEDGER. Without it, a file in the state folder
    #[arg(
        long,
        global = true,
        env = "DIL_LEDGER",
        hide_env = true,
        value_name = "URL",
        help_heading = "Everywhere"
    )]
    pub(crate) ledger: Option<String>,

    /// How a run tells what happens: `auto` draws progress on a terminal and prints lines of text elsewhere
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "auto",
        hide_possible_values = false,
        help_heading = "Everywhere"
    )]
    pub(crate) log_format: LogFormat,

    /// Whether to use colours
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = false,
        help_heading = "Everywhere"
    )]
    pub(crate) color: ColorChoice,
}

impl Common {
    /// Where state and secrets are.
    pub(crate) fn settings(&self) -> Result<Settings, Error> {
        let server = self.ledger.as_ref().filter(|address| !address.is_empty());
        let server = server.map(|address| address.parse::<Server>()).transpose()?;
        let ledger = server.map(|server| {
            let password = EnvSecrets.secret("LEDGER").ok();
            server.with_password(password.as_ref().map(Secret::expose))
        });
        Ok(Settings { ledger, ..Settings::new(self.state.clone()) })
    }
}

/// How a run tells what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Auto,
    Text,
    Json,
}

/// Whether to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    Auto,
    Always,
    Never,
}

/// How a list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Listing {
    Table,
    Json,
    Csv,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Writes a small commented flow to start from
    Init {
        /// The file to write; never overwritten
        #[arg(value_name = "PATH", default_value = "flow.yaml")]
        path: PathBuf,
    },
    /// Tells every mistake in a flow file, with its place
    Check(FlowFile),
    /// Shows which units would run and why, without running them
    Plan(PlanArguments),
    /// Reads the first rows of a stage and shows them with their schema; writes nothing
    Preview(PreviewArguments),
    /// Runs a flow, or goes on with its interrupted run
    Run(RunArguments),
    /// Goes on with an interrupted run; an error if there is none
    Resume(ResumeArguments),
    /// Lists runs, newest first
    Runs(RunsArguments),
    /// Lists work units: what is recorded of each, and what failed
    Units(UnitsArguments),
    /// Shows what is recorded of stages, or forgets it
    #[command(subcommand)]
    State(StateCommand),
    /// Prints the JSON Schema of flow files, for editors
    Schema,
    /// Shows dil at work on a bundled sample service, offline
    Demo(DemoArguments),
    /// Prints the completions of a shell
    Completions { shell: clap_complete::Shell },
    /// Runs units for another dil process, over stdin and stdout
    #[command(hide = true)]
    Work,
}

/// A flow file and the values given to it.
#[derive(Debug, Clone, Args)]
pub(crate) struct FlowFile {
    /// The flow file
    #[arg(value_name = "FLOW", default_value = "flow.yaml")]
    pub(crate) path: PathBuf,

    /// Gives a variable of the flow a value; may come several times
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub(crate) vars: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    pub(crate) flow: FlowFile,
    #[command(flatten)]
    pub(crate) how: HowToRun,

    /// Abandons an interrupted run and starts a new one; what is recorded stays
    #[arg(long)]
    pub(crate) fresh: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ResumeArguments {
    #[command(flatten)]
    pub(crate) flow: FlowFile,
    #[command(flatten)]
    pub(crate) how: HowToRun,
}

/// What `run` and `resume` share.
#[derive(Debug, Args)]
pub(crate) struct HowToRun {
    /// Runs units in so many worker processes; 0 runs them in this one
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=256))]
    pub(crate) workers: u32,

    /// Runs only this stage, or only such units of it, and the stages whose rows it needs: STAGE, or
    /// 'STAGE[id=42, time=2024-01-01..2024-02-01]'; may come several times
    #[arg(long, value_name = "STAGE[…]")]
    pub(crate) only: Vec<String>,

    /// Runs only units whose last try failed
    #[arg(long)]
    pub(crate) retry_failed: bool,

    /// Reads what is recorded already once more, with a record of its own under this name; what is published is exchanged,
    /// watermarks stay
    #[arg(long, value_name = "NAME")]
    pub(crate) backfill: Option<String>,

    /// The first instant of the backfill, in place of the flow's
    #[arg(long, value_name = "TIME", requires = "backfill")]
    pub(crate) from: Option<String>,

    /// The end of the backfill, in place of the flow's
    #[arg(long, value_name = "TIME", requires = "backfill")]
    pub(crate) to: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    #[command(flatten)]
    pub(crate) flow: FlowFile,

    /// Plans for another moment: a date, or a date and time with zone offset
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) as_of: Option<Timestamp>,

    /// Runs the stages that only give values to others first, beside the ledger: what they give now is what is planned from
    #[arg(long)]
    pub(crate) with_upstream: bool,

    /// Lists units that would not run, too, and why
    #[arg(long)]
    pub(crate) skipped: bool,

    /// The most units to show of a stage
    #[arg(long, value_name = "N", default_value_t = 12)]
    pub(crate) units: usize,

    /// Prints the plan as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PreviewArguments {
    #[command(flatten)]
    pub(crate) flow: FlowFile,

    /// The stage; the last one to run if none is named
    #[arg(value_name = "STAGE")]
    pub(crate) stage: Option<String>,

    /// How many rows to show
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = rows)]
    pub(crate) rows: usize,
}

#[derive(Debug, Args)]
pub(crate) struct RunsArguments {
    /// Only runs of this flow: its name, or its file
    #[arg(value_name = "FLOW")]
    pub(crate) flow: Option<String>,

    /// The most runs to list
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: u32,

    /// How to print them
    #[arg(long, default_value = "table")]
    pub(crate) format: Listing,
}

#[derive(Debug, Args)]
pub(crate) struct UnitsArguments {
    #[command(flatten)]
    pub(crate) which: WhichUnits,

    /// The most units to list; a table shows a thousand if nothing is said
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u32>,

    /// How to print them
    #[arg(long, default_value = "table")]
    pub(crate) format: Listing,
}

/// Which units are meant: those that everything given is true of.
#[derive(Debug, Args)]
pub(crate) struct WhichUnits {
    /// Only units of this flow: its name, or its file
    #[arg(value_name = "FLOW")]
    pub(crate) flow: Option<String>,

    /// Only units of this stage
    #[arg(long, value_name = "STAGE")]
    pub(crate) stage: Option<String>,

    /// Only the unit of this name
    #[arg(long, value_name = "NAME")]
    pub(crate) unit: Option<String>,

    /// Only units whose last try stands like this
    #[arg(long, value_name = "STATUS")]
    pub(crate) status: Option<UnitStatus>,

    /// Only units with this value in a field; may come several times
    #[arg(long = "value", value_name = "FIELD=VALUE", value_parser = name_and_value)]
    pub(crate) values: Vec<(String, String)>,

    /// Only units whose interval begins in this stretch: two dates, or dates and times, with `..` between (UTC)
    #[arg(long, value_name = "FROM..TO", value_parser = stretch)]
    pub(crate) time: Option<Interval>,

    /// Only units whose error holds this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) error: Option<String>,

    /// Only entries of this backfill; an empty name means those of none
    #[arg(long, value_name = "NAME")]
    pub(crate) backfill: Option<String>,
}

/// How a unit's last try stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UnitStatus {
    Planned,
    Done,
    Failed,
    Running,
    Staged,
}

impl UnitStatus {
    /// The word that the ledger uses.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Running => "running",
            Self::Staged => "staged",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum StateCommand {
    /// Shows how far each stage is recorded, and its schema
    Show {
        /// Only stages of this flow: its name, or its file
        #[arg(value_name = "FLOW")]
        flow: Option<String>,

        /// How to print them
        #[arg(long, default_value = "table")]
        format: Listing,
    },
    /// Says up to where a stage counts as read: what ends before is recorded, what comes after is read again
    SetWatermark {
        /// The flow file
        #[arg(value_name = "FLOW")]
        flow: PathBuf,

        /// The stage
        #[arg(value_name = "STAGE")]
        stage: String,

        /// The first instant that counts as not read: a date, or a date and time with zone offset
        #[arg(value_name = "TIME", value_parser = instant)]
        to: Timestamp,

        /// Only of the unit of this name
        #[arg(long, value_name = "NAME")]
        unit: Option<String>,

        /// Gives a variable of the flow a value; may come several times
        #[arg(long = "var", value_name = "NAME=VALUE", value_parser = name_and_value)]
        vars: Vec<(String, String)>,

        #[command(flatten)]
        sure: Sure,
    },
    /// Forgets units: their watermarks, and that they are owed; those that the flow still has are read again
    Forget {
        #[command(flatten)]
        which: WhichUnits,

        #[command(flatten)]
        sure: Sure,
    },
    /// Forgets a stage's units, watermarks and schema, so that the next run reads everything again
    Reset {
        /// The flow: its name, or its file
        #[arg(value_name = "FLOW")]
        flow: String,

        /// The stage
        #[arg(value_name = "STAGE")]
        stage: String,

        #[command(flatten)]
        sure: Sure,
    },
}

/// How sure a change of the ledger is.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Sure {
    /// Only tells what would change
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Does not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// The folder to work in; made anew each time
    #[arg(value_name = "DIR", default_value = "demo")]
    pub(crate) folder: PathBuf,

    /// Only serves the sample service of an earlier demo, until Ctrl-C
    #[arg(long)]
    pub(crate) serve: bool,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

fn instant(text: &str) -> Result<Timestamp, String> {
    let date = |text: &str| -> Option<Timestamp> {
        let date: jiff::civil::Date = text.parse().ok()?;
        date.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    };
    text.parse()
        .ok()
        .or_else(|| date(text))
        .ok_or_else(|| "write a date (2026-01-31) or a date and time (2026-01-31T06:00:00Z)".to_owned())
}

fn stretch(text: &str) -> Result<Interval, String> {
    let wrong =
        || "write two dates with `..` between, the earlier one first: 2026-05-01..2026-06-01".to_owned();
    let (low, high) = text.split_once("..").ok_or_else(wrong)?;
    Interval::new(instant(low)?, instant(high)?).ok_or_else(wrong)
}

/// Rows that a preview may hold in memory at once.
const ROWS_MAX: usize = 10_000;

fn rows(text: &str) -> Result<usize, String> {
    let rows = text.parse().ok().filter(|rows| (1..=ROWS_MAX).contains(rows));
    rows.ok_or_else(|| format!("write a number from 1 to {ROWS_MAX}"))
}
