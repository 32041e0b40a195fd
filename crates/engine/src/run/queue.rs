//! The planned units of a stage, in their order, of which few are in memory.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use dil_model::{Error, ErrorKind, Result};
use dil_plan::PlannedUnit;

/// Units that are kept in memory; a stage may have millions.
const IN_MEMORY: usize = 4096;

/// First in, first out. What does not fit into memory waits in a file without a name, which is gone with the process: a
/// run that goes on plans again.
pub(super) struct Queue {
    folder: PathBuf,
    first: VecDeque<PlannedUnit>,
    spilled: Option<BufWriter<File>>,
    reader: Option<BufReader<File>>,
    len: u64,
}

impl Queue {
    /// An empty queue, which spills into `folder`.
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), first: VecDeque::new(), spilled: None, reader: None, len: 0 }
    }

    /// How many units are in it.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Puts a unit behind all others.
    ///
    /// # Errors
    /// `Storage` if the file cannot be written.
    pub(super) fn push(&mut self, unit: PlannedUnit) -> Result<()> {
        self.len += 1;
        if self.spilled.is_none() && self.reader.is_none() && self.first.len() < IN_MEMORY {
            self.first.push_back(unit);
            return Ok(());
        }
        let failed =
            |cause: std::io::Error| Error::storage("writing planned units below", &self.folder, &cause);
        let file = match &mut self.spilled {
            Some(file) => file,
            none => none.insert(BufWriter::new(tempfile::tempfile_in(&self.folder).map_err(failed)?)),
        };
        let written = serde_json::to_writer(&mut *file, &unit).map_err(std::io::Error::from);
        written.and_then(|()| file.write_all(b"\n")).map_err(failed)
    }

    /// Takes the first unit.
    ///
    /// # Errors
    /// `Storage` if the file cannot be read.
    pub(super) fn pop(&mut self) -> Result<Option<PlannedUnit>> {
        if self.first.is_empty() {
            self.refill()?;
        }
        let unit = self.first.pop_front();
        self.len -= u64::from(unit.is_some());
        Ok(unit)
    }

    fn refill(&mut self) -> Result<()> {
        let failed =
            |cause: std::io::Error| Error::storage("reading planned units below", &self.folder, &cause);
        if self.reader.is_none()
            && let Some(writer) = self.spilled.take()
        {
            let mut file = writer.into_inner().map_err(|cause| failed(cause.into_error()))?;
            file.rewind().map_err(failed)?;
            self.reader = Some(BufReader::new(file));
        }
        let Some(reader) = &mut self.reader else { return Ok(()) };
        let mut line = String::new();
        while self.first.len() < IN_MEMORY {
            line.clear();
            if reader.read_line(&mut line).map_err(failed)? == 0 {
                self.reader = None;
                // What was put in meanwhile is in the next file.
                return if self.first.is_empty() && self.spilled.is_some() { self.refill() } else { Ok(()) };
            }
            let unit = serde_json::from_str(&line).map_err(|cause| {
                Error::new(
                    ErrorKind::Internal,
                    "internal/queue",
                    format!("a planned unit cannot be read back: {cause}"),
                )
            })?;
            self.first.push_back(unit);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use dil_plan::Reason;

    use super::*;

    fn unit(number: usize) -> PlannedUnit {
        PlannedUnit {
            signature: format!("id={number}"),
            each: serde_json::from_value(serde_json::json!({ "id": number, "text": "a\nb" })).unwrap(),
            version: None,
            nominal: None,
            interval: None,
            key: None,
            reason: Reason::New,
            replaces: true,
            again: false,
            kept: false,
        }
    }

    #[test]
    fn units_come_out_in_their_order_whole() {
        let folder = tempfile::tempdir().unwrap();
        for count in [0, 1, IN_MEMORY, IN_MEMORY + 1, 3 * IN_MEMORY + 7] {
            let mut queue = Queue::new(folder.path());
            (0..count).for_each(|number| queue.push(unit(number)).unwrap());
            assert_eq!(queue.len(), count as u64);
            for number in 0..count {
                assert_eq!(queue.pop().unwrap(), Some(unit(number)));
                assert!(queue.first.len() <= IN_MEMORY);
            }
            assert_eq!((queue.pop().unwrap(), queue.len()), (None, 0));
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn units_can_be_put_in_while_others_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let mut queue = Queue::new(folder.path());
        let (mut put, mut taken) = (0, 0);
        for round in 0..60 {
            for _ in 0..(round * 37) % 3000 {
                queue.push(unit(put)).unwrap();
                put += 1;
            }
            for _ in 0..(round * 53) % 2500 {
                let Some(found) = queue.pop().unwrap() else { break };
                assert_eq!(found, unit(taken));
                taken += 1;
            }
        }
        while let Some(found) = queue.pop().unwrap() {
            assert_eq!(found, unit(taken));
            taken += 1;
        }
        assert!(put == taken && put > 8 * IN_MEMORY, "{put} put in, {taken} taken");
    }

    #[test]
    fn a_folder_that_is_gone_is_told() {
        let mut queue = Queue::new(Path::new("/nowhere"));
        let error = (0..=IN_MEMORY).find_map(|number| queue.push(unit(number)).err()).unwrap();
        assert_eq!(error.kind, ErrorKind::Storage);
    }
}
