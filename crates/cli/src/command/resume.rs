//! `dil resume`: goes on with an interrupted run.

use super::run::{Begin, start};
use crate::argument::{Common, ResumeArguments};
use crate::exit::{Exit, Failure};
use crate::terminal::Terminal;

pub(super) fn run(
    common: &Common,
    arguments: &ResumeArguments,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    start(common, &arguments.flow, &arguments.how, Begin::Resume, terminal)
}
