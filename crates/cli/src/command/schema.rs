//! `dil schema`: the JSON Schema of flow files.

use crate::exit::{Exit, Failure};
use crate::table::json;
use crate::terminal::Terminal;

pub(super) fn run(terminal: &Terminal) -> Result<Exit, Failure> {
    terminal.print(&format!("{}\n", json(&dil_flow::json_schema())?))?;
    Ok(Exit::Success)
}
