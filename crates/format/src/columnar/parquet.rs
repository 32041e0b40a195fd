//! Parquet files.

use std::sync::Arc;

use dil_model::Result;
use dil_model::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use dil_model::component::RandomAccess;
use dil_model::config::Format;
use dil_model::parquet::arrow::ProjectionMask;
use dil_model::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use dil_model::parquet::basic::LogicalType;

use super::access::Chunks;
use super::{Opened, Wanted, broken, normal};
use crate::FrameLimits;

/// The most rows of a batch.
const ROWS_MAX: usize = 64 << 10;

pub(super) fn open(file: Arc<dyn RandomAccess>, wanted: &Wanted, limits: FrameLimits) -> Result<Opened> {
    let chunks = Chunks(file);
    let failed = |cause: &dyn std::fmt::Display| broken(Format::Parquet, cause);
    let metadata = ArrowReaderMetadata::load(&chunks, Default::default()).map_err(|cause| failed(&cause))?;
    let kept = wanted.columns(metadata.schema())?;
    let descriptor = metadata.metadata().file_metadata().schema_descr_ptr();
    let roots = descriptor.root_schema().get_fields();
    let is_uuid = |at: usize| {
        roots.get(at).is_some_and(|root| root.get_basic_info().logical_type_ref() == Some(&LogicalType::Uuid))
    };
    let field = |&at: &usize| -> Field {
        let field = metadata.schema().field(at);
        let is_uuid = is_uuid(at) && *field.data_type() == DataType::FixedSizeBinary(16);
        if is_uuid { normal::as_uuid(field) } else { field.clone() }
    };
    let schema: SchemaRef = Arc::new(Schema::new(kept.iter().map(field).collect::<Vec<_>>()));
    let groups = metadata.metadata().row_groups();
    let (rows, bytes) = groups.iter().fold((0, 0), |(rows, bytes), group| {
        (rows + group.num_rows().max(0), bytes + group.total_byte_size().max(0))
    });
    let row_bytes = usize::try_from(bytes / rows.max(1)).unwrap_or(usize::MAX).max(1);
    let batch_rows = (limits.frame_bytes / row_bytes).clamp(1, ROWS_MAX);
    let mask = ProjectionMask::roots(&descriptor, kept);
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(chunks, metadata)
        .with_projection(mask)
        .with_batch_size(batch_rows)
        .build()
        .map_err(|cause| failed(&cause))?;
    let batches = reader.map(|batch| batch.map_err(|cause| broken(Format::Parquet, &cause)));
    Ok(Opened { schema, batches: Box::new(batches) })
}
