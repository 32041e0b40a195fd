//! Avro object container files.
//!
//! Written here and not by `arrow-avro`: its schema names the record `topLevelRecord` and cannot name nested records
//! after their path, and it makes a new compressor for each block, which for deflate is most of the time. The format
//! itself is small: a header with the schema, then blocks of rows, each with its count and length and followed by a
//! marker.
//!
//! The marker is made from the schema and not from chance, so the same rows give the same file. It only serves readers
//! that start in the middle of a file.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use dil_model::arrow::array::{Array, AsArray, BinaryArray, BooleanArray, StringArray};
use dil_model::arrow::buffer::NullBuffer;
use dil_model::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int32Type, Int64Type, SchemaRef,
    TimestampMicrosecondType,
};
use dil_model::arrow::record_batch::RecordBatch;
use dil_model::component::Encoder;
use dil_model::config::{Compression, FilesWrite};
use dil_model::{Error, ErrorKind, Result};

use super::avro_schema;
use super::behind::Behind;
use super::compression::impossible;
use super::lanes;

/// Bytes of a block before it is compressed. Larger ones compress a little better; readers hold one.
const BLOCK_BYTES: usize = 128 << 10;

/// Blocks that wait to be compressed together, on a thread or two.
const BLOCKS_MAX: usize = 16;

/// Of the levels of `libdeflate`, which makes files a quarter smaller than zlib's first level and is faster.
const DEFLATE_LEVEL: i32 = 1;

/// The encoder for Avro files.
///
/// # Errors
/// `Config` for a type that Avro has not, and for compressions other than deflate, snappy and zstd.
pub(crate) fn encoder(write: &FilesWrite, schema: &SchemaRef, memory: usize) -> Result<Box<dyn Encoder>> {
    let codecs: Vec<Codec> = (0..lanes::lanes()).map(|_| Codec::new(write)).collect::<Result<_>>()?;
    let spelt = avro_schema::spell(schema)?.to_string();
    let marker = marker(&spelt);
    let mut file = b"Obj\x01".to_vec();
    append_long(2, &mut file);
    for (key, value) in [("avro.schema", spelt.as_str()), ("avro.codec", codecs[0].name())] {
        append_bytes(key.as_bytes(), &mut file);
        append_bytes(value.as_bytes(), &mut file);
    }
    append_long(0, &mut file);
    file.extend_from_slice(&marker);
    // Blocks wait, others are compressed, which makes them exist twice, and those before are on their way out.
    let block_bytes = BLOCK_BYTES.min(memory / 4).max(1);
    let waiting_max = (memory / 4).min(BLOCKS_MAX * block_bytes);
    Ok(Box::new(AvroEncoder {
        codecs: Behind::new(codecs),
        marker,
        block_bytes,
        waiting_max,
        file,
        given: 0,
        compressing: 0,
        full: Vec::new(),
        block: Block::default(),
    }))
}

fn marker(schema: &str) -> [u8; 16] {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, schema).hash(&mut hasher);
        hasher.finish().to_be_bytes()
    };
    let mut marker = [0; 16];
    marker[..8].copy_from_slice(&half(1));
    marker[8..].copy_from_slice(&half(2));
    marker
}

/// How blocks are compressed. Each thread has one for the whole file.
enum Codec {
    Null,
    Deflate(libdeflater::Compressor),
    Snappy(Box<snap::raw::Encoder>),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Codec {
    fn new(write: &FilesWrite) -> Result<Self> {
        Ok(match write.compressed() {
            Compression::None => Self::Null,
            Compression::Deflate => {
                let level = libdeflater::CompressionLvl::new(DEFLATE_LEVEL).unwrap_or_default();
                Self::Deflate(libdeflater::Compressor::new(level))
            }
            Compression::Snappy => Self::Snappy(Box::new(snap::raw::Encoder::new())),
            Compression::Zstd => Self::Zstd(zstd::bulk::Compressor::new(1).map_err(|cause| failed(&cause))?),
            other @ (Compression::Gzip | Compression::Lz4) => return Err(impossible(write, other)),
        })
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Deflate(_) => "deflate",
            Self::Snappy(_) => "snappy",
            Self::Zstd(_) => "zstandard",
        }
    }

    fn compress(&mut self, block: Vec<u8>) -> Result<Vec<u8>> {
        match self {
            Self::Null => Ok(block),
            Self::Deflate(compressor) => {
                let mut packed = vec![0; compressor.deflate_compress_bound(block.len())];
                let size =
                    compressor.deflate_compress(&block, &mut packed).map_err(|cause| failed(&cause))?;
                packed.truncate(size);
                packed.shrink_to_fit();
                Ok(packed)
            }
            Self::Snappy(encoder) => {
                let mut packed = encoder.compress_vec(&block).map_err(|cause| failed(&cause))?;
                let mut checksum = flate2::Crc::new();
                checksum.update(&block);
                packed.extend_from_slice(&checksum.sum().to_be_bytes());
                Ok(packed)
            }
            Self::Zstd(compressor) => compressor.compress(&block).map_err(|cause| failed(&cause)),
        }
    }
}

