//! Decisions in words.

use std::fmt;

use crate::decide::{Reason, Skip};

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "new",
            Self::FailedBefore => "failed before",
            Self::Unfinished => "read on from where it ended",
            Self::Late => "within grace, read again",
            Self::Changed => "another version, read again",
            Self::Onward => "read on from the greatest key",
            Self::Snapshot => "read in full every run",
        })
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "already done",
            Self::ThisRun => "already recorded in this run",
            Self::Abstinence => "read lately, left alone",
            Self::Partial => "its interval is not over yet",
            Self::Unlisted => "its row left the list",
            Self::NotChosen => "not chosen",
            Self::BeyondMax => "beyond `max`, left for a later run",
        })
    }
}
