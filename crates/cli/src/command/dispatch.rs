//! From the command line to the verb.

use super::{check, completions, demo, init, plan, preview, resume, run, runs, schema, state, units, work};
use crate::argument::{Arguments, Command};
use crate::exit::{Exit, Failure};
use crate::terminal::Terminal;

/// Does what the command line asks.
pub(crate) fn dispatch(arguments: Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let Arguments { common, command } = arguments;
    match command {
        Command::Init { path } => init::run(&path, terminal),
        Command::Check(file) => check::run(&file, terminal),
        Command::Plan(arguments) => plan::run(&common, &arguments, terminal),
        Command::Preview(arguments) => preview::run(&common, &arguments, terminal),
        Command::Run(arguments) => run::run(&common, &arguments, terminal),
        Command::Resume(arguments) => resume::run(&common, &arguments, terminal),
        Command::Runs(arguments) => runs::run(&common, &arguments, terminal),
        Command::Units(arguments) => units::run(&common, &arguments, terminal),
        Command::State(command) => state::run(&common, &command, terminal),
        Command::Schema => schema::run(terminal),
        Command::Demo(arguments) => demo::run(&arguments, terminal),
        Command::Completions { shell } => completions::run(shell, terminal),
        Command::Work => work::run(),
    }
}
