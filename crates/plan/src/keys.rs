//! Cuts a range of whole numbers into the stretches that become work units.

use dil_model::config::Order;

/// One stretch of the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyPart {
    pub(crate) low: i64,
    /// Its end inside the range.
    pub(crate) high: i64,
}

/// The stretches of `[from, to)`, from its beginning or from its end.
#[derive(Debug, Clone)]
pub(crate) struct KeyParts {
    from: i64,
    to: i64,
    every: i64,
    backwards: bool,
    passed: i64,
}

impl KeyParts {
    pub(crate) fn new(from: i64, to: i64, every: i64, order: Order) -> Self {
        Self { from, to, every: every.max(1), backwards: order == Order::NewestFirst, passed: 0 }
    }

    pub(crate) fn parts(&self) -> i64 {
        let length = (i128::from(self.to) - i128::from(self.from)).max(0);
        let every = i128::from(self.every);
        i64::try_from((length + every - 1) / every).unwrap_or(i64::MAX)
    }
}

impl Iterator for KeyParts {
    type Item = KeyPart;

    fn next(&mut self) -> Option<KeyPart> {
        let count = self.parts();
        if self.passed >= count {
            return None;
        }
        let number = if self.backwards { count - 1 - self.passed } else { self.passed };
        self.passed += 1;
        let low = i128::from(self.from) + i128::from(number) * i128::from(self.every);
        let high = (low + i128::from(self.every)).min(i128::from(self.to));
        Some(KeyPart { low: i64::try_from(low).ok()?, high: i64::try_from(high).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ends_of_the_numbers_are_no_trouble() {
        let all = KeyParts::new(i64::MIN, i64::MAX, i64::MAX, Order::OldestFirst);
        let parts: Vec<KeyPart> = all.collect();
        assert_eq!(parts.first().map(|part| part.low), Some(i64::MIN));
        assert_eq!(parts.last().map(|part| part.high), Some(i64::MAX));
        assert_eq!(KeyParts::new(5, 5, 1, Order::OldestFirst).parts(), 0);
        assert_eq!(KeyParts::new(9, 5, 1, Order::OldestFirst).parts(), 0);
    }

    proptest! {
        #[test]
        fn they_tile_the_range(from in -1000_i64..1000, length in 0_i64..5000, every in 1_i64..700) {
            let parts: Vec<KeyPart> = KeyParts::new(from, from + length, every, Order::OldestFirst).collect();
            let mut at = from;
            for part in &parts {
                prop_assert!(part.low == at && part.high > part.low && part.high - part.low <= every);
                at = part.high;
            }
            prop_assert_eq!(at, from + length);
            let mut backwards: Vec<KeyPart> = KeyParts::new(from, from + length, every, Order::NewestFirst).collect();
            backwards.reverse();
            prop_assert_eq!(backwards, parts);
        }
    }
}
