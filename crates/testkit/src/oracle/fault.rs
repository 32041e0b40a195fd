//! What can be made to go wrong.

use serde::Deserialize;

/// Something that goes wrong with the next matching requests.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Requests match whose path and query hold this text.
    pub matching: String,
    /// Matching requests that are let through first.
    #[serde(default)]
    pub after: u64,
    /// How many of those after them are hit.
    pub times: u64,
    /// What happens to them.
    pub kind: FaultKind,
}

/// What goes wrong.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// This status instead of an answer.
    Status(u16),
    /// 429 with `Retry-After` of so many seconds.
    RetryAfter(u64),
    /// The connection ends in the middle of the body, after its length was told.
    Cut,
    /// A page for people, with status 200.
    Html,
    /// A JSON document without the rows' path.
    NoRows,
    /// Rows that are no JSON.
    Garbage,
    /// The answer comes so many milliseconds later.
    DelayMs(u64),
}

/// The faults that are still to happen.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// What is to happen to this request.
    pub(crate) fn take(&mut self, target: &str) -> Option<FaultKind> {
        for fault in &mut self.0 {
            if !target.contains(&fault.matching) || fault.times == 0 {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
                continue;
            }
            fault.times -= 1;
            return Some(fault.kind.clone());
        }
        None
    }
}
