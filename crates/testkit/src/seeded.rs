//! Random numbers that are the same for a seed, whatever the version of any crate.

/// A generator of pseudo-random numbers (splitmix64); good enough for test data, for nothing else.
///
/// # Source
/// Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014.
#[derive(Debug, Clone)]
pub struct Seeded(u64);

impl Seeded {
    /// One that starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound
    }

    /// One of the choices.
    pub fn pick<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        let index = usize::try_from(self.below(choices.len() as u64)).unwrap_or(0);
        choices[index]
    }
}

#[cfg(test)]
mod tests {
    use super::Seeded;

    #[test]
    fn repeats_itself_for_a_seed() {
        let draw =
            |seed| (0..5).scan(Seeded::new(seed), |random, _| Some(random.next_u64())).collect::<Vec<_>>();
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
