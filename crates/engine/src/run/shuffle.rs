//! Sorts a unit's rows by partition with bounded memory, however many partitions there are.
//!
//! Rows are buffered; a full buffer is sorted by partition and written to a spill file as one run of small batches, with an
//! index of where each partition lies. At the end the partitions are given out one after the other, each gathered from
//! all runs. So only one output file is open at a time, and each partition gets as few files as its size allows.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::Arc;

use dil_model::arrow::array::Array as _;
use dil_model::arrow::compute::interleave_record_batch;
use dil_model::arrow::datatypes::DataType;
use dil_model::arrow::error::ArrowError;
use dil_model::arrow::ipc::reader::FileReader;
use dil_model::arrow::ipc::writer::FileWriter;
use dil_model::arrow::record_batch::RecordBatch;
use dil_model::arrow::util::display::{ArrayFormatter, FormatOptions};
use dil_model::{Error, ErrorKind, Result};

/// More partitions than this are a mistake in the flow: each becomes a file.
const PARTITIONS_MAX: usize = 100_000;
/// The size of the batches in a spill file: one of each run may be in memory while partitions are gathered.
const SPILL_BATCH: usize = 64 << 10;
/// Bytes in a file name on the usual file systems.
const FOLDER_NAME_MAX: usize = 255;
/// What Hive calls the folder of rows whose partition column is null.
const NULL_FOLDER: &str = "__HIVE_DEFAULT_PARTITION__";

/// Rows of one schema on their way into partitions.
pub(crate) struct Shuffle {
    names: Vec<String>,
    /// The partition columns; `None` for one of which no row has a value so far.
    keys: Vec<Option<usize>>,
    data: Vec<usize>,
    ids: HashMap<Arc<str>, u32>,
    folders: Vec<Arc<str>>,
    buffered: Vec<(RecordBatch, Vec<u32>)>,
    bytes: usize,
    memory: usize,
    folder: PathBuf,
    runs: Vec<SpillRun>,
}

struct SpillRun {
    path: PathBuf,
    /// (partition, batch, first row, rows), sorted by partition.
    segments: Vec<Segment>,
}

#[derive(Clone, Copy)]
struct Segment {
    partition: u32,
    batch: u32,
    start: u32,
    rows: u32,
}

impl Shuffle {
    /// One for rows like those of `sample`, which holds at most `memory` bytes of them and spills into `folder`.
    pub(crate) fn new(
        partition_by: &[String],
        sample: &RecordBatch,
        folder: PathBuf,
        memory: usize,
    ) -> Result<Self> {
        let schema = sample.schema();
        let mut keys = Vec::with_capacity(partition_by.len());
        for name in partition_by {
            let Some((index, field)) = schema.column_with_name(name) else {
                keys.push(None);
                continue;
            };
            if field.data_type().is_nested() || matches!(field.data_type(), DataType::Binary) {
                let spelt = dil_model::schema::name_of(field.data_type());
                return Err(Error::new(
                    ErrorKind::Config,
                    "write/partition",
                    format!("`{name}` is {spelt}, which names no folder"),
                )
                .hint("partition by a text, a number, a date or a truth value"));
            }
            keys.push(Some(index));
        }
        let data: Vec<usize> =
            (0..schema.fields().len()).filter(|index| !keys.contains(&Some(*index))).collect();
        if data.is_empty() {
            let message = format!(
                "`partition_by` takes {}, and the rows have no other column with a value, so nothing is left for the files",
                partition_by.join(", ")
            );
            return Err(Error::new(ErrorKind::Config, "write/partition", message).hint(
                "leave a column out of `partition_by`, or declare the type of another one in `columns` under `read`",
            ));
        }
        Ok(Self {
            names: partition_by.to_vec(),
            keys,
            data,
            ids: HashMap::new(),
            folders: Vec::new(),
            buffered: Vec::new(),
            bytes: 0,
            memory,
            folder,
            runs: Vec::new(),
        })
    }

