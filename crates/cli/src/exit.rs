//! What the exit code tells, and the failures that lead to it.

use std::process::ExitCode;

use dil_flow::Located;
use dil_model::{Error, ErrorKind};

/// How the process ends. The numbers are promised: scripts rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All that was to do is done.
    Success,
    /// A unit, a stage or the command failed.
    Failed,
    /// The command line or the flow file is wrong.
    Usage,
    /// Another run of the flow is under way.
    Held,
    /// The ledger cannot be used.
    State,
    /// Another run took the flow over.
    Lost,
    /// A defect in `dil`.
    Defect,
    /// Stopped by Ctrl-C or SIGTERM.
    Stopped,
}

impl Exit {
    /// All of them, in the order of their codes.
    const ALL: [Self; 8] = [
        Self::Success,
        Self::Failed,
        Self::Usage,
        Self::Held,
        Self::State,
        Self::Lost,
        Self::Defect,
        Self::Stopped,
    ];

    /// The number that the parent process sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Held => 3,
            Self::State => 4,
            Self::Lost => 5,
            Self::Defect => 70,
            Self::Stopped => 130,
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::Success => "everything that was planned is recorded",
            Self::Failed => "a unit, a stage or the command failed; what succeeded is recorded",
            Self::Usage => "the command line or the flow file is wrong; nothing was begun",
            Self::Held => "another run of this flow is under way",
            Self::State => "the ledger is missing, corrupt, of another version or out of reach",
            Self::Lost => "another run took this flow over; what was recorded before stays",
            Self::Defect => "a defect in dil (101 as well); please report it",
            Self::Stopped => "stopped by Ctrl-C or SIGTERM; the next run goes on",
        }
    }

    /// The codes and what they mean, a line each, for `dil --help`.
    pub(crate) fn help() -> String {
        let lines = Self::ALL.map(|exit| format!("  {:>3}  {}\n", exit.code(), exit.meaning()));
        format!("Exit codes:\n{}", lines.concat().trim_end())
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The flow file has problems; `text` is the file.
    Problems { text: String, located: Vec<Located> },
    /// Anything else.
    Error(Box<Error>),
    /// Stopped on request; that was told already.
    Stopped,
}

impl Failure {
    /// The code that goes with it.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Problems { .. } => Exit::Usage,
            Self::Error(error) => exit_of(error),
            Self::Stopped => Exit::Stopped,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(Box::new(error))
    }
}

/// A mistake on the command line that clap cannot see.
pub(crate) fn usage(code: &str, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, code, message)
}

fn exit_of(error: &Error) -> Exit {
    match error.kind {
        ErrorKind::Config => Exit::Usage,
        ErrorKind::Lease if error.code == "lease/held" => Exit::Held,
        ErrorKind::Lease => Exit::Lost,
        ErrorKind::State => Exit::State,
        ErrorKind::Cancelled => Exit::Stopped,
        ErrorKind::Internal => Exit::Defect,
        ErrorKind::Secret
        | ErrorKind::Network
        | ErrorKind::Auth
        | ErrorKind::Status
        | ErrorKind::Truncated
        | ErrorKind::Content
        | ErrorKind::Format
        | ErrorKind::Type
        | ErrorKind::Paging
        | ErrorKind::Memory
        | ErrorKind::Storage
        | ErrorKind::Publish => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_lease_trouble_has_its_own_code() {
        let exit = |code: &str| Failure::from(Error::new(ErrorKind::Lease, code, "x")).exit();
        assert_eq!(exit("lease/held"), Exit::Held);
        assert_eq!(exit("lease/lost"), Exit::Lost);
    }

    #[test]
    fn codes_differ_and_stand_in_order() {
        assert!(Exit::ALL.map(Exit::code).is_sorted_by(|a, b| a < b));
    }
}
