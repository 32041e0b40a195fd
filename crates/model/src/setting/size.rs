//! Sizes in bytes.

use std::fmt;

/// A size with its unit: `64MiB`, `1GB`, `512KiB`, `100B`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

const UNITS: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

impl ByteSize {
    /// So many mebibytes.
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// Reads `64MiB`.
    ///
    /// # Errors
    /// What is wrong with the text, for a user.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (number, factor) = UNITS
            .iter()
            .find_map(|(unit, factor)| text.strip_suffix(unit).map(|number| (number.trim(), *factor)))
            .ok_or_else(|| format!("`{text}` has no unit; write a size like 64MiB, 1GB or 512KiB"))?;
        let number: u64 =
            number.parse().map_err(|_| format!("`{text}` is not a size; write one like 64MiB"))?;
        number.checked_mul(factor).map(Self).ok_or_else(|| format!("`{text}` is too large"))
    }

    /// The size in bytes, as an index.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
            .into_iter()
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor))
            .unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

super::spelt!(
    ByteSize,
    "ByteSize",
    "A size with its unit: B, KB, MB, GB, KiB, MiB, GiB.",
    r"^\s*[0-9]+\s*(B|KB|MB|GB|KiB|MiB|GiB)\s*$",
    ["64MiB", "1GB"]
);

#[cfg(test)]
mod tests {
    use super::ByteSize;

    #[test]
    fn reads_what_it_prints() {
        for text in ["64MiB", "1GiB", "3KiB", "7B"] {
            assert_eq!(ByteSize::parse(text).map(|size| size.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(ByteSize::parse("1 GB"), Ok(ByteSize(1_000_000_000)));
    }

    #[test]
    fn refuses_a_bare_number() {
        assert!(ByteSize::parse("64").is_err_and(|message| message.contains("has no unit")));
    }
}
