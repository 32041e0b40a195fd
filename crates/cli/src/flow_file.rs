//! Reads and checks a flow file for the commands that need one.

use std::path::Path;

use dil_flow::{Checked, Settings, Source};
use dil_model::Error;

use crate::argument::FlowFile;
use crate::exit::{Failure, usage};

/// The checked flow of a file, or every problem it has.
pub(crate) fn load(file: &FlowFile) -> Result<Checked, Failure> {
    let text = std::fs::read_to_string(&file.path).map_err(|cause| unreadable(&file.path, &cause))?;
    let source = Source { name: file.path.display().to_string(), text };
    let settings = Settings {
        vars: file.vars.iter().cloned().collect(),
        env: Box::new(|name| std::env::var(name).ok()),
    };
    dil_flow::load(&source, &settings).map_err(|located| Failure::Problems { text: source.text, located })
}

/// The flow's name, of a file or as it is.
pub(crate) fn name(name_or_file: &str) -> Result<String, Failure> {
    let path = Path::new(name_or_file);
    let is_file =
        path.is_file() || matches!(path.extension(), Some(ending) if ending == "yaml" || ending == "yml");
    if is_file {
        let file = FlowFile { path: path.to_owned(), vars: Vec::new() };
        return load(&file).map(|checked| checked.flow.flow);
    }
    Ok(name_or_file.to_owned())
}

fn unreadable(path: &Path, cause: &std::io::Error) -> Error {
    let hint = match cause.kind() {
        std::io::ErrorKind::NotFound => "name a flow file, or write one with `dil init`",
        std::io::ErrorKind::InvalidData => "save it as UTF-8",
        std::io::ErrorKind::PermissionDenied => "give this user the right to read it",
        _ => "name a flow file",
    };
    usage("flow/unreadable", format!("reading the flow file {}: {cause}", path.display())).hint(hint)
}
