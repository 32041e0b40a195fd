//! Local files as a source. Each file is a page; several are read in the order of their names.
//!
//! A pattern does not match hidden files, nor anything below a hidden folder (so never a staging folder), unless it names
//! the dot itself. Folders that match are passed over.
//!
//! Limits: two chunks of a file are read ahead.

mod glob;
pub mod list;

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dil_model::component::{Body, OpenPage, PageBody, PageFacts, RandomAccess, Requests, Source};
use dil_model::config::FilesRead;
use dil_model::secret::SecretStore;
use dil_model::template::Variables;
use dil_model::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// Chunks that wait for the reader while the next one is read.
const CHUNKS_AHEAD: usize = 2;

/// All that one unit's file source needs.
pub struct FilesSourceSpec {
    /// Which files.
    pub read: FilesRead,
    /// Whether their format is read from any place of them.
    pub columnar: bool,
    /// What the unit's templates see.
    pub variables: Variables,
    /// Where `${secret:NAME}` finds its text.
    pub secrets: Arc<dyn SecretStore>,
    /// An earlier [`Source::position`], to go on behind it.
    pub resume: Option<serde_json::Value>,
}

/// Opens a file source. Looks at no file yet.
///
/// # Errors
/// `Config` if the path's template cannot be rendered, `State` if `resume` is not of a file source.
pub fn source(spec: FilesSourceSpec) -> Result<Box<dyn Source>> {
    let pattern = glob::pattern(&spec.read.path, &spec.variables, &spec.secrets)?;
    let reached = match spec.resume {
        None => Reached::default(),
        Some(note) => serde_json::from_value(note).map_err(|cause| {
            Error::new(
                ErrorKind::Paging,
                "files/position",
                format!("the unit's saved position cannot be used: {cause}"),
            )
            .hint("the unit is read again from its start")
        })?,
    };
    Ok(Box::new(FilesSource { read: spec.read, columnar: spec.columnar, pattern, reached, left: None }))
}

/// How far the reading got.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Reached {
    /// Files read.
    files: u64,
    /// The path of the last one; those behind it in the order of names are still to come.
    last: Option<String>,
}

struct FilesSource {
    read: FilesRead,
    columnar: bool,
    pattern: String,
    reached: Reached,
    /// The paths still to come, the next one last; none before the folder was looked at.
    left: Option<Vec<String>>,
}

#[async_trait]
impl Source for FilesSource {
    fn wanted(&self) -> Vec<String> {
        Vec::new()
    }

    async fn open(&mut self) -> Result<Option<OpenPage>> {
        if self.left.is_none() {
            self.left = Some(self.list().await?);
        }
        let Some(path) = self.left.as_ref().and_then(|left| left.last()) else { return Ok(None) };
        let body = match self.columnar {
            true => PageBody::Random(random(PathBuf::from(path)).await?),
            false => PageBody::Stream(body(PathBuf::from(path), self.read.chunk.as_usize().max(1)).await?),
        };
        Ok(Some(OpenPage { number: self.reached.files + 1, label: path.clone(), body }))
    }

    async fn advance(&mut self, _facts: &PageFacts) -> Result<()> {
        let Some(path) = self.left.as_mut().and_then(Vec::pop) else {
            return Err(Error::new(ErrorKind::Internal, "internal/advance", "advanced without an open file"));
        };
        self.reached = Reached { files: self.reached.files + 1, last: Some(path) };
        Ok(())
    }

    /// A local file that broke off is no better the next moment.
    async fn again(&mut self, error: Error) -> Result<()> {
        Err(error)
    }

    fn position(&self) -> serde_json::Value {
        serde_json::to_value(&self.reached).unwrap_or_default()
    }

    fn requests(&self) -> Requests {
        Requests::default()
    }
}

impl FilesSource {
    async fn list(&self) -> Result<Vec<String>> {
        let mut paths = glob::list(&self.pattern, self.read.no_match).await?;
        if let Some(last) = &self.reached.last {
            paths.retain(|path| path > last);
        }
        paths.sort_unstable_by(|a, b| b.cmp(a));
        Ok(paths)
    }
}

