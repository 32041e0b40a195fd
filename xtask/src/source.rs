//! The repository's text files.

use std::fs;
use std::io;
use std::path::Path;

/// A text file.
pub(crate) struct Source {
    /// Relative to the repository's root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// Whether a program wrote it.
    pub(crate) fn is_generated(&self) -> bool {
        self.text.lines().take(3).any(|line| line.contains("@generated"))
    }

    /// The text without the unit tests at its end.
    pub(crate) fn shipped(&self) -> &str {
        let end = self.text.find("\n#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        self.text.get(..end).unwrap_or_default()
    }
}

/// Folders that hold nothing of ours.
const SKIPPED: [&str; 5] = ["target", "demo", ".git", ".dil", "node_modules"];

/// All files below `folder` (relative to `root`) whose names end in one of `endings`, in the order of their paths; none if the
/// folder is not there.
pub(crate) fn files(root: &Path, folder: &str, endings: &[&str]) -> io::Result<Vec<Source>> {
    let mut out = Vec::new();
    let start = root.join(folder);
    if start.is_dir() {
        walk(root, &start, endings, &mut out)?;
    }
    out.sort_by(|a: &Source, b: &Source| a.path.cmp(&b.path));
    Ok(out)
}

fn walk(root: &Path, folder: &Path, endings: &[&str], out: &mut Vec<Source>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // A link may lead out of the repository, or in a circle.
        if SKIPPED.contains(&name) || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            walk(root, &path, endings, out)?;
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            let text = fs::read_to_string(&path)?;
            let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            out.push(Source { path: relative, text });
        }
    }
    Ok(())
}

/// One file, if it is there.
pub(crate) fn file(root: &Path, path: &str) -> io::Result<Option<Source>> {
    match fs::read_to_string(root.join(path)) {
        Ok(text) => Ok(Some(Source { path: path.to_owned(), text })),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(cause),
    }
}

/// The line, counted from 1, of a byte.
pub(crate) fn line_of(text: &str, byte: usize) -> usize {
    text.bytes().take(byte).filter(|byte| *byte == b'\n').count() + 1
}
