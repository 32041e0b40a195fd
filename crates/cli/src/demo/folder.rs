//! The demo's own folder: made anew each time, and never over somebody's files.

use std::path::{Path, PathBuf};

use dil_model::{Error, ErrorKind, Result};

use super::flow;
use crate::exit::usage;

/// The file that tells our folder from others; it holds the service's port.
const MARKER: &str = ".dil-demo";

/// What a demo makes in its folder, beside the marker. Nothing else is ever removed.
const OURS: [&str; 3] = [flow::FILE, flow::ROWS, ".dil"];

/// A folder that is ours.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes the folder, or empties that of an earlier demo.
    ///
    /// # Errors
    /// `Config` if there is something in it and no demo made it.
    pub(super) fn fresh(path: &Path) -> Result<Self> {
        let entries = match std::fs::read_dir(path) {
            Ok(entries) => entries.count(),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => 0,
            Err(cause) => return Err(Error::storage("reading", path, &cause)),
        };
        if entries > 0 && !path.join(MARKER).is_file() {
            return Err(usage(
                "demo/not-ours",
                format!("{} is not empty, and no demo made it", path.display()),
            )
            .hint("name another folder: dil demo OTHER"));
        }
        std::fs::create_dir_all(path).map_err(|cause| Error::storage("making", path, &cause))?;
        let folder = Self(path.to_owned());
        for name in OURS {
            let path = folder.path(name);
            let removed =
                if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            match removed {
                Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::storage("removing", &path, &cause));
                }
                _ => {}
            }
        }
        folder.note_port(0)?;
        Ok(folder)
    }

    /// The folder of an earlier demo.
    ///
    /// # Errors
    /// `Config` if it is none.
    pub(super) fn existing(path: &Path) -> Result<Self> {
        if path.join(MARKER).is_file() {
            return Ok(Self(path.to_owned()));
        }
        Err(usage("demo/none", format!("no demo was run in {}", path.display()))
            .hint(format!("run `dil demo {}` first", path.display())))
    }

    /// A file or folder in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes the flow file.
    pub(super) fn write_flow(&self, text: &str) -> Result<()> {
        let path = self.path(flow::FILE);
        std::fs::write(&path, text).map_err(|cause| Error::storage("writing", &path, &cause))
    }

    /// Keeps the port for [`Folder::port`].
    pub(super) fn note_port(&self, port: u16) -> Result<()> {
        let path = self.path(MARKER);
        std::fs::write(&path, format!("{port}\n")).map_err(|cause| Error::storage("writing", &path, &cause))
    }

    /// The port of the service that the flow file names; 0 if it is not known.
    pub(super) fn port(&self) -> u16 {
        std::fs::read_to_string(self.path(MARKER)).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    /// Makes it the current folder, so that the flow's relative paths lie in it.
    pub(super) fn enter(&self) -> Result<()> {
        std::env::set_current_dir(&self.0).map_err(|cause| Error::storage("entering", &self.0, &cause))
    }
}

/// The demo did not do what it must.
pub(super) fn differs(message: String) -> Error {
    Error::new(ErrorKind::Internal, "demo/differs", message).hint("this is a defect in dil; please report it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_a_folder_alone_that_it_did_not_make() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("precious"), "x").unwrap();
        let error = Folder::fresh(folder.path()).unwrap_err();
        assert_eq!(error.code, "demo/not-ours");
        assert!(folder.path().join("precious").exists());
    }

    #[test]
    fn removes_only_what_a_demo_makes() {
        let folder = tempfile::tempdir().unwrap();
        let ours = Folder::fresh(folder.path()).unwrap();
        ours.write_flow("flow: x").unwrap();
        ours.note_port(4711).unwrap();
        std::fs::write(folder.path().join("notes.txt"), "x").unwrap();
        assert_eq!(Folder::existing(folder.path()).unwrap().port(), 4711);
        let again = Folder::fresh(folder.path()).unwrap();
        assert!(!again.path("flow.yaml").exists());
        assert!(again.path("notes.txt").exists());
    }
}
