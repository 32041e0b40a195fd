//! Where batches become staged files: which file is open, when it is full, what it is called.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dil_connect::local::{StagedWriter, StagingFolder};
use dil_model::arrow::datatypes::SchemaRef;
use dil_model::arrow::record_batch::RecordBatch;
use dil_model::component::Encoder;
use dil_model::manifest::StagedFile;
use dil_model::unit::{OutputSpec, UnitSpec};
use dil_model::{Error, ErrorKind, Result};

use super::memory::Shares;
use super::shuffle::Shuffle;

/// A checkpoint is due after this long even if no file is full: what a crash costs at most.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(120);

/// What a buffer of file bytes keeps for the next ones.
const BUFFER_KEPT_BYTES: usize = 1 << 20;

/// All outputs of a unit.
pub(crate) struct Roll {
    outputs: Vec<OutputRoll>,
    files: Vec<StagedFile>,
    checkpointed: Instant,
    /// A unit whose rows are sorted by partition is not resumed midway: closing its files early would make very many.
    resumable: bool,
}

impl Roll {
    pub(crate) fn new(spec: &UnitSpec, shares: Shares) -> Self {
        let encoder_memory = shares.encoder / spec.outputs.len().max(1);
        let outputs: Vec<OutputRoll> = spec
            .outputs
            .iter()
            .map(|output| OutputRoll::new(output.clone(), encoder_memory, shares.shuffle))
            .collect();
        let resumable = spec.outputs.iter().all(|output| output.files.partition_by.is_empty());
        let files = spec.resume.as_ref().map(|position| position.files.clone()).unwrap_or_default();
        Self { outputs, files, checkpointed: Instant::now(), resumable }
    }

    /// Appends rows to every output.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        for output in &mut self.outputs {
            output.write(batch, &mut self.files)?;
        }
        Ok(())
    }

    /// Whether this end of a page is a good place to close the files and save the position.
    pub(crate) fn wants_checkpoint(&self) -> bool {
        self.resumable
            && (self.outputs.iter().any(OutputRoll::is_full)
                || (self.checkpointed.elapsed() >= CHECKPOINT_EVERY
                    && self.outputs.iter().any(OutputRoll::is_open)))
    }

    /// Closes every file; gives all that are staged, durable with their names.
    pub(crate) fn close(&mut self) -> Result<&[StagedFile]> {
        for output in &mut self.outputs {
            output.close(&mut self.files)?;
            output.stage.sync()?;
            output.due = false;
        }
        self.checkpointed = Instant::now();
        Ok(&self.files)
    }

    pub(crate) fn into_files(self) -> Vec<StagedFile> {
        self.files
    }
}

struct OutputRoll {
    stage: Staging,
    /// The schema of the batches as they come, and which of their columns this output takes.
    input: Option<(SchemaRef, Vec<usize>)>,
    sink: Sink,
    shuffle_memory: usize,
    /// A file got full and was closed in the middle of a page: a checkpoint is due at its end.
    due: bool,
}

/// Where and how files of one output are staged.
struct Staging {
    spec: OutputSpec,
    /// Made with the first file.
    folder: Option<StagingFolder>,
    sequence: u32,
    encoder_memory: usize,
}

enum Sink {
    Plain(Option<OpenFile>),
    Partitioned(Option<Shuffle>),
}

struct OpenFile {
    writer: StagedWriter,
    encoder: Box<dyn Encoder>,
    buffer: Vec<u8>,
    file: StagedFile,
}

impl OutputRoll {
    fn new(spec: OutputSpec, encoder_memory: usize, shuffle_memory: usize) -> Self {
        let sink =
            if spec.files.partition_by.is_empty() { Sink::Plain(None) } else { Sink::Partitioned(None) };
        Self {
            stage: Staging { spec, folder: None, sequence: 0, encoder_memory },
            input: None,
            sink,
            shuffle_memory,
            due: false,
        }
    }

    fn write(&mut self, batch: &RecordBatch, files: &mut Vec<StagedFile>) -> Result<()> {
        if self.input.as_ref().is_none_or(|(schema, _)| schema != batch.schema_ref()) {
            // One file has one schema.
            self.close(files)?;
            self.input = Some((batch.schema(), self.columns(batch)));
        }
        let Some((_, columns)) = &self.input else { return Ok(()) };
        let batch = batch.project(columns).map_err(|cause| internal(&cause))?;
        match &mut self.sink {
            Sink::Plain(open) => {
                if open.is_none() {
                    *open = Some(self.stage.open("", batch.schema_ref())?);
                }
                if let Some(file) = open {
                    file.write(&batch)?;
                    // Most files are closed at the end of a page, where a checkpoint can be; a large page must not
                    // make one grow without bound.
                    if file.is_full(self.stage.spec.files.file_size.0 / 4 * 5) {
                        files.extend(open.take().map(OpenFile::finish).transpose()?);
                        self.due = true;
                    }
                }
                Ok(())
            }
            Sink::Partitioned(shuffle) => {
                if shuffle.is_none() {
                    let name = format!("spill-{:05}", self.stage.sequence);
                    let folder = self.stage.folder()?.path().join(name);
                    *shuffle = Some(Shuffle::new(
                        &self.stage.spec.files.partition_by,
                        &batch,
                        folder,
                        self.shuffle_memory,
                    )?);
                }
                shuffle.as_mut().map_or(Ok(()), |shuffle| shuffle.push(&batch))
            }
        }
    }

