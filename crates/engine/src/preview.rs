//! `dil preview`: the first rows of a stage, read and converted as a run would, written nowhere.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use dil_flow::Checked;
use dil_format::FrameLimits;
use dil_model::arrow::datatypes::SchemaRef;
use dil_model::arrow::record_batch::RecordBatch;
use dil_model::component::{Converter as _, Decoded, Decoder, Frame, PageBody, PageFacts, Source};
use dil_model::config::{Flow, Stage, Units};
use dil_model::schema::{StoredSchema, typed};
use dil_model::template::unit_variables;
use dil_model::unit::{AttemptId, Counts, Position, UnitSpec};
use dil_model::{Error, ErrorKind, Result};
use dil_plan::{Decision, PlannedUnit, StageInput, ValueList, Values};
use futures::StreamExt as _;
use jiff::Timestamp;

use crate::execute::limiter;
use crate::run::memory::{Shares, Slots};
use crate::run::unit::{Port, UnitContext, framer, open_source};
use crate::run::whole::WholePage;
use crate::run::{row_values, unseen};
use crate::settings::{Settings, Stop};

/// Rows of a stage before that are looked at to find a value for the previewed unit.
const UPSTREAM_ROWS: usize = 1_000;

/// The first rows of a stage.
pub struct Preview {
    /// The stage's name.
    pub stage: String,
    /// The unit that was read.
    pub unit: String,
    /// The schema of the rows as read; a field of which only nulls were seen has type `null`.
    pub read: SchemaRef,
    /// The schema of the rows as they would be written.
    pub written: SchemaRef,
    /// The rows, no more than were asked for.
    pub batches: Vec<RecordBatch>,
    /// Whether there are more.
    pub more: bool,
    /// What to tell of columns that the stage names and these rows do not have.
    pub unseen: Option<String>,
    /// The converted columns of which only nulls were seen.
    untyped: Vec<String>,
}

/// Reads the first rows of a stage's first unit. If the unit's value comes from another stage, that one is read first.
///
/// # Errors
/// Those of reading; `Config` if the stage has no unit to read.
pub async fn preview(
    flow: &Checked,
    settings: &Settings,
    stage: &str,
    rows: usize,
    now: Timestamp,
) -> Result<Preview> {
    let mut shown: HashMap<String, Preview> = HashMap::new();
    for name in needed(flow, stage)? {
        let Some(found) = flow.flow.stages.get(&name) else { continue };
        let wanted = if name == stage { rows } else { UPSTREAM_ROWS };
        let values = values(found, &shown)?;
        let preview = first_rows(&flow.flow, settings, &name, found, &values, wanted, now).await?;
        if name == stage {
            return Ok(preview);
        }
        shown.insert(name, preview);
    }
    Err(Error::new(ErrorKind::Internal, "internal/preview", "no stage was previewed"))
}

/// The stage, and before it those whose rows it needs, in the order in which they run.
fn needed(flow: &Checked, stage: &str) -> Result<Vec<String>> {
    if !flow.flow.stages.contains_key(stage) {
        let there: Vec<&str> = flow.flow.stages.keys().map(String::as_str).collect();
        return Err(Error::new(
            ErrorKind::Config,
            "preview/no-stage",
            format!("there is no stage `{stage}`"),
        )
        .hint(format!("the stages are {}", there.join(", "))));
    }
    let mut needed: Vec<&str> = vec![stage];
    let mut next = 0;
    while let Some(name) = needed.get(next) {
        let more: Vec<&str> =
            flow.upstreams(name).into_iter().filter(|name| !needed.contains(name)).collect();
        needed.extend(more);
        next += 1;
    }
    Ok(flow.order().iter().filter(|name| needed.contains(&name.as_str())).cloned().collect())
}

