//! `dil`: the command line. The only crate that prints.
//!
//! Results go to stdout, everything else to stderr. What a verb does is in `command/`, one file each; how problems and errors
//! look is in `diagnostic.rs`, and what the exit code tells in `exit.rs`.

mod argument;
mod batch;
mod command;
mod demo;
mod diagnostic;
mod exit;
mod flow_file;
mod progress;
mod quantity;
mod running;
mod summary;
mod table;
mod terminal;

use clap::Parser as _;

fn main() -> std::process::ExitCode {
    dil_engine::faults::install();
    let arguments = argument::Arguments::parse();
    let terminal = terminal::Terminal::new(&arguments.common);
    terminal.listen();
    let exit = match command::dispatch(arguments, &terminal) {
        Ok(exit) => exit,
        Err(failure) => {
            diagnostic::tell(&terminal, &failure);
            failure.exit()
        }
    };
    exit.into()
}
