//! The names of local files as a source: one page of NDJSON.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dil_model::component::{OpenPage, PageBody, PageFacts, Requests, Source};
use dil_model::config::ListRead;
use dil_model::secret::SecretStore;
use dil_model::template::Variables;
use dil_model::{Error, ErrorKind, Result};

use super::{blocking, glob};

/// Rows that go on at once.
const ROWS_AT_ONCE: usize = 1024;

/// All that one unit's listing needs.
pub struct ListSourceSpec {
    /// Which names.
    pub read: ListRead,
    /// What the unit's templates see.
    pub variables: Variables,
    /// Where `${secret:NAME}` finds its text.
    pub secrets: Arc<dyn SecretStore>,
    /// An earlier [`Source::position`]: then all was listed.
    pub resume: Option<serde_json::Value>,
}

/// Opens a listing. Looks at no folder yet.
///
/// # Errors
/// `Config` if the path's template cannot be rendered.
pub fn source(spec: ListSourceSpec) -> Result<Box<dyn Source>> {
    let pattern = glob::pattern(&spec.read.path, &spec.variables, &spec.secrets)?;
    Ok(Box::new(ListSource { read: spec.read, pattern, listed: spec.resume.is_some() }))
}

struct ListSource {
    read: ListRead,
    pattern: String,
    listed: bool,
}

#[async_trait]
impl Source for ListSource {
    fn wanted(&self) -> Vec<String> {
        Vec::new()
    }

    async fn open(&mut self) -> Result<Option<OpenPage>> {
        if self.listed {
            return Ok(None);
        }
        let mut paths = glob::list(&self.pattern, self.read.no_match).await?;
        paths.sort_unstable();
        let chunks = futures::stream::unfold(paths.into_iter(), |mut left| async {
            let some: Vec<String> = left.by_ref().take(ROWS_AT_ONCE).collect();
            if some.is_empty() {
                return None;
            }
            let rows = blocking(move || rows(&some)).await.and_then(|rows| rows);
            Some((rows, left))
        });
        let label = format!("the files {}", self.pattern);
        Ok(Some(OpenPage { number: 1, label, body: PageBody::Stream(Box::pin(chunks)) }))
    }

    async fn advance(&mut self, _facts: &PageFacts) -> Result<()> {
        self.listed = true;
        Ok(())
    }

    /// A folder that cannot be looked at is no better the next moment.
    async fn again(&mut self, error: Error) -> Result<()> {
        Err(error)
    }

    fn position(&self) -> serde_json::Value {
        self.listed.into()
    }

    fn requests(&self) -> Requests {
        Requests::default()
    }
}

/// A line for each file that is still there.
fn rows(paths: &[String]) -> Result<Bytes> {
    let mut lines = Vec::new();
    for path in paths {
        let failed = |cause| Error::storage("looking at", Path::new(path), &cause);
        let about = match std::fs::metadata(path) {
            Ok(about) => about,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => continue,
            Err(cause) => return Err(failed(cause)),
        };
        let name = Path::new(path).file_name().map(|name| name.to_string_lossy());
        let modified = jiff::Timestamp::try_from(about.modified().map_err(failed)?).map_err(|cause| {
            Error::new(
                ErrorKind::Storage,
                "files/time",
                format!("{path} was changed at a time out of reach: {cause}"),
            )
        })?;
        let row = serde_json::json!({
            "path": path, "name": name, "size": about.len(), "modified": format!("{modified:.6}"),
        });
        lines.extend_from_slice(row.to_string().as_bytes());
        lines.push(b'\n');
    }
    Ok(lines.into())
}
