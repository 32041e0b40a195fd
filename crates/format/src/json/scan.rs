//! Looks at many bytes at once: which of them open or close something outside strings, and where a string's plain run ends.
//!
//! Blocks of 64 bytes become 64-bit masks, one bit a byte (the first byte is bit 0), so that the loops above touch only the
//! few bytes that matter. `wide` makes that vector instructions where the processor has them.

use wide::u8x16;

/// Bytes of one block.
pub(crate) const BLOCK: usize = 64;

/// Whether the next byte is inside a string, and whether a backslash stands before it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StringState {
    /// All ones inside a string.
    inside: u64,
    /// 1 if the next byte is escaped.
    escaped: u64,
}

/// The brackets of one block that stand outside strings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Brackets {
    /// `{` and `[`.
    pub(crate) open: u64,
    /// `}` and `]`.
    pub(crate) close: u64,
}

impl StringState {
    /// The brackets of a whole block.
    #[inline]
    pub(crate) fn block(&mut self, block: &[u8; BLOCK]) -> Brackets {
        self.brackets(&Masks::of(block), BLOCK)
    }

    /// The brackets of the last bytes of a chunk, fewer than a block.
    pub(crate) fn tail(&mut self, bytes: &[u8]) -> Brackets {
        let mut block = [b' '; BLOCK];
        let length = bytes.len().min(BLOCK);
        block[..length].copy_from_slice(&bytes[..length]);
        self.brackets(&Masks::of(&block), length)
    }

    #[inline]
    fn brackets(&mut self, masks: &Masks, length: usize) -> Brackets {
        let mut quote = masks.quote;
        if (masks.backslash | self.escaped) != 0 {
            quote &= !self.escapes(masks.backslash, length);
        }
        let inside = prefix_xor(quote) ^ self.inside;
        // The bytes that pad a tail are blanks, so the last bit is that of the last real byte.
        self.inside = 0u64.wrapping_sub(inside >> 63);
        Brackets { open: masks.open & !inside, close: masks.close & !inside }
    }

    /// The bytes that a backslash stands before, where runs of backslashes pair up; keeps the state of the byte after the
    /// first `length`.
    fn escapes(&mut self, backslash: u64, length: usize) -> u64 {
        let mut escaped = self.escaped;
        let mut rest = backslash & !escaped;
        self.escaped = 0;
        while rest != 0 {
            let at = rest.trailing_zeros();
            if at as usize + 1 == length {
                self.escaped = 1;
                break;
            }
            let next = 1u64 << (at + 1);
            escaped |= next;
            rest &= rest - 1;
            rest &= !next;
        }
        escaped
    }
}

/// Bit `i` is the xor of the bits 0 to `i`: between two quotes all bits are set.
#[inline]
fn prefix_xor(mut bits: u64) -> u64 {
    bits ^= bits << 1;
    bits ^= bits << 2;
    bits ^= bits << 4;
    bits ^= bits << 8;
    bits ^= bits << 16;
    bits ^ (bits << 32)
}

/// Where the bytes of one block that matter are.
struct Masks {
    quote: u64,
    backslash: u64,
    open: u64,
    close: u64,
}

impl Masks {
    #[inline(always)]
    fn of(block: &[u8; BLOCK]) -> Self {
        let mut masks = Self { quote: 0, backslash: 0, open: 0, close: 0 };
        for (number, lane) in block.as_chunks::<16>().0.iter().enumerate() {
            let bytes = u8x16::from(*lane);
            // `[` and `{`, and `]` and `}`, differ in this bit only.
            let folded = bytes | u8x16::splat(0x20);
            let shift = number * 16;
            masks.quote |= equal(bytes, b'"') << shift;
            masks.backslash |= equal(bytes, b'\\') << shift;
            masks.open |= equal(folded, b'{') << shift;
            masks.close |= equal(folded, b'}') << shift;
        }
        masks
    }
}

#[inline(always)]
fn equal(bytes: u8x16, byte: u8) -> u64 {
    u64::from(bytes.simd_eq(u8x16::splat(byte)).to_bitmask())
}

/// The bytes of `lane` that end a plain run of a string: a quote, a backslash or a control character; one bit a byte.
#[inline(always)]
pub(crate) fn string_stops(lane: &[u8; 16]) -> u32 {
    let bytes = u8x16::from(*lane);
    let quote = bytes.simd_eq(u8x16::splat(b'"'));
    let backslash = bytes.simd_eq(u8x16::splat(b'\\'));
    let control = bytes.min(u8x16::splat(0x1f)).simd_eq(bytes);
    (quote | backslash | control).to_bitmask()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One byte after the other, as the rules say.
    fn slowly(bytes: &[u8]) -> Vec<(usize, bool)> {
        let (mut inside, mut escaped, mut found) = (false, false, Vec::new());
        for (at, byte) in bytes.iter().enumerate() {
            let was_escaped = escaped;
            escaped = *byte == b'\\' && !was_escaped;
            match byte {
                b'"' if !was_escaped => inside = !inside,
                b'{' | b'[' if !inside => found.push((at, true)),
                b'}' | b']' if !inside => found.push((at, false)),
                _ => {}
            }
        }
        found
    }

    fn in_pieces(bytes: &[u8], piece: usize) -> Vec<(usize, bool)> {
        let (mut state, mut found, mut base) = (StringState::default(), Vec::new(), 0);
        for chunk in bytes.chunks(piece.max(1)) {
            for part in chunk.chunks(BLOCK) {
                let brackets = match part.first_chunk::<BLOCK>() {
                    Some(block) => state.block(block),
                    None => state.tail(part),
                };
                for bit in 0..part.len() {
                    if (brackets.open | brackets.close) >> bit & 1 == 1 {
                        found.push((base + bit, brackets.open >> bit & 1 == 1));
                    }
                }
                base += part.len();
            }
        }
        found
    }

    proptest! {
        #[test]
        fn blocks_see_what_single_bytes_see(
            bytes in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), Just(b'{'), Just(b']'), any::<u8>()], 0..400),
            piece in 1usize..200,
        ) {
            prop_assert_eq!(in_pieces(&bytes, piece), slowly(&bytes));
        }

        #[test]
        fn a_string_stops_where_the_rules_say(lane: [u8; 16]) {
            let stops = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
            let slow = lane.iter().enumerate().fold(0, |mask, (at, byte)| mask | u32::from(stops(byte)) << at);
            prop_assert_eq!(string_stops(&lane), slow);
        }
    }
}
