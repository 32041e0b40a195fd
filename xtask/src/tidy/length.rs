//! Files that are too long to be read in one go. Functions are left to clippy.

use std::io;
use std::path::Path;

use crate::finding::Finding;
use crate::source;

const LINES_MAX: usize = 800;

pub(crate) fn check(root: &Path) -> io::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for source in source::files(root, "", &[".rs"])?.into_iter().filter(|source| !source.is_generated()) {
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            let message =
                format!("the file has {lines} lines, more than {LINES_MAX}; divide it by what it is about");
            findings.push(Finding::new(&source.path, LINES_MAX + 1, message));
        }
    }
    Ok(findings)
}
