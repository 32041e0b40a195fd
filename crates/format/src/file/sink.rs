//! Where text goes on its way into a file: as it is, or through gzip.

use std::io::Write as _;

use dil_model::config::{Compression, FilesWrite};
use dil_model::{Error, ErrorKind, Result};
use flate2::write::GzEncoder;

use super::compression::impossible;

/// The bytes of one file of text.
pub(super) struct Sink {
    target: Target,
    /// Bytes given away so far.
    given: u64,
}

enum Target {
    Plain(Vec<u8>),
    Gzip(Box<GzEncoder<Vec<u8>>>),
}

/// The compressor's own state, in bytes.
const GZIP_STATE: usize = 300 << 10;

/// Six makes files a tenth smaller and takes twice as long.
const GZIP_LEVEL: u32 = 3;

impl Sink {
    /// # Errors
    /// `Config` for a compression other than gzip.
    pub(super) fn new(write: &FilesWrite) -> Result<Self> {
        let target = match write.compressed() {
            Compression::None => Target::Plain(Vec::new()),
            Compression::Gzip => {
                Target::Gzip(Box::new(GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL))))
            }
            other => return Err(impossible(write, other)),
        };
        Ok(Self { target, given: 0 })
    }

    /// Appends what `fill` puts into the buffer it gets.
    pub(super) fn write(
        &mut self,
        scratch: &mut Vec<u8>,
        fill: impl FnOnce(&mut Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        match &mut self.target {
            Target::Plain(bytes) => fill(bytes),
            Target::Gzip(encoder) => {
                scratch.clear();
                fill(scratch)?;
                encoder.write_all(scratch).map_err(|cause| failed(&cause))
            }
        }
    }

    pub(super) fn drain(&mut self, out: &mut Vec<u8>) {
        let bytes = match &mut self.target {
            Target::Plain(bytes) => bytes,
            Target::Gzip(encoder) => encoder.get_mut(),
        };
        self.given += bytes.len() as u64;
        out.append(bytes);
    }

    pub(super) fn buffered(&self) -> usize {
        match &self.target {
            Target::Plain(_) => 0,
            Target::Gzip(_) => GZIP_STATE,
        }
    }

    pub(super) fn file_bytes(&self) -> u64 {
        let held = match &self.target {
            Target::Plain(bytes) => bytes.len(),
            Target::Gzip(encoder) => encoder.get_ref().len(),
        };
        self.given + held as u64
    }

    pub(super) fn finish(self, out: &mut Vec<u8>) -> Result<()> {
        match self.target {
            Target::Plain(mut bytes) => out.append(&mut bytes),
            Target::Gzip(encoder) => out.append(&mut encoder.finish().map_err(|cause| failed(&cause))?),
        }
        Ok(())
    }
}

fn failed(cause: &std::io::Error) -> Error {
    Error::new(ErrorKind::Internal, "write/gzip", format!("compressing a file: {cause}"))
}