    /// Takes rows.
    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let ids = self.partitions(batch)?;
        let data = batch.project(&self.data).map_err(|cause| failed(&cause))?;
        self.bytes += data.get_array_memory_size() + ids.len() * 4;
        self.buffered.push((data, ids));
        // Sorting makes one more copy of a batch at a time, and the index takes some.
        if self.bytes > self.memory / 2 { self.spill() } else { Ok(()) }
    }

    /// The partition of each row.
    fn partitions(&mut self, batch: &RecordBatch) -> Result<Vec<u32>> {
        let options = FormatOptions::default().with_null("");
        let key = |index: &Option<usize>| {
            let column = index.map(|index| batch.column(index));
            column.map(|column| Ok((column, ArrayFormatter::try_new(column.as_ref(), &options)?))).transpose()
        };
        let keys =
            self.keys.iter().map(key).collect::<Result<Vec<_>, _>>().map_err(|cause| failed(&cause))?;
        let mut ids = Vec::with_capacity(batch.num_rows());
        let (mut folder, mut text) = (String::new(), String::new());
        for row in 0..batch.num_rows() {
            folder.clear();
            for (name, key) in self.names.iter().zip(&keys) {
                escape(name, &mut folder);
                folder.push('=');
                text.clear();
                if let Some((column, formatter)) = key
                    && column.is_valid(row)
                {
                    write!(text, "{}", formatter.value(row))
                        .map_err(|_| failed(&ArrowError::CastError(name.clone())))?;
                }
                if text.is_empty() {
                    folder.push_str(NULL_FOLDER)
                } else {
                    escape(&text, &mut folder)
                }
                folder.push('/');
            }
            ids.push(self.id(&folder)?);
        }
        Ok(ids)
    }

    fn id(&mut self, folder: &str) -> Result<u32> {
        if let Some(id) = self.ids.get(folder) {
            return Ok(*id);
        }
        if self.folders.len() == PARTITIONS_MAX {
            let message = format!(
                "`partition_by` {} makes more than {PARTITIONS_MAX} folders in one unit",
                self.names.join(", ")
            );
            return Err(Error::new(ErrorKind::Config, "write/partitions", message)
                .hint("partition by something coarser, a day or a country"));
        }
        // The last one is empty: the text ends in a slash.
        let long = folder.split('/').zip(&self.names).find(|(part, _)| part.len() > FOLDER_NAME_MAX);
        if let Some((part, name)) = long {
            let shown: String = part.chars().take(40).collect();
            let message = format!(
                "a value of `{name}` would make a folder name of {} bytes, {FOLDER_NAME_MAX} are possible: `{shown}…`",
                part.len()
            );
            return Err(Error::new(ErrorKind::Content, "write/partition-value", message)
                .hint("partition by another column, or by a shorter one made with `convert: derive`"));
        }
        let id = self.folders.len() as u32;
        let folder: Arc<str> = folder.into();
        self.folders.push(Arc::clone(&folder));
        self.ids.insert(folder, id);
        Ok(id)
    }

    /// The buffered rows in the order of their partitions.
    fn sorted(&self) -> Vec<(u32, usize, usize)> {
        let mut order: Vec<(u32, usize, usize)> =
            Vec::with_capacity(self.buffered.iter().map(|(_, ids)| ids.len()).sum());
        for (number, (_, ids)) in self.buffered.iter().enumerate() {
            order.extend(ids.iter().enumerate().map(|(row, id)| (*id, number, row)));
        }
        // Stable by (batch, row), so rows keep their order within a partition.
        order.sort_unstable();
        order
    }

    fn spill(&mut self) -> Result<()> {
        let Some((first, _)) = self.buffered.first() else { return Ok(()) };
        let order = self.sorted();
        let rows = (SPILL_BATCH * order.len() / self.bytes.max(1)).clamp(1, order.len());
        std::fs::create_dir_all(&self.folder)
            .map_err(|cause| Error::storage("creating the folder", &self.folder, &cause))?;
        let path = self.folder.join(format!("{:05}.arrow", self.runs.len()));
        let file =
            File::create(&path).map_err(|cause| Error::storage("creating the spill file", &path, &cause))?;
        let mut writer = FileWriter::try_new_buffered(file, first.schema_ref())
            .map_err(|cause| spilling(&path, &cause))?;
        let batches: Vec<&RecordBatch> = self.buffered.iter().map(|(batch, _)| batch).collect();
        let mut segments: Vec<Segment> = Vec::new();
        for (number, chunk) in order.chunks(rows).enumerate() {
            let indices: Vec<(usize, usize)> = chunk.iter().map(|(_, batch, row)| (*batch, *row)).collect();
            let sorted = interleave_record_batch(&batches, &indices).map_err(|cause| failed(&cause))?;
            writer.write(&sorted).map_err(|cause| spilling(&path, &cause))?;
            add_segments(&mut segments, chunk, number as u32);
        }
        writer.finish().map_err(|cause| spilling(&path, &cause))?;
        self.runs.push(SpillRun { path, segments });
        self.buffered.clear();
        self.bytes = 0;
        Ok(())
    }

    /// Gives out all rows, partition by partition; `take` gets the partition's folder, ending in a slash.
    pub(crate) fn drain(mut self, mut take: impl FnMut(&Arc<str>, RecordBatch) -> Result<()>) -> Result<()> {
        if self.runs.is_empty() {
            return self.drain_buffer(&mut take);
        }
        self.spill()?;
        self.buffered.shrink_to_fit();
        let mut readers = self.runs.iter().map(RunReader::open).collect::<Result<Vec<_>>>()?;
        // With very many runs even one small batch of each is too much to keep.
        let keep = readers.len() * SPILL_BATCH * 2 <= self.memory;
        for (partition, folder) in self.folders.iter().enumerate() {
            for reader in &mut readers {
                reader.partition(partition as u32, keep, &mut |batch| take(folder, batch))?;
            }
        }
        drop(readers);
        std::fs::remove_dir_all(&self.folder)
            .map_err(|cause| Error::storage("removing", &self.folder, &cause))
    }

    fn drain_buffer(&self, take: &mut impl FnMut(&Arc<str>, RecordBatch) -> Result<()>) -> Result<()> {
        let order = self.sorted();
        let batches: Vec<&RecordBatch> = self.buffered.iter().map(|(batch, _)| batch).collect();
        for rows in order.chunk_by(|a, b| a.0 == b.0) {
            let indices: Vec<(usize, usize)> = rows.iter().map(|(_, batch, row)| (*batch, *row)).collect();
            let batch = interleave_record_batch(&batches, &indices).map_err(|cause| failed(&cause))?;
            take(&self.folders[rows[0].0 as usize], batch)?;
        }
        Ok(())
    }
}

