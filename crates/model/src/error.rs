//! The error of everything that runs: what happened, whether trying again helps, where, and what to do.

use std::fmt;
use std::time::Duration;

/// What a caller may match on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The flow file, an option or a setting is wrong.
    Config,
    /// A secret or an environment variable is missing.
    Secret,
    /// The other side could not be reached, or stopped answering.
    Network,
    /// The other side refused who we are.
    Auth,
    /// The other side answered with a status that means failure.
    Status,
    /// The answer ended before its declared end.
    Truncated,
    /// The answer is not what was asked for: another content type, no rows where they should be.
    Content,
    /// The bytes break the rules of their format.
    Format,
    /// A value does not fit its column's type.
    Type,
    /// Paging went wrong: a cursor came twice, a total was not reached.
    Paging,
    /// One item does not fit the memory budget.
    Memory,
    /// A local file or the disk.
    Storage,
    /// The ledger: corrupt, locked, or of another version.
    State,
    /// Another run holds the lease, or took it.
    Lease,
    /// Publication: a name clash, foreign files in the way.
    Publish,
    /// Stopped on request.
    Cancelled,
    /// A defect in `dil`.
    Internal,
}

impl ErrorKind {
    /// The kind as the ledger and the messages spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Secret => "secret",
            Self::Network => "network",
            Self::Auth => "auth",
            Self::Status => "status",
            Self::Truncated => "truncated",
            Self::Content => "content",
            Self::Format => "format",
            Self::Type => "type",
            Self::Paging => "paging",
            Self::Memory => "memory",
            Self::Storage => "storage",
            Self::State => "state",
            Self::Lease => "lease",
            Self::Publish => "publish",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }
}

/// Whether doing the same again may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retry {
    /// The same will happen again.
    No,
    /// It may work after a back-off.
    Yes,
    /// It may work after this long, as the other side said.
    After(Duration),
}

/// An error of a run.
///
/// `message` says what was being done and with what, in lowercase and without a full stop; `hint` says what to do;
/// `context` says where, outermost last (`page 7`, `unit …`, `stage …`). None of them ever holds a secret: who
/// builds an error from a URL or a header masks it first, and what quotes the bytes of an answer is masked where it leaves its
/// unit ([`crate::component::Source::report`]).
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Error {
    /// What a caller may match on.
    pub kind: ErrorKind,
    /// `area/slug`, for people and for searching.
    pub code: String,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Where it happened, innermost first.
    pub context: Vec<String>,
    /// Whether trying again may help.
    pub retry: Retry,
}

/// The result of everything that runs.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error that trying again does not mend.
    pub fn new(kind: ErrorKind, code: impl Into<String>, message: impl Into<String>) -> Self {
        let (code, message) = (code.into(), message.into());
        Self { kind, code, message, hint: None, context: Vec::new(), retry: Retry::No }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds where, one step further out.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.context.push(place.into());
        self
    }

    /// Says that trying again may help.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.retry = Retry::Yes;
        self
    }

    /// Says that trying again may help after `wait`.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry = Retry::After(wait);
        self
    }

    /// A file operation that failed, with the remedy that its cause suggests.
    pub fn storage(doing: &str, path: &std::path::Path, cause: &std::io::Error) -> Self {
        let hint = match cause.kind() {
            std::io::ErrorKind::PermissionDenied => {
                Some("give this user the right to it, or choose another path")
            }
            std::io::ErrorKind::StorageFull => {
                Some("free some space; the next run goes on with what is recorded")
            }
            std::io::ErrorKind::NotFound => Some("check the path"),
            std::io::ErrorKind::FileTooLarge => {
                Some("raise this user's limit on file sizes (`ulimit -f`), or set a smaller `file_size`")
            }
            std::io::ErrorKind::QuotaExceeded => {
                Some("free some space or raise the quota; the next run goes on with what is recorded")
            }
            std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::NotADirectory => {
                Some("a file stands where a folder is needed: move it away, or choose another path")
            }
            std::io::ErrorKind::IsADirectory => {
                Some("a folder stands where a file is needed: move it away, or choose another path")
            }
            std::io::ErrorKind::ReadOnlyFilesystem => Some("choose a path that can be written"),
            _ => None,
        };
        let error =
            Self::new(ErrorKind::Storage, "storage/io", format!("{doing} {}: {cause}", path.display()));
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        for place in &self.context {
            write!(f, ", {place}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