#[derive(Default)]
struct Block {
    bytes: Vec<u8>,
    rows: i64,
}

/// Compressed blocks and their rows.
type Packed = Result<Vec<(i64, Vec<u8>)>>;

/// Compresses blocks, on as many threads as there are codecs.
fn compress(codecs: &mut [Codec], blocks: Vec<Block>) -> Packed {
    let lanes = codecs.len().min(blocks.len());
    let packed = lanes::each(&mut codecs[..lanes], blocks.into_iter(), |codec, block| {
        codec.compress(block.bytes).map(|packed| (block.rows, packed))
    });
    packed.into_iter().collect()
}

struct AvroEncoder {
    codecs: Behind<Vec<Codec>, Packed>,
    marker: [u8; 16],
    block_bytes: usize,
    waiting_max: usize,
    /// Final bytes.
    file: Vec<u8>,
    /// Final bytes that are gone already.
    given: u64,
    /// Bytes of the blocks that are compressed now.
    compressing: usize,
    /// Blocks that are not compressed yet.
    full: Vec<Block>,
    /// The block that is not full yet.
    block: Block,
}

impl AvroEncoder {
    fn close_block(&mut self) {
        if self.block.rows > 0 {
            let next = Block { bytes: Vec::with_capacity(self.block.bytes.len()), rows: 0 };
            self.full.push(std::mem::replace(&mut self.block, next));
        }
    }

    /// Bytes of the full blocks.
    fn waiting(&self) -> usize {
        self.full.iter().map(|block| block.bytes.len()).sum()
    }

    /// Lets the full blocks be compressed while others are filled.
    fn compress(&mut self) -> Result<()> {
        let (bytes, blocks) = (self.waiting(), std::mem::take(&mut self.full));
        let before = self.codecs.start(move |codecs| compress(codecs, blocks))?;
        self.compressing = bytes;
        before.map_or(Ok(()), |packed| self.append(packed))
    }

    fn append(&mut self, packed: Packed) -> Result<()> {
        for (rows, bytes) in packed? {
            append_long(rows, &mut self.file);
            append_bytes(&bytes, &mut self.file);
            self.file.extend_from_slice(&self.marker);
        }
        Ok(())
    }
}

impl Encoder for AvroEncoder {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let schema = batch.schema();
        let columns: Vec<Values<'_>> = schema
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, array)| values(field, array.as_ref()))
            .collect::<Result<_>>()?;
        for row in 0..batch.num_rows() {
            for column in &columns {
                column.append(row, &mut self.block.bytes);
            }
            self.block.rows += 1;
            if self.block.bytes.len() >= self.block_bytes {
                self.close_block();
                // Counted in bytes, because a row may be many times a block.
                if self.waiting() >= self.waiting_max {
                    self.compress()?;
                }
            }
        }
        Ok(())
    }

    fn drain(&mut self, out: &mut Vec<u8>) {
        self.given += self.file.len() as u64;
        out.append(&mut self.file);
    }

    fn buffered(&self) -> usize {
        let full = self.full.iter().map(|block| block.bytes.capacity()).sum::<usize>();
        self.block.bytes.capacity() + full + self.compressing
    }

    fn file_bytes(&self) -> u64 {
        self.given + (self.file.len() + self.compressing + self.waiting() + self.block.bytes.len()) as u64
    }

    fn finish(mut self: Box<Self>, out: &mut Vec<u8>) -> Result<()> {
        self.close_block();
        let blocks = std::mem::take(&mut self.full);
        let (mut codecs, before) = self.codecs.end()?;
        before.map_or(Ok(()), |packed| self.append(packed))?;
        self.append(compress(&mut codecs, blocks))?;
        out.append(&mut self.file);
        Ok(())
    }
}

/// The values of one field.
struct Values<'a> {
    /// There is a branch number before each value, 0 for null.
    nullable: bool,
    nulls: Option<&'a NullBuffer>,
    kind: Kind<'a>,
}