fn add_segments(segments: &mut Vec<Segment>, chunk: &[(u32, usize, usize)], batch: u32) {
    let mut start = 0;
    for rows in chunk.chunk_by(|a, b| a.0 == b.0) {
        segments.push(Segment { partition: rows[0].0, batch, start, rows: rows.len() as u32 });
        start += rows.len() as u32;
    }
}

struct RunReader<'a> {
    run: &'a SpillRun,
    reader: FileReader<BufReader<File>>,
    next: usize,
    current: Option<(u32, RecordBatch)>,
}

impl<'a> RunReader<'a> {
    fn open(run: &'a SpillRun) -> Result<Self> {
        let file = File::open(&run.path)
            .map_err(|cause| Error::storage("opening the spill file", &run.path, &cause))?;
        let reader = FileReader::try_new_buffered(file, None).map_err(|cause| spilling(&run.path, &cause))?;
        Ok(Self { run, reader, next: 0, current: None })
    }

    /// Gives the run's rows of `partition`; called with growing partitions.
    fn partition(
        &mut self,
        partition: u32,
        keep: bool,
        take: &mut impl FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        while let Some(segment) =
            self.run.segments.get(self.next).filter(|segment| segment.partition == partition)
        {
            self.next += 1;
            if self.current.as_ref().is_none_or(|(number, _)| *number != segment.batch) {
                self.current = Some((segment.batch, self.batch(segment.batch)?));
            }
            if let Some((_, batch)) = &self.current {
                take(batch.slice(segment.start as usize, segment.rows as usize))?;
            }
        }
        if !keep {
            self.current = None;
        }
        Ok(())
    }

    fn batch(&mut self, number: u32) -> Result<RecordBatch> {
        let gone = || ArrowError::IpcError("the spill file is shorter than it was".to_owned());
        self.reader.set_index(number as usize).map_err(|cause| spilling(&self.run.path, &cause))?;
        self.reader
            .next()
            .ok_or_else(gone)
            .and_then(|batch| batch)
            .map_err(|cause| spilling(&self.run.path, &cause))
    }
}

/// Hive's escaping of names and values in partition folders: what could be read as a path, a separator or a control
/// character becomes `%XX`.
fn escape(text: &str, folder: &mut String) {
    for c in text.chars() {
        let special = c.is_control() || "\"#%'*/:=?\\{}[]^".contains(c);
        if special {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                let _ = write!(folder, "%{byte:02X}");
            }
        } else {
            folder.push(c);
        }
    }
}

fn failed(cause: &ArrowError) -> Error {
    Error::new(
        ErrorKind::Internal,
        "internal/partition",
        format!("sorting rows into partitions failed: {cause}"),
    )
}

