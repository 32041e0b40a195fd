//! `dil check`: every mistake in a flow file.

use crate::argument::FlowFile;
use crate::exit::{Exit, Failure};
use crate::flow_file;
use crate::quantity::counted;
use crate::terminal::Terminal;

pub(super) fn run(file: &FlowFile, terminal: &Terminal) -> Result<Exit, Failure> {
    let flow = flow_file::load(file)?;
    let stages = counted(flow.flow.stages.len() as u64, "stage");
    let order = flow.order().join(" → ");
    terminal.print(&format!(
        "{}: flow {} with {stages}: {order}\n",
        terminal.out.good("ok"),
        flow.flow.flow
    ))?;
    Ok(Exit::Success)
}
