//! A page of any order, as the crates that read files want it.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use bytes::Bytes;
use dil_model::component::RandomAccess;
use dil_model::parquet::errors::{ParquetError, Result};
use dil_model::parquet::file::reader::{ChunkReader, Length};

/// Bytes that are read at once where a reader goes on from one to the next.
const BUFFER_BYTES: usize = 256 << 10;

/// A page as a file of Parquet.
#[derive(Clone)]
pub(super) struct Chunks(pub(super) Arc<dyn RandomAccess>);

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.0.size()
    }
}

impl ChunkReader for Chunks {
    type T = Reading;

    fn get_read(&self, start: u64) -> Result<Reading> {
        Ok(Reading::new(Arc::clone(&self.0), start))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        // What the file says of itself may be wrong; it must not make us ask for more memory than it has bytes.
        let left = self.0.size().saturating_sub(start);
        if length as u64 > left {
            return Err(ParquetError::EOF(format!(
                "{length} bytes are expected at {start}, and there are {left}"
            )));
        }
        let mut bytes = vec![0; length];
        Reading::new(Arc::clone(&self.0), start).read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// A page read from some place on.
pub(super) struct Reading {
    file: Arc<dyn RandomAccess>,
    /// Where the next bytes are fetched.
    offset: u64,
    buffer: Vec<u8>,
    /// What of the buffer was read.
    taken: usize,
}

impl Reading {
    pub(super) fn new(file: Arc<dyn RandomAccess>, offset: u64) -> Self {
        Self { file, offset, buffer: Vec::new(), taken: 0 }
    }
}

impl Read for Reading {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.buffer.len() && into.len() >= BUFFER_BYTES {
            let read = self.file.read_at(self.offset, into)?;
            self.offset += read as u64;
            return Ok(read);
        }
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Reading {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken == self.buffer.len() {
            self.taken = 0;
            self.buffer.resize(BUFFER_BYTES, 0);
            let read = self.file.read_at(self.offset, &mut self.buffer);
            self.buffer.truncate(*read.as_ref().unwrap_or(&0));
            self.offset += read? as u64;
        }
        Ok(self.buffer.get(self.taken..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.taken = (self.taken + amount).min(self.buffer.len());
    }
}