fn spilling(path: &std::path::Path, cause: &ArrowError) -> Error {
    let message = format!("the spill file {}: {cause}", path.display());
    Error::new(ErrorKind::Storage, "storage/spill", message)
        .hint("is there room on the disk that the stage writes to?")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use dil_model::arrow::array::{ArrayRef, AsArray as _, Int64Array, StringArray};
    use dil_model::arrow::datatypes::{Field, Int64Type, Schema, SchemaRef};

    use super::*;

    /// The schema without the partition columns, as the files have it.
    fn data_schema(shuffle: &Shuffle, schema: &SchemaRef) -> SchemaRef {
        Arc::new(schema.project(&shuffle.data).expect("columns"))
    }

    fn rows(from: i64, count: i64, partitions: i64) -> RecordBatch {
        let schema =
            Schema::new(vec![Field::new("k", DataType::Utf8, true), Field::new("id", DataType::Int64, true)]);
        let keys: StringArray =
            (from..from + count).map(|id| Some(format!("p/{}", (id * 7919) % partitions))).collect();
        let ids: Int64Array = (from..from + count).map(Some).collect();
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(keys), Arc::new(ids)]).expect("equal lengths")
    }

    fn check(memory: usize, spills: bool) {
        let folder = tempfile::tempdir().expect("a folder");
        let spill = folder.path().join("spill");
        let sample = rows(0, 1, 200);
        let mut shuffle = Shuffle::new(&["k".into()], &sample, spill.clone(), memory).expect("a shuffle");
        let expected = data_schema(&shuffle, sample.schema_ref());
        for from in (0..20_000).step_by(500) {
            shuffle.push(&rows(from, 500, 200)).expect("room");
        }
        assert_eq!(!shuffle.runs.is_empty(), spills);
        let mut seen: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        shuffle
            .drain(|at, batch| {
                assert_eq!(batch.schema(), expected);
                let ids = batch.column(0).as_primitive::<Int64Type>().values().to_vec();
                seen.entry(at.to_string()).or_default().extend(ids);
                Ok(())
            })
            .expect("drained");
        assert_eq!(seen.len(), 200);
        let mut all: Vec<i64> = seen.values().flatten().copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..20_000).collect::<Vec<_>>());
        for (at, ids) in &seen {
            assert!(ids.is_sorted(), "rows keep their order in {at}");
            assert!(ids.iter().all(|id| format!("k=p%2F{}/", (id * 7919) % 200) == *at));
        }
        assert!(!spill.exists());
    }

    #[test]
    fn sorts_in_memory_when_it_fits() {
        check(64 << 20, false);
    }

    #[test]
    fn sorts_through_spill_files_when_it_does_not() {
        check(100 << 10, true);
    }

    fn folders(partition_by: &[&str], sample: &RecordBatch) -> Result<Vec<String>> {
        let folder = tempfile::tempdir().expect("a folder");
        let names: Vec<String> = partition_by.iter().map(ToString::to_string).collect();
        let mut shuffle = Shuffle::new(&names, sample, folder.path().to_owned(), 1 << 20)?;
        shuffle.push(sample)?;
        let mut folders = Vec::new();
        shuffle.drain(|at, _| {
            folders.push(at.to_string());
            Ok(())
        })?;
        Ok(folders)
    }

    #[test]
    fn a_column_without_values_is_the_partition_of_null() {
        let found = folders(&["late", "k"], &rows(0, 1, 200)).expect("partitions");
        assert_eq!(found, [format!("late={NULL_FOLDER}/k=p%2F0/")]);
    }

    #[test]
    fn files_without_columns_are_refused() {
        let error = folders(&["k", "id", "late"], &rows(0, 1, 200)).expect_err("nothing is left");
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Config, "write/partition"));
    }

    #[test]
    fn a_value_that_is_too_long_for_a_folder_is_refused() {
        let of = |length: usize| {
            let text: ArrayRef = Arc::new(StringArray::from(vec!["é".repeat(length)]));
            let id: ArrayRef = Arc::new(Int64Array::from(vec![1]));
            let rows = RecordBatch::try_from_iter_with_nullable([("k", text, true), ("id", id, true)]);
            folders(&["k"], &rows.expect("a batch"))
        };
        assert!(of(126).is_ok());
        let error = of(127).expect_err("256 bytes");
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Content, "write/partition-value"));
    }
}
