//! How the memory budget is divided. The shares are fixed before a unit starts, so no data can make it exceed them.
//!
//! The process needs [`BASE`] for itself. The rest is cut into equal shares, one for each unit that runs at once; if that
//! would make them smaller than [`UNIT_MIN`], fewer units run at once.

use dil_model::setting::ByteSize;

/// What the process needs without any unit: code, stacks, the ledger's cache, the allocator's slack. Measured at about 20 MiB.
const BASE: u64 = 28 << 20;
/// The least that a unit can work with: below it, frames and row groups get so small that files suffer.
const UNIT_MIN: u64 = 28 << 20;

/// How many units run at once, and what each may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slots {
    pub(crate) units: u32,
    pub(crate) share: ByteSize,
}

impl Slots {
    /// Divides `memory` among at most `parallel` units in one process, or in `workers` child processes.
    pub(crate) fn divide(memory: ByteSize, parallel: u32, workers: u32) -> Self {
        let processes = u64::from(workers) + 1;
        let usable = memory.0.saturating_sub(BASE * processes).max(UNIT_MIN);
        let fit = u32::try_from(usable / UNIT_MIN).unwrap_or(u32::MAX);
        let units = parallel.min(fit).max(1);
        Self { units, share: ByteSize(usable / u64::from(units)) }
    }
}

/// What each part of a unit may hold, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    /// One row as it arrives. While it is decoded it exists about four times: buffer, frame, columns, encoder.
    pub(crate) row_max: usize,
    /// A frame is given on at this size.
    pub(crate) frame: usize,
    /// A page up to this size is held until it is whole, so that it can be fetched again if it breaks off.
    pub(crate) held_page: usize,
    /// Frames between the reader and the decoder.
    pub(crate) in_flight: usize,
    /// Rows whose file bytes are not final, over all outputs.
    pub(crate) encoder: usize,
    /// Rows that wait to be sorted by partition.
    pub(crate) shuffle: usize,
}

impl Shares {
    pub(crate) fn of(share: ByteSize) -> Self {
        let share = share.as_usize();
        Self {
            row_max: share / 8,
            frame: (share / 48).clamp(64 << 10, 1 << 20),
            held_page: share / 8,
            in_flight: share / 8,
            encoder: share / 2,
            shuffle: share / 6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parallelism_falls_to_fit() {
        assert_eq!(Slots::divide(ByteSize::mib(256), 4, 0).units, 4);
        assert_eq!(Slots::divide(ByteSize::mib(64), 4, 0).units, 1);
        assert_eq!(Slots::divide(ByteSize::mib(256), 64, 0).units, 8);
    }

    #[test]
    fn shares_stay_within_the_budget() {
        for (memory, parallel, workers) in [(256, 4, 0), (256, 64, 2), (1024, 8, 4), (96, 2, 0)] {
            let slots = Slots::divide(ByteSize::mib(memory), parallel, workers);
            let all = u64::from(slots.units) * slots.share.0 + BASE * (u64::from(workers) + 1);
            assert!(all <= memory << 20, "{memory} MiB, {parallel} units, {workers} workers");
        }
    }
}
