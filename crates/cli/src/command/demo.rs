//! `dil demo`: the engine at work on a bundled sample service.

use crate::argument::DemoArguments;
use crate::demo;
use crate::exit::{Exit, Failure};
use crate::running::block_on;
use crate::terminal::Terminal;

pub(super) fn run(arguments: &DemoArguments, terminal: &Terminal) -> Result<Exit, Failure> {
    if arguments.serve {
        block_on(demo::serve(&arguments.folder, terminal))??;
    } else {
        block_on(demo::show(&arguments.folder, terminal))??;
    }
    Ok(Exit::Success)
}
