//! `dil init`: a small commented flow to start from.

use std::io::Write as _;
use std::path::Path;

use dil_model::Error;

use crate::exit::{Exit, Failure, usage};
use crate::terminal::Terminal;

const FLOW: &str = include_str!("init.flow.yaml");

pub(super) fn run(path: &Path, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut file = std::fs::File::create_new(path).map_err(|cause| match cause.kind() {
        std::io::ErrorKind::AlreadyExists => {
            usage("init/exists", format!("{} is there already", path.display()))
                .hint("name another file: dil init other.yaml")
        }
        _ => Error::storage("writing", path, &cause),
    })?;
    file.write_all(FLOW.as_bytes()).map_err(|cause| Error::storage("writing", path, &cause))?;
    terminal.print(&format!("wrote {0}\nnext: edit it, then `dil check {0}`\n", path.display()))?;
    Ok(Exit::Success)
}