/// The bytes of a file, read on a thread that may wait for the disk; those of a small one at once.
async fn body(path: PathBuf, chunk_bytes: usize) -> Result<Body> {
    let opened = path.clone();
    let begin = move || {
        let (mut file, length) = open(&opened)?;
        let is_small = length.is_some_and(|length| length < chunk_bytes as u64);
        let first = is_small.then(|| next_chunk(&mut file, &opened, chunk_bytes, length)).transpose()?;
        Ok::<_, Error>((file, length, first))
    };
    let (file, length, first) = blocking(begin).await??;
    if let Some(first) = first.as_ref().filter(|first| first.len() < chunk_bytes) {
        is_whole(&path, length, first.len() as u64)?;
        let chunks = (!first.is_empty()).then(|| Ok(first.clone()));
        return Ok(Box::pin(futures::stream::iter(chunks)));
    }
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    tokio::task::spawn_blocking(move || {
        let read = read(file, (length, first), &path, chunk_bytes, &sender);
        if let Err(error) = read {
            // Nobody is left to be told if the reader is gone.
            let _ = sender.blocking_send(Err(error));
        }
    });
    Ok(Box::pin(futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    })))
}

/// A file that is read from any place; its size is what it was when it was opened.
struct Opened {
    file: File,
    bytes: u64,
}

impl RandomAccess for Opened {
    fn size(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(into, offset)
    }
}

async fn random(path: PathBuf) -> Result<Arc<dyn RandomAccess>> {
    let opened = path.clone();
    let (file, length) = blocking(move || open(&opened)).await??;
    let Some(bytes) = length else {
        let message =
            format!("{} is no plain file, and its format is not read from first to last", path.display());
        return Err(Error::new(ErrorKind::Config, "files/no-file", message));
    };
    Ok(Arc::new(Opened { file, bytes }))
}

/// The file, and its length if it is one that has a length.
fn open(path: &Path) -> Result<(File, Option<u64>)> {
    let failed = |cause: io::Error| Error::storage("opening", path, &cause);
    let file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    Ok((file, about.is_file().then_some(about.len())))
}

fn read(
    mut file: File,
    (length, first): (Option<u64>, Option<Bytes>),
    path: &Path,
    chunk_bytes: usize,
    chunks: &mpsc::Sender<Result<Bytes>>,
) -> Result<()> {
    let mut count = 0u64;
    let mut next = first;
    loop {
        let chunk = match next.take() {
            Some(chunk) => chunk,
            None => next_chunk(&mut file, path, chunk_bytes, None)?,
        };
        if chunk.is_empty() {
            return is_whole(path, length, count);
        }
        count += chunk.len() as u64;
        if chunks.blocking_send(Ok(chunk)).is_err() {
            return Ok(());
        }
    }
}

/// The next bytes of a file: as many as a chunk has, or all that there are.
fn next_chunk(file: &mut File, path: &Path, chunk_bytes: usize, expected: Option<u64>) -> Result<Bytes> {
    // One more than is expected, so that the end is seen without growing.
    let expected =
        expected.and_then(|bytes| usize::try_from(bytes).ok()).map_or(chunk_bytes, |bytes| bytes + 1);
    let mut chunk = Vec::with_capacity(expected.min(chunk_bytes));
    let read = file.take(chunk_bytes as u64).read_to_end(&mut chunk);
    read.map_err(|cause| Error::storage("reading", path, &cause))?;
    Ok(chunk.into())
}

fn is_whole(path: &Path, length: Option<u64>, read: u64) -> Result<()> {
    match length {
        Some(length) if read < length => Err(Error::new(
            ErrorKind::Truncated,
            "files/truncated",
            format!("{} had {length} bytes when it was opened and ended after {read}", path.display()),
        )
        .hint("something is writing to the file; run again when it is done")),
        _ => Ok(()),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|cause| {
        Error::new(ErrorKind::Internal, "internal/thread", format!("a reading thread died: {cause}"))
    })
}
