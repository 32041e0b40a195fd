//! Decisions in words.

use std::collections::BTreeMap;
use std::fmt;

use crate::decide::{Decision, Reason, Skip};

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "new",
            Self::FailedBefore => "failed before",
            Self::Unfinished => "read on from where it ended",
            Self::Late => "within grace, read again",
            Self::Snapshot => "no interval, read in full every run",
        })
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Partial => "not whole yet",
            Self::BeyondMax => "beyond `max`",
        })
    }
}

/// Counts of decisions by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    run: BTreeMap<Reason, u64>,
    skipped: BTreeMap<Skip, u64>,
}

impl Tally {
    /// Counts one decision.
    pub fn add(&mut self, decision: &Decision) {
        match decision {
            Decision::Run(unit) => *self.run.entry(unit.reason).or_default() += 1,
            Decision::Skip { why, .. } => *self.skipped.entry(*why).or_default() += 1,
        }
    }

    /// Units that run.
    pub fn units(&self) -> u64 {
        self.run.values().sum()
    }

    /// Units that run, by reason.
    pub fn run(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        self.run.iter().map(|(reason, count)| (*reason, *count))
    }

    /// Units that do not run, by reason.
    pub fn skipped(&self) -> impl Iterator<Item = (Skip, u64)> + '_ {
        self.skipped.iter().map(|(why, count)| (*why, *count))
    }

    /// A sentence for each count, for people: what runs first, then what does not.
    pub fn sentences(&self) -> Vec<String> {
        let run = self.run.iter().map(|(reason, count)| {
            let one = *count == 1;
            match reason {
                Reason::New => format!("{} new", units(*count)),
                Reason::FailedBefore => {
                    format!("{} failed before and {} again", units(*count), if one { "runs" } else { "run" })
                }
                Reason::Unfinished => format!(
                    "{} {} on from where {} ended",
                    units(*count),
                    if one { "reads" } else { "read" },
                    if one { "it" } else { "they" }
                ),
                Reason::Late => {
                    format!("{} within grace {} read again", units(*count), if one { "is" } else { "are" })
                }
                Reason::Snapshot => format!(
                    "{} without interval {} read in full, as in every run",
                    units(*count),
                    if one { "is" } else { "are" }
                ),
            }
        });
        let skipped = self.skipped.iter().map(|(why, count)| {
            let one = *count == 1;
            match why {
                Skip::Done => format!("{} {} done", units(*count), if one { "is" } else { "are" }),
                Skip::Partial => format!(
                    "{} {} until {} whole",
                    units(*count),
                    if one { "waits" } else { "wait" },
                    if one { "it is" } else { "they are" }
                ),
                Skip::BeyondMax => format!(
                    "{} {} for a later run: `max` is reached",
                    units(*count),
                    if one { "stays" } else { "stay" }
                ),
            }
        });
        run.chain(skipped).collect()
    }
}

fn units(count: u64) -> String {
    if count == 1 { "1 unit".to_owned() } else { format!("{count} units") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_runs_and_what_does_not() {
        let skip = |why| Decision::Skip { signature: "id=1".into(), why };
        let mut tally = Tally::default();
        for decision in [skip(Skip::BeyondMax), skip(Skip::Done), skip(Skip::Done), skip(Skip::Partial)] {
            tally.add(&decision);
        }
        let expect = [
            "2 units are done",
            "1 unit waits until it is whole",
            "1 unit stays for a later run: `max` is reached",
        ];
        assert_eq!(tally.sentences(), expect);
        assert_eq!(tally.units(), 0);
    }
}