fn values(stage: &Stage, shown: &HashMap<String, Preview>) -> Result<Values> {
    let units = stage.units.as_ref();
    let mut lists = Vec::new();
    for each in units.into_iter().flat_map(Units::lists) {
        let mut list = ValueList::new(each);
        if let Some(upstream) = each.rows_of.as_ref().and_then(|upstream| shown.get(upstream)) {
            let columns = each.columns();
            for batch in &upstream.batches {
                row_values(batch, |mut row| {
                    row.retain(|name, _| columns.contains(name));
                    for column in columns.iter().filter(|column| upstream.untyped.contains(column)) {
                        row.entry(column.clone()).or_insert(serde_json::Value::Null);
                    }
                    list.push(&row)
                })?;
            }
        }
        lists.push(list);
    }
    Values::new(lists, ValueList::backlog(units))
}

async fn first_rows(
    flow: &Flow,
    settings: &Settings,
    name: &str,
    stage: &Stage,
    values: &Values,
    rows: usize,
    now: Timestamp,
) -> Result<Preview> {
    let unit = first_unit(stage, values, now)?.ok_or_else(|| {
        Error::new(ErrorKind::Config, "preview/no-unit", format!("stage `{name}` has no unit to read"))
            .hint("is its time range empty, or did the stage before it give no rows?")
    })?;
    let spec = Arc::new(spec(flow, name, stage, &unit));
    let context = UnitContext {
        port: Arc::new(Nobody),
        permits: Arc::new(limiter(flow)),
        secrets: Arc::clone(&settings.secrets),
        clients: dil_connect::http::Clients::new(),
        stop: Stop::new(),
    };
    let mut source = open_source(&spec, &context)?;
    let frames = first_frames(&spec, source.as_mut(), rows).await.map_err(|error| source.report(error))?;
    let ended = frames.ended;
    let mut shown =
        tokio::task::block_in_place(|| decode(&spec, &frames, rows)).map_err(|error| source.report(error))?;
    shown.more |= !ended;
    if !frames.frames.is_empty() {
        shown.unseen = unseen(stage, &shown.read);
    }
    Ok(shown)
}

fn first_unit(stage: &Stage, values: &Values, now: Timestamp) -> Result<Option<PlannedUnit>> {
    let input =
        StageInput { units: stage.units.as_ref(), now, values, latest: None, backfill: false, only: &[] };
    for decision in dil_plan::decide(&input, |names: &[String]| Ok(vec![None; names.len()]))? {
        if let Decision::Run(unit) = decision? {
            return Ok(Some(*unit));
        }
    }
    Ok(None)
}

fn spec(flow: &Flow, name: &str, stage: &Stage, unit: &PlannedUnit) -> UnitSpec {
    let connection = stage.read.http.as_ref().and_then(|http| {
        flow.connections.get(&http.connection).map(|connection| (http.connection.clone(), connection.clone()))
    });
    UnitSpec {
        id: AttemptId { epoch: 0, attempt: 0, unit: 0 },
        flow: flow.flow.clone(),
        stage: name.to_owned(),
        signature: unit.signature.clone(),
        run: "preview".to_owned(),
        full: true,
        each: unit.each.clone(),
        interval: unit.interval,
        key: unit.key.clone(),
        connection,
        read: stage.read.clone(),
        convert: stage.convert.clone(),
        outputs: Vec::new(),
        schema: None,
        resume: None,
        memory: Slots::divide(flow.memory, 1, 0).share,
    }
}

struct FirstFrames {
    frames: Vec<Frame>,
    /// What to call each page in messages, by its number.
    labels: HashMap<u64, String>,
    ended: bool,
}

impl FirstFrames {
    fn place(&self, frame: &Frame, error: Error) -> Error {
        match self.labels.get(&frame.page) {
            Some(label) => error.at(label.clone()),
            None => error,
        }
    }
}

