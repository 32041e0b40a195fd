//! Takes `Content-Encoding: gzip` off as the bytes come.

use std::io::{self, Write as _};

use bytes::Bytes;
use dil_model::{Error, ErrorKind, Result};
use flate2::write::MultiGzDecoder;

/// Decoded bytes given on at once. A few kilobytes of input can hold a thousand times as much output, so the output
/// is what is bounded.
const OUTPUT_BYTES: usize = 256 << 10;

/// Decoded bytes that one body may have whatever its size was. Small answers of zeros are common and do no harm.
const FREE_BYTES: u64 = 64 << 20;

/// A decoder with the input that it has not read yet.
pub(super) struct Gunzip {
    decoder: MultiGzDecoder<Vec<u8>>,
    input: Bytes,
    fed: bool,
    /// How many times `packed` the output may be, once it is larger than `free`.
    ratio: u32,
    free: u64,
    /// Bytes decoded from, and bytes given on.
    packed: u64,
    given: u64,
}

impl Gunzip {
    pub(super) fn new(ratio: u32) -> Self {
        let decoder = MultiGzDecoder::new(Vec::new());
        Self { decoder, input: Bytes::new(), fed: false, ratio, free: FREE_BYTES, packed: 0, given: 0 }
    }

    /// Hands over the next bytes; only after [`Gunzip::take`] gave `None`.
    pub(super) fn feed(&mut self, input: Bytes) {
        self.fed |= !input.is_empty();
        self.input = input;
    }

    /// The next decoded bytes; `None` if more input is needed.
    ///
    /// # Errors
    /// `Content` if the input is not gzip, or holds more than it may.
    pub(super) fn take(&mut self) -> Result<Option<Bytes>> {
        while !self.input.is_empty() && self.decoder.get_ref().len() < OUTPUT_BYTES {
            let consumed = self.decoder.write(&self.input).map_err(|cause| corrupt(&cause))?;
            if consumed == 0 {
                return Err(corrupt(&io::ErrorKind::WriteZero.into()));
            }
            let _ = self.input.split_to(consumed);
            self.packed += consumed as u64;
            self.check_size()?;
        }
        Ok(self.ready(OUTPUT_BYTES))
    }

    /// Ends the input: checks the trailer and gives the last decoded bytes.
    ///
    /// # Errors
    /// `Truncated` if the stream or its trailer is not whole. No input at all is an empty body.
    pub(super) fn finish(&mut self) -> Result<Option<Bytes>> {
        if self.fed {
            self.fed = false;
            self.decoder.try_finish().map_err(|_| {
                let message = "the gzip stream ended before its end, or its checksum is wrong";
                Error::new(ErrorKind::Truncated, "http/gzip-truncated", message)
                    .hint("run again; if it breaks off again, ask for smaller pages")
                    .retryable()
            })?;
        }
        Ok(self.ready(1))
    }

    fn ready(&mut self, least: usize) -> Option<Bytes> {
        let output = self.decoder.get_mut();
        if output.len() < least {
            return None;
        }
        let bytes = Bytes::from(std::mem::take(output));
        self.given += bytes.len() as u64;
        Some(bytes)
    }

    fn check_size(&self) -> Result<()> {
        let unpacked = self.given + self.decoder.get_ref().len() as u64;
        if unpacked <= self.free || unpacked <= self.packed.saturating_mul(self.ratio.into()) {
            return Ok(());
        }
        let (packed, ratio) = (self.packed, self.ratio);
        let message = format!(
            "the first {packed} bytes of the gzip body hold {unpacked}, more than {ratio} times as many"
        );
        Err(Error::new(ErrorKind::Content, "http/gzip-bomb", message).hint(
            "such an answer can fill the disk; if its rows really repeat that much, raise `gzip_ratio` beside the stage's `path`",
        ))
    }
}

fn corrupt(cause: &io::Error) -> Error {
    Error::new(
        ErrorKind::Content,
        "http/gzip",
        format!("the body is not the gzip stream it is said to be: {cause}"),
    )
    .hint("ask for plain bytes with `headers: { Accept-Encoding: identity }`")
    .retryable()
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzipped(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(input: &[u8], step: usize) -> Result<(Vec<u8>, usize)> {
        unpack(Gunzip::new(200), input, step)
    }

    fn unpack(mut gunzip: Gunzip, input: &[u8], step: usize) -> Result<(Vec<u8>, usize)> {
        let (mut plain, mut largest) = (Vec::new(), 0);
        for piece in input.chunks(step) {
            gunzip.feed(Bytes::copy_from_slice(piece));
            while let Some(bytes) = gunzip.take()? {
                largest = largest.max(bytes.len());
                plain.extend_from_slice(&bytes);
            }
        }
        while let Some(bytes) = gunzip.finish()? {
            largest = largest.max(bytes.len());
            plain.extend_from_slice(&bytes);
        }
        Ok((plain, largest))
    }

    #[test]
    fn decodes_in_bounded_pieces_wherever_the_input_is_cut() {
        let plain: Vec<u8> = (0..3_000_000u32).map(|i| (i / 70_000) as u8).collect();
        let packed = gzipped(&plain);
        for step in [1, 7, 1000, packed.len()] {
            let (decoded, largest) = decode(&packed, step).unwrap();
            assert!(decoded == plain, "cut every {step}");
            assert!(largest <= OUTPUT_BYTES + (64 << 10), "a piece of {largest} bytes");
        }
    }

    #[test]
    fn reads_several_members() {
        let two = [gzipped(b"first "), gzipped(b"second")].concat();
        assert_eq!(decode(&two, 5).unwrap().0, b"first second");
    }

    #[test]
    fn a_stream_cut_anywhere_is_truncated() {
        let packed = gzipped(b"some text that is long enough to be cut at many places");
        for end in 1..packed.len() {
            let cut = decode(&packed[..end], 4).unwrap_err();
            assert_eq!(cut.kind, ErrorKind::Truncated, "cut at {end}");
        }
    }

    #[test]
    fn what_grows_beyond_its_ratio_is_refused_once_it_is_large() {
        let packed = gzipped(&vec![0; 4 << 20]);
        let times = u32::try_from((4 << 20) / packed.len()).unwrap();
        let unpack = |ratio, free| {
            let gunzip = Gunzip { free, ..Gunzip::new(ratio) };
            unpack(gunzip, &packed, 1000).map(|(plain, _)| plain.len())
        };
        assert_eq!(unpack(times / 2, 1 << 20).unwrap_err().code, "http/gzip-bomb");
        assert_eq!(unpack(times / 2, 4 << 20).unwrap(), 4 << 20);
        assert_eq!(unpack(times * 2, 1 << 20).unwrap(), 4 << 20);
    }

    #[test]
    fn plain_bytes_are_not_gzip() {
        assert_eq!(decode(b"{\"rows\": []} and so on", 64).unwrap_err().kind, ErrorKind::Content);
    }
}
