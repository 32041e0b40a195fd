//! Notices that a server leads in a circle, within a fixed amount of memory.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher as _};

/// Cursors whose repetition is noticed at once; longer circles are found by the mark. More would cost memory that
/// is not in anybody's budget.
const SEEN_MAX: usize = 1 << 16;

/// Notices a cursor that came before.
#[derive(Default)]
pub(super) struct Circle {
    seen: HashSet<u64>,
    /// One of the later cursors, moved on whenever the count doubles (Brent's rule): the walk cannot circle for ever
    /// without meeting it.
    mark: u64,
    count: u64,
}

impl Circle {
    /// Whether nothing was told yet.
    pub(super) fn is_new(&self) -> bool {
        self.count == 0
    }

    /// Tells the next one; whether it came before.
    pub(super) fn comes_again(&mut self, key: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let hash = hasher.finish();
        if self.seen.contains(&hash) || (self.count > 0 && self.mark == hash) {
            return true;
        }
        if self.seen.len() < SEEN_MAX {
            self.seen.insert(hash);
        }
        self.count += 1;
        if self.count.is_power_of_two() {
            self.mark = hash;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_circle_is_found_however_late_it_begins(start in 0u64..300, length in 1u64..300) {
            let mut circle = Circle { seen: HashSet::new(), mark: 0, count: 0 };
            let steps = (0..).find(|step| {
                let at = if *step < start { *step } else { start + (step - start) % length };
                circle.seen.clear();
                circle.comes_again(&at.to_string())
            });
            prop_assert!(steps.is_some_and(|steps| steps <= 4 * (start + length) + 4));
        }
    }

    #[test]
    fn what_comes_twice_is_noticed_at_once() {
        let mut circle = Circle::default();
        assert_eq!(["a", "b", "c", "b"].map(|key| circle.comes_again(key)), [false, false, false, true]);
    }
}
