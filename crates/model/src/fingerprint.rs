//! Short texts that tell values apart: SHA-256, cut to as many digits as the purpose needs.
//!
//! They protect against accidents, not against someone who wants two values to look the same.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// Digits of [`fingerprint`].
const DIGITS: usize = 16;

/// 16 hexadecimal digits that are equal for values which serialize to the same JSON.
pub fn fingerprint<T: Serialize>(value: &T) -> String {
    digest(&serde_json::to_vec(value).unwrap_or_default(), DIGITS)
}

/// The first `digits` hexadecimal digits of the SHA-256 of `bytes`.
pub fn digest(bytes: &[u8], digits: usize) -> String {
    hex(&Sha256::digest(bytes)).chars().take(digits).collect()
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_start_of_the_sha256() {
        assert_eq!(digest(b"abc", 12), "ba7816bf8f01");
        assert_eq!(digest(b"abc", 100).len(), 64);
        assert_eq!(fingerprint(&[1]), digest(b"[1]", 16));
    }
}