enum Kind<'a> {
    Bool(&'a BooleanArray),
    Int(&'a [i32]),
    Long(&'a [i64]),
    Float(&'a [f32]),
    Double(&'a [f64]),
    Decimal(&'a [i128]),
    Text(&'a StringArray),
    Binary(&'a BinaryArray),
    List(&'a [i32], Box<Values<'a>>),
    Struct(Vec<Values<'a>>),
}

fn values<'a>(field: &Field, array: &'a dyn Array) -> Result<Values<'a>> {
    let kind = match array.data_type() {
        DataType::Boolean => Kind::Bool(array.as_boolean()),
        DataType::Int32 => Kind::Int(array.as_primitive::<Int32Type>().values()),
        DataType::Date32 => Kind::Int(array.as_primitive::<Date32Type>().values()),
        DataType::Int64 => Kind::Long(array.as_primitive::<Int64Type>().values()),
        DataType::Timestamp(..) => match array.as_primitive_opt::<TimestampMicrosecondType>() {
            Some(array) => Kind::Long(array.values()),
            None => return Err(unknown(field)),
        },
        DataType::Float32 => Kind::Float(array.as_primitive::<Float32Type>().values()),
        DataType::Float64 => Kind::Double(array.as_primitive::<Float64Type>().values()),
        DataType::Decimal128(..) => Kind::Decimal(array.as_primitive::<Decimal128Type>().values()),
        DataType::Utf8 => Kind::Text(array.as_string()),
        DataType::Binary => Kind::Binary(array.as_binary()),
        DataType::List(item) => {
            let list = array.as_list::<i32>();
            Kind::List(list.value_offsets(), Box::new(values(item, list.values().as_ref())?))
        }
        DataType::Struct(fields) => {
            let members = fields.iter().zip(array.as_struct().columns());
            Kind::Struct(members.map(|(field, array)| values(field, array.as_ref())).collect::<Result<_>>()?)
        }
        _ => return Err(unknown(field)),
    };
    Ok(Values { nullable: field.is_nullable(), nulls: array.nulls(), kind })
}

fn unknown(field: &Field) -> Error {
    let message = format!("column `{}` is {}, which no file has", field.name(), field.data_type());
    Error::new(ErrorKind::Internal, "write/avro-type", message)
}

fn failed(cause: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::Internal, "write/avro", format!("writing avro: {cause}"))
}

impl Values<'_> {
    fn append(&self, row: usize, out: &mut Vec<u8>) {
        if self.nullable {
            let is_null = self.nulls.is_some_and(|nulls| nulls.is_null(row));
            // The branches are null and the value, in that order; numbers are zigzag.
            out.push(if is_null { 0 } else { 2 });
            if is_null {
                return;
            }
        }
        match &self.kind {
            Kind::Bool(array) => out.push(u8::from(array.value(row))),
            Kind::Int(values) => append_long(i64::from(values[row]), out),
            Kind::Long(values) => append_long(values[row], out),
            Kind::Float(values) => out.extend_from_slice(&values[row].to_le_bytes()),
            Kind::Double(values) => out.extend_from_slice(&values[row].to_le_bytes()),
            Kind::Decimal(values) => append_decimal(values[row], out),
            Kind::Text(array) => append_bytes(array.value(row).as_bytes(), out),
            Kind::Binary(array) => append_bytes(array.value(row), out),
            Kind::Struct(members) => members.iter().for_each(|member| member.append(row, out)),
            Kind::List(offsets, items) => {
                let (start, end) = (offsets[row], offsets[row + 1]);
                if end > start {
                    append_long(i64::from(end - start), out);
                    (start..end).for_each(|item| items.append(item as usize, out));
                }
                out.push(0);
            }
        }
    }
}

/// Seven bits a byte, the lowest first, after the sign has gone to the lowest bit.
#[inline(always)]
fn append_long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    if rest < 0x80 {
        out.push(rest as u8);
        return;
    }
    let mut bytes = [0; 10];
    let mut len = 0;
    while rest >= 0x80 {
        bytes[len] = rest as u8 | 0x80;
        rest >>= 7;
        len += 1;
    }
    bytes[len] = rest as u8;
    // A copy of fixed length, cut afterwards, is faster than one of few bytes.
    let end = out.len() + len + 1;
    out.extend_from_slice(&bytes);
    out.truncate(end);
}

#[inline(always)]
fn append_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    append_long(bytes.len() as i64, out);
    out.extend_from_slice(bytes);
}

/// Two's complement, the highest byte first, as few bytes as hold it.
fn append_decimal(value: i128, out: &mut Vec<u8>) {
    let bits = if value < 0 { value.leading_ones() } else { value.leading_zeros() };
    // One bit of the sign must stay.
    let spare = (bits as usize - 1) / 8;
    append_bytes(&value.to_be_bytes()[spare..], out);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_avro::reader::ReaderBuilder;
    use dil_model::arrow::array::{
        ArrayRef, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array,
        ListArray, StructArray, TimestampMicrosecondArray, new_null_array,
    };
    use dil_model::arrow::compute::{cast, concat_batches};
    use dil_model::arrow::datatypes::Schema;

    use super::*;

    fn encode(batch: &RecordBatch, compression: &str, writes: usize) -> Result<Vec<u8>> {
        let json = serde_json::json!({ "path": "x", "format": "avro", "compression": compression });
        let mut encoder = encoder(&serde_json::from_value(json).unwrap(), &batch.schema(), 1 << 20)?;
        let mut out = Vec::new();
        for _ in 0..writes {
            encoder.write(batch)?;
            encoder.drain(&mut out);
        }
        encoder.finish(&mut out)?;
        Ok(out)
    }

    fn decode(bytes: &[u8]) -> RecordBatch {
        let reader = ReaderBuilder::new().build(bytes).unwrap();
        let schema = reader.schema();
        let batches: Vec<_> = reader.map(Result::unwrap).collect();
        concat_batches(&schema, &batches).unwrap()
    }

    /// Equal but for field metadata and how the zone of a timestamp is spelt.
    fn assert_same(found: &RecordBatch, wanted: &RecordBatch) {
        assert_eq!(found.num_columns(), wanted.num_columns());
        for (at, column) in wanted.columns().iter().enumerate() {
            let found = cast(found.column(at), column.data_type()).unwrap();
            assert_eq!(&found, column, "column {at}");
        }
    }

    fn every_type() -> RecordBatch {
        let items = ListArray::from_iter_primitive::<Int64Type, _, _>([
            Some(vec![Some(1), None, Some(-70_000)]),
            None,
            Some(vec![]),
        ]);
        let list: ArrayRef = Arc::new(items);
        let inner = Arc::new(Field::new("l", list.data_type().clone(), true));
        let object =
            StructArray::new(vec![inner].into(), vec![list.clone()], Some(vec![true, false, true].into()));
        let decimals = vec![Some(-(10i128.pow(38) - 1)), Some(127), Some(-129)];
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("b", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
            ("i", Arc::new(Int32Array::from(vec![Some(i32::MIN), None, Some(63)]))),
            ("l", Arc::new(Int64Array::from(vec![Some(i64::MAX), Some(i64::MIN), Some(64)]))),
            ("f", Arc::new(Float32Array::from(vec![Some(0.1), None, Some(f32::INFINITY)]))),
            ("d", Arc::new(Float64Array::from(vec![Some(0.1), None, Some(-0.0)]))),
            ("m", Arc::new(Decimal128Array::from(decimals).with_precision_and_scale(38, 3).unwrap())),
            ("day", Arc::new(Date32Array::from(vec![Some(-1), None, Some(20_000)]))),
            (
                "at",
                Arc::new(
                    TimestampMicrosecondArray::from(vec![Some(-1), None, Some(1)]).with_timezone("+00:00"),
                ),
            ),
            ("local", Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None, Some(1)]))),
            ("t", Arc::new(StringArray::from(vec![Some("ä\n"), None, Some("")]))),
            ("x", Arc::new(BinaryArray::from(vec![Some(b"\0\xff".as_slice()), None, Some(b"")]))),
            ("list", list),
            ("o", Arc::new(object)),
            ("none", new_null_array(&DataType::Int64, 3)),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
            .unwrap()
    }

    #[test]
    fn every_type_and_compression_comes_back() {
        let batch = every_type();
        for compression in ["none", "deflate", "snappy", "zstd"] {
            assert_same(&decode(&encode(&batch, compression, 1).unwrap()), &batch);
        }
        assert_eq!(encode(&batch, "gzip", 1).unwrap_err().code, "write/compression");
    }

    #[test]
    fn a_slice_is_written_from_its_own_start() {
        let batch = every_type().slice(1, 2);
        assert_same(&decode(&encode(&batch, "none", 1).unwrap()), &batch);
    }

    #[test]
    fn many_blocks_come_back() {
        let texts = StringArray::from_iter_values((0..20_000).map(|i| format!("text {i}")));
        let schema = Schema::new(vec![Field::new("t", DataType::Utf8, false)]);
        let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(texts)]).unwrap();
        for compression in ["none", "deflate", "snappy", "zstd"] {
            let back = decode(&encode(&batch, compression, 3).unwrap());
            assert_eq!(back.num_rows(), 60_000);
            assert_same(&back.slice(40_000, 20_000), &batch);
        }
    }

    #[test]
    fn what_does_not_compress_fits_its_block() {
        let mut state = 1u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(1 << 20)
        .collect();
        let column: ArrayRef = Arc::new(BinaryArray::from(vec![noise.as_slice()]));
        let batch = RecordBatch::try_from_iter([("x", column)]).unwrap();
        assert_same(&decode(&encode(&batch, "deflate", 1).unwrap()), &batch);
    }
}
