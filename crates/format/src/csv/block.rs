//! Sixty-four bytes as bit masks: bit `i` of a mask speaks of byte `i`.

use super::dialect::Marks;

/// Bytes looked at together.
pub(super) const BLOCK: usize = 64;

/// Where the bytes with a meaning are, quoted or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) delimiters: u64,
    pub(super) quotes: u64,
    pub(super) line_ends: u64,
}

/// What a block inherits from the bytes before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Quoting {
    /// All ones if the byte before was inside quotes.
    inside: u64,
}

impl Quoting {
    /// Whether the next byte is inside quotes.
    pub(super) fn is_inside(self) -> bool {
        self.inside != 0
    }

    /// The mask of quoted bytes: from each opening quote up to, not including, its closing one.
    ///
    /// A doubled quote closes and opens again, so the parity is right without looking at pairs.
    #[inline(always)]
    pub(super) fn step(&mut self, quotes: u64) -> u64 {
        if quotes == 0 {
            return self.inside;
        }
        let mask = prefix_xor(quotes) ^ self.inside;
        self.inside = 0u64.wrapping_sub(mask >> 63);
        mask
    }
}

/// Bit `i` of the result is the parity of bits `0..=i`.
#[inline(always)]
fn prefix_xor(mut bits: u64) -> u64 {
    bits ^= bits << 1;
    bits ^= bits << 2;
    bits ^= bits << 4;
    bits ^= bits << 8;
    bits ^= bits << 16;
    bits ^ (bits << 32)
}

/// Finds bytes in blocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finder {
    delimiter: Lane,
    quote: Lane,
    line_feed: Lane,
    carriage_return: Lane,
    quotes_kept: u64,
}

impl Finder {
    pub(super) fn new(marks: Marks) -> Self {
        Self {
            delimiter: Lane::splat(marks.delimiter),
            quote: Lane::splat(marks.quote.unwrap_or(0)),
            line_feed: Lane::splat(b'\n'),
            carriage_return: Lane::splat(b'\r'),
            quotes_kept: if marks.quote.is_some() { u64::MAX } else { 0 },
        }
    }

    /// Looks at one block.
    #[inline(always)]
    pub(super) fn find(&self, block: &[u8; BLOCK]) -> Found {
        let lanes = lanes(block);
        Found {
            delimiters: equal(&lanes, self.delimiter),
            quotes: equal(&lanes, self.quote) & self.quotes_kept,
            line_ends: equal(&lanes, self.line_feed) | equal(&lanes, self.carriage_return),
        }
    }

    /// Looks at fewer bytes than a block has.
    pub(super) fn find_short(&self, bytes: &[u8]) -> Found {
        let mut block = [0; BLOCK];
        let len = bytes.len().min(BLOCK);
        block[..len].copy_from_slice(&bytes[..len]);
        let there = if len == BLOCK { u64::MAX } else { (1 << len) - 1 };
        let found = self.find(&block);
        Found {
            delimiters: found.delimiters & there,
            quotes: found.quotes & there,
            line_ends: found.line_ends & there,
        }
    }
}

/// One vector instruction per sixteen bytes where the processor has them, a loop elsewhere.
type Lane = wide::u8x16;

#[inline(always)]
fn lanes(block: &[u8; BLOCK]) -> [Lane; 4] {
    // Constant positions, so that each copy becomes one load.
    let lane = |at: usize| {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&block[at..at + 16]);
        Lane::from(bytes)
    };
    [lane(0), lane(16), lane(32), lane(48)]
}

#[inline(always)]
fn equal(lanes: &[Lane; 4], needle: Lane) -> u64 {
    let mask = |lane: Lane| u64::from(lane.simd_eq(needle).to_bitmask());
    mask(lanes[0]) | mask(lanes[1]) << 16 | mask(lanes[2]) << 32 | mask(lanes[3]) << 48
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMA: Marks = Marks { delimiter: b',', quote: Some(b'"') };

    #[test]
    fn finds_what_a_loop_finds() {
        let text: Vec<u8> =
            (0u32..640).map(|i| b"a,\"\r\n;\xff\x80\x00"[(i * i % 97 % 9) as usize]).collect();
        let finder = Finder::new(COMMA);
        for block in text.windows(BLOCK) {
            let slow = |wanted: &[u8]| {
                block.iter().enumerate().fold(0, |m, (i, b)| m | u64::from(wanted.contains(b)) << i)
            };
            let found = finder.find(block.try_into().unwrap());
            assert_eq!(found.delimiters, slow(b","));
            assert_eq!(found.quotes, slow(b"\""));
            assert_eq!(found.line_ends, slow(b"\r\n"));
        }
        assert_eq!(finder.find_short(b",").delimiters, 1);
        assert_eq!(Finder::new(Marks { quote: None, ..COMMA }).find_short(b"\"\0").quotes, 0);
    }

    #[test]
    fn quoting_crosses_blocks() {
        let mut quoting = Quoting::default();
        assert_eq!(quoting.step(1 << 62), 0b11 << 62);
        assert!(quoting.is_inside());
        assert_eq!(quoting.step(0b100), 0b11);
        assert!(!quoting.is_inside());
    }
}