/// Reads until there are enough rows to show and to infer a schema from.
async fn first_frames(spec: &UnitSpec, source: &mut dyn Source, rows: usize) -> Result<FirstFrames> {
    let shares = Shares::of(spec.memory);
    // Small frames, so that little is read.
    let limits = FrameLimits { frame_bytes: 64 << 10, row_bytes_max: shares.row_max };
    let mut framer = framer(&spec.read, source, limits)?;
    let mut frames: Vec<Frame> = Vec::new();
    let mut labels = HashMap::new();
    let mut seen = 0u64;
    let framed = |frames: &[Frame]| frames.iter().map(|frame| frame.rows.max(1)).sum::<u64>();
    while let Some(page) = source.open().await? {
        labels.insert(page.number, page.label.clone());
        let placed = |error: Error| error.at(page.label.clone());
        let facts = match (page.body, &mut framer) {
            (PageBody::Stream(mut body), Some(framer)) => {
                framer.begin_page(page.number);
                while let Some(chunk) = body.next().await {
                    for piece in chunk.map_err(placed)?.chunks(64 << 10) {
                        framer.feed(piece, &mut frames).map_err(placed)?;
                        if framed(&frames) > rows as u64 && frames.len() > 1 {
                            return Ok(FirstFrames { frames, labels, ended: false });
                        }
                    }
                }
                framer.end_page(&mut frames).map_err(placed)?
            }
            (PageBody::Random(file), _) => {
                let mut whole = WholePage::read(&spec.read, file, limits, page.number);
                let mut facts = PageFacts::default();
                while let Some(frame) = whole.next().await.map_err(placed)? {
                    facts.rows += frame.rows;
                    frames.push(frame);
                    if framed(&frames) > rows as u64 {
                        return Ok(FirstFrames { frames, labels, ended: false });
                    }
                }
                facts
            }
            (PageBody::Stream(_), None) => {
                return Err(Error::new(
                    ErrorKind::Internal,
                    "internal/page",
                    "the source does not go with the format",
                ));
            }
        };
        seen += facts.rows;
        source.advance(&facts).await.map_err(placed)?;
        if seen > rows as u64 {
            return Ok(FirstFrames { frames, labels, ended: false });
        }
    }
    Ok(FirstFrames { frames, labels, ended: true })
}

fn decode(spec: &UnitSpec, first: &FirstFrames, rows: usize) -> Result<Preview> {
    let frames = first.frames.as_slice();
    let mut decoder: Box<dyn Decoder> = dil_format::decoder(&spec.read)?;
    let mut chain = dil_convert::chain(&spec.convert, &unit_variables(spec))?;
    let mut read: Option<SchemaRef> = None;
    for frame in frames {
        read = Some(decoder.infer(frame, read.as_ref()).map_err(|error| first.place(frame, error))?);
    }
    let read = read.unwrap_or_else(|| Arc::new(dil_model::arrow::datatypes::Schema::empty()));
    let mut shown = Preview {
        stage: spec.stage.clone(),
        unit: spec.signature.clone(),
        written: Arc::clone(&read),
        read: Arc::clone(&read),
        batches: Vec::new(),
        more: false,
        unseen: None,
        untyped: Vec::new(),
    };
    if frames.is_empty() {
        return Ok(shown);
    }
    let converted = chain.schema(&read)?;
    shown.written = typed(&converted);
    let columns = converted.fields().iter().map(|field| field.name());
    shown.untyped = columns.filter(|name| shown.written.field_with_name(name).is_err()).cloned().collect();
    decoder.set_schema(&read)?;
    let mut left = rows;
    for frame in frames {
        if left == 0 {
            shown.more = true;
            break;
        }
        // The schema was inferred from these very frames, so none of them asks for a wider one.
        let decoded = decoder.decode(frame).map_err(|error| first.place(frame, error))?;
        let Decoded::Batch(batch) = decoded else { continue };
        let batch = chain
            .convert(batch, frame.first_row)
            .map_err(|error| first.place(frame, error.at(format!("page {}", frame.page))))?;
        shown.more |= batch.num_rows() > left;
        let taken = batch.slice(0, batch.num_rows().min(left));
        left -= taken.num_rows();
        shown.batches.push(taken);
    }
    Ok(shown)
}

/// A coordinator for a unit that asks nothing.
struct Nobody;

#[async_trait]
impl Port for Nobody {
    async fn schema(&self, _: AttemptId, read: StoredSchema, _: StoredSchema) -> Result<StoredSchema> {
        Ok(read)
    }
    async fn checkpoint(&self, _: AttemptId, _: Position) -> Result<()> {
        Ok(())
    }
    fn progress(&self, _: AttemptId, _: Counts) {}
}