    fn columns(&self, batch: &RecordBatch) -> Vec<usize> {
        let wanted = &self.stage.spec.columns;
        let all = batch.schema_ref().fields().iter().enumerate();
        all.filter(|(_, field)| wanted.is_empty() || wanted.contains(field.name()))
            .map(|(index, _)| index)
            .collect()
    }

    fn is_open(&self) -> bool {
        matches!(self.sink, Sink::Plain(Some(_)))
    }

    fn is_full(&self) -> bool {
        self.due
            || match &self.sink {
                Sink::Plain(Some(file)) => file.is_full(self.stage.spec.files.file_size.0),
                _ => false,
            }
    }

    fn close(&mut self, files: &mut Vec<StagedFile>) -> Result<()> {
        match &mut self.sink {
            Sink::Plain(open) => files.extend(open.take().map(OpenFile::finish).transpose()?),
            Sink::Partitioned(shuffle) => {
                if let Some(shuffle) = shuffle.take() {
                    self.stage.write_partitions(shuffle, files)?;
                }
            }
        }
        Ok(())
    }
}

impl Staging {
    fn folder(&mut self) -> Result<&mut StagingFolder> {
        match &mut self.folder {
            Some(folder) => Ok(folder),
            none => Ok(none.insert(StagingFolder::create(Path::new(&self.spec.staging))?)),
        }
    }

    fn sync(&mut self) -> Result<()> {
        self.folder.as_mut().map_or(Ok(()), StagingFolder::sync)
    }

    fn open(&mut self, folder: &str, schema: &SchemaRef) -> Result<OpenFile> {
        let number = self.sequence;
        self.sequence += 1;
        let extension = dil_format::extension(&self.spec.files);
        let encoder = dil_format::encoder(&self.spec.files, schema, self.encoder_memory)?;
        let part = format!("{number:05}.part");
        let staging = self.folder()?;
        let (staged, writer) = (staging.path().join(&part), staging.file(&part)?);
        let file = StagedFile {
            staged: staged.to_string_lossy().into_owned(),
            name: format!("{folder}{}-{number:05}.{extension}", self.spec.stem),
            output: self.spec.output,
            rows: 0,
            bytes: 0,
            sha256: String::new(),
        };
        Ok(OpenFile { writer, encoder, buffer: Vec::new(), file })
    }

    /// Writes one file (or several, by size) for each partition, one after the other.
    fn write_partitions(&mut self, shuffle: Shuffle, files: &mut Vec<StagedFile>) -> Result<()> {
        let mut open: Option<(Arc<str>, OpenFile)> = None;
        shuffle.drain(|folder, batch| {
            let full = open
                .as_ref()
                .is_some_and(|(at, file)| **at != **folder || file.is_full(self.spec.files.file_size.0));
            if full {
                files.extend(open.take().map(|(_, file)| file.finish()).transpose()?);
            }
            if open.is_none() {
                open = Some((Arc::clone(folder), self.open(folder, batch.schema_ref())?));
            }
            open.as_mut().map_or(Ok(()), |(_, file)| file.write(&batch))
        })?;
        files.extend(open.take().map(|(_, file)| file.finish()).transpose()?);
        Ok(())
    }
}

impl OpenFile {
    fn is_full(&self, file_size: u64) -> bool {
        self.encoder.file_bytes() >= file_size || self.encoder.is_full()
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.encoder.write(batch)?;
        self.file.rows += batch.num_rows() as u64;
        self.encoder.drain(&mut self.buffer);
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            self.writer.write(&self.buffer)?;
            self.buffer.clear();
            // A row group is large, and long in the making.
            self.buffer.shrink_to(BUFFER_KEPT_BYTES);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<StagedFile> {
        let encoder = self.encoder;
        encoder.finish(&mut self.buffer)?;
        self.writer.write(&self.buffer)?;
        (self.file.bytes, self.file.sha256) = self.writer.finish()?;
        Ok(self.file)
    }
}

fn internal(cause: &dil_model::arrow::error::ArrowError) -> Error {
    Error::new(ErrorKind::Internal, "internal/columns", format!("choosing columns failed: {cause}"))
}
