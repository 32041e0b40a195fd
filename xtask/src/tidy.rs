//! What compilers and clippy do not check.

mod imports;
mod leftovers;
mod length;
mod links;

use std::io;
use std::path::Path;

use crate::boundaries;
use crate::finding::Finding;

/// All findings, in the order of their places.
pub(crate) fn check(root: &Path) -> io::Result<Vec<Finding>> {
    let mut findings = length::check(root)?;
    findings.extend(imports::check(root)?);
    findings.extend(links::check(root)?);
    findings.extend(leftovers::check(root)?);
    findings.extend(boundaries::check(root)?);
    findings.sort();
    Ok(findings)
}
